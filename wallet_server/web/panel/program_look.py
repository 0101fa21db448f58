"""The designer: what cards look like, beside a preview that follows the typing; then a review; then all change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from flask import Response, flash, request, url_for

from passes.artwork.brought import FILE_BYTES_MAX, PHOTO_PIXELS_MIN
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import Translator
from wallet_server.issuance.reach import pace_of, progress_of, reach_of, seconds_to_renew
from wallet_server.programs import diff
from wallet_server.programs.editing import with_look
from wallet_server.programs.look import LOOKS_MAX, PassLook
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import change_program
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_changes_labels import VALUES
from wallet_server.web.panel.program_changes_words import change_reader
from wallet_server.web.panel.program_look_contrast import PARTS, VERDICTS, grounds_of
from wallet_server.web.panel.program_look_draft import (
    GLYPHS,
    KINDS,
    MOTIFS,
    REFUSALS,
    Draft,
    Problem,
    draft_of,
    mended,
)
from wallet_server.web.panel.program_look_form import LookForm, form_of, read_form
from wallet_server.web.panel.program_look_pictures import upload_bytes, uploaded
from wallet_server.web.panel.program_look_preview import preview_of, read_sample, sample_for
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.qr import qr_svg
from wallet_server.web.rendering import reader, see_other
from wallet_server.web.security import takes

POLL_SECONDS: Final = 2
_ROW_ACTION: Final = re.compile(r"(up|down|remove):(\d{1,2})")
_DROP_ACTION: Final = re.compile(r"drop:(\w{1,20})")
_PICTURE_PLACE: Final = re.compile(r"pass\.(?:looks\.(\d+)\.)?(?:strip\.(photo)\.picture|(logo|icon))")
_IN_LOOK: Final = re.compile(r"look_(\d{1,2})_photo")
_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}\b")


@blueprint.get("/programs/<slug>/program/look")
@allowed("manager")
def program_look(desk: Desk) -> Response:
    return _form_page(desk, form_of(desk.program))


@blueprint.post("/programs/<slug>/program/look")
@takes(upload_bytes)
@allowed("manager")
def program_look_save(desk: Desk) -> Response:
    """Preview, review or publish, or change the list of looks, by the button that was pressed."""
    form = read_form(request.form, desk.program.languages)
    action = request.form.get("action", "preview")
    if action == "preview":
        return _form_page(desk, form, block="preview")
    opened = _look_of(action, *(name for name, file in request.files.items() if file.filename))
    form, problems = uploaded(desk, form)
    if problems:
        return _form_page(desk, form, problems=problems, http_status=422)
    if (drop := _DROP_ACTION.fullmatch(action)) and drop[1] in form.uploads:
        return _form_page(desk, form.with_picture(drop[1], ""), opened=opened)
    if action == "add":
        return _form_page(desk, form.with_another(), is_new=True)
    if row := _ROW_ACTION.fullmatch(action):
        place = int(row[2])
        changed = form.without(place) if row[1] == "remove" else form.moved(place, -1 if row[1] == "up" else 1)
        return _form_page(desk, changed)
    if action not in ("review", "publish"):
        return _form_page(desk, form, opened=opened)
    draft = draft_of(form, desk.program)
    if draft.look is None:
        return _form_page(desk, form, refused=True, http_status=422)
    if form.version != desk.program.version:
        return _overtaken(desk, form)
    return _review(desk, form, draft) if action == "review" else _publish(desk, form, draft.look)


@blueprint.get("/programs/<slug>/program/look/progress")
@allowed("manager")
def program_look_progress(desk: Desk) -> Response:
    """How many of the cards have been renewed since the version in force was published; asks again by itself."""
    with reading(server().engine, desk.program.id) as session:
        progress = progress_of(session, desk.program.id, desk.program.published_at)
    return panel_page(
        desk, "panel/program/look_progress.html", block="progress", progress=progress, poll_seconds=POLL_SECONDS
    )


def _publish(desk: Desk, form: LookForm, look: PassLook) -> Response:
    context, t = server(), reader()
    try:
        with transaction(context.engine, ALL_PROGRAMS) as session:
            applied = change_program(
                session,
                desk.program.id,
                lambda file: with_look(file, look),
                version=form.version,
                now=context.clock.now(),
                actor=desk.actor,
            )
    except DomainError as error:
        if error.code == "unknown_picture":
            return _form_page(desk, form, problems={_field_of(error): Problem("picture")}, http_status=422)
        if error.code != "program_changed":
            raise
        return _overtaken(desk, form)
    if not applied.changes:
        flash(t.gettext("Nothing was changed, so nothing was published."), "info")
        return see_other(url_for("panel.program_look", slug=desk.program.slug))
    flash(t.gettext("The look is published."), "success")
    return see_other(url_for("panel.program_look_progress", slug=desk.program.slug))


def _review(desk: Desk, form: LookForm, draft: Draft) -> Response:
    """What publishing would change, for how many, and how long it takes; the form comes along unseen."""
    assert draft.file is not None
    assert draft.look is not None
    program, t = desk.program, reader()
    with reading(server().engine, program.id) as session:
        reach = reach_of(session, program.id)
        pace = pace_of(session, program.id, program.published_at)
    words = change_reader(program.file, draft.file, t)
    # Out of the form: what was uploaded with this very press is not in what the browser sent.
    sample = [(name, value) for name, value in request.form.items() if name.startswith("sample_")]
    return panel_page(
        desk,
        "panel/program/look_review.html",
        changes=[words.told(one) for one in diff.differences(program.file, draft.file)],
        colors=_COLOR.findall,
        reach=reach,
        pace=pace,
        duration=duration_words(seconds_to_renew(reach, pace), t),
        hard_to_read=[ground for ground in grounds_of(draft.look, program, t) if ground.fails],
        part_names=PARTS,
        kept=[*form.fields(), *sample],
    )


def _overtaken(desk: Desk, form: LookForm) -> Response:
    """Somebody else was faster: what was typed stays, and is reviewed against the program as it is now."""
    with reading(server().engine, ALL_PROGRAMS) as session:
        now = replace(desk, program=load_program(session, program_id=desk.program.id))
    notice = reader().gettext(
        "Somebody else has published the program since you opened this page. Nothing of yours is lost:"
        " review what would change and publish again."
    )
    return _form_page(now, replace(form, version=now.program.version), notice=notice, http_status=409)


def _form_page(
    desk: Desk,
    form: LookForm,
    *,
    block: str | None = None,
    refused: bool = False,
    problems: Mapping[str, Problem] | None = None,
    is_new: bool = False,
    opened: int | None = None,
    notice: str = "",
    http_status: int = 200,
) -> Response:
    program, t = desk.program, reader()
    draft = draft_of(form, program)
    seen = draft if draft.file is not None else draft_of(mended(form, draft.problems, program), program)
    drafted = program if seen.file is None else replace(program, file=seen.file)
    today = server().clock.now()
    sample = read_sample(request.form, drafted) if request.method == "POST" else sample_for(program, t.language, today)
    draft_problems = _said(draft.problems, t)
    refused = refused or bool(problems)
    shown = draft_problems if problems is None else _said(problems, t)
    return panel_page(
        desk,
        "panel/program/look.html",
        block=block,
        http_status=http_status,
        form=form,
        sample=sample,
        preview=preview_of(drafted, sample),
        qr=qr_svg,
        grounds=grounds_of(drafted.file.look, drafted, t),
        # While somebody types, only the preview says what is wrong.
        problems=shown if refused else {},
        draft_problems=list(dict.fromkeys(draft_problems.values())),
        refused=refused,
        is_new=is_new,
        opened=opened,
        notice=notice,
        parts=PARTS,
        verdicts=VERDICTS,
        kinds={name: VALUES["kind"][name] for name in KINDS},
        glyphs={name: VALUES["glyph"][name] for name in GLYPHS},
        motifs={name: VALUES["motif"][name] for name in MOTIFS},
        looks_max=LOOKS_MAX,
        file_bytes_max=FILE_BYTES_MAX,
        photo_pixels_min=PHOTO_PIXELS_MIN,
    )


def _look_of(action: str, *files: str) -> int | None:
    """The look in which a picture was chosen or taken away: it stays open."""
    found = next((match for name in (action, *files) if (match := _IN_LOOK.search(name))), None)
    return int(found[1]) if found else None


def _field_of(error: DomainError) -> str:
    """The field whose picture is not there."""
    look, photo, brand = _PICTURE_PLACE.match(str(error.extra["field"])).groups()  # type: ignore[union-attr]
    return f"look_{look}_photo" if look else photo or brand


def _said(problems: Mapping[str, Problem], t: Translator) -> dict[str, str]:
    return {at: one.detail or t.gettext(REFUSALS[one.code], most=t.number(one.most)) for at, one in problems.items()}


def duration_words(seconds: int, t: Translator) -> str:
    """A duration in one unit, rounded up."""
    if seconds < 60:
        return t.gettext("less than a minute")
    minutes = -(-seconds // 60)
    if minutes < 120:
        return t.ngettext("about %(num)s minute", "about %(num)s minutes", minutes, num=t.number(minutes))
    hours = -(-minutes // 60)
    return t.ngettext("about %(num)s hour", "about %(num)s hours", hours, num=t.number(hours))
