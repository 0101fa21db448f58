"""The tills' door: ``/api/v1``, with a key instead of a login, JSON in and out, problems instead of pages."""

from __future__ import annotations

from flask import Flask

from wallet_server.web.pos_api import docs, members, points, purchases, vouchers
from wallet_server.web.pos_api.blueprint import blueprint
from wallet_server.web.security import door_permission

__all__ = ["blueprint", "members", "points", "purchases", "register", "vouchers"]


def register(app: Flask) -> None:
    """Open the door, and the pages that document it."""
    door_permission(blueprint, "till key")
    app.register_blueprint(blueprint)
    docs.register(app)
