"""The server's context, for the doors."""

from __future__ import annotations

from typing import Final

from flask import Flask, current_app

from wallet_server.context import ContextKeeper, ServerContext
from wallet_server.issuance.credentials import unreadable_files

WALLET: Final = "wallet"
KEEPER: Final = "wallet_keeper"
IMPORTED: Final = "imported"
"""Stands in :func:`key_trouble` for the keys in the database."""


def server() -> ServerContext:
    """The :class:`ServerContext` that ``create_app`` put into this application."""
    context = current_app.extensions[WALLET]
    assert isinstance(context, ServerContext)
    return context


def key_trouble() -> dict[str, bool]:
    """Whether there is trouble with keys: by setting that names a file, and with those that were ``imported``."""
    keeper = current_app.extensions[KEEPER]
    assert isinstance(keeper, ContextKeeper)
    return {**unreadable_files(server().settings), IMPORTED: bool(keeper.trouble)}


def init_app(app: Flask, context: ServerContext) -> None:
    """Give the application its context, and before each request the one with the keys imported last."""
    app.extensions[WALLET] = context
    keeper = app.extensions[KEEPER] = ContextKeeper(context)

    @app.before_request
    def _use_imported_keys() -> None:
        if (current := keeper.current()) is not app.extensions[WALLET]:
            app.extensions[WALLET] = current
