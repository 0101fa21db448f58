"""When a program runs: three moments of which each may be missing, published as a new version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Response, flash, request, url_for
from pydantic import ValidationError

from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.programs.editing import with_validity
from wallet_server.programs.file import Validity
from wallet_server.web.forms import parse_moment, typed_moment
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_change import publish_change
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other

MOMENTS: Final = ("starts_at", "ends_at", "redeem_until")
REFUSED: Final = {
    "moment": gettext_noop("Enter a day and a time."),
    "order": gettext_noop("The end comes after the beginning, and points pay until the end or longer."),
}


@blueprint.get("/programs/<slug>/program/validity")
@allowed("manager")
def program_validity(desk: Desk) -> Response:
    known = desk.program.file.program.validity
    return _page(desk, {name: typed_moment(getattr(known, name, None)) for name in MOMENTS})


@blueprint.post("/programs/<slug>/program/validity")
@allowed("manager")
def program_validity_save(desk: Desk) -> Response:
    typed = {name: request.form.get(name, "").strip()[:20] for name in MOMENTS}
    try:
        validity = _validity(desk, typed)
        changed = publish_change(desk, lambda file: with_validity(file, validity))
    except DomainError as error:
        if error.code != "validation":
            raise
        return _page(desk, typed, wrong="moment", field=str(error.extra["field"]))
    except ValidationError:
        return _page(desk, typed, wrong="order")
    if not changed:
        return see_other(url_for("panel.program_validity", slug=desk.program.slug))
    flash(reader().gettext("It is published when the program runs."), "success")
    return see_other(url_for("panel.program_points", slug=desk.program.slug))


def _validity(desk: Desk, typed: Mapping[str, str]) -> Validity | None:
    """What was typed; with one of them typed anew, in local time, all are. Raises ``DomainError(validation)``."""
    known = desk.program.file.program.validity
    moments = {name: parse_moment(typed[name], name, getattr(known, name, None)) for name in MOMENTS}
    given = {name: moment for name, moment in moments.items() if moment is not None}
    if len({moment.tzinfo is None for moment in given.values()}) > 1:
        given = {name: moment.replace(tzinfo=None) for name, moment in given.items()}
    return Validity.model_validate({name: moment.isoformat() for name, moment in given.items()}) if given else None


def _page(desk: Desk, typed: Mapping[str, str], *, wrong: str = "", field: str = "") -> Response:
    return panel_page(
        desk,
        "panel/program/validity.html",
        http_status=422 if wrong else 200,
        typed=typed,
        error=reader().gettext(REFUSED[wrong]) if wrong else "",
        error_field=field,
    )
