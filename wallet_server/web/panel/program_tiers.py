"""Tiers of the program: who holds which, and the editor that shows who would move before anything is published."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from flask import Response, abort, flash, request, url_for
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import LocalizedText, Translator, gettext_noop
from wallet_server.members.queries import members_by_id
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import category_names, product_names
from wallet_server.programs.services import change_program
from wallet_server.programs.tiers import DAYS_MAX, LEVELS_MAX, TierLevel, Tiers
from wallet_server.tiers.preview import Preview, preview
from wallet_server.tiers.queries import members_by_tier
from wallet_server.tiers.sentences import benefit_words, reach_words, window_sentence
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_tier_form import (
    GRACE_DAYS_MAX,
    NAME_LENGTH_MAX,
    LevelForm,
    WindowForm,
    level_form,
    read_level,
    read_window,
    window_form,
    with_tiers,
    without,
)
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other, wants_fragment

TYPED_MAX: Final = 5_000
"""How many members are looked at while somebody types; with a window of time each costs its receipts."""
PREVIEWED_MAX: Final = 30_000
"""How many members a whole page looks at: somebody asked for it and waits."""
REFUSALS: Final = {
    "code": gettext_noop("A code is letters, figures, dots and dashes, at most 63."),
    "code_taken": gettext_noop("Another level has this code."),
    "name": gettext_noop("Give the level a name of at most %(most)s characters, in one language at least."),
    "spend": gettext_noop("Enter an amount of money above zero."),
    "purchases": gettext_noop("Enter a whole number above zero."),
    "visits": gettext_noop("Enter a whole number above zero."),
    "points_earned": gettext_noop("Enter a whole number above zero."),
    "tenure_days": gettext_noop("Enter a whole number of days above zero."),
    "bought": gettext_noop("Enter how many, and of which products or categories."),
    "reach": gettext_noop("Say how the level is reached: fill in one way at least."),
    "grace": gettext_noop("Days of grace are a whole number from 0 to %(most)s."),
    "color": gettext_noop("Choose a colour."),
    "earn": gettext_noop("Enter a number that makes sense here, such as 5."),
    "earn_base": gettext_noop("The program's base percent is 0, so there is no share of it. Choose another benefit."),
    "redeem": gettext_noop("Enter a percent from 0 to 100."),
    "days": gettext_noop("Enter a whole number of days from 1 to %(most)s."),
    "window": gettext_noop("Choose over which time is counted."),
    "levels": gettext_noop("A program has at most %(most)s levels."),
    "first": gettext_noop("The first level is everybody's and stays as long as there are others."),
    "file": gettext_noop("Something else in the program needs this level: %(detail)s"),
}
LIMITS: Final = {"name": NAME_LENGTH_MAX, "grace": GRACE_DAYS_MAX, "days": DAYS_MAX, "levels": LEVELS_MAX}
FIELD_OF: Final = {"code_taken": "code", "earn_base": "earn"}
"""Where on the page a refusal is shown, if not at the field of its own name."""


@dataclass(frozen=True)
class LevelRow:
    """One level of the list, in words."""

    level: TierLevel
    reach: str
    benefits: tuple[str, ...]
    members: int


@dataclass(frozen=True)
class Example:
    """A member who would move."""

    id: UUID
    name: str


@dataclass(frozen=True)
class Moves:
    """The preview with words for codes: each move with names of levels and some of its members."""

    found: Preview
    rows: tuple[tuple[LocalizedText | str, LocalizedText | str, Any, tuple[Example, ...]], ...]


@blueprint.get("/programs/<slug>/program/tiers")
@allowed("manager")
def program_tiers(desk: Desk) -> Response:
    program, t = desk.program, reader()
    levels = program.file.tiers.levels
    with reading(server().engine, program.id) as session:
        held = members_by_tier(session, program)
        names = _product_names(session, levels)
    rows = [
        LevelRow(level, reach_words(level.reach, t, program, names), benefit_words(level, t), held.get(level.code, 0))
        for level in levels
    ]
    known = {level.code for level in levels}
    return panel_page(
        desk,
        "panel/program/tiers.html",
        block="results",
        rows=rows,
        members=sum(held.values()),
        gone=sum(count for code, count in held.items() if code not in known) if levels else 0,
        window=window_sentence(program.file.tiers.window, t),
    )


@blueprint.get("/programs/<slug>/program/tiers/window")
@allowed("manager")
def program_tiers_window(desk: Desk) -> Response:
    return _window_page(desk, window_form(desk.program))


@blueprint.post("/programs/<slug>/program/tiers/window")
@allowed("manager")
def program_tiers_window_save(desk: Desk) -> Response:
    form = read_window(request.form)
    if request.form.get("action") == "preview":
        return _window_page(desk, form, block="moves")
    try:
        _publish(desk, form.table, form.version)
    except DomainError as error:
        return _window_page(desk, replace(form, version=_newest(desk, error, form.version)), refused=error)
    return _published(desk)


@blueprint.get("/programs/<slug>/program/tiers/new")
@allowed("manager")
def program_tiers_new(desk: Desk) -> Response:
    levels = desk.program.file.tiers.levels
    above = levels[-1].code if levels else ""
    return _level_page(desk, None, LevelForm(version=desk.program.version, above=above))


@blueprint.post("/programs/<slug>/program/tiers/new")
@allowed("manager")
def program_tiers_create(desk: Desk) -> Response:
    return _answer(desk, None)


@blueprint.get("/programs/<slug>/program/tiers/levels/<code>")
@allowed("manager")
def program_tiers_level(desk: Desk, code: str) -> Response:
    level = _level(desk.program, code)
    return _level_page(desk, level, level_form(desk.program, level))


@blueprint.post("/programs/<slug>/program/tiers/levels/<code>")
@allowed("manager")
def program_tiers_save(desk: Desk, code: str) -> Response:
    return _answer(desk, _level(desk.program, code))


@blueprint.get("/programs/<slug>/program/tiers/levels/<code>/remove")
@allowed("manager")
def program_tiers_remove(desk: Desk, code: str) -> Response:
    return _remove_page(desk, _level(desk.program, code))


@blueprint.post("/programs/<slug>/program/tiers/levels/<code>/remove")
@allowed("manager")
def program_tiers_removed(desk: Desk, code: str) -> Response:
    level = _level(desk.program, code)
    version = request.form.get("version", type=int) or 0
    try:
        _publish(desk, lambda program: without(program, level.code), version)
    except DomainError as error:
        _newest(desk, error, version)
        return _remove_page(desk, level, refused=error)
    return _published(desk)


def _level(program: ProgramDefinition, code: str) -> TierLevel:
    level = program.level(code)
    if level is None:
        abort(404)
    return level


def _answer(desk: Desk, old: TierLevel | None) -> Response:
    """Preview or publish what was typed, by the button that was pressed."""
    form = read_level(request.form, desk.program.languages)
    code = old.code if old is not None else None
    if code is not None:
        form = replace(form, code=code)  # receipts, segments and rules name a level by its code
    if request.form.get("action") == "preview":
        return _level_page(desk, old, form, block="moves")
    try:
        _publish(desk, lambda program: form.table(program, code), form.version)
    except DomainError as error:
        return _level_page(desk, old, replace(form, version=_newest(desk, error, form.version)), refused=error)
    return _published(desk)


def _publish(desk: Desk, table: Callable[[ProgramDefinition], Tiers], version: int) -> None:
    """Publish the program with another tier table, if nobody has published since the page was opened."""
    context = server()
    with transaction(context.engine, ALL_PROGRAMS) as session:
        change_program(
            session,
            desk.program.id,
            lambda file: with_tiers(file, table(desk.program)),
            version=version,
            now=context.clock.now(),
            actor=desk.actor,
        )


def _newest(desk: Desk, error: DomainError, version: int) -> int:
    """The version that the form goes on from: after a refusal for its age the newest, which the page now shows."""
    if error.code not in ("program_changed", "validation"):
        raise error
    return desk.program.version if error.code == "program_changed" else version


def _published(desk: Desk) -> Response:
    flash(reader().gettext("The tiers have been published. Members are moved in the background."), "success")
    return see_other(url_for("panel.program_tiers", slug=desk.program.slug))


def _level_page(
    desk: Desk,
    old: TierLevel | None,
    form: LevelForm,
    *,
    block: str | None = None,
    refused: DomainError | None = None,
) -> Response:
    levels = desk.program.file.tiers.levels
    return _editor(
        desk,
        "panel/program/tiers_level.html",
        lambda: form.table(desk.program, old.code if old is not None else None),
        block=block,
        refused=refused,
        level=old,
        form=form,
        levels=levels,
        is_first=old is not None and old.code == levels[0].code if levels else True,
        zero_base=not desk.program.points.base_percent,
    )


def _window_page(
    desk: Desk, form: WindowForm, *, block: str | None = None, refused: DomainError | None = None
) -> Response:
    return _editor(
        desk,
        "panel/program/tiers_window.html",
        lambda: form.table(desk.program),
        block=block,
        refused=refused,
        form=form,
    )


def _remove_page(desk: Desk, level: TierLevel, *, refused: DomainError | None = None) -> Response:
    return _editor(
        desk,
        "panel/program/tiers_remove.html",
        lambda: without(desk.program, level.code),
        refused=refused,
        level=level,
        version=desk.program.version,
    )


def _editor(
    desk: Desk,
    template: str,
    table: Callable[[], Tiers],
    *,
    block: str | None = None,
    refused: DomainError | None = None,
    **values: Any,
) -> Response:
    """A page with the preview of a draft beside it; one that cannot be yet says why instead."""
    moves, draft_error = None, ""
    try:
        moves = _moves(desk.program, table(), TYPED_MAX if block and wants_fragment() else PREVIEWED_MAX)
    except DomainError as error:
        draft_error = _sentence_of(error, reader())
    field = str(refused.extra.get("field", "")) if refused else ""
    return panel_page(
        desk,
        template,
        block=block,
        http_status=refused.status if refused else 200,
        moves=moves,
        can_look_further=moves is not None and not moves.found.whole and moves.found.members < PREVIEWED_MAX,
        draft_error=draft_error,
        error=_sentence_of(refused, reader()) if refused else "",
        error_field=FIELD_OF.get(field, field),
        **values,
    )


def _moves(program: ProgramDefinition, tiers: Tiers, limit: int) -> Moves:
    context = server()
    with reading(context.engine, program.id) as session:
        found = preview(session, program, tiers, context.clock.now(), limit=limit)
        people = members_by_id(session, {member_id for move in found.moves for member_id in move.examples})
    names: dict[str, LocalizedText | str] = {level.code: level.name for level in program.file.tiers.levels}
    names |= {level.code: level.name for level in tiers.levels}
    rows = tuple(
        (
            names.get(move.from_tier, move.from_tier) if move.from_tier is not None else "–",
            names[move.to_tier],
            move,
            tuple(
                Example(person.id, person.name or person.phone or person.email or person.external_id or "–")
                for member_id in move.examples
                if (person := people.get(member_id)) is not None
            ),
        )
        for move in found.moves
    )
    return Moves(found, rows)


def _product_names(session: Session, levels: Iterable[TierLevel]) -> dict[str, LocalizedText]:
    """Names of the products and categories that levels ask for, by sku or code."""
    skus, categories = set[str](), set[str]()
    for level in levels:
        for threshold in (*level.reach.any, *level.reach.all) if level.reach else ():
            if threshold.bought is not None:
                skus |= set(threshold.bought.skus)
                categories |= set(threshold.bought.categories)
    return _named(session, skus, categories)


def _named(session: Session, skus: Collection[str], categories: Collection[str]) -> dict[str, LocalizedText]:
    return {**product_names(session, skus), **category_names(session, categories)}


def _sentence_of(error: DomainError, t: Translator) -> str:
    if error.code == "program_changed":
        return t.gettext(
            "Somebody else has published the program since you opened this page. Nothing of yours is lost:"
            " check the preview and publish again."
        )
    field = str(error.extra.get("field", ""))
    if field not in REFUSALS:
        return error.detail
    limit = LIMITS.get(field)
    return t.gettext(REFUSALS[field], most=t.number(limit) if limit else "", detail=error.detail)
