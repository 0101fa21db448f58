"""Which tier a member holds, from when and until when: pure, over the program's tier table.

The rules, all days being business dates (the local day at the outlet) and midnight that of the program's zone:

* A level is *reached* when its thresholds are met by what was counted in the window. ``lifetime`` counts
  everything. A ``calendar_year`` counts the running year, and what the year before it reached is reached all this
  year as well: a level of year Y is kept to the end of Y+1. ``rolling_days`` counts the last N days with today.
  Refunded lines do not count; ``tenure_days`` is the member's age today in every window.
* Up at once, in the transaction of the purchase or visit.
* Down only when the clock says so, never in a purchase: a level that is no longer reached is kept for its
  ``grace_days``, counted from the day on which it was lost. Reached again in that time, it stays; otherwise the
  member falls to what is reached then. A changed tier table lowers in the same way, with its own grace.
* A refund lowers at once to what is reached without it, but not a member who is in grace already: that level was
  not lost by the refund.
* Not before ``protected_until`` (a temporary tier, or a promise of staff). When it is over the member is back at
  what is reached, without grace.
* A level that the program no longer has is left when the clock or the new table finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.table import NOTHING, BoughtLine, Counts, TierTable, tier_table

Cause = Literal["event", "refund", "time", "table"]
"""Why a member is looked at: a purchase or visit, a refund, the clock, a new tier table."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What tiers ask of a member. ``tier`` is the code held now (None: none yet); money in the minor unit.

    ``counts`` are those of the table's windows (:meth:`TierTable.spans`). For ``lifetime`` they only hold what was
    bought, the rest being the statistics themselves. ``joined_at`` is there if the table asks for tenure.
    """

    tier: str | None = None
    spend_minor: int = 0
    purchases: int = 0
    visits: int = 0
    points_earned: int = 0
    first_visit_at: datetime | None = None
    last_visit_at: datetime | None = None
    marketing: bool = False
    joined_at: datetime | None = None
    since: datetime | None = None
    protected_until: datetime | None = None
    grace_until: datetime | None = None
    review_at: datetime | None = None
    counts: tuple[Counts, ...] = ()
    coefficients: Sequence[Mapping[str, Any]] = ()
    """The member's own percents: not for tiers, but read with them because every purchase needs both."""

    def after_purchase(
        self,
        program: ProgramDefinition,
        *,
        now: datetime,
        occurred_at: datetime,
        business_date: date,
        spend_minor: int,
        points_earned: int,
        lines: Iterable[BoughtLine] = (),
    ) -> Standing:
        """The standing with one more purchase; ``tier`` is what it has reached. ``spend_minor`` after discounts."""
        table = tier_table(program)
        more = Counts(spend_minor, 1, 1, points_earned, table.bought(lines))
        today = table.today(now)
        spans = table.spans(today)
        known = self.counts or (NOTHING,) * len(spans)
        after = replace(
            self,
            purchases=self.purchases + 1,
            spend_minor=self.spend_minor + spend_minor,
            points_earned=self.points_earned + points_earned,
            visits=self.visits + 1,
            first_visit_at=min(self.first_visit_at or occurred_at, occurred_at),
            last_visit_at=max(self.last_visit_at or occurred_at, occurred_at),
            counts=tuple(
                counts.plus(more) if span.has(business_date) else counts
                for counts, span in zip(known, spans, strict=True)
            ),
        )
        held = table.index(self.tier)
        if held is None and self.tier is not None:
            return after
        tier = _code(table, max(reached(table, after, today), held or 0))
        return after if tier == after.tier else replace(after, tier=tier)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a member holds from now on; ``reason`` is why the tier is another one, ``None`` if it is not.

    ``review_at`` is always later than the moment of the decision, but for a purchase that met a level which has
    lapsed: the clock's next turn is to see to it.
    """

    tier: str | None
    reason: str | None = None
    protected_until: datetime | None = None
    grace_until: datetime | None = None
    review_at: datetime | None = None


def _code(table: TierTable, index: int) -> str | None:
    return table.steps[index].code if table.steps else None


def tenure_days(table: TierTable, standing: Standing, today: date) -> int:
    """Local days since the member joined; 0 where the table does not ask."""
    return 0 if standing.joined_at is None else (today - table.today(standing.joined_at)).days


def window_counts(table: TierTable, standing: Standing) -> tuple[Counts, ...]:
    """What counts now, the running window first."""
    if table.kind != "lifetime":
        return standing.counts or (NOTHING,)
    bought = standing.counts[0].bought if standing.counts else ()
    return (Counts(standing.spend_minor, standing.purchases, standing.visits, standing.points_earned, bought),)


def reached(table: TierTable, standing: Standing, today: date) -> int:
    """Place of the highest level that is reached, whatever is held; 0 is everybody's."""
    return highest(table, window_counts(table, standing), tenure_days(table, standing, today))


def highest(table: TierTable, windows: Iterable[Counts], tenure: int) -> int:
    """Place of the highest level that one of the windows reaches."""
    counted = tuple(windows)
    for index in range(len(table.steps) - 1, 0, -1):
        if any(table.steps[index].is_met(counts, tenure) for counts in counted):
            return index
    return 0


def falls_on(table: TierTable, standing: Standing, days: Mapping[date, Counts], today: date, level: int) -> date | None:
    """The day on which a level reached now will be lost if nothing is bought any more; ``None``: never by time.

    ``days`` is what was counted on each business date (only looked at for ``rolling_days``).
    """
    if level == 0 or table.kind == "lifetime":
        return None
    tenure = tenure_days(table, standing, today)
    if highest(table, [NOTHING], tenure) >= level:
        return None
    if table.kind == "calendar_year":
        if highest(table, window_counts(table, standing)[:1], tenure) >= level:
            return date(today.year + 2, 1, 1)
        return date(today.year + 1, 1, 1)
    for day, left in leaving(table, days, today):
        if highest(table, [left], tenure_days(table, standing, day)) < level:
            return day
    return None


def leaving(table: TierTable, days: Mapping[date, Counts], today: date) -> Iterator[tuple[date, Counts]]:
    """The days on which something leaves the rolling window, with what is still counted then."""
    [span] = table.spans(today)
    inside = sorted((day, counts) for day, counts in days.items() if span.has(day)) if days else []
    left = NOTHING
    for _day, counts in inside:
        left = left.plus(counts)
    for day, counts in inside:
        left = left.plus(counts, -1)
        yield day + timedelta(days=table.days), left


def decide(
    table: TierTable,
    standing: Standing,
    now: datetime,
    cause: Cause,
    days: Mapping[date, Counts] | None = None,
) -> Decision:
    """What the member holds after this moment, by the rules of this module.

    ``days`` lets the day be known on which a level in ``rolling_days`` is lost; without it the member is looked at
    again at the next midnight.
    """
    if not table.steps:
        return Decision(None)
    today = table.today(now)
    held, best = table.index(standing.tier), reached(table, standing, today)
    protected = standing.protected_until
    running = protected if protected is not None and protected > now else None
    grace: datetime | None = None
    level, reason = best, None
    if held is None and standing.tier is not None and cause == "event":
        # Perhaps one of a newer version than that of a late receipt: the clock knows the version in force.
        return Decision(standing.tier, None, protected, standing.grace_until, now)
    if held is None:
        # A level that the program no longer has; for somebody without any, the first is nothing to talk about.
        running = None
        if standing.tier is not None or best > 0:
            reason = "table" if standing.tier is not None or cause == "table" else "reached"
    elif best > held:
        reason = "table" if cause == "table" else "reached"
    elif best < held:
        level = held
        if cause == "event":
            return _after_event(table, standing, now, running)
        if running is None:
            lowered, grace = _lapse(table, standing, now, cause)
            if lowered is not None:
                level, reason = best, lowered
    decision = Decision(_code(table, level), reason, running, grace)
    falls = _falls_at(table, standing, now, cause, days) if level > 0 and best >= level else None
    tenure = _tenure_at(table, standing, now, max(level, best))
    return replace(decision, review_at=_earliest(falls, running, grace, tenure))


def _after_event(table: TierTable, standing: Standing, now: datetime, running: datetime | None) -> Decision:
    """A purchase has not brought back a level that is no longer reached: what the clock decided stays."""
    waits = standing.review_at if running is not None or standing.grace_until is not None else now
    return Decision(
        standing.tier,
        None,
        standing.protected_until,
        standing.grace_until,
        _earliest(waits, _tenure_at(table, standing, now, table.index(standing.tier) or 0)),
    )


def _lapse(table: TierTable, standing: Standing, now: datetime, cause: Cause) -> tuple[str | None, datetime | None]:
    """Why the held level is left now, or else until when it is kept."""
    if standing.protected_until is not None:
        return "ended", None
    if standing.grace_until is not None:
        return ("lapsed", None) if standing.grace_until <= now else (None, standing.grace_until)
    if cause == "refund":
        return "refunded", None
    held = table.index(standing.tier)
    assert held is not None
    until = table.midnight(table.today(now) + timedelta(days=table.steps[held].grace_days))
    if until <= now:
        return ("table" if cause == "table" else "lapsed"), None
    return None, until


def _falls_at(
    table: TierTable, standing: Standing, now: datetime, cause: Cause, days: Mapping[date, Counts] | None = None
) -> datetime | None:
    """When to look whether the highest level reached now is still reached."""
    if table.kind == "lifetime":
        return None
    today = table.today(now)
    if table.kind == "calendar_year":
        return table.midnight(date(today.year + 1, 1, 1))
    best = reached(table, standing, today)
    if days is not None:
        day = falls_on(table, standing, days, today, best)
        return None if day is None else table.midnight(day)
    midnight = table.midnight(today + timedelta(days=1))
    known = standing.review_at
    if cause == "event" and known is not None and known > midnight and standing.tier == _code(table, best):
        return known  # one more purchase only ever makes it later
    return midnight


def _tenure_at(table: TierTable, standing: Standing, now: datetime, level: int) -> datetime | None:
    """When the member's age may next bring a level above ``level``."""
    if standing.joined_at is None:
        return None
    joined = table.today(standing.joined_at)
    moments = (
        table.midnight(joined + timedelta(days=goal.target))
        for step in table.steps[level + 1 :]
        for goal in step.goals
        if goal.kind == "tenure_days"
    )
    return _earliest(*(moment for moment in moments if moment > now))


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
