"""Weeks and months in a program's zone, and what was counted in each: pure values for a chart and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

from wallet_server.i18n import gettext_noop

Every = Literal["week", "month"]
PERIODS_MAX: Final = 120

DEFINITIONS: Final = {
    "participation": gettext_noop(
        "Participation: members with at least one purchase in the period, as a share of all members enrolled by its"
        " end. Purchases without a card are not known here."
    ),
    "engagement": gettext_noop("Engagement: purchases per active member; an active member bought in the period."),
    "redemption": gettext_noop("Redemption: points paid with, as a share of the points earned in the period."),
    "members": gettext_noop(
        "Enrolled: from joining, or from the first recorded purchase where imported history is older."
    ),
}
"""What the figures mean, for the page that shows them: to be translated."""


@dataclass(frozen=True)
class Span:
    """One calendar week (from Monday) or month: days ``first`` to ``last``, and the moments that bound it.

    ``start`` is part of it and ``end`` is not; both are local midnights of the program's zone, in UTC.
    """

    first: date
    last: date
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Period:
    """What happened in one week or month. Money in minor units, after discounts; points are integers."""

    span: Span
    running: bool
    """The period is not over yet: its figures still grow."""
    members: int
    new_members: int
    active_members: int
    purchases: int
    spend_minor: int
    points_earned: int
    points_redeemed: int

    @property
    def participation(self) -> Decimal | None:
        """Share of one; ``None`` while there are no members."""
        return share(self.active_members, self.members)

    @property
    def purchases_per_active_member(self) -> Decimal | None:
        """``None`` where nobody bought."""
        return share(self.purchases, self.active_members)

    @property
    def spend_per_purchase_minor(self) -> int | None:
        """In minor units, rounded down; ``None`` where nobody bought."""
        return self.spend_minor // self.purchases if self.purchases else None

    @property
    def redemption(self) -> Decimal | None:
        """Share of one (more than one where old points were paid with); ``None`` where none were earned."""
        return share(self.points_redeemed, self.points_earned)


@dataclass(frozen=True)
class Report:
    """Participation and engagement over time, oldest period first."""

    every: Every
    periods: Sequence[Period]

    @property
    def current(self) -> Period:
        """The running period."""
        return self.periods[-1]

    @property
    def newest_whole(self) -> Period | None:
        """The newest period that is over: what headlines quote."""
        whole = [period for period in self.periods if not period.running]
        return whole[-1] if whole else None


def share(part: int, whole: int) -> Decimal | None:
    """``part / whole`` to four decimals; ``None`` of nothing."""
    if whole == 0:
        return None
    return (Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001"))


def spans(every: Every, zone: str, now: datetime, count: int) -> tuple[Span, ...]:
    """The last ``count`` weeks or months up to the one that ``now`` is in, oldest first."""
    assert 1 <= count <= PERIODS_MAX, f"{count} periods were asked for"
    local = ZoneInfo(zone)
    today = now.astimezone(local).date()
    first = today - timedelta(days=today.weekday()) if every == "week" else today.replace(day=1)
    found: list[Span] = []
    after = first + timedelta(days=7) if every == "week" else _month_later(first)
    for _ in range(count):
        found.append(Span(first, after - timedelta(days=1), _midnight(first, local), _midnight(after, local)))
        after, first = first, first - timedelta(days=7) if every == "week" else _month_earlier(first)
    return tuple(reversed(found))


def _month_later(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _month_earlier(first: date) -> date:
    return (first - timedelta(days=1)).replace(day=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
