"""Reading the truth about passes: how many are in which state, how late updates came, and one card's own story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import UTCDateTime
from wallet_server.issuance.delivery import (
    LAG_BOUNDS_S,
    PROMPT_S,
    STALE_AFTER,
    Asked,
    Lags,
    PassState,
    Step,
    state_of,
    watched_hours,
)
from wallet_server.issuance.models import DeliveryHour, DeliveryWatch, Device, IssuedPass, Registration
from wallet_server.members.models import Member
from wallet_server.programs.definition import ProgramDefinition

DAYS_SHOWN: Final = 30
PASSES_MAX: Final = 100
"""Passes on one page of a list."""
PHONES_MAX: Final = 20
"""Phones of one card that its story names."""


_NUMBERED: Final = tuple(PassState)


def state_sql(now: datetime, stale_after: timedelta = STALE_AFTER) -> sa.ColumnElement[int]:
    """:func:`wallet_server.issuance.delivery.state_of`, said to the database, as the state's place in `PassState`.

    A number, because the database groups a hundred thousand rows by it, which costs twice as much with words.
    """
    issued = IssuedPass
    shown = sa.case((col(issued.wallet) == "apple", col(issued.fetched_version)), else_=col(issued.pushed_version))
    return sa.case(
        (col(issued.voided_at).is_not(None), number_of(PassState.VOIDED)),
        (col(issued.removed_at).is_not(None), number_of(PassState.REMOVED)),
        (sa.not_(col(issued.live)), number_of(PassState.NEW)),
        (shown >= col(issued.version), number_of(PassState.CURRENT)),
        (col(issued.push_error).is_not(None), number_of(PassState.FAILED)),
        (col(issued.unfetched_since) < now - stale_after, number_of(PassState.STALE)),
        (col(issued.pushed_version) < col(issued.version), number_of(PassState.QUEUED)),
        else_=number_of(PassState.ACCEPTED),
    )


def number_of(state: PassState) -> int:
    """As which number the database says a state."""
    return _NUMBERED.index(state)


def numbered(number: int) -> PassState:
    """The state that the database says as this number."""
    return _NUMBERED[number]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why updates are not taken, and of how many passes."""

    wallet: str
    reason: str
    passes: int


@dataclass(frozen=True, slots=True)
class Stock:
    """All passes of a program now: number by wallet and state; and what refuses updates."""

    passes: Mapping[str, Mapping[PassState, int]]
    refusals: Sequence[Refusal]

    def of(self, wallet: str, *states: PassState) -> int:
        """How many passes of this wallet are in one of these states."""
        mine = self.passes.get(wallet, {})
        return sum(mine.get(state, 0) for state in states)


def stock(session: Session, now: datetime, stale_after: timedelta = STALE_AFTER) -> dict[UUID, Stock]:
    """The passes of each program in the session's scope; one walk over all of them, which is the tick's work."""
    state = state_sql(now, stale_after).label("state")
    is_apple = sa.case((col(IssuedPass.wallet) == "apple", 1), else_=0).label("is_apple")
    rows = session.execute(
        sa.select(col(IssuedPass.program_id), is_apple, state, sa.func.count()).group_by(
            col(IssuedPass.program_id), is_apple, state
        )
    )
    passes: dict[UUID, dict[str, dict[PassState, int]]] = {}
    for program_id, apple, number, count in rows:
        passes.setdefault(program_id, {}).setdefault("apple" if apple else "google", {})[numbered(number)] = count
    refused = refusals(session) if passes else {}
    return {program_id: Stock(found, refused.get(program_id, ())) for program_id, found in passes.items()}


def refusals(session: Session) -> dict[UUID, list[Refusal]]:
    """Why updates are refused, by program of the session's scope, the most frequent reason first."""
    issued = IssuedPass
    count = sa.func.count()
    rows = session.execute(
        sa.select(col(issued.program_id), col(issued.wallet), col(issued.push_error), count)
        .where(
            col(issued.push_error).is_not(None),
            col(issued.live),
            col(issued.version) > col(issued.pushed_version),
            col(issued.removed_at).is_(None),
            col(issued.voided_at).is_(None),
        )
        .group_by(col(issued.program_id), col(issued.wallet), col(issued.push_error))
        .order_by(count.desc(), col(issued.push_error))
    )
    found: dict[UUID, list[Refusal]] = {}
    for program_id, wallet, reason, number in rows:
        found.setdefault(program_id, []).append(Refusal(wallet, reason, number))
    return found


@dataclass(frozen=True, slots=True)
class Counted:
    """A program's passes as they were counted ``at`` a moment."""

    stock: Stock
    at: datetime


def counted(session: Session, program: ProgramDefinition, now: datetime) -> Counted:
    """What the tick counted last, at most a minute ago while it runs; counted now where it never did."""
    watch = watch_of(session, program.id)
    if watch is None:
        return Counted(stock(session, now).get(program.id, Stock({}, ())), now)
    passes = {
        wallet: {PassState(state): number for state, number in states.items()}
        for wallet, states in watch.passes.items()
    }
    return Counted(Stock(passes, refusals(session).get(program.id, ())), watch.watched_at)


@dataclass(frozen=True, slots=True)
class Phones:
    """``phones`` are known to us, with ``cards`` on them together; Google tells of no phones."""

    phones: int
    cards: int


def phones(session: Session, program: ProgramDefinition) -> Phones:
    """The iPhones and watches that are registered for cards of the program."""
    row = session.execute(
        sa.select(sa.func.count(col(Registration.device_id).distinct()), sa.func.count()).where(
            col(Registration.program_id) == program.id
        )
    ).one()
    return Phones(*row)


@dataclass(frozen=True, slots=True)
class Updates:
    """Updates whose change was made in some time: how many were taken, how many fetched, and how late."""

    accepted: Lags
    fetched: Lags

    @property
    def share(self) -> float | None:
        """Of those that phones were asked for, the part that was fetched; none where nobody was asked."""
        return min(1.0, self.fetched.count / self.accepted.count) if self.accepted.count else None


Steps = dict[tuple[str, Step], dict[int, int]]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the program's time zone, and its updates by wallet."""

    day: date
    updates: Mapping[str, Updates]


def updates_by_day(session: Session, program: ProgramDefinition, now: datetime, days: int = DAYS_SHOWN) -> list[Day]:
    """Today and the days before it, newest first, each there even if nothing happened."""
    zone = ZoneInfo(program.time_zone)
    today = now.astimezone(zone).date()
    dates = [today - timedelta(days=back) for back in range(days)]
    span = sa.union_all(
        *(
            sa.select(
                sa.literal(place, sa.Integer()).label("place"),
                sa.literal(_midnight(day, zone), UTCDateTime()).label("start"),
                sa.literal(_midnight(day + timedelta(days=1), zone), UTCDateTime()).label("end"),
            )
            for place, day in enumerate(dates)
        )
    ).cte("span")
    hour = DeliveryHour
    rows = session.execute(
        sa.select(span.c.place, col(hour.wallet), col(hour.step), col(hour.lag_bucket), sa.func.sum(col(hour.updates)))
        .join(
            DeliveryHour,
            sa.and_(col(hour.program_id) == program.id, col(hour.hour) >= span.c.start, col(hour.hour) < span.c.end),
        )
        .group_by(span.c.place, col(hour.wallet), col(hour.step), col(hour.lag_bucket))
    )
    found: dict[int, Steps] = {}
    for place, wallet, step, bucket, updates in rows:
        found.setdefault(place, {}).setdefault((wallet, step), {})[bucket] = int(updates)
    return [Day(day, _by_wallet(found.get(place, {}))) for place, day in enumerate(dates)]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def _by_wallet(steps: Steps) -> dict[str, Updates]:
    return {
        wallet: Updates(Lags(steps.get((wallet, "accepted"), {})), Lags(steps.get((wallet, "fetched"), {})))
        for wallet in ("apple", "google")
    }


def together(days: Sequence[Day], wallet: str) -> Updates:
    """The updates of several days as one."""

    def added(parts: Sequence[Lags]) -> Lags:
        buckets: dict[int, int] = {}
        for part in parts:
            for bucket, updates in part.buckets.items():
                buckets[bucket] = buckets.get(bucket, 0) + updates
        return Lags(buckets)

    mine = [day.updates[wallet] for day in days]
    return Updates(added([one.accepted for one in mine]), added([one.fetched for one in mine]))


@dataclass(frozen=True, slots=True)
class PassLine:
    """One pass of a list, and whose it is."""

    issued: IssuedPass
    member: Member


def passes_in_state(
    session: Session,
    program: ProgramDefinition,
    state: PassState,
    wallet: str,
    now: datetime,
    *,
    stale_after: timedelta = STALE_AFTER,
    after: tuple[datetime | None, UUID] | None = None,
    limit: int = 50,
) -> list[PassLine]:
    """Passes in one state, at most :data:`PASSES_MAX`: those that owe a fetch the longest first, others by their ids.

    ``after`` continues a list behind a pass: its ``unfetched_since`` and id. Passes that owe a fetch, and those
    that are refused, are found by indexes of their own.
    """
    issued = IssuedPass
    statement = (
        sa.select(IssuedPass, Member)
        .join(Member, col(Member.id) == col(issued.member_id))
        .where(
            col(issued.program_id) == program.id,
            col(issued.wallet) == wallet,
            state_sql(now, stale_after) == number_of(state),
        )
        .limit(min(limit, PASSES_MAX))
    )
    if state in (PassState.STALE, PassState.ACCEPTED):
        # Not by id: SQLite would walk through all passes in that order.
        statement = statement.where(col(issued.unfetched_since).is_not(None))
        statement = statement.order_by(col(issued.unfetched_since), col(issued.id))
        if after is not None and after[0] is not None:
            place = sa.tuple_(col(issued.unfetched_since), col(issued.id))
            statement = statement.where(place > sa.tuple_(sa.literal(after[0], UTCDateTime()), sa.literal(after[1])))
    else:
        statement = statement.order_by(col(issued.id))
        if state is PassState.FAILED:
            statement = statement.where(col(issued.push_error).is_not(None))
        if after is not None:
            statement = statement.where(col(issued.id) > after[1])
    return [PassLine(found, member) for found, member in session.execute(statement)]


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that became of a pass; ``what`` is a word that the panel has a sentence for."""

    at: datetime
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PassStory:
    """A pass's own truth: its state, the phones that hold it, and what happened, newest first."""

    issued: IssuedPass
    state: PassState
    phones: int
    happenings: Sequence[Happening]

    @property
    def lag(self) -> timedelta | None:
        """How long the newest update took to the phone (Google: to Google); none before the first."""
        reached = self.issued.fetched_at if self.issued.wallet == "apple" else self.issued.pushed_at
        begun = self.issued.delivered_change_at
        return reached - begun if reached is not None and begun is not None else None


def stories(session: Session, member_id: UUID, now: datetime) -> list[PassStory]:
    """The stories of a member's passes, Apple's first. Google's passes that were never made are left out."""
    passes = session.scalars(
        sa.select(IssuedPass)
        .where(col(IssuedPass.member_id) == member_id)
        .order_by(col(IssuedPass.wallet), col(IssuedPass.id))
        .limit(PHONES_MAX)
    ).all()
    ties = session.execute(
        sa.select(col(Registration.pass_id), col(Registration.registered_at))
        .join(Device, col(Device.id) == col(Registration.device_id))
        .where(col(Registration.pass_id).in_([issued.id for issued in passes]))
        .order_by(col(Registration.registered_at).desc())
        .limit(PHONES_MAX)
    ).all()
    told = []
    for issued in passes:
        registered = [row.registered_at for row in ties if row.pass_id == issued.id]
        told.append(PassStory(issued, state_of(issued, now), len(registered), _happenings(issued, registered)))
    return told


def _happenings(issued: IssuedPass, registered: Sequence[datetime]) -> list[Happening]:
    apple = issued.wallet == "apple"
    moments: list[tuple[datetime | None, str, str]] = [
        (issued.created_at, "given_out", ""),
        (issued.installed_at, "installed", ""),
        (issued.changed_at if issued.version > 1 else None, "changed", ""),
        (issued.behind_since if issued.behind_since != issued.changed_at else None, "behind", ""),
        (issued.pushed_at, "accepted", ""),
        # Google's save is kept in the same place, and "installed" and "removed" tell of it already.
        (issued.fetched_at if apple else None, "fetched", ""),
        (issued.removed_at, f"removed_{issued.removed_why}", ""),
        (issued.voided_at, "voided", ""),
        *((moment, "registered", "") for moment in registered if moment != issued.installed_at),
    ]
    if issued.push_error is not None and issued.behind_since is not None:
        moments.append((issued.behind_since, "refused", issued.push_error))
    found = [Happening(at, what, detail) for at, what, detail in moments if at is not None]
    return sorted(found, key=lambda happening: happening.at, reverse=True)


def asked(session: Session, program_id: UUID, hours: Sequence[datetime]) -> Asked:
    """Of the updates of these hours: how many iPhones were asked for, and how many came within an hour."""
    hour = DeliveryHour
    prompt = sa.and_(col(hour.step) == "fetched", col(hour.lag_bucket) <= LAG_BOUNDS_S.index(PROMPT_S))
    row = session.execute(
        sa.select(
            sa.func.sum(sa.case((col(hour.step) == "accepted", col(hour.updates)), else_=0)),
            sa.func.sum(sa.case((prompt, col(hour.updates)), else_=0)),
        ).where(col(hour.program_id) == program_id, col(hour.wallet) == "apple", col(hour.hour).in_(hours))
    ).one()
    return Asked(int(row[0] or 0), int(row[1] or 0))


def recent_and_usual(session: Session, program_id: UUID, now: datetime) -> tuple[Asked, Asked]:
    """What the alarm compares: the last whole hours, and the same ones of the weeks before."""
    recent, usual = watched_hours(now)
    return asked(session, program_id, recent), asked(session, program_id, usual)


def watch_of(session: Session, program_id: UUID) -> DeliveryWatch | None:
    """What the last look at the program's passes found; none before the first."""
    return session.get(DeliveryWatch, program_id)
