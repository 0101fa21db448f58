"""The pages of the simulated phones and of the mail box; only there where ``WALLET_SANDBOX=1``."""

from __future__ import annotations

from flask import Flask

from wallet_server.web.context import server
from wallet_server.web.sandbox import mails, phones


def register(app: Flask) -> None:
    """Add this door to the application of a sandbox; elsewhere its addresses do not exist."""
    with app.app_context():
        if server().settings.WALLET_SANDBOX:
            app.register_blueprint(phones.blueprint)
            app.register_blueprint(mails.blueprint)
