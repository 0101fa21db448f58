"""When points expire: always at the end of a local day of the program, once, and never while they are held (L13).

The tick books what has expired; between the end of the day and the tick nobody spends it, or is shown it:
:func:`lock_current` books it for members whose points are about to move, :func:`current_balances` reads past it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.db import UTCDateTime, among
from wallet_server.ledger.models import Lot
from wallet_server.ledger.postings import Balance, LotShares, lose
from wallet_server.ledger.queries import BALANCE, BALANCE_COLUMNS, balance_of, balances_asked
from wallet_server.ledger.services import lock_balances, post
from wallet_server.members.models import Member, MemberStatistics
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.reads import Asked, Read, Rows, ask, known, one_round
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

EXPIRED: Final = "Points expired"
EXPIRE_BATCH: Final = 500
LOT: sa.Table = Lot.__table__  # type: ignore[attr-defined]
MEMBER: sa.Table = Member.__table__  # type: ignore[attr-defined]
STATISTICS: sa.Table = MemberStatistics.__table__  # type: ignore[attr-defined]
AVAILABLE: Final = sa.and_(LOT.c.released, LOT.c.remaining > LOT.c.held)
"""Lots with points that can be spent; held ones wait until the hold is resolved."""


@dataclass(frozen=True, slots=True)
class NextExpiry:
    """The points that a member loses next: ``last_day`` is the local day until the end of which they stay."""

    points: int
    expires_at: datetime
    last_day: date


def end_of_day(day: date, zone: str) -> datetime:
    """The moment at which a local day is over, in UTC: where the next one begins."""
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def local_day(moment: datetime, zone: str) -> date:
    """The local day of a moment."""
    return moment.astimezone(ZoneInfo(zone)).date()


def expires_at(program: ProgramDefinition, earned_at: datetime) -> datetime | None:
    """When points that are earned at this moment expire: from then on they are gone.

    ``None`` where they never do, and where only inactivity ends them. Source: ``bonus-processing.md``.
    """
    expiry, zone = program.points.expiry, program.time_zone
    earned_on = local_day(earned_at, zone)
    if expiry.kind == "rolling_days":
        assert expiry.days is not None, "the program file was checked"
        return end_of_day(earned_on + timedelta(days=expiry.days), zone)
    if expiry.kind == "fixed_date":
        assert expiry.month is not None, "the program file was checked"
        assert expiry.day is not None, "the program file was checked"
        this_year = date(earned_on.year, expiry.month, expiry.day)
        # "All that was earned before it": what is earned on the day itself has a year.
        last = this_year if earned_on < this_year else this_year.replace(year=earned_on.year + 1)
        return end_of_day(last, zone)
    return None


def grace_until(program: ProgramDefinition, now: datetime) -> datetime:
    """Until when points stay that a refund returns after their lot has expired."""
    return end_of_day(
        local_day(now, program.time_zone) + timedelta(days=program.points.refund_grace_days), program.time_zone
    )


def last_day(program: ProgramDefinition, expires: datetime) -> date:
    """The last local day on which points can be spent that expire at this moment: what people are told."""
    return local_day(expires - timedelta(microseconds=1), program.time_zone)


def inactive_since(day: date, days: int, zone: str) -> datetime:
    """Who has not bought or visited since this moment was inactive for so many days when the local day ended."""
    return end_of_day(day - timedelta(days=days), zone)


def is_inactive(before: datetime) -> sa.ColumnElement[bool]:
    """Members whose last purchase or visit was before a moment; without any they count from when they joined."""
    last = STATISTICS.c.last_visit_at
    return sa.or_(last < before, sa.and_(last.is_(None), MEMBER.c.joined_at < before))


def expire_due(session: Session, now: datetime, *, limit: int = EXPIRE_BATCH) -> dict[UUID, list[UUID]]:
    """Let points expire whose time is over: of at most ``limit`` lots, of any program.

    Returns the members whose balance changed, by program; empty when nothing is due, so that a second run does
    nothing. Runs in the scope of all programs and may run twice at once.
    """
    found = _expire(session, _dated(now), now, limit)
    for row in list_programs(session):
        program = load_program(session, program_id=row.id)
        if program.points.expiry.kind == "inactivity_days":
            for program_id, member_ids in _expire(session, _idle(program, now), now, limit).items():
                found[program_id] = sorted({*found.get(program_id, ()), *member_ids})
    return found


def _lots() -> sa.Select[Any]:
    return (
        sa.select(LOT.c.program_id, LOT.c.member_id, LOT.c.id, (LOT.c.remaining - LOT.c.held).label("points"))
        .where(AVAILABLE)
        .order_by(LOT.c.expires_at, LOT.c.id)
    )


def _dated(now: datetime) -> sa.Select[Any]:
    return _lots().where(LOT.c.expires_at.is_not(None), LOT.c.expires_at <= now)


def _idle(program: ProgramDefinition, now: datetime) -> sa.Select[Any]:
    """Lots of members who were inactive for too long; points that came later than that have their days too."""
    before = _idle_before(program, now)
    return (
        _lots()
        .join(MEMBER, MEMBER.c.id == LOT.c.member_id)
        .join(STATISTICS, STATISTICS.c.member_id == LOT.c.member_id)
        .where(
            LOT.c.program_id == program.id,
            LOT.c.expires_at.is_(None),
            LOT.c.spendable_at < before,
            is_inactive(before),
        )
    )


def _idle_before(program: ProgramDefinition, now: datetime) -> datetime:
    """The moment since which a member has to have been there to keep points."""
    days = program.points.expiry.days
    assert days is not None, "the program file was checked"
    return inactive_since(local_day(now, program.time_zone) - timedelta(days=1), days, program.time_zone)


def ended_by_inactivity(
    session: Session, program: ProgramDefinition, member_id: UUID, now: datetime
) -> datetime | None:
    """Until when the member's points without a date have ended, where inactivity ends them; ``None``: none has."""
    active_at = _active_at(session.connection(), program, member_id)
    if active_at is None or active_at >= _idle_before(program, now):
        return None
    return _idle_before(program, now)


def _expire(session: Session, due: sa.Select[Any], now: datetime, limit: int) -> dict[UUID, list[UUID]]:
    connection = session.connection()
    candidates = connection.execute(due.limit(limit)).all()
    if not candidates:
        return {}
    locked = lock_balances(session, {row.member_id for row in candidates})
    # Looked at again after the lock: a till may have been faster.
    rows = connection.execute(due.where(LOT.c.id.in_([row.id for row in candidates]))).all()
    shares: dict[UUID, dict[UUID, list[tuple[UUID, int]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        shares[row.program_id][row.member_id].append((row.id, row.points))
    changed: dict[UUID, list[UUID]] = {}
    for program_id, members in shares.items():
        balances = {member_id: locked[member_id] for member_id in members}
        taken: Mapping[UUID, LotShares] = {member_id: tuple(found) for member_id, found in members.items()}
        movements = [
            lose(member_id, found, kind="expire", reason=EXPIRED, occurred_at=now) for member_id, found in taken.items()
        ]
        post(session, program_id, movements, now, balances=balances)
        emit(session, program_id, [points_expired(member_id, found) for member_id, found in taken.items()], now)
        changed[program_id] = sorted(members)
    return changed


def lock_current(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime
) -> dict[UUID, Balance]:
    """Lock the balances of the program's members as ``lock_balances`` does, less what has expired by now.

    What has expired is booked before, as the tick would have done. Costs no statement more where nothing has, in
    programs without expiry by inactivity.
    """
    return book_expired(session, program, ask(session, lock_asked(program.id, member_ids, now)), now)


@dataclass(frozen=True, slots=True)
class Locked:
    """Balances that are locked; ``expired``: some of their points have expired and are not booked yet."""

    balances: dict[UUID, Balance]
    expired: bool


def lock_asked(program_id: UUID, member_ids: Collection[UUID], now: datetime) -> Asked[Locked]:
    """The lock of :func:`lock_current`, to be asked before other things; then :func:`book_expired`."""
    if not member_ids:
        return known(Locked({}, expired=False))

    def answer(rows: Rows) -> Locked:
        return Locked({row[0]: balance_of(*row[:-1]) for row in rows}, any(row[-1] for row in rows))

    values = {"program_id": program_id, "member_ids": sorted(set(member_ids)), "now": now}
    return Asked(_LOCK, values, answer)


_LOCK: Final = Read(
    lambda one_of: (
        sa.select(
            *BALANCE_COLUMNS,
            sa.exists().where(
                LOT.c.member_id == BALANCE.c.member_id,
                AVAILABLE,
                LOT.c.expires_at.is_not(None),
                LOT.c.expires_at <= sa.bindparam("now", type_=UTCDateTime()),
            ),
        )
        .where(
            BALANCE.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
            one_of(BALANCE.c.member_id, "member_ids"),
        )
        # In the order of their ids: two batches never wait for each other in a circle.
        .order_by(BALANCE.c.member_id)
        .with_for_update(of=BALANCE)
    )
)


def book_expired(session: Session, program: ProgramDefinition, found: Locked, now: datetime) -> dict[UUID, Balance]:
    """The locked balances less what has expired by now, which is booked."""
    locked = found.balances
    if not locked:
        return {}
    due = [_dated(now)] if found.expired else []
    if program.points.expiry.kind == "inactivity_days":
        due.append(_idle(program, now))
    for lots in due:
        mine = lots.where(among(session, LOT.c.member_id, locked))
        while changed := _expire(session, mine, now, EXPIRE_BATCH):
            locked |= lock_balances(session, changed[program.id])
    return locked


def current_balances(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime
) -> dict[UUID, Balance]:
    """The accounts of the program's members less what has expired by now, whether it was booked or not; no lock."""
    with one_round(session) as ask_for:
        accounts = ask_for(balances_asked(program.id, member_ids))
        expired = ask_for(_expired_asked(program.id, member_ids, now))
    found = accounts.value
    for member_id, points in expired.value.items():
        found[member_id] = replace(found[member_id], spendable=found[member_id].spendable - points)
    if found and program.points.expiry.kind == "inactivity_days":
        for row in session.connection().execute(_idle(program, now).where(among(session, LOT.c.member_id, found))):
            before = found[row.member_id]
            found[row.member_id] = replace(before, spendable=before.spendable - row.points)
    return found


def _expired_asked(program_id: UUID, member_ids: Collection[UUID], now: datetime) -> Asked[dict[UUID, int]]:
    """Points that have expired by now and are not booked yet, of members who have any."""
    if not member_ids:
        return known({})
    values = {"program_id": program_id, "member_ids": list(member_ids), "now": now}
    return Asked(_EXPIRED, values, lambda rows: {member_id: int(points) for member_id, points in rows})


_EXPIRED: Final = Read(
    lambda one_of: (
        sa.select(LOT.c.member_id, sa.func.sum(LOT.c.remaining - LOT.c.held))
        .where(
            LOT.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
            one_of(LOT.c.member_id, "member_ids"),
            AVAILABLE,
            LOT.c.remaining > 0,  # says to both databases that the index of open lots fits
            LOT.c.expires_at <= sa.bindparam("now", type_=UTCDateTime()),
        )
        .group_by(LOT.c.member_id)
    )
)


def current_balance(session: Session, program: ProgramDefinition, member_id: UUID, now: datetime) -> Balance:
    """One member's :func:`current_balances`; all zero for one who never had a point."""
    return current_balances(session, program, [member_id], now).get(member_id, Balance())


def points_expired(member_id: UUID, shares: LotShares) -> Event:
    """What webhooks are told of points that are gone."""
    points = sum(part for _lot, part in shares)
    return Event("points.expired", member_id, {"member_id": str(member_id), "points": points})


def next_expiry(session: Session, program: ProgramDefinition, member_id: UUID, now: datetime) -> NextExpiry | None:
    """What the member loses next if nothing is bought or spent; ``None`` if nothing does."""
    connection = session.connection()
    points = sa.func.sum(LOT.c.remaining - LOT.c.held).label("points")
    mine = (AVAILABLE, LOT.c.remaining > 0, LOT.c.member_id == member_id, LOT.c.program_id == program.id)
    dated = (
        sa.select(LOT.c.expires_at, points)
        .where(*mine, LOT.c.expires_at > now)
        .group_by(LOT.c.expires_at)
        .order_by(LOT.c.expires_at)
        .limit(1)
    )
    ends: dict[datetime, int] = defaultdict(int)
    ends.update({row.expires_at: int(row.points) for row in connection.execute(dated)})
    if (active_at := _active_at(connection, program, member_id)) is not None:
        later = sa.case((LOT.c.spendable_at > active_at, LOT.c.spendable_at)).label("later")
        for row in connection.execute(
            sa.select(later, points).where(*mine, LOT.c.expires_at.is_(None)).group_by(later)
        ):
            end = _idle_end(program, row.later or active_at)
            if end > now:
                ends[end] += int(row.points)
    if not ends:
        return None
    first = min(ends)
    return NextExpiry(ends[first], first, last_day(program, first))


def _active_at(connection: sa.Connection, program: ProgramDefinition, member_id: UUID) -> datetime | None:
    """The member's last purchase or visit, where inactivity ends points."""
    if program.points.expiry.kind != "inactivity_days":
        return None
    found: datetime | None = connection.execute(
        sa.select(sa.func.coalesce(STATISTICS.c.last_visit_at, MEMBER.c.joined_at))
        .join(STATISTICS, STATISTICS.c.member_id == MEMBER.c.id)
        .where(MEMBER.c.id == member_id, MEMBER.c.program_id == program.id)
    ).scalar()
    return found


def _idle_end(program: ProgramDefinition, moment: datetime) -> datetime:
    days = program.points.expiry.days
    assert days is not None, "the program file was checked"
    return end_of_day(local_day(moment, program.time_zone) + timedelta(days=days), program.time_zone)
