"""Partners: what companies of a coalition owe each other for a month, and the postings behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from flask import Response, request, url_for

from wallet_server.db import reading
from wallet_server.errors import DomainError
from wallet_server.i18n import Translator, localized
from wallet_server.partners.queries import (
    CompanyRow,
    LineRow,
    SettlementReport,
    months_with_lines,
    next_month,
    settlement_lines,
    settlement_report,
)
from wallet_server.partners.settlement import PROGRAM_COMPANY
from wallet_server.partners.table import parse_month, report_csv
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import language, reader

COMPANY_LENGTH_MAX: Final = 120
PAGES_MAX: Final = 10_000


@dataclass(frozen=True)
class PartnerOutlet:
    """An outlet of another company and the share that is settled with it, as its reader writes it."""

    name: str
    company: str
    percent: str


@dataclass(frozen=True)
class ShownCompany:
    """One company's month as its reader writes it; ``direction``: it pays, it gets, or neither (``""``)."""

    name: str
    company: str
    issued_points: str
    issued_value: str
    owes: str
    honoured_points: str
    honoured_value: str
    gets: str
    balance: str
    direction: str
    is_moved: bool


@dataclass(frozen=True)
class ShownLine:
    """One posting behind the report; ``owes`` and ``gets`` are empty where it is nothing, as for the program."""

    row: LineRow
    day: str
    issuer: str
    honourer: str
    outlet: str
    points: str
    value: str
    owes: str
    gets: str


@blueprint.get("/programs/<slug>/program/partners")
@allowed("manager")
def program_partners(desk: Desk) -> Response:
    """The month ``?month=2026-10``, or the running one."""
    month, running = _asked_month(desk.program)
    with reading(server().engine, desk.program.id) as session:
        report = settlement_report(session, desk.program, month)
        known = months_with_lines(session, desk.program)
    t = reader()
    first = known[0] if known else running
    return panel_page(
        desk,
        "panel/program/partners.html",
        block="report",
        month=month,
        month_name=t.month(month),
        is_running=month == running,
        earlier=_month_url(desk, _month_before(month)) if month > first else None,
        later=_month_url(desk, next_month(month)) if month < running else None,
        csv_url=url_for("panel.program_partners_csv", slug=desk.program.slug, month=f"{month:%Y-%m}"),
        companies=[_shown(row, row.balance_minor, row.company, desk.program, t) for row in report.partners],
        own=_shown(report.program, report.program_balance_minor, desk.program.name(language()), desk.program, t),
        outlets=_partner_outlets(desk.program, t),
        has_lines=bool(report.pairs),
    )


@blueprint.get("/programs/<slug>/program/partners/lines")
@allowed("manager")
def program_partners_lines(desk: Desk) -> Response:
    """What one company (``?company=``, empty: the program's own) or all issued and honoured in a month."""
    month, _running = _asked_month(desk.program)
    company = request.args.get("company")
    company = None if company is None else company[:COMPANY_LENGTH_MAX]
    number = min(max(1, request.args.get("page", 1, type=int)), PAGES_MAX)
    with reading(server().engine, desk.program.id) as session:
        rows, has_more = settlement_lines(session, desk.program, month, company=company, page=number)
    t = reader()
    own = desk.program.name(language())
    return panel_page(
        desk,
        "panel/program/partners_lines.html",
        block="lines",
        month=month,
        month_name=t.month(month),
        back_url=_month_url(desk, month),
        company=company,
        company_name=own if company == PROGRAM_COMPANY else company,
        lines=[_shown_line(row, own, desk.program, t) for row in rows],
        number=number,
        has_more=has_more,
    )


@blueprint.get("/programs/<slug>/program/partners/settlement.csv")
@allowed("manager")
def program_partners_csv(desk: Desk) -> Response:
    month, _running = _asked_month(desk.program)
    with reading(server().engine, desk.program.id) as session:
        report: SettlementReport = settlement_report(session, desk.program, month)
    response = Response(report_csv(report, desk.program.name(language())), content_type="text/csv; charset=utf-8")
    name = f"settlement-{desk.program.slug}-{month:%Y-%m}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _asked_month(program: ProgramDefinition) -> tuple[date, date]:
    """The month that the address names, not a later one than the running one; and the running one."""
    today = server().clock.now().astimezone(ZoneInfo(program.time_zone)).date()
    running = today.replace(day=1)
    try:
        return min(parse_month(request.args.get("month", "")), running), running
    except DomainError:
        return running, running


def _month_before(month: date) -> date:
    return (month - timedelta(days=1)).replace(day=1)


def _month_url(desk: Desk, month: date) -> str:
    return url_for("panel.program_partners", slug=desk.program.slug, month=f"{month:%Y-%m}")


def _shown(row: CompanyRow, balance_minor: int, name: str, program: ProgramDefinition, t: Translator) -> ShownCompany:
    currency = program.currency
    return ShownCompany(
        name=name,
        company=row.company,
        issued_points=t.points(row.issued.points),
        issued_value=t.money(row.issued.value_minor, currency),
        owes=t.money(row.issued.issuer_owes_minor, currency),
        honoured_points=t.points(row.honoured.points),
        honoured_value=t.money(row.honoured.value_minor, currency),
        gets=t.money(row.honoured.honourer_gets_minor, currency),
        balance=t.money(abs(balance_minor), currency),
        direction="gets" if balance_minor > 0 else "pays" if balance_minor < 0 else "",
        is_moved=bool(row.issued.points or row.honoured.points),
    )


def _shown_line(row: LineRow, own: str, program: ProgramDefinition, t: Translator) -> ShownLine:
    line, currency = row.line, program.currency
    outlet = program.outlet_by_id(row.outlet_id).section.name if row.outlet_id is not None else ""
    return ShownLine(
        row=row,
        day=t.date(line.business_date),
        issuer=line.issuer or own,
        honourer=line.honourer or own,
        outlet=localized(outlet, language(), program.languages) if outlet else "",
        points=t.points(line.points),
        value=t.money(line.value_minor, currency),
        owes=t.money(line.issuer_owes_minor, currency) if line.issuer_owes_minor else "",
        gets=t.money(line.honourer_gets_minor, currency) if line.honourer_gets_minor else "",
    )


def _partner_outlets(program: ProgramDefinition, t: Translator) -> list[PartnerOutlet]:
    found = [
        PartnerOutlet(
            name=localized(reference.section.name, language(), program.languages),
            company=reference.section.partner.company,
            percent=t.number(reference.section.partner.settlement_percent),
        )
        for reference in program.outlets.values()
        if reference.section.partner is not None
    ]
    return sorted(found, key=lambda outlet: (outlet.company.casefold(), outlet.name.casefold()))
