"""The door of everybody: landing page, joining, referral links."""

from __future__ import annotations

from flask import Blueprint, Flask, Response

from wallet_server.web.rendering import page
from wallet_server.web.security import permission

blueprint = Blueprint("public", __name__)


def register(app: Flask) -> None:
    """Add this door to the application."""
    app.register_blueprint(blueprint)


@blueprint.get("/")
@permission("public")
def landing() -> Response:
    return page("public/landing.html")
