"""Segments: the list with live counts, and the builder that counts while one types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from flask import Response, flash, request, url_for

from wallet_server.campaigns.queries import Preview, preview
from wallet_server.db import new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import LocalizedText, Translator, gettext_noop
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.segments.condition import DAYS_MAX, Condition
from wallet_server.segments.models import Segment
from wallet_server.segments.queries import condition_of, count, find_segment, list_segments
from wallet_server.segments.sentences import sentence
from wallet_server.segments.services import delete_segment, save_segment
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed, form_key
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.panel.segment_form import (
    NAME_LENGTH_MAX,
    VISITS_MAX,
    SegmentForm,
    form_of,
    read_form,
)
from wallet_server.web.rendering import language, reader, see_other

SEGMENTS_PER_PAGE: Final = 20
"""Each of them is counted when the page is asked for."""
REFUSALS: Final = {
    "name": gettext_noop("Give the segment a name of at most %(most)s characters."),
    "visits": gettext_noop("Visits are whole numbers from 0 to %(most)s."),
    "visits_order": gettext_noop("The first number is larger than the second one."),
    "days": gettext_noop("Days are whole numbers from 0 to %(most)s."),
    "days_order": gettext_noop("The first number is larger than the second one."),
    "tags": gettext_noop("Tags are words of letters, digits, dots, dashes and underscores, with commas between them."),
    "tiers": gettext_noop("The program has no such tier any more. Choose again."),
}
LIMITS: Final = {"name": NAME_LENGTH_MAX, "visits": VISITS_MAX, "days": DAYS_MAX}


@dataclass(frozen=True)
class SegmentRow:
    """One line of the list: the condition in words, and how many members it selects now."""

    segment: Segment
    sentence: str
    members: int


@dataclass(frozen=True)
class Counted:
    """What the builder says of a condition: in words, in members, of how many, and how many can be reached."""

    sentence: str
    found: Preview
    of: int


@blueprint.get("/programs/<slug>/segments")
@allowed("manager")
def segments(desk: Desk) -> Response:
    context = server()
    now = context.clock.now()
    number = max(1, request.args.get("page", 1, type=int))
    with reading(context.engine, desk.program.id) as session:
        saved = list_segments(session, desk.program)
        shown = saved[(number - 1) * SEGMENTS_PER_PAGE : number * SEGMENTS_PER_PAGE]
        rows = [
            SegmentRow(
                segment,
                sentence(condition_of(segment), language(), tier_names(desk.program)),
                count(session, desk.program, condition_of(segment), now),
            )
            for segment in shown
        ]
        members = count(session, desk.program, Condition(), now)
    return panel_page(
        desk,
        "panel/segments/list.html",
        block="results",
        rows=rows,
        members=members,
        number=number,
        has_more=len(saved) > number * SEGMENTS_PER_PAGE,
    )


@blueprint.get("/programs/<slug>/segments/new")
@allowed("manager")
def segment_new(desk: Desk) -> Response:
    return _form_page(desk, None, SegmentForm(key=new_id().hex))


@blueprint.post("/programs/<slug>/segments/new")
@allowed("manager")
def segment_create(desk: Desk) -> Response:
    return _answer(desk, None)


@blueprint.get("/programs/<slug>/segments/<uuid:segment_id>")
@allowed("manager")
def segment(desk: Desk, segment_id: UUID) -> Response:
    with reading(server().engine, desk.program.id) as session:
        saved = find_segment(session, desk.program, segment_id=segment_id)
    return _form_page(desk, saved, form_of(saved.name, condition_of(saved)))


@blueprint.post("/programs/<slug>/segments/<uuid:segment_id>")
@allowed("manager")
def segment_save(desk: Desk, segment_id: UUID) -> Response:
    with reading(server().engine, desk.program.id) as session:
        saved = find_segment(session, desk.program, segment_id=segment_id)
    return _answer(desk, saved)


@blueprint.post("/programs/<slug>/segments/<uuid:segment_id>/delete")
@allowed("manager")
def segment_delete(desk: Desk, segment_id: UUID) -> Response:
    context = server()
    t = reader()
    try:
        with transaction(context.engine, desk.program.id) as session:
            delete_segment(session, desk.program, segment_id, actor=desk.actor, now=context.clock.now())
    except DomainError as error:
        if error.code != "segment_in_use":
            raise
        rule = error.extra.get("rule")
        kept = (
            t.gettext("The rule “%(rule)s” asks for this segment, so it is kept. Change the rule first.", rule=rule)
            if rule
            else t.gettext("A campaign was made for this segment, so it is kept. You can change its condition.")
        )
        flash(kept, "danger")
        return see_other(url_for("panel.segment", slug=desk.program.slug, segment_id=segment_id))
    flash(t.gettext("The segment has been deleted."), "success")
    return see_other(url_for("panel.segments", slug=desk.program.slug))


def tier_names(program: ProgramDefinition) -> dict[str, LocalizedText]:
    """The names of the program's tiers by code."""
    return {level.code: level.name for level in program.file.tiers.levels}


def _answer(desk: Desk, saved: Segment | None) -> Response:
    """Count or save what was typed, by the button that was pressed."""
    context = server()
    form = read_form(request.form, request.form.getlist("tiers"), key=form_key())
    if request.form.get("action") == "count":
        return _form_page(desk, saved, form, block="count")
    try:
        condition = form.condition()
        with transaction(context.engine, desk.program.id) as session:
            save_segment(
                session,
                desk.program,
                code=saved.code if saved else form.code(),
                name=form.name,
                condition=condition,
                actor=desk.actor,
                now=context.clock.now(),
            )
    except DomainError as error:
        return _form_page(desk, saved, form, refused=error)
    flash(reader().gettext("The segment has been saved."), "success")
    return see_other(url_for("panel.segments", slug=desk.program.slug))


def _form_page(
    desk: Desk,
    saved: Segment | None,
    form: SegmentForm,
    *,
    block: str | None = None,
    refused: DomainError | None = None,
) -> Response:
    counted: Counted | None = None
    counting_error = ""
    try:
        counted = _counted(desk.program, form.condition())
    except DomainError as error:
        counting_error = _sentence_of(error, reader())
    known = tier_names(desk.program)
    return panel_page(
        desk,
        "panel/segments/form.html",
        block=block,
        http_status=refused.status if refused else 200,
        segment=saved,
        form=form,
        counted=counted,
        counting_error=counting_error,
        error=_sentence_of(refused, reader()) if refused else "",
        error_field=str(refused.extra.get("field", "")).removesuffix("_order") if refused else "",
        tiers=known,
        # Of a tier that the program has no longer, nobody can be.
        gone_tiers=[code for code in form.tiers if code not in known],
    )


def _counted(program: ProgramDefinition, condition: Condition) -> Counted:
    context = server()
    now = context.clock.now()
    with reading(context.engine, program.id) as session:
        return Counted(
            sentence(condition, language(), tier_names(program)),
            preview(session, program, condition, now),
            count(session, program, Condition(), now),
        )


def _sentence_of(error: DomainError, t: Translator) -> str:
    field = str(error.extra.get("field", ""))
    if field not in REFUSALS:
        return error.detail
    limit = LIMITS.get(field)
    return t.gettext(REFUSALS[field], most=t.number(limit)) if limit else t.gettext(REFUSALS[field])
