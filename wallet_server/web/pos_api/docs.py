"""The till API's document and the pages that show it, without anything from another host.

Swagger UI comes with the ``flask-openapi-swagger`` package. Its sheet and script are served by us, so the page
lives under the same Content-Security-Policy as all others.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from flask import Blueprint, Flask, Response, abort, render_template, send_file

from wallet_server.db import to_json
from wallet_server.web.pos_api.document import PATH, document
from wallet_server.web.security import permission

KEEP_S: Final = 24 * 3600
FILES: Final = {"swagger-ui.css": "css/swagger-ui.css", "swagger-ui-bundle.js": "js/swagger-ui-bundle.js"}

blueprint = Blueprint("pos_api_docs", __name__, url_prefix=PATH)


def register(app: Flask) -> None:
    """Serve the document and its pages."""
    app.register_blueprint(blueprint)


@blueprint.get("/openapi.json")
@permission("public")
def openapi() -> Response:
    return Response(to_json(document()), content_type="application/json")


@blueprint.get("/docs")
@permission("public")
def docs() -> Response:
    return Response(render_template("pos_api/docs.html"), content_type="text/html; charset=utf-8")


@blueprint.get("/docs/<name>")
@permission("public")
def docs_file(name: str) -> Response:
    if name not in FILES:
        abort(404)
    response = send_file(_folder() / FILES[name], conditional=True, max_age=KEEP_S)
    response.headers["Cache-Control"] = f"public, max-age={KEEP_S}"
    return response


def _folder() -> Path:
    # Located, not imported: importing it would register a door of its own.
    spec = find_spec("flask_openapi_swagger")
    assert spec is not None, "flask-openapi-swagger is a dependency of ours"
    assert spec.origin is not None
    return Path(spec.origin).parent / "templates" / "swagger"
