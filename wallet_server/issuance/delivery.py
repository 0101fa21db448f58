"""What became of a pass: in which state it is, how late updates arrive, and when something is wrong. No I/O here.

An *update* is everything between a pass falling behind and its phone having caught up: changes that follow
close upon each other are one. It is **queued** when the change is committed, **accepted** when Apple's push
service (or Google's server) has taken it, and **fetched** when a phone has asked us for the new card. Google
shows what it accepted and tells nothing of phones, so there an accepted update is a delivered one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Protocol

STALE_AFTER: Final = timedelta(hours=24)
"""A phone that was told and has not fetched for so long is off, or cannot reach us."""
LAG_BOUNDS_S: Final = (
    1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1_800, 3_600,
    3 * 3_600, 6 * 3_600, 12 * 3_600, 86_400, 2 * 86_400, 4 * 86_400, 7 * 86_400,
)  # fmt: skip
"""Upper ends of the lag buckets, in seconds, inclusive; one more bucket has no end."""
PROMPT_S: Final = 3_600
"""A fetch within an hour is prompt: what the alarm compares, since a week-old hour has had more time than a new one."""

Step = Literal["accepted", "fetched"]


class PassState(StrEnum):
    """In which state a pass is; exactly one, and the first that holds in this order."""

    VOIDED = "voided"
    NEW = "new"
    """Given out, and never on a phone."""
    REMOVED = "removed"
    """Was on a phone: deleted there, or the phone cannot be reached any more."""
    CURRENT = "current"
    """The wallet shows the newest version."""
    FAILED = "failed"
    """The push service, or Google, refuses the newest version; it is tried again."""
    STALE = "stale"
    """A phone was told long ago and has not fetched."""
    QUEUED = "queued"
    """The newest version waits to be taken."""
    ACCEPTED = "accepted"
    """Taken; the phone has not fetched yet."""


HELD: Final = (PassState.CURRENT, PassState.FAILED, PassState.STALE, PassState.QUEUED, PassState.ACCEPTED)
"""The states of a pass that is on a phone (Google: whose object exists and was not deleted)."""


class PassFacts(Protocol):
    """What the state is told from; a row of ``issued_pass`` has it all."""

    wallet: str
    version: int
    live: bool
    pushed_version: int
    fetched_version: int
    unfetched_since: datetime | None
    removed_at: datetime | None
    voided_at: datetime | None
    push_error: str | None


def state_of(facts: PassFacts, now: datetime, stale_after: timedelta = STALE_AFTER) -> PassState:
    """The state of one pass; ``delivery_queries.state_sql`` says the same to the database, and a test compares."""
    if facts.voided_at is not None:
        return PassState.VOIDED
    if facts.removed_at is not None:
        return PassState.REMOVED
    if not facts.live:
        return PassState.NEW
    shown = facts.fetched_version if facts.wallet == "apple" else facts.pushed_version
    if shown >= facts.version:
        return PassState.CURRENT
    if facts.push_error is not None:
        return PassState.FAILED
    if facts.unfetched_since is not None and facts.unfetched_since < now - stale_after:
        return PassState.STALE
    return PassState.QUEUED if facts.pushed_version < facts.version else PassState.ACCEPTED


def lag_bucket(lag: timedelta) -> int:
    """The place of a lag in :data:`LAG_BOUNDS_S`; a negative one (two machines' clocks) counts as none."""
    return bisect_left(LAG_BOUNDS_S, max(0.0, lag.total_seconds()))


@dataclass(frozen=True, slots=True)
class Lags:
    """Lags by bucket: how many updates were so late."""

    buckets: Mapping[int, int]

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.buckets.values())

    def within(self, seconds: int) -> int:
        """How many were at most so late; ``seconds`` is one of the bounds."""
        last = LAG_BOUNDS_S.index(seconds)
        return sum(updates for bucket, updates in self.buckets.items() if bucket <= last)

    def percentile(self, share: float) -> timedelta | None:
        """The lag that this share of the updates does not exceed, by straight lines within buckets; none without any.

        What is later than the last bound counts as that.
        """
        wanted = share * self.count
        seen = 0
        for bucket, updates in sorted(self.buckets.items()):
            if updates and seen + updates >= wanted:
                low = LAG_BOUNDS_S[bucket - 1] if bucket else 0
                high = LAG_BOUNDS_S[min(bucket, len(LAG_BOUNDS_S) - 1)]
                return timedelta(seconds=low + max(0, high - low) * (wanted - seen) / updates)
            seen += updates
        return None


@dataclass(frozen=True, slots=True)
class Asked:
    """Of some hours' updates: how many phones were asked to fetch, and how many did within an hour."""

    asked: int = 0
    prompt: int = 0

    @property
    def share(self) -> float | None:
        """Between 0 and 1; none where nobody was asked."""
        return min(1.0, self.prompt / self.asked) if self.asked else None


ASKED_MIN: Final = 50
"""With fewer phones asked, a low share says nothing: a small shop, or the night."""
USUAL_ASKED_MIN: Final = 100
"""Fewer than so many in the same hours of four weeks are no habit to compare with."""
FALLEN_BELOW: Final = 0.5
"""Of the usual share: below it the alarm begins."""
RISEN_ABOVE: Final = 0.75
"""Of the usual share: above it the alarm ends; between the two it stays as it is."""
DEVIATIONS_MIN: Final = 3.0
"""So many standard deviations of chance below the usual."""
USUAL_FLOOR: Final = 0.4
"""The usual share of a program without a history: phones that are on fetch within seconds."""
REFUSED_MIN: Final = 20
REFUSED_SHARE: Final = 0.02
"""So many passes, and such a share of all that are held, wait because their update is refused: an alarm."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``alarm``: whether it is on now. ``share``: of the last hours, none if too few were asked to say."""

    alarm: bool
    share: float | None
    usual: float | None


def judge_fetching(recent: Asked, usual: Asked, *, was_on: bool) -> Judgement:
    """Whether phones fetch less than they usually do in these hours of the week.

    Compares the share that fetched within an hour with that of the same hours of the four weeks before, or
    with a floor where there is no such history. With too few phones asked nothing is said, and an alarm that
    is on stays on.
    """
    has_history = usual.asked >= USUAL_ASKED_MIN and usual.share is not None
    expected = usual.share if has_history and usual.share is not None else USUAL_FLOOR
    known_usual = usual.share if has_history else None
    share = recent.share
    if recent.asked < ASKED_MIN or share is None:
        return Judgement(was_on, None, known_usual)
    if was_on:
        return Judgement(share < RISEN_ABOVE * expected, share, known_usual)
    chance = (max(expected * (1 - expected), 0.01) / recent.asked) ** 0.5
    fallen = share < FALLEN_BELOW * expected and expected - share > DEVIATIONS_MIN * chance
    return Judgement(fallen, share, known_usual)


def judge_refusals(passes: Mapping[PassState, int], *, was_on: bool) -> bool:
    """Whether so many passes are refused that it is no single phone's fault; ``passes`` by state."""
    failed = passes.get(PassState.FAILED, 0)
    held = sum(passes.get(state, 0) for state in HELD)
    enough = REFUSED_MIN // 2 if was_on else REFUSED_MIN
    return failed >= enough and failed >= REFUSED_SHARE * held


WINDOW_HOURS: Final = 6
WEEKS_COMPARED: Final = 4


def watched_hours(now: datetime) -> tuple[Sequence[datetime], Sequence[datetime]]:
    """The whole hours that the alarm looks at, and the same ones of the four weeks before.

    The newest ended at least an hour ago: every phone of it has had the hour that counts as prompt.
    """
    end = (now - timedelta(seconds=PROMPT_S)).replace(minute=0, second=0, microsecond=0)
    recent = [end - timedelta(hours=back) for back in range(1, WINDOW_HOURS + 1)]
    usual = [hour - timedelta(weeks=weeks) for weeks in range(1, WEEKS_COMPARED + 1) for hour in recent]
    return recent, usual
