"""The server's context, for the doors."""

from __future__ import annotations

from flask import current_app

from wallet_server.context import ServerContext


def server() -> ServerContext:
    """The :class:`ServerContext` that ``create_app`` put into this application."""
    context = current_app.extensions["wallet"]
    assert isinstance(context, ServerContext)
    return context
