"""What must always be true of settlements: they say what the ledger says, and they balance."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS
from wallet_server.ledger.invariants import VIOLATIONS_MAX, Violation, table, violations
from wallet_server.partners.queries import (
    LINE,
    POSTING,
    REDEEMING,
    RETURNING,
    Moved,
    lines_of_redemptions,
    moved_points,
)
from wallet_server.partners.settlement import NOTHING, Amounts, Company, Pair, came_back, company_of, redeemed
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.models import Outlet, ProgramVersion

BATCH: Final = 2_000
RACE: Final = timedelta(minutes=5)
"""A version that was published so shortly before may not have been known yet to who recorded the posting."""


@dataclass(frozen=True)
class _Terms:
    """What a version of a program says about settling."""

    published_at: datetime
    companies: Mapping[UUID, Company]
    point_value_minor: int


def settlements_say_what_was_honoured(session: Session) -> list[Violation]:
    """S1: what companies settle is what the ledger's redemptions and refunds took from each other's lots."""
    found: list[Violation] = []
    for program_id in _coalitions(session):
        terms = _versions(session, program_id)
        for moved, moments in _postings(session, program_id):
            lines = _lines(session, program_id, [move.posting_id for move in moved])
            originals = {move.original_id for move in moved if move.original_id is not None}
            known = lines_of_redemptions(session, program_id, originals) if originals else {}
            for move in moved:
                has = lines.get(move.posting_id, {})
                possible = [_expected(move, version, known) for version in _in_force(terms, moments[move.posting_id])]
                if has not in possible:
                    detail = f"settled {_told(has)}, honoured {_told(possible[0])}"
                    found.append(Violation("S1", str(move.posting_id), detail))
                    if len(found) >= VIOLATIONS_MAX:
                        return found
    return found


def settlements_belong_to_redemptions(session: Session) -> list[Violation]:
    """S2: a settlement line is of a posting that let points pay or returned them, and of that posting's member."""
    statement = (
        sa.select(LINE.c.id, POSTING.c.kind, LINE.c.points)
        .join(POSTING, POSTING.c.id == LINE.c.posting_id)
        .where(
            sa.or_(
                POSTING.c.kind.not_in((*REDEEMING, *RETURNING)),
                POSTING.c.member_id != LINE.c.member_id,
                sa.and_(POSTING.c.kind.in_(REDEEMING), LINE.c.points < 0),
                sa.and_(POSTING.c.kind.in_(RETURNING), LINE.c.points > 0),
            )
        )
    )
    return violations(session, "S2", LINE.c.program_id, statement)


def refunds_leave_nothing_to_settle(session: Session) -> list[Violation]:
    """S3: of a redemption whose points all came back, nothing is left between the companies."""
    redemption = sa.case((POSTING.c.kind.in_(RETURNING), POSTING.c.reverses_id), else_=POSTING.c.id)
    left = [sa.func.sum(LINE.c[name]) for name in ("points", "value_minor", "issuer_owes_minor", "honourer_gets_minor")]
    statement = (
        sa.select(redemption.label("redemption"), *(amount.label(str(place)) for place, amount in enumerate(left)))
        .join(POSTING, POSTING.c.id == LINE.c.posting_id)
        .group_by(redemption, LINE.c.program_id, LINE.c.issuer, LINE.c.honourer)
        .having(
            sa.or_(
                *(amount < 0 for amount in left),
                sa.and_(left[0] == 0, sa.or_(*(amount != 0 for amount in left[1:]))),
            )
        )
    )
    return violations(session, "S3", LINE.c.program_id, statement)


def _coalitions(session: Session) -> list[UUID]:
    """Programs that have, or had, outlets of other companies, or lines."""
    outlet = table(Outlet)
    with_partners = sa.select(outlet.c.program_id).where(sa.cast(outlet.c.partner, sa.Text).not_in(("null", "")))
    statement = sa.union(with_partners, sa.select(LINE.c.program_id))
    found = sorted(session.connection().execute(statement).scalars())
    scope = session.info.get("scope")
    return [program_id for program_id in found if scope in (ALL_PROGRAMS, program_id)]


def _versions(session: Session, program_id: UUID) -> list[_Terms]:
    outlet, version = table(Outlet), table(ProgramVersion)
    connection = session.connection()
    rows = connection.execute(sa.select(outlet.c.code, outlet.c.id).where(outlet.c.program_id == program_id))
    ids = {row.code: row.id for row in rows}
    documents = connection.execute(
        sa.select(version.c.published_at, version.c.document)
        .where(version.c.program_id == program_id)
        .order_by(version.c.number)
    )
    found: list[_Terms] = []
    # An outlet that a version no longer has is closed and keeps its company.
    companies: dict[UUID, Company] = {}
    for published_at, document in documents:
        file = ProgramFile.model_validate(document)
        companies |= {ids[section.code]: company_of(section) for section in file.outlets}
        found.append(_Terms(published_at, dict(companies), file.program.points.point_value_minor))
    return found


def _postings(session: Session, program_id: UUID) -> Iterator[tuple[list[Moved], dict[UUID, datetime]]]:
    """The program's redemptions and returns in portions, with the moments that say which version they knew."""
    original = POSTING.alias("original")
    last: UUID | None = None
    while True:
        wanted = sa.and_(POSTING.c.program_id == program_id, POSTING.c.kind.in_((*REDEEMING, *RETURNING)))
        if last is not None:
            wanted = sa.and_(wanted, POSTING.c.id > last)
        statement = (
            sa.select(
                POSTING.c.id,
                POSTING.c.recorded_at,
                original.c.recorded_at.label("first_recorded_at"),
            )
            .outerjoin(original, original.c.id == POSTING.c.reverses_id)
            .where(wanted)
            .order_by(POSTING.c.id)
            .limit(BATCH)
        )
        rows = session.connection().execute(statement).all()
        if not rows:
            return
        last = rows[-1].id
        moments = {row.id: row.first_recorded_at or row.recorded_at for row in rows}
        yield moved_points(session, sa.and_(wanted, POSTING.c.id <= last)), moments


def _in_force(versions: Sequence[_Terms], recorded_at: datetime) -> list[_Terms]:
    """The versions that may have been known: in force when it was recorded, or shortly before."""
    published = [version.published_at for version in versions]
    moments = (recorded_at, recorded_at - RACE)
    first, last = (max(bisect.bisect_right(published, moment) - 1, 0) for moment in sorted(moments))
    return list(reversed(versions[first : last + 1]))


def _expected(
    move: Moved, version: _Terms, known: Mapping[UUID, Mapping[Pair, tuple[Amounts, Amounts]]]
) -> Mapping[Pair, int | Amounts]:
    amounts = redeemed(version.companies, version.point_value_minor, move.honoured_at, move.issued_at)
    if move.original_id is None:
        return amounts
    # How a return was rounded depends on the returns before it; together they are checked against what is left.
    whole = known.get(move.original_id, {})
    return {pair: _returned(part.points, whole.get(pair, (NOTHING, NOTHING))) for pair, part in amounts.items()}


def _returned(points: int, settled: tuple[Amounts, Amounts]) -> Any:
    original, back = settled
    if original.points <= 0 or back.points < -original.points:
        return "more than was settled"
    return -points if came_back(original, NOTHING, -back.points) == back else "not in proportion"


def _lines(session: Session, program_id: UUID, posting_ids: Sequence[UUID]) -> dict[UUID, dict[Pair, Any]]:
    statement = (
        sa.select(LINE, POSTING.c.kind)
        .join(POSTING, POSTING.c.id == LINE.c.posting_id)
        .where(LINE.c.program_id == program_id, LINE.c.posting_id.in_(posting_ids))
    )
    found: dict[UUID, dict[Pair, Any]] = {}
    for row in session.connection().execute(statement):
        amounts = Amounts(row.points, row.value_minor, row.issuer_owes_minor, row.honourer_gets_minor)
        of_posting = found.setdefault(row.posting_id, {})
        pair = (row.issuer, row.honourer)
        value: Any = row.points if row.kind in RETURNING else amounts
        of_posting[pair] = value if pair not in of_posting else "settled twice"
    return found


def _told(settled: Mapping[Pair, Any]) -> str:
    if not settled:
        return "nothing"
    return "; ".join(
        f"{issuer or 'program'} → {honourer or 'program'}: {value}"
        for (issuer, honourer), value in sorted(settled.items())
    )


CHECKS: Final = (
    settlements_say_what_was_honoured,
    settlements_belong_to_redemptions,
    refunds_leave_nothing_to_settle,
)
