"""Rules of the program: the list by family, and what is done to one rule without its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import Response, abort, flash, request, url_for

from wallet_server.db import reading
from wallet_server.programs.editing import Direction, moved_rule, without_rule
from wallet_server.programs.queries import category_names, product_names
from wallet_server.programs.rule import FAMILIES, Family, Rule
from wallet_server.rules.words import (
    FAMILY_NAMES,
    Names,
    State,
    conditions_of,
    effects_of,
    mentioned,
    outlets_of,
    state_of,
    validity_of,
)
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_change import publish_change
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other

RULES_PER_PAGE: Final = 100


@dataclass(frozen=True)
class RuleRow:
    """One rule in words. ``is_first`` and ``is_last`` are among the rules of its family."""

    rule: Rule
    effects: list[str]
    conditions: list[str]
    outlets: str
    validity: str
    state: State
    is_first: bool
    is_last: bool


@blueprint.get("/programs/<slug>/program/rules")
@allowed("manager")
def program_rules(desk: Desk) -> Response:
    program, t, now = desk.program, reader(), server().clock.now()
    search = request.args.get("q", "").strip()[:120]
    number = max(1, request.args.get("page", 1, type=int))
    ordered = [rule for family in FAMILIES for rule in program.file.rules if rule.family == family]
    found = [rule for rule in ordered if search.casefold() in rule.name.casefold()]
    shown = found[(number - 1) * RULES_PER_PAGE : number * RULES_PER_PAGE]
    with reading(server().engine, program.id) as session:
        skus, codes = mentioned(shown)
        names = Names(product_names(session, skus), category_names(session, codes))
    edges = {family: [rule.name for rule in ordered if rule.family == family] for family in FAMILIES}
    rows = [
        RuleRow(
            rule=rule,
            effects=effects_of(rule.earn, rule.redeem, rule.family, t),
            conditions=conditions_of(rule, t, program, names),
            outlets=outlets_of(rule, t, program),
            validity=validity_of(rule, t),
            state=state_of(rule, now, program.time_zone),
            is_first=edges[rule.family][0] == rule.name,
            is_last=edges[rule.family][-1] == rule.name,
        )
        for rule in shown
    ]
    families: dict[Family, list[RuleRow]] = {
        family: [row for row in rows if row.rule.family == family] for family in FAMILIES
    }
    return panel_page(
        desk,
        "panel/program/rules.html",
        block="results",
        families=families,
        family_names=FAMILY_NAMES,
        search=search,
        number=number,
        has_more=len(found) > number * RULES_PER_PAGE,
        has_rules=bool(program.file.rules),
    )


@blueprint.post("/programs/<slug>/program/rules/move")
@allowed("manager")
def program_rules_move(desk: Desk) -> Response:
    name = request.form.get("name", "")
    direction = request.form.get("direction", "")
    if direction not in ("up", "down"):
        abort(400)
    way: Direction = "up" if direction == "up" else "down"
    publish_change(desk, lambda file: moved_rule(file, name, way))
    return see_other(url_for("panel.program_rules", slug=desk.program.slug))


@blueprint.post("/programs/<slug>/program/rules/delete")
@allowed("manager")
def program_rules_delete(desk: Desk) -> Response:
    name = request.form.get("name", "")
    if publish_change(desk, lambda file: without_rule(file, name)):
        flash(reader().gettext("The rule “%(name)s” has been deleted.", name=name), "success")
    return see_other(url_for("panel.program_rules", slug=desk.program.slug))
