"""What a program owes its members: points outstanding, and how many of them end soon. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.ledger.expiry import last_day
from wallet_server.ledger.models import Lot, MemberBalance
from wallet_server.programs.definition import ProgramDefinition

DAYS_AHEAD = 90


@dataclass(frozen=True, slots=True)
class Liability:
    """Points of all members, and those with a date that end within 30 and 90 days.

    ``by_month`` has the first day of each month in which points end within 90 days, with how many. Points that
    only inactivity or a zeroing would end are not in it: nobody knows yet.
    """

    spendable: int
    pending: int
    held: int
    owed: int
    within_30: int
    within_90: int
    by_month: tuple[tuple[date, int], ...]

    @property
    def outstanding(self) -> int:
        """All that members have or will have to spend."""
        return self.spendable + self.pending + self.held

    def value_minor(self, program: ProgramDefinition) -> int:
        """What all of it is worth as a payment, in the currency's minor unit."""
        return self.outstanding * program.points.point_value_minor


def liability(session: Session, program: ProgramDefinition, now: datetime) -> Liability:
    """The program's liability at a moment; in the scope of the program."""
    accounts = [col(getattr(MemberBalance, name)) for name in ("spendable", "pending", "held", "owed")]
    sums = session.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(account), 0) for account in accounts)).where(
            col(MemberBalance.program_id) == program.id
        )
    ).one()
    # Points end at the ends of days, so these are as many rows as days.
    ending = session.execute(
        sa.select(col(Lot.expires_at), sa.func.sum(col(Lot.remaining)))
        .where(
            col(Lot.program_id) == program.id,
            col(Lot.remaining) > 0,
            col(Lot.expires_at).is_not(None),
            col(Lot.expires_at) <= now + timedelta(days=DAYS_AHEAD),
        )
        .group_by(col(Lot.expires_at))
        .order_by(col(Lot.expires_at))
    ).all()
    months: dict[date, int] = {}
    for expires_at, points in ending:
        month = last_day(program, expires_at).replace(day=1)
        months[month] = months.get(month, 0) + int(points)
    return Liability(
        spendable=int(sums[0]),
        pending=int(sums[1]),
        held=int(sums[2]),
        owed=int(sums[3]),
        within_30=sum(int(points) for expires_at, points in ending if expires_at <= now + timedelta(days=30)),
        within_90=sum(months.values()),
        by_month=tuple(months.items()),
    )
