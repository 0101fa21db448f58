"""The door of the member: a page at a secret address, without a password."""

from __future__ import annotations

from flask import Flask

from wallet_server.web.member import leave, pages


def register(app: Flask) -> None:
    """Add this door to the application."""
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(leave.blueprint)
