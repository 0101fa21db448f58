"""Points of the program: what is owed to members, what is agreed in words, and its form with a preview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flask import Response, flash, request, url_for
from pydantic import ValidationError

from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.liability import liability
from wallet_server.programs import diff
from wallet_server.programs.points import PointsSettings
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import change_program
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_changes_words import ChangeWords, change_reader
from wallet_server.web.panel.program_points_form import (
    REFUSALS,
    PointsForm,
    Problem,
    form_of,
    read_points,
    settings_of,
    with_empty_row,
    with_points,
)
from wallet_server.web.panel.program_points_words import ROUNDING, points_words, validity_words
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other


@dataclass(frozen=True)
class WordsChange:
    """A part whose words would be others."""

    heading: str
    before: list[str]
    after: list[str]


@blueprint.get("/programs/<slug>/program/points")
@allowed("manager")
def program_points(desk: Desk) -> Response:
    with reading(server().engine, desk.program.id) as session:
        found = liability(session, desk.program, server().clock.now())
    return panel_page(
        desk,
        "panel/program/points.html",
        liability=found,
        words=points_words(desk.program.points, reader(), desk.program),
        validity=validity_words(desk.program.file.program.validity, reader()),
    )


@blueprint.get("/programs/<slug>/program/points/edit")
@allowed("manager")
def program_points_edit(desk: Desk) -> Response:
    return _form_page(desk, form_of(desk.program))


@blueprint.post("/programs/<slug>/program/points/edit")
@allowed("manager")
def program_points_save(desk: Desk) -> Response:
    form = read_points(request.form)
    points, problems = settings_of(form, desk.program)
    if request.form.get("action") == "preview":
        return _form_page(desk, form, block="changes")
    if points is None:
        return _form_page(desk, form, problems=problems, http_status=422)
    t = reader()
    try:
        _publish(desk, points, form.version)
    except DomainError as error:
        if error.code != "program_changed":
            raise
        with reading(server().engine, ALL_PROGRAMS) as session:
            now = replace(desk, program=load_program(session, program_id=desk.program.id))
        notice = t.gettext(
            "Somebody else has published the program since you opened this page. Nothing of yours is lost:"
            " check the preview and publish again."
        )
        return _form_page(now, replace(form, version=now.program.version), notice=notice, http_status=409)
    except ValidationError as error:
        told = str(error.errors(include_url=False, include_input=False)[0]["msg"])
        return _form_page(desk, form, notice=told, http_status=422)
    flash(t.gettext("The points are published. Receipts from now on follow them."), "success")
    return see_other(url_for("panel.program_points", slug=desk.program.slug))


def _publish(desk: Desk, points: PointsSettings, version: int) -> None:
    context = server()
    with transaction(context.engine, ALL_PROGRAMS) as session:
        change_program(
            session,
            desk.program.id,
            lambda file: with_points(file, points),
            version=version,
            now=context.clock.now(),
            actor=desk.actor,
        )


def _form_page(
    desk: Desk,
    form: PointsForm,
    *,
    block: str | None = None,
    problems: Mapping[str, Problem] | None = None,
    notice: str = "",
    http_status: int = 200,
) -> Response:
    t = reader()
    points, found = settings_of(form, desk.program)
    said = {
        name: t.gettext(REFUSALS[one.code], least=t.number(one.least), most=t.number(one.most))
        for name, one in (found if problems is None else problems).items()
    }
    changed, others, refused = _changes(desk, points) if points is not None else ([], [], "")
    return panel_page(
        desk,
        "panel/program/points_edit.html",
        block=block,
        http_status=http_status,
        form=replace(form, zeroing=with_empty_row(form.zeroing)),
        # While somebody types, only the preview says what is wrong.
        problems=said if problems is not None else {},
        draft_problems=list(dict.fromkeys(said.values())),
        changed=changed,
        others=others,
        notice=notice,
        refused=refused,
        rounding=ROUNDING,
        months=t.locale.months["stand-alone"]["wide"],
    )


def _changes(desk: Desk, points: PointsSettings) -> tuple[list[WordsChange], list[ChangeWords], str]:
    """What publishing would change in the reader's words; what these do not say, as the versions page says it."""
    program, t = desk.program, reader()
    try:
        file = with_points(program.file, points)
    except ValidationError as error:
        return [], [], str(error.errors(include_url=False, include_input=False)[0]["msg"])
    before, after = points_words(program.points, t, program), points_words(points, t, program)
    changed = [
        WordsChange(heading, [one for one in old if one not in new], [one for one in new if one not in old])
        for (heading, old), (_, new) in zip(before, after, strict=True)
        if old != new
    ]
    if changed:
        return changed, [], ""
    words = change_reader(program.file, file, t)
    return [], [words.told(one) for one in diff.differences(program.file, file)], ""
