"""The colours of a card as a style sheet: our pages may hold no styles of their own."""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, Flask, Response, abort

from wallet_server.web.security import permission

KEEP_S: Final = 365 * 24 * 3600
DARK_INK: Final = "1f1f1f"
SLOTS: Final = frozenset({"draft-apple", "draft-google"})
_COLORS: Final = re.compile(r"([0-9a-f]{6})-([0-9a-f]{6})-([0-9a-f]{6})")

blueprint = Blueprint("looks", __name__)


def init_app(app: Flask) -> None:
    """Serve the sheets."""
    app.register_blueprint(blueprint)


@blueprint.get("/looks/<colors>.css")
@permission("public")
def sheet(colors: str) -> Response:
    """Background, foreground and labels, for the class of the same name."""
    return _sheet(colors, f"look-{colors}")


@blueprint.get("/looks/<slot>/<colors>.css")
@permission("public")
def slot_sheet(slot: str, colors: str) -> Response:
    """The same for a class that stays while its colours change: the old ones hold until the new have come."""
    return _sheet(colors, f"look-{slot}") if slot in SLOTS else abort(404)


def google_ink(background: str) -> str:
    """Black or white, whichever Google Wallet writes on a card of this colour (``rrggbb``)."""
    red, green, blue = (int(background[start : start + 2], 16) for start in (0, 2, 4))
    return DARK_INK if red * 299 + green * 587 + blue * 114 > 150_000 else "ffffff"


def _sheet(colors: str, name: str) -> Response:
    match = _COLORS.fullmatch(colors) or abort(404)
    background, foreground, label = match.groups()
    css = f".{name}{{--pass:#{background};--pass-ink:#{foreground};--pass-label:#{label}}}"
    response = Response(css, content_type="text/css; charset=utf-8")
    response.headers["Cache-Control"] = f"public, max-age={KEEP_S}, immutable"
    return response
