"""Landing page and the colours of a program."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, render_template, url_for

from wallet_server.db import reading
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.web.context import server
from wallet_server.web.rendering import page
from wallet_server.web.security import permission

BRAND_KEEP_S: Final = 3600

blueprint = Blueprint("public", __name__)


@blueprint.get("/")
@permission("public")
def landing() -> Response:
    """Say what this is, and name no program: who is a customer here is nobody's business."""
    return page("public/landing.html")


@blueprint.get("/brand/<slug>.css")
@permission("public")
def brand(slug: str) -> Response:
    """The program's colours: a style sheet, because our pages allow no style attributes."""
    with reading(server().engine) as session:
        program = load_program(session, slug=slug)
    body = render_template("public/brand.css", look=program.file.look, levels=program.file.tiers.levels)
    response = Response(body, content_type="text/css; charset=utf-8")
    # Its address names the program's version.
    response.headers["Cache-Control"] = f"public, max-age={BRAND_KEEP_S}"
    return response


def brand_url(program: ProgramDefinition) -> str:
    """The address of the program's colours, another one for each version."""
    return url_for("public.brand", slug=program.slug, v=program.version)
