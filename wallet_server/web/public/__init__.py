"""The door of everybody: landing page, joining, referral links, lost cards."""

from __future__ import annotations

from flask import Flask

from wallet_server.web.public import join, pages, recover


def register(app: Flask) -> None:
    """Add this door to the application."""
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(join.blueprint)
    app.register_blueprint(recover.blueprint)
