"""Which outlets are other companies', and at which percent is settled with them; published as a new version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from flask import Response, flash, request, url_for
from werkzeug.datastructures import MultiDict

from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.editing import with_partners
from wallet_server.programs.file import Partner
from wallet_server.web.forms import parse_decimal
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_change import publish_change
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other

COMPANY_LENGTH_MAX: Final = 120
PERCENT_LENGTH_MAX: Final = 12
PROBLEMS: Final = {
    "percent": gettext_noop("Enter a percent from 0 to 100."),
    "company": gettext_noop("Enter the company that this percent is settled with."),
}


@dataclass(frozen=True)
class PartnerRow:
    """One outlet as typed; no company: the program's own. ``problem`` is a key of :data:`PROBLEMS`, or nothing."""

    code: str
    company: str = ""
    percent: str = ""

    @property
    def problem(self) -> str:
        """What is wrong with it."""
        if not self.company:
            return "company" if self.percent else ""
        try:
            return "" if 0 <= parse_decimal(self.percent, "percent") <= 100 else "percent"
        except DomainError:
            return "percent"

    def partner(self) -> Partner | None:
        """Whose the outlet is; there is no problem with the row."""
        if not self.company:
            return None
        return Partner(company=self.company, settlement_percent=parse_decimal(self.percent, "percent"))


@blueprint.get("/programs/<slug>/program/partners/edit")
@allowed("manager")
def program_partners_edit(desk: Desk) -> Response:
    return _page(desk, _rows_of(desk.program))


@blueprint.post("/programs/<slug>/program/partners/edit")
@allowed("manager")
def program_partners_save(desk: Desk) -> Response:
    rows = _typed(request.form, desk.program)
    if any(row.problem for row in rows):
        return _page(desk, rows, http_status=422)
    partners = {row.code: partner for row in rows if (partner := row.partner()) is not None}
    if not publish_change(desk, lambda file: with_partners(file, partners)):
        return see_other(url_for("panel.program_partners_edit", slug=desk.program.slug))
    flash(reader().gettext("The partners are published. Points that cross from now on are settled so."), "success")
    return see_other(url_for("panel.program_partners", slug=desk.program.slug))


def _rows_of(program: ProgramDefinition) -> list[PartnerRow]:
    return [
        PartnerRow(outlet.code, outlet.partner.company, _plain(outlet.partner.settlement_percent))
        if outlet.partner is not None
        else PartnerRow(outlet.code)
        for outlet in program.file.outlets
    ]


def _typed(form: MultiDict[str, str], program: ProgramDefinition) -> list[PartnerRow]:
    def text(name: str, length: int) -> str:
        return form.get(name, "").strip()[:length]

    return [
        PartnerRow(
            outlet.code,
            text(f"company_{outlet.code}", COMPANY_LENGTH_MAX),
            text(f"percent_{outlet.code}", PERCENT_LENGTH_MAX),
        )
        for outlet in program.file.outlets
    ]


def _plain(percent: Decimal) -> str:
    return f"{percent:f}"


def _page(desk: Desk, rows: list[PartnerRow], *, http_status: int = 200) -> Response:
    problems: Mapping[str, str] = (
        {row.code: reader().gettext(PROBLEMS[row.problem]) for row in rows if row.problem} if http_status != 200 else {}
    )
    return panel_page(
        desk,
        "panel/program/partners_edit.html",
        http_status=http_status,
        rows=rows,
        names={outlet.code: outlet.name for outlet in desk.program.file.outlets},
        companies=sorted({row.company for row in rows if row.company}, key=str.casefold),
        problems=problems,
    )
