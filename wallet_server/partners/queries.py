"""Reads of settlements: the month's report, the lines behind it, and what has to be settled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.ledger.models import Allocation, Lot, Posting
from wallet_server.partners.models import SettlementLine
from wallet_server.partners.settlement import NOTHING, PROGRAM_COMPANY, Amounts, Pair, company_of
from wallet_server.programs.definition import ProgramDefinition

LINES_MAX: Final = 200
REDEEMING: Final = ("redeem", "capture")
RETURNING: Final = ("return", "reissue")

LINE: sa.Table = SettlementLine.__table__  # type: ignore[attr-defined]
POSTING: sa.Table = Posting.__table__  # type: ignore[attr-defined]
ALLOCATION: sa.Table = Allocation.__table__  # type: ignore[attr-defined]
LOT: sa.Table = Lot.__table__  # type: ignore[attr-defined]
_AMOUNTS: Final = ("points", "value_minor", "issuer_owes_minor", "honourer_gets_minor")


@dataclass(frozen=True, slots=True)
class Moved:
    """A posting that let points pay, or (with ``original_id``, the redemption) gave them back.

    ``honoured_at`` is the outlet that honoured them, ``issued_at`` the points, positive, by the outlet that issued
    them.
    """

    posting_id: UUID
    member_id: UUID
    honoured_at: UUID | None
    original_id: UUID | None
    original_recorded_at: datetime | None
    issued_at: tuple[tuple[UUID | None, int], ...]


@dataclass(frozen=True, slots=True)
class CompanyRow:
    """One company's month, in points and in the minor unit.

    ``issued`` are its points that others honoured, ``honoured`` those of others that it honoured; what came back
    by refunds is taken off. ``balance_minor`` is what the program pays it (negative: what it pays the program).
    """

    company: str
    issued: Amounts
    honoured: Amounts

    @property
    def balance_minor(self) -> int:
        """Gets less owes."""
        return self.honoured.honourer_gets_minor - self.issued.issuer_owes_minor


@dataclass(frozen=True, slots=True)
class SettlementReport:
    """A month's settlement. ``program_balance_minor`` is the counterpart: with the partners' it sums to zero."""

    month: date
    partners: tuple[CompanyRow, ...]
    program: CompanyRow
    pairs: tuple[tuple[Pair, Amounts], ...]

    @property
    def program_balance_minor(self) -> int:
        """What is left with the program's own company."""
        return -sum(row.balance_minor for row in self.partners)


@dataclass(frozen=True, slots=True)
class LineRow:
    """One settlement line with the posting behind it."""

    line: SettlementLine
    reason: str
    kind: str
    purchase_id: UUID | None
    outlet_id: UUID | None


def month_of(day: date) -> date:
    """The first day of a day's month."""
    return day.replace(day=1)


def next_month(month: date) -> date:
    """The first day of the month after; raises ``OverflowError`` behind the calendar."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def settlement_report(session: Session, program: ProgramDefinition, month: date) -> SettlementReport:
    """What companies owe each other for a month: each partner of now or then, by name, and the program.

    The month of a line is that of the day on which the server recorded it, local to the outlet that honoured the
    points, so a month that is over stays as it was.
    """
    statement = (
        sa.select(LINE.c.issuer, LINE.c.honourer, *(sa.func.sum(LINE.c[name]) for name in _AMOUNTS))
        .where(LINE.c.program_id == program.id, *_within(month))
        .group_by(LINE.c.issuer, LINE.c.honourer)
        .order_by(LINE.c.issuer, LINE.c.honourer)
    )
    pairs = tuple(
        ((issuer, honourer), Amounts(int(points), int(value), int(owes), int(gets)))
        for issuer, honourer, points, value, owes, gets in session.connection().execute(statement)
    )
    names = {name for pair, _amounts in pairs for name in pair} | set(partner_companies(program))
    rows = {name: _company_row(name, pairs) for name in names | {PROGRAM_COMPANY}}
    return SettlementReport(
        month=month_of(month),
        partners=tuple(rows[name] for name in sorted(names - {PROGRAM_COMPANY}, key=str.casefold)),
        program=rows[PROGRAM_COMPANY],
        pairs=pairs,
    )


def _company_row(name: str, pairs: Sequence[tuple[Pair, Amounts]]) -> CompanyRow:
    issued = sum((amounts for (issuer, _honourer), amounts in pairs if issuer == name), NOTHING)
    honoured = sum((amounts for (_issuer, honourer), amounts in pairs if honourer == name), NOTHING)
    return CompanyRow(name, issued, honoured)


def partner_companies(program: ProgramDefinition) -> tuple[str, ...]:
    """The companies of the program's open outlets that are not its own, by name."""
    names = {company_of(reference.section).name for reference in program.outlets.values()}
    return tuple(sorted(names - {PROGRAM_COMPANY}, key=str.casefold))


def months_with_lines(session: Session, program: ProgramDefinition) -> tuple[date, date] | None:
    """The first and the last month that have lines; ``None`` without any."""
    day = col(SettlementLine.business_date)
    first, last = session.execute(
        select(sa.func.min(day), sa.func.max(day)).where(SettlementLine.program_id == program.id)
    ).one()
    return None if first is None else (month_of(first), month_of(last))


def settlement_lines(
    session: Session, program: ProgramDefinition, month: date, *, company: str | None = None, page: int = 1
) -> tuple[list[LineRow], bool]:
    """The lines behind a month's report, oldest first, 200 a page, and whether there are more.

    With ``company`` only those that it issued or honoured (``""``: the program's own).
    """
    statement = (
        select(SettlementLine, Posting)
        .join(Posting, col(Posting.id) == col(SettlementLine.posting_id))
        .where(SettlementLine.program_id == program.id, *_within(month))
        .order_by(col(SettlementLine.business_date), col(SettlementLine.id))
        .offset((max(page, 1) - 1) * LINES_MAX)
        .limit(LINES_MAX + 1)
    )
    if company is not None:
        statement = statement.where(
            sa.or_(col(SettlementLine.issuer) == company, col(SettlementLine.honourer) == company)
        )
    rows = [
        LineRow(line, posting.reason, posting.kind, posting.purchase_id, posting.outlet_id)
        for line, posting in session.exec(statement)
    ]
    return rows[:LINES_MAX], len(rows) > LINES_MAX


def _within(month: date) -> tuple[sa.ColumnElement[bool], ...]:
    day = col(SettlementLine.business_date)
    return day >= month_of(month), day < next_month(month_of(month))


def unsettled(
    session: Session,
    program_id: UUID,
    now: datetime,
    *,
    purchase_ids: Collection[UUID] = (),
    hold_ids: Collection[UUID] = (),
) -> list[Moved]:
    """The postings of this moment that let points of these purchases and holds pay, or returned them."""
    of_purchases = sa.and_(POSTING.c.purchase_id.in_(sorted(purchase_ids)), POSTING.c.kind.in_(("redeem", *RETURNING)))
    of_holds = sa.and_(POSTING.c.reverses_id.in_(sorted(hold_ids)), POSTING.c.kind == "capture")
    settled = sa.exists().where(LINE.c.posting_id == POSTING.c.id)
    wanted = sa.and_(
        POSTING.c.program_id == program_id, POSTING.c.recorded_at == now, sa.or_(of_purchases, of_holds), ~settled
    )
    return moved_points(session, wanted)


def moved_points(session: Session, wanted: sa.ColumnElement[bool]) -> list[Moved]:
    """Redemptions and returns among the postings that are wanted, in the order in which they were written."""
    original = POSTING.alias("original")
    honoured_at = sa.func.coalesce(original.c.outlet_id, POSTING.c.outlet_id)
    about = (
        POSTING.c.id,
        POSTING.c.member_id,
        POSTING.c.kind,
        honoured_at.label("honoured_at"),
        original.c.id.label("original_id"),
        original.c.recorded_at.label("original_recorded_at"),
        LOT.c.outlet_id.label("issued_at"),
    )
    by_allocation: sa.Select[Any] = (
        sa.select(*about, sa.func.sum(sa.func.abs(ALLOCATION.c.points)).label("points"))
        .join(ALLOCATION, ALLOCATION.c.posting_id == POSTING.c.id)
        .join(LOT, LOT.c.id == ALLOCATION.c.lot_id)
        .outerjoin(original, original.c.id == POSTING.c.reverses_id)
        .where(wanted, POSTING.c.kind.in_((*REDEEMING, "return")))
        .group_by(POSTING.c.id, honoured_at, original.c.id, original.c.recorded_at, LOT.c.outlet_id)
    )
    # Points whose lot has expired come back in a lot of their own, which keeps the issuer of the first.
    by_lot: sa.Select[Any] = (
        sa.select(*about, LOT.c.points.label("points"))
        .join(LOT, LOT.c.posting_id == POSTING.c.id)
        .outerjoin(original, original.c.id == POSTING.c.reverses_id)
        .where(wanted, POSTING.c.kind == "reissue")
    )
    connection = session.connection()
    found: dict[UUID, tuple[sa.Row[Any], list[tuple[UUID | None, int]]]] = {}
    for statement in (by_allocation, by_lot):
        for row in connection.execute(statement):
            found.setdefault(row.id, (row, []))[1].append((row.issued_at, int(row.points)))
    return [
        Moved(row.id, row.member_id, row.honoured_at, row.original_id, row.original_recorded_at, tuple(issued))
        for row, issued in sorted(found.values(), key=lambda entry: entry[0].id)
    ]


def lines_of_redemptions(
    session: Session, program_id: UUID, redemptions: Collection[UUID]
) -> dict[UUID, dict[Pair, tuple[Amounts, Amounts]]]:
    """For each redemption and pair of companies: what was settled for it, and what came back of it since."""
    redemption = sa.case((POSTING.c.kind.in_(RETURNING), POSTING.c.reverses_id), else_=POSTING.c.id)
    statement = (
        sa.select(
            redemption.label("redemption"),
            LINE.c.issuer,
            LINE.c.honourer,
            LINE.c.points,
            LINE.c.value_minor,
            LINE.c.issuer_owes_minor,
            LINE.c.honourer_gets_minor,
        )
        .join(POSTING, POSTING.c.id == LINE.c.posting_id)
        .where(
            LINE.c.program_id == program_id,
            sa.or_(POSTING.c.id.in_(sorted(redemptions)), POSTING.c.reverses_id.in_(sorted(redemptions))),
        )
    )
    found: dict[UUID, dict[Pair, tuple[Amounts, Amounts]]] = {}
    for row in session.connection().execute(statement):
        amounts = Amounts(row.points, row.value_minor, row.issuer_owes_minor, row.honourer_gets_minor)
        pairs = found.setdefault(row.redemption, {})
        original, back = pairs.get((row.issuer, row.honourer), (NOTHING, NOTHING))
        pairs[row.issuer, row.honourer] = (
            (original + amounts, back) if amounts.points > 0 else (original, back + amounts)
        )
    return found
