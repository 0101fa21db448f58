"""Rules of the program: the list by family."""

from __future__ import annotations

from flask import Response

from wallet_server.programs.rule import FAMILIES
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page


@blueprint.get("/programs/<slug>/program/rules")
@allowed("manager")
def program_rules(desk: Desk) -> Response:
    rules = desk.program.file.rules
    families = {family: [rule for rule in rules if rule.family == family] for family in FAMILIES}
    return panel_page(desk, "panel/program/rules.html", families=families)
