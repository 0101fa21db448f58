"""Read models for the owner: participation and engagement over time.

The bounds of weeks and months are computed here and joined in as rows, so that one statement answers for all
periods, on both databases, with the index on time, and with the clock changes of the program's zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import UTCDateTime
from wallet_server.insights.periods import Every, Period, Report, Span, spans
from wallet_server.members.models import Member, MemberStatistics
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.models import Purchase

PERIODS_SHOWN: Final = 12
_EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)


def report(
    session: Session,
    program: ProgramDefinition,
    *,
    every: Every,
    now: datetime,
    until: datetime | None = None,
    count: int = PERIODS_SHOWN,
) -> Report:
    """``count`` weeks or months up to the one that ``until`` (by default ``now``) is in.

    What the figures mean: ``DEFINITIONS``. Two statements. Periods without any purchase are there, with zeros.
    """
    periods = spans(every, program.time_zone, min(until or now, now), count)
    before, joined = _joined(session, program, periods)
    bought = _bought(session, program, periods)
    rows: list[Period] = []
    members = before
    for index, span in enumerate(periods):
        members += joined[index]
        active, purchases, spend, earned, redeemed = bought[index]
        rows.append(
            Period(
                span=span,
                running=span.end > now,
                members=members,
                new_members=joined[index],
                active_members=active,
                purchases=purchases,
                spend_minor=spend,
                points_earned=earned,
                points_redeemed=redeemed,
            )
        )
    return Report(every, tuple(rows))


def newest_purchase_at(session: Session, program: ProgramDefinition) -> datetime | None:
    """When somebody bought last; ``None`` if nobody ever did."""
    last_visit_at = sa.func.max(col(MemberStatistics.last_visit_at))
    newest: datetime | None = session.execute(
        sa.select(last_visit_at).where(col(MemberStatistics.program_id) == program.id)
    ).scalar_one()
    return newest


def _table(bounds: Sequence[tuple[int, datetime, datetime]]) -> sa.CTE:
    """The periods as rows of (place, start, end)."""
    moment = UTCDateTime()
    return sa.union_all(
        *(
            sa.select(
                sa.literal(index, sa.Integer()).label("place"),
                sa.literal(start, moment).label("start"),
                sa.literal(end, moment).label("end"),
            )
            for index, start, end in bounds
        )
    ).cte("period")


def _joined(session: Session, program: ProgramDefinition, periods: Sequence[Span]) -> tuple[int, list[int]]:
    """How many members were enrolled before the first period, and how many more in each."""
    bounds = [(-1, _EVER, periods[0].start), *((i, span.start, span.end) for i, span in enumerate(periods))]
    period = _table(bounds)
    first_visit_at, joined_at = col(MemberStatistics.first_visit_at), col(Member.joined_at)
    since = sa.case((first_visit_at < joined_at, first_visit_at), else_=joined_at)
    enrolled = (
        sa.select(since.label("since"))
        .select_from(Member)
        .outerjoin(
            MemberStatistics,
            sa.and_(
                col(MemberStatistics.program_id) == col(Member.program_id),
                col(MemberStatistics.member_id) == col(Member.id),
            ),
        )
        .where(col(Member.program_id) == program.id)
        .cte("enrolled")
    )
    rows = session.execute(
        sa.select(period.c.place, sa.func.count().label("members"))
        .join(enrolled, sa.and_(enrolled.c.since >= period.c.start, enrolled.c.since < period.c.end))
        .group_by(period.c.place)
    )
    counts: dict[int, int] = {row.place: row.members for row in rows}
    return counts.get(-1, 0), [counts.get(index, 0) for index in range(len(periods))]


def _bought(
    session: Session, program: ProgramDefinition, periods: Sequence[Span]
) -> list[tuple[int, int, int, int, int]]:
    """Active members, purchases, spend, points earned and points redeemed of each period.

    Without what came back later: a purchase that was refunded whole was none.
    """
    period = _table([(index, span.start, span.end) for index, span in enumerate(periods)])
    spend = col(Purchase.total_minor) - col(Purchase.discount_minor) - col(Purchase.returned_minor)
    rows = session.execute(
        sa.select(
            period.c.place,
            sa.func.count(col(Purchase.member_id).distinct()),
            sa.func.count(),
            sa.func.sum(spend),
            sa.func.sum(col(Purchase.points_earned) - col(Purchase.points_taken_back)),
            sa.func.sum(col(Purchase.points_redeemed) - col(Purchase.points_returned)),
        )
        .join(
            Purchase,
            sa.and_(
                col(Purchase.program_id) == program.id,
                col(Purchase.occurred_at) >= period.c.start,
                col(Purchase.occurred_at) < period.c.end,
                col(Purchase.refunded_at).is_(None),
            ),
        )
        .group_by(period.c.place)
    )
    found = {row[0]: (row[1], row[2], int(row[3]), int(row[4]), int(row[5])) for row in rows}
    return [found.get(index, (0, 0, 0, 0, 0)) for index in range(len(periods))]
