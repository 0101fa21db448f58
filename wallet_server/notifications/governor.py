"""The one decision about everything that a member may notice: now, later, in silence, or not at all. Pure.

The rules, in the order in which they are asked:

1. A promotion needs the member's consent to marketing; nothing else does.
2. Nobody is told anything who holds no pass.
3. What is no longer true is dropped.
4. In quiet hours (of the member's own day) no phone speaks: a balance changes in silence, everything else waits
   for the morning.
5. A promotion waits for the day's and the week's limit; a balance is never held back by promotions.
6. An iPhone speaks so many times a day; what is more lies on the card in silence, a balance excepted.
7. Google notifies three times in 24 hours, balances and messages counted together. The last one is kept for
   what the member has done: a promotion does not take it.
8. What follows a message closely, before the phone has fetched it, is said together with it; a promotion waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from wallet_server.programs.notifications import NotificationSettings

Kind = Literal["balance", "tier", "challenge", "voucher", "reminder", "promotion"]
AtGoogle = Literal["nothing", "balance", "notice", "text"]
Action = Literal["show", "defer", "drop"]

URGENCY: Final[dict[Kind, int]] = {
    "balance": 0,
    "tier": 1,
    "challenge": 2,
    "voucher": 2,
    "reminder": 3,
    "promotion": 4,
}
"""A till's balance before everything else, a promotion after it."""
BIDDEN: Final[frozenset[Kind]] = frozenset({"reminder", "promotion"})
"""Kinds that somebody else's wish brings, not something that has happened to the member."""
GOOGLE_NOTICES_A_DAY: Final = 3
KEPT_FOR_EVENTS: Final = 1
DAY: Final = timedelta(hours=24)
WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Policy:
    """The program's limits; ``None`` is no limit. Quiet hours may go over midnight."""

    quiet_from: time | None = None
    quiet_to: time | None = None
    promotions_per_day: int | None = None
    promotions_per_week: int | None = None
    messages_per_day: int = 10
    merge: timedelta = timedelta(seconds=20)

    @classmethod
    def of(cls, settings: NotificationSettings) -> Policy:
        """The policy of a program file."""
        quiet = settings.quiet_hours
        return cls(
            quiet_from=quiet.first if quiet else None,
            quiet_to=quiet.last if quiet else None,
            promotions_per_day=settings.promotions_per_day,
            promotions_per_week=settings.promotions_per_week,
            messages_per_day=settings.messages_per_day,
            merge=timedelta(seconds=settings.merge_seconds),
        )

    def quiet_until(self, now: datetime, zone: str) -> datetime | None:
        """When phones of this zone (IANA name) may speak again; ``None``: now."""
        if self.quiet_from is None or self.quiet_to is None:
            return None
        here = now.astimezone(ZoneInfo(zone))
        clock = here.time()
        if self.quiet_from < self.quiet_to:
            quiet, tomorrow = self.quiet_from <= clock < self.quiet_to, False
        else:
            quiet, tomorrow = clock >= self.quiet_from or clock < self.quiet_to, clock >= self.quiet_from
        if not quiet:
            return None
        day = here.date() + timedelta(days=1) if tomorrow else here.date()
        ends = datetime.combine(day, self.quiet_to, tzinfo=ZoneInfo(zone)).astimezone(now.tzinfo)
        # In the night in which clocks are turned the hour may be one that has been or never comes.
        return max(ends, now + timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that went onto the pass."""

    at: datetime
    kind: Kind
    speaks: bool = True
    at_google: AtGoogle = "nothing"


@dataclass(frozen=True, slots=True)
class MemberState:
    """What is known of a member. ``shown`` are the messages of the last seven days, in any order."""

    zone: str
    consent: bool = False
    on_apple: bool = False
    on_google: bool = False
    shown: Sequence[Shown] = ()
    fetched_at: datetime | None = None
    """When an iPhone last fetched the pass."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A message that is to be decided about; ``expires_at`` is when it is no longer true.

    ``kind`` is the most urgent thing that it says; ``says_more``: a balance is not all of it.
    """

    kind: Kind
    expires_at: datetime | None = None
    says_more: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done, and why.

    ``until`` is when a deferred message is decided about again. A message that is shown ``speaks`` on iPhones or
    not, is told ``at_google`` in one of four ways, and ``joins`` the newest one, which no phone has fetched.
    """

    action: Action
    reason: str = ""
    until: datetime | None = None
    speaks: bool = False
    at_google: AtGoogle = "nothing"
    joins: bool = False


def decide(state: MemberState, wish: Wish, policy: Policy, now: datetime) -> Verdict:
    """Decide about one message; reads nothing, changes nothing."""
    if wish.kind == "promotion" and not state.consent:
        return Verdict("drop", "no_consent")
    if not state.on_apple and not state.on_google:
        return Verdict("drop", "no_pass")
    if wish.expires_at is not None and wish.expires_at <= now:
        return Verdict("drop", "expired")
    waits = _has_to_wait(state, wish, policy, now)
    if waits is not None:
        return waits
    recent = [message for message in state.shown if message.at > now - DAY]
    spoken = sum(message.speaks for message in recent)
    speaks = state.on_apple and (wish.kind == "balance" or spoken < policy.messages_per_day)
    at_google = _at_google(state, wish, recent)
    reason = ""
    if state.on_apple and not speaks:
        reason = "apple_limit"
    elif state.on_google and at_google not in ("balance", "notice"):
        reason = "google_limit"
    return Verdict("show", reason, speaks=speaks, at_google=at_google, joins=_joins(state, policy, now))


def _has_to_wait(state: MemberState, wish: Wish, policy: Policy, now: datetime) -> Verdict | None:
    until, reason = policy.quiet_until(now, state.zone), "quiet_hours"
    if until is not None and wish.kind == "balance":
        return Verdict("drop", reason)
    if until is None and wish.kind == "promotion":
        promotions = sorted(message.at for message in state.shown if message.kind == "promotion")
        limits = ((policy.promotions_per_day, DAY, "day_limit"), (policy.promotions_per_week, WEEK, "week_limit"))
        for limit, span, name in limits:
            free = _free_at(promotions, limit, span, now)
            if free is not None and (until is None or free > until):
                until, reason = free, name
    if until is None and wish.kind in BIDDEN and _joins(state, policy, now):
        until, reason = max(message.at for message in state.shown) + policy.merge, "just_told"
    if until is None:
        return None
    if wish.expires_at is not None and wish.expires_at <= until:
        return Verdict("drop", reason)
    return Verdict("defer", reason, until)


def _free_at(shown: Sequence[datetime], limit: int | None, span: timedelta, now: datetime) -> datetime | None:
    """When one more may be shown; ``None``: now. With a limit of none it is looked at again after the span."""
    if limit is None:
        return None
    within = [moment for moment in shown if moment > now - span]
    if len(within) < limit:
        return None
    return (within[-limit] if limit else now) + span


def _at_google(state: MemberState, wish: Wish, recent: Sequence[Shown]) -> AtGoogle:
    if not state.on_google:
        return "nothing"
    used = sum(message.at_google in ("balance", "notice") for message in recent)
    room = GOOGLE_NOTICES_A_DAY - (KEPT_FOR_EVENTS if wish.kind in BIDDEN else 0)
    only_balance = wish.kind == "balance" and not wish.says_more
    if used < room:
        return "balance" if only_balance else "notice"
    return "nothing" if only_balance else "text"


def _joins(state: MemberState, policy: Policy, now: datetime) -> bool:
    """The newest message is so fresh that no phone has it. Google has had it at once, and would say it twice."""
    newest = max((message.at for message in state.shown), default=None)
    if newest is None or not state.on_apple or state.on_google:
        return False
    return now - newest < policy.merge and (state.fetched_at is None or state.fetched_at < newest)
