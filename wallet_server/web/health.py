"""Whether the process lives (``/healthz``) and whether it can work (``/readyz``)."""

from __future__ import annotations

import structlog
from flask import Blueprint, Flask, Response
from sqlalchemy.exc import SQLAlchemyError

from wallet_server import migrations
from wallet_server.db import to_json
from wallet_server.errors import ConfigurationError
from wallet_server.web.context import server
from wallet_server.web.security import permission

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    """Serve both addresses."""
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
@permission("public")
def alive() -> Response:
    return _answer("ok", 200)


@blueprint.get("/readyz")
@permission("public")
def ready() -> Response:
    try:
        migrations.require_head(server().engine)
    except (migrations.UnusableDatabaseError, SQLAlchemyError) as error:
        structlog.get_logger().warning("not ready: the database", error=str(error))
        return _answer("database", 503)
    except ConfigurationError as error:
        structlog.get_logger().warning("not ready: migrations", error=str(error))
        return _answer("migrations", 503)
    return _answer("ok", 200)


def _answer(status: str, http_status: int) -> Response:
    return Response(to_json({"status": status}), status=http_status, content_type="application/json")
