"""Bars towards the next level that move by themselves: a visit leaves the days that count, or a member gets older.

At a local midnight two kinds of members can have another bar than the day before: those who bought or came on a day
that has just left a rolling window, and those whose time in the program has just made another step of the bar. The
indexes find both without a look at everybody else; of them, only those are raised whose bar really is another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col

from wallet_server.issuance.looks import BAR_STEPS, asks_way
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.services import REFRESH_PRIORITY, held_passes, passes_changed_by_id
from wallet_server.members.models import Member
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.look import Strip
from wallet_server.purchases.models import Purchase, Visit
from wallet_server.reads import ask
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.projection import way_to_next
from wallet_server.tiers.queries import standings_asked, with_windows
from wallet_server.tiers.table import TierTable, tier_table

MEMBERS_AT_ONCE: Final = 1_000
JOINED_RANGES_MAX: Final = 100
"""More days of joining than these are looked at as one long time."""
ZONES_APART: Final = timedelta(hours=14)
"""A business date, anywhere on earth, begins and ends so near to the same date in UTC."""


def moves_by_clock(program: ProgramDefinition) -> bool:
    """Whether a bar of this program can be another one tomorrow though nothing happens."""
    table = tier_table(program)
    return asks_way(program) and (table.kind == "rolling_days" or "tenure_days" in table.asks)


def refresh_moved(
    session: Session, program: ProgramDefinition, days: tuple[date, date], after: UUID | None, now: datetime
) -> UUID | None:
    """Raise the passes whose bars have moved from one local day to a later one; of the next part of the members.

    Passes that something else has changed since that day began show it already. Returns the member to go on after;
    None when all are done.
    """
    before, today = days
    since = tier_table(program).midnight(today)
    unchanged = held_passes(program.id).where(col(IssuedPass.changed_at) < since)
    part = list(session.scalars(_candidates(program, before, today, after, unchanged)))
    moved = _moved(session, program, part, before, today)
    if moved:
        passes = session.scalars(unchanged.where(col(IssuedPass.member_id).in_(moved)).order_by(col(IssuedPass.id)))
        passes_changed_by_id(session, program.id, passes.all(), now, priority=REFRESH_PRIORITY)
    return part[-1] if len(part) == MEMBERS_AT_ONCE else None


def _moved(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], before: date, today: date
) -> list[UUID]:
    """Those of the members whose bar is another one than on the day before."""
    table = tier_table(program)
    known = ask(session, standings_asked(program, member_ids))
    known = {member_id: one for member_id, one in known.items() if _draws_way(program, one.tier)}
    bars = []
    for moment in (table.midnight(before), table.midnight(today)):
        found = with_windows(session, program, dict(known), moment)
        bars.append({member_id: _bar(program, standing, moment) for member_id, standing in found.items()})
    return sorted(member_id for member_id, bar in bars[1].items() if bar != bars[0][member_id])


def _bar(program: ProgramDefinition, standing: Standing, moment: datetime) -> int | None:
    done = way_to_next(program, standing, moment, BAR_STEPS)
    return None if done is None else min(done, BAR_STEPS)


def _draws_way(program: ProgramDefinition, tier: str | None) -> bool:
    """Whether a card of this level may have a strip with the bar; which look it has also depends on other things."""
    held = tier or (program.first_level.code if program.first_level else None)
    section = program.file.look
    strips = [look.strip for look in section.looks if look.when.tiers is None or held in look.when.tiers]
    return any(strip is not None and _is_way(strip) for strip in (section.own_strip, *strips))


def _is_way(strip: Strip) -> bool:
    return strip.kind == "progress" and strip.challenge is None


def _candidates(
    program: ProgramDefinition, before: date, today: date, after: UUID | None, passes: sa.Select[UUID]
) -> sa.Select[Any]:
    """The next members, in the order of their ids, whose bar may have moved and who hold one of the passes."""
    table = tier_table(program)
    parts = [*_who_left_the_window(program, table, before, today), *_who_got_older(program, table, before, today)]
    member_id = sa.union_all(*parts).subquery("candidate").c.member_id
    wanted = sa.select(member_id).where(passes.where(col(IssuedPass.member_id) == member_id).exists()).distinct()
    if after is not None:
        wanted = wanted.where(member_id > after)
    return wanted.order_by(member_id).limit(MEMBERS_AT_ONCE)


def _who_left_the_window(
    program: ProgramDefinition, table: TierTable, before: date, today: date
) -> Iterator[sa.Select[Any]]:
    """Members with a receipt or a visit on a day that counted before and does not today."""
    if table.kind != "rolling_days" or table.asks <= {"tenure_days"}:
        return
    first, last = (day - timedelta(days=table.days) for day in (before + timedelta(days=1), today))
    models: tuple[type[SQLModel], ...] = (Purchase, Visit) if "visits" in table.asks else (Purchase,)
    for model in models:
        rows: Any = model.__table__.c  # type: ignore[attr-defined]
        yield sa.select(rows.member_id).where(
            rows.program_id == program.id,
            # The moment is named beside the day, because the index knows it.
            rows.occurred_at >= datetime.combine(first, time(), tzinfo=UTC) - ZONES_APART,
            rows.occurred_at < datetime.combine(last, time(), tzinfo=UTC) + timedelta(days=1) + ZONES_APART,
            rows.business_date.between(first, last),
        )


def _who_got_older(program: ProgramDefinition, table: TierTable, before: date, today: date) -> Iterator[sa.Select[Any]]:
    """Members whose days in the program have made another step towards a level that asks for them."""
    targets = {goal.target for step in table.steps for goal in step.goals if goal.kind == "tenure_days"}
    ranges = joined_ranges(targets, before, today)
    if ranges:
        joined = col(Member.joined_at)
        yield sa.select(col(Member.id).label("member_id")).where(
            col(Member.program_id) == program.id,
            sa.or_(
                *(
                    sa.and_(joined >= table.midnight(first), joined < table.midnight(last + timedelta(days=1)))
                    for first, last in ranges
                )
            ),
        )


def joined_ranges(targets: Collection[int], before: date, today: date) -> list[tuple[date, date]]:
    """The first and last days of joining whose members make a step of a bar of so many days from a day to a later one.

    Somebody who needs 80 days makes one of 40 steps on every second day.
    """
    steps = {-(-step * target // BAR_STEPS) for target in targets for step in range(1, BAR_STEPS + 1)}
    ranges: list[tuple[date, date]] = []
    for days in sorted(steps, reverse=True):
        first, last = before + timedelta(days=1) - timedelta(days=days), today - timedelta(days=days)
        if ranges and first <= ranges[-1][1] + timedelta(days=1):
            ranges[-1] = ranges[-1][0], last
        else:
            ranges.append((first, last))
    return ranges if len(ranges) <= JOINED_RANGES_MAX else [(ranges[0][0], ranges[-1][1])]
