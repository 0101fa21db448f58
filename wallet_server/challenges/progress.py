"""How purchases move challenges: windows, contributions, rounds. Pure; ``services.py`` keeps the rows.

**Units.** A contribution, and the progress that is their sum, is counted in the metric's own unit: visits,
purchases, minor units of money, or *thousandths* of a quantity. What people see is in whole units, floored:
2.5 kg of a 5 kg challenge shows as 2 of 5, and the half is not lost.

**Windows** are local calendar periods of the business date (the local day at the outlet), so a receipt that
comes late counts in the window in which it was bought. Their keys sort: ``2026-11-23``, ``2026-W48`` (ISO
week), ``2026-11``, ``2026``, or ``all``.

**Rounds.** Each time that progress reaches another multiple of the target, a round is completed. What
counts goes on counting after the last round that brings a reward, so that progress is always the sum of
what was bought.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from wallet_server.programs.file import Challenge
from wallet_server.rewards.wins import Completion

__all__ = [
    "ROUNDS_MAX_PER_PURCHASE",
    "WINDOW_ALL",
    "ChallengeState",
    "Completion",
    "LineFacts",
    "PurchaseFacts",
    "Standing",
    "advanced",
    "allowed_today",
    "contribution",
    "lost_rounds",
    "state_of",
    "unit_of",
    "window_key",
]

WINDOW_ALL: Final = "all"
ROUNDS_MAX_PER_PURCHASE: Final = 100
"""One receipt completes at most so many rounds of one challenge; what is beyond does not count."""

WindowKind = Literal["none", "calendar_day", "calendar_week", "calendar_month", "calendar_year"]
Ancestors = Callable[[str], tuple[str, ...]]
"""A category and all that it is part of: ``ProgramDefinition.ancestors``."""


@dataclass(frozen=True)
class LineFacts:
    """What challenges ask of a receipt's line; ``amount_minor`` is after discounts."""

    sku: str | None
    category: str | None
    quantity_thousandths: int
    amount_minor: int


@dataclass(frozen=True)
class PurchaseFacts:
    """What challenges ask of a purchase; ``outlet`` is a code, ``total_minor`` is after discounts.

    A ``visit`` without money is one too, without lines; ``purchase_id`` is then the visit's id.
    """

    purchase_id: UUID
    member_id: UUID
    outlet: str
    occurred_at: datetime
    business_date: date
    total_minor: int
    lines: tuple[LineFacts, ...]
    visit: bool = False


@dataclass(frozen=True)
class ChallengeState:
    """Where a member stands in the current window, as people see it.

    ``progress`` of ``target`` is that of the running round (the target itself once nothing more can be
    won), in whole units of the metric. ``completed`` tells whether the challenge has been completed in this
    window (``repeat: once``: ever), ``completions`` how often; ``repeatable`` whether it can be again.
    """

    code: str
    progress: int
    target: int
    completed: bool
    window: str
    completions: int
    repeatable: bool = True

    @property
    def finished(self) -> bool:
        """Nothing more can be won in this window."""
        return self.completed and not self.repeatable


@dataclass(frozen=True)
class Standing:
    """A member's row of one challenge and window: ``progress`` in the metric's own unit, over all rounds."""

    progress: int = 0
    completions: int = 0


def window_key(kind: WindowKind, day: date) -> str:
    """The key of the window of this kind that ``day`` belongs to."""
    match kind:
        case "none":
            return WINDOW_ALL
        case "calendar_day":
            return day.isoformat()
        case "calendar_week":
            year, week, _weekday = day.isocalendar()
            return f"{year:04d}-W{week:02d}"
        case "calendar_month":
            return f"{day.year:04d}-{day.month:02d}"
        case "calendar_year":
            return f"{day.year:04d}"


def unit_of(challenge: Challenge) -> int:
    """How many of the metric's own units make one unit of the target."""
    return 1000 if challenge.metric == "quantity" else 1


def contribution(challenge: Challenge, facts: PurchaseFacts, ancestors: Ancestors) -> int:
    """What a purchase counts for a challenge, in the metric's own unit, before the daily limit.

    The outlet must be one of the filter's; a line counts if its sku is one of the filter's and its category,
    or one that it is part of, is one of the filter's (a missing list asks nothing). Visits and purchases
    count one if any line counts. Without a filter on lines, money counts by the receipt's total. A visit without
    money is a visit and nothing else.
    """
    wanted = challenge.filter
    if facts.visit and challenge.metric != "visits":
        return 0
    if wanted.outlets and facts.outlet not in wanted.outlets:
        return 0
    by_line = bool(wanted.skus or wanted.categories)
    lines = [line for line in facts.lines if _counts(challenge, line, ancestors)] if by_line else list(facts.lines)
    if by_line and not lines:
        return 0
    match challenge.metric:
        case "visits" | "purchases":
            amount = 1
        case "spend_minor":
            amount = sum(line.amount_minor for line in lines) if by_line else facts.total_minor
        case _:
            amount = sum(line.quantity_thousandths for line in lines)
    return max(0, min(amount, ROUNDS_MAX_PER_PURCHASE * challenge.target * unit_of(challenge)))


def _counts(challenge: Challenge, line: LineFacts, ancestors: Ancestors) -> bool:
    wanted = challenge.filter
    if wanted.skus and line.sku not in wanted.skus:
        return False
    if wanted.categories:
        chain = ancestors(line.category) if line.category is not None else ()
        return any(category in wanted.categories for category in chain)
    return True


def allowed_today(challenge: Challenge, amount: int, counted_that_day: int) -> int:
    """``amount`` cut to what ``max_per_day`` leaves of the business date; all in the metric's own unit.

    ``max_per_day`` is in units of the target: visits, purchases, whole products, minor units of money.
    """
    if challenge.max_per_day is None:
        return amount
    return max(0, min(amount, challenge.max_per_day * unit_of(challenge) - counted_that_day))


def advanced(
    challenge: Challenge, standing: Standing, amount: int, *, completed_elsewhere: bool
) -> tuple[Standing, range]:
    """The standing after ``amount`` more, and the numbers of the rounds that it completed.

    ``completed_elsewhere``: for ``repeat: once``, whether another window already has the one completion.
    """
    progress = standing.progress + amount
    reached = progress // (challenge.target * unit_of(challenge))
    match challenge.repeat:
        case "unlimited":
            allowed = reached
        case "once_per_window":
            allowed = min(reached, 1)
        case _:
            allowed = 0 if completed_elsewhere else min(reached, 1)
    # A target that was raised later never takes a completion back.
    completions = max(standing.completions, allowed)
    rounds = range(standing.completions + 1, completions + 1)
    return replace(standing, progress=progress, completions=completions), rounds


def lost_rounds(challenge: Challenge, before: Standing, progress: int) -> range:
    """The numbers of the rounds that are no longer reached when progress falls from ``before`` to ``progress``.

    Only rounds that the fall takes: one that a target raised since then no longer reaches stays.
    """
    target = challenge.target * unit_of(challenge)
    most = before.completions if challenge.repeat == "unlimited" else 1
    had = min(before.completions, before.progress // target, most)
    left = min(had, progress // target)
    return range(before.completions - (had - left) + 1, before.completions + 1)


def state_of(challenge: Challenge, window: str, standing: Standing, *, completed_elsewhere: bool) -> ChallengeState:
    """What a member is shown of a challenge."""
    repeatable = challenge.repeat == "unlimited"
    completed = standing.completions > 0 or (challenge.repeat == "once" and completed_elsewhere)
    whole = standing.progress // unit_of(challenge)
    if repeatable:
        shown = whole - min(standing.completions, whole // challenge.target) * challenge.target
        shown = min(shown, challenge.target)
    else:
        shown = challenge.target if completed else min(whole, challenge.target)
    return ChallengeState(
        code=challenge.code,
        progress=shown,
        target=challenge.target,
        completed=completed,
        window=window,
        completions=standing.completions,
        repeatable=repeatable,
    )
