"""Segments as SQL: who is in one now, how many, and the saved ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.errors import NotFoundError
from wallet_server.members.models import Member, MemberStatistics, MemberTag
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.models import Purchase
from wallet_server.segments.condition import Condition, Range
from wallet_server.segments.models import Segment
from wallet_server.tiers.models import MemberTier

VISITS_WINDOW: Final = timedelta(days=30)
SEGMENTS_MAX: Final = 500
"""Saved segments of one program."""


def members_where(
    program: ProgramDefinition, condition: Condition, now: datetime, *, among: Collection[UUID] | None = None
) -> sa.Select[UUID]:
    """A statement that selects the ids of the program's members for whom the condition holds at ``now``.

    It names the program in each table itself, so that it may stand inside any other statement. Every part of
    the condition must hold; a condition without parts is everybody who has not left. With ``among`` only these
    members are asked, and no other's receipts are counted. Visits are purchases in the 30 days up to and with
    ``now``, without those that were refunded whole; days since the last visit are whole ones.
    """
    statement = sa.select(col(Member.id)).where(col(Member.program_id) == program.id, col(Member.left_at).is_(None))
    if among is not None:
        statement = statement.where(col(Member.id).in_(among))
    if condition.tiers is not None:
        held = sa.select(col(MemberTier.member_id)).where(
            col(MemberTier.program_id) == program.id, col(MemberTier.tier).in_(condition.tiers)
        )
        statement = statement.where(col(Member.id).in_(held))
    if condition.tags is not None:
        tagged = sa.select(col(MemberTag.member_id)).where(
            col(MemberTag.program_id) == program.id, col(MemberTag.tag).in_(condition.tags)
        )
        statement = statement.where(col(Member.id).in_(tagged))
    if condition.visits_last_30_days is not None:
        statement = _where_visits(statement, program, condition.visits_last_30_days, now, among)
    if condition.days_since_last_visit is not None:
        visited = sa.select(col(MemberStatistics.member_id)).where(
            col(MemberStatistics.program_id) == program.id,
            *_last_visit_between(condition.days_since_last_visit, now),
        )
        statement = statement.where(col(Member.id).in_(visited))
    return statement


def _where_visits(
    statement: sa.Select[UUID],
    program: ProgramDefinition,
    wanted: Range,
    now: datetime,
    among: Collection[UUID] | None,
) -> sa.Select[UUID]:
    # Grouped once for all members, not looked up for each: the index on (program, time) gives the 30 days.
    visits = (
        sa.select(col(Purchase.member_id), sa.func.count().label("visits"))
        .where(
            col(Purchase.program_id) == program.id,
            col(Purchase.occurred_at) > now - VISITS_WINDOW,
            col(Purchase.occurred_at) <= now,
            col(Purchase.refunded_at).is_(None),
            *(() if among is None else (col(Purchase.member_id).in_(among),)),
        )
        .group_by(col(Purchase.member_id))
        .subquery()
    )
    counted = sa.func.coalesce(visits.c.visits, 0)
    statement = statement.outerjoin(visits, visits.c.member_id == col(Member.id))
    if wanted.at_least is not None:
        statement = statement.where(counted >= wanted.at_least)
    if wanted.at_most is not None:
        statement = statement.where(counted <= wanted.at_most)
    return statement


def _last_visit_between(wanted: Range, now: datetime) -> list[sa.ColumnElement[bool]]:
    """``floor((now - last visit) / day)`` within the range, written so that an index on the time helps."""
    last_visit_at = col(MemberStatistics.last_visit_at)
    parts: list[sa.ColumnElement[bool]] = [last_visit_at.is_not(None)]
    if wanted.at_least:  # zero asks nothing: a till's clock may be some minutes ahead of ours
        parts.append(last_visit_at <= now - timedelta(days=wanted.at_least))
    if wanted.at_most is not None:
        parts.append(last_visit_at > now - timedelta(days=wanted.at_most + 1))
    return parts


def count(session: Session, program: ProgramDefinition, condition: Condition, now: datetime) -> int:
    """How many members the condition selects now."""
    selected = members_where(program, condition, now).subquery()
    return int(session.execute(sa.select(sa.func.count()).select_from(selected)).scalar_one())


def segments_of_members(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], codes: Collection[str], now: datetime
) -> dict[UUID, frozenset[str]]:
    """Which of these saved segments each member is in; members of none are missing, and so is a deleted segment."""
    saved = session.exec(
        select(Segment.code, Segment.condition).where(Segment.program_id == program.id, col(Segment.code).in_(codes))
    ).all()
    found: dict[UUID, set[str]] = {}
    for code, document in saved:
        condition = Condition.model_validate(document)
        for member_id in session.execute(members_where(program, condition, now, among=member_ids)).scalars():
            found.setdefault(member_id, set()).add(code)
    return {member_id: frozenset(inside) for member_id, inside in found.items()}


def list_segments(session: Session, program: ProgramDefinition) -> Sequence[Segment]:
    """The program's saved segments by name."""
    return session.exec(
        select(Segment)
        .where(Segment.program_id == program.id)
        .order_by(col(Segment.name), col(Segment.code))
        .limit(SEGMENTS_MAX)
    ).all()


def find_segment(
    session: Session, program: ProgramDefinition, *, code: str | None = None, segment_id: UUID | None = None
) -> Segment:
    """A saved segment by its code or its id; raises ``NotFoundError(unknown_segment)``."""
    assert (code is None) != (segment_id is None), "name the segment by code or by id"
    which = Segment.code == code if code is not None else Segment.id == segment_id
    found = session.exec(select(Segment).where(Segment.program_id == program.id, which)).one_or_none()
    if found is None:
        raise NotFoundError("unknown_segment", "there is no such segment in this program")
    return found


def condition_of(segment: Segment) -> Condition:
    """The stored condition of a segment."""
    return Condition.model_validate(segment.condition)
