"""Balances that are set to zero on a date, as the program's zeroing rules say.

A rule runs once for each due date: a row of ``zeroing`` claims it, and says how far a run has come, so that one
that was broken off goes on. It takes what can be spent and was there when the local day ended; pending and held
points stay, and a debt too. What is carried over is what expires last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from wallet_server.db import new_id
from wallet_server.ledger.expiry import (
    AVAILABLE,
    LOT,
    MEMBER,
    STATISTICS,
    end_of_day,
    inactive_since,
    is_inactive,
    local_day,
    points_expired,
)
from wallet_server.ledger.models import Posting, Zeroing
from wallet_server.ledger.postings import LotShares, OpenLot, available, lose, take
from wallet_server.ledger.services import lock_balances, post
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.models import Program
from wallet_server.programs.points import CarryOver, ZeroingRule
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.webhooks.services import emit

MEMBERS_BATCH: Final = 500
ZEROING: sa.Table = Zeroing.__table__  # type: ignore[attr-defined]
POSTING: sa.Table = Posting.__table__  # type: ignore[attr-defined]

TierHolders = Callable[[UUID, Sequence[str]], sa.Select[Any]]
"""The ids of the program's members who hold one of these tiers; tiers live a floor above."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A rule as it was in force when a local day ended, and that day."""

    program: ProgramDefinition
    rule: ZeroingRule
    due_on: date

    @property
    def moment(self) -> datetime:
        return end_of_day(self.due_on, self.program.time_zone)


def due_on(rule: ZeroingRule, today: date) -> date:
    """The last day before today on which a rule was due; ``today`` is not over yet."""
    if rule.month is not None:
        this_year = date(today.year, rule.month, rule.day)
        return this_year if this_year < today else this_year.replace(year=today.year - 1)
    this_month = today.replace(day=rule.day)
    if this_month < today:
        return this_month
    return (today.replace(day=1) - timedelta(days=1)).replace(day=rule.day)


def kept(carry_over: CarryOver, points: int) -> int:
    """How many of so many points a zeroing leaves: the smaller of what the rule names, rounded down."""
    limits = []
    if carry_over.percent is not None:
        limits.append(int(points * Fraction(carry_over.percent) / 100))
    if carry_over.max_points is not None:
        limits.append(carry_over.max_points)
    return min([points, *limits]) if limits else 0


def run_due(
    session: Session, now: datetime, *, holders: TierHolders, limit: int = MEMBERS_BATCH
) -> dict[UUID, list[UUID]] | None:
    """Set the balances of the next members to zero, at most ``limit``, for one rule that is due.

    Returns the members whose balance changed, by program, and ``None`` when nothing is due any more: the caller
    repeats it, each time in a transaction of its own. Runs in the scope of all programs and may run twice at
    once. A rule that was not in force when its day ended does not run for it.
    """
    for row in list_programs(session):
        for due in _due(session, row, now):
            state = _claim(session, due, now)
            if state is not None:
                return {due.program.id: _zero_members(session, due, state, now, holders=holders, limit=limit)}
    return None


def _due(session: Session, row: Program, now: datetime) -> Iterator[_Due]:
    program = load_program(session, program_id=row.id)
    for rule in program.points.zeroing:
        last = due_on(rule, local_day(now, program.time_zone))
        moment = end_of_day(last, program.time_zone)
        if row.created_at >= moment:
            continue
        then = load_program(session, program_id=row.id, at=moment)
        in_force = [found for found in then.points.zeroing if found.name == rule.name]
        if in_force and due_on(in_force[0], local_day(now, program.time_zone)) == last:
            yield _Due(program, in_force[0], last)


def _claim(session: Session, due: _Due, now: datetime) -> sa.Row[Any] | None:
    """The run of a due rule, locked until the transaction ends; ``None`` if it is finished."""
    connection = session.connection()
    mine = sa.and_(
        ZEROING.c.program_id == due.program.id, ZEROING.c.rule == due.rule.name, ZEROING.c.due_on == due.due_on
    )
    found = connection.execute(sa.select(ZEROING.c.finished_at).where(mine)).one_or_none()
    if found is not None and found.finished_at is not None:
        return None
    if found is None:
        dialect_insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        row = {
            "id": new_id(),
            "program_id": due.program.id,
            "rule": due.rule.name,
            "due_on": due.due_on,
            "members": 0,
            "points": 0,
            "started_at": now,
        }
        key = ["program_id", "rule", "due_on"]
        connection.execute(dialect_insert(ZEROING).on_conflict_do_nothing(index_elements=key), [row])
    state = connection.execute(sa.select(ZEROING).where(mine).with_for_update()).one()
    return None if state.finished_at is not None else state


def _zero_members(
    session: Session, due: _Due, state: sa.Row[Any], now: datetime, *, holders: TierHolders, limit: int
) -> list[UUID]:
    connection = session.connection()
    lots = _lots(due, holders)
    members = connection.execute(
        lots.with_only_columns(LOT.c.member_id).distinct().where(*_after(state)).order_by(LOT.c.member_id).limit(limit)
    )
    member_ids = list(members.scalars())
    balances = lock_balances(session, member_ids)
    mine: dict[UUID, list[OpenLot]] = defaultdict(list)
    for row in connection.execute(lots.where(LOT.c.member_id.in_(member_ids))) if member_ids else ():
        mine[row.member_id].append(OpenLot(row.id, row.remaining, row.expires_at, row.held))
    taken: dict[UUID, LotShares] = {}
    for member_id, found in sorted(mine.items()):
        points = available(found)
        gone = points - kept(due.rule.carry_over, points)
        if gone:
            taken[member_id] = take(found, gone)
    movements = [
        lose(member_id, shares, kind="zero", reason=due.rule.name, occurred_at=due.moment)
        for member_id, shares in taken.items()
    ]
    post(session, due.program.id, movements, now, balances={member_id: balances[member_id] for member_id in taken})
    emit(session, due.program.id, [points_expired(member_id, shares) for member_id, shares in taken.items()], now)
    finished = len(member_ids) < limit
    connection.execute(
        sa.update(ZEROING)
        .where(ZEROING.c.id == state.id)
        .values(
            after_member_id=member_ids[-1] if member_ids else state.after_member_id,
            members=ZEROING.c.members + len(taken),
            points=ZEROING.c.points + sum(part for shares in taken.values() for _lot, part in shares),
            finished_at=now if finished else None,
        )
    )
    return sorted(taken)


def _after(state: sa.Row[Any]) -> list[sa.ColumnElement[bool]]:
    return [] if state.after_member_id is None else [LOT.c.member_id > state.after_member_id]


def _lots(due: _Due, holders: TierHolders) -> sa.Select[Any]:
    """The lots that a rule empties: of its members, with points that were there when the day ended."""
    statement = (
        sa.select(LOT.c.member_id, LOT.c.id, LOT.c.remaining, LOT.c.expires_at, LOT.c.held)
        .join(POSTING, POSTING.c.id == LOT.c.posting_id)
        .where(LOT.c.program_id == due.program.id, AVAILABLE, POSTING.c.recorded_at < due.moment)
    )
    if due.rule.tiers:
        statement = statement.where(LOT.c.member_id.in_(holders(due.program.id, due.rule.tiers)))
    if due.rule.inactive_days is not None:
        before = inactive_since(due.due_on, due.rule.inactive_days, due.program.time_zone)
        statement = (
            statement.join(MEMBER, MEMBER.c.id == LOT.c.member_id)
            .join(STATISTICS, STATISTICS.c.member_id == LOT.c.member_id)
            .where(is_inactive(before))
        )
    return statement
