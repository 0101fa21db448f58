"""Write down what became of passes: taken, refused, fetched; and count it by the hour.

A phone's fetch is one conditional UPDATE and nothing else: thousands may come in a second after a campaign. The
tick counts fetches afterwards. What the push service took is counted at once, for a whole batch of a worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from wallet_server.db import UTCDateTime, among
from wallet_server.issuance.delivery import Step, lag_bucket
from wallet_server.issuance.models import DeliveryHour, DeliveryMark, IssuedPass
from wallet_server.reads import Asked, OneOf, Read, ask

PASS: sa.Table = IssuedPass.__table__  # type: ignore[attr-defined]
HOUR: sa.Table = DeliveryHour.__table__  # type: ignore[attr-defined]
PUSH_ERROR_CHARACTERS_MAX: Final = 200
COUNTED_AFTER: Final = timedelta(seconds=3)
"""A fetch may be committed a little after the moment that it names: a lock is waited for two seconds at most."""
FETCHES_READ_AT_ONCE: Final = 2_000
_NO_TIME: Final = sa.null()

HourKey = tuple[UUID, datetime, str, Step, int]
"""Program, hour, wallet, step, bucket of the lag."""


@dataclass(slots=True)
class Counts:
    """Updates to add to the hours: by key how many, and their lags together in milliseconds."""

    by_key: dict[HourKey, tuple[int, int]]

    @classmethod
    def none(cls) -> Counts:
        """Nothing to add."""
        return cls({})

    def add(
        self, program_id: UUID, wallet: str, step: Step, *, changed_at: datetime, now: datetime, more: int = 1
    ) -> None:
        """So many ``more`` updates whose first change was made at ``changed_at`` have come to ``step`` now."""
        lag = max(timedelta(0), now - changed_at)
        key = (program_id, hour_of(changed_at), wallet, step, lag_bucket(lag))
        updates, lag_ms = self.by_key.get(key, (0, 0))
        self.by_key[key] = updates + more, lag_ms + more * round(lag.total_seconds() * 1_000)


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour, UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)


def add_counts(session: Session, counts: Counts) -> None:
    """Add to the hours, in the order of their keys: workers that count at the same time wait and do not die."""
    if not counts.by_key:
        return
    rows = [
        {
            "program_id": program_id,
            "hour": hour,
            "wallet": wallet,
            "step": step,
            "lag_bucket": bucket,
            "updates": updates,
            "lag_ms": lag_ms,
        }
        for (program_id, hour, wallet, step, bucket), (updates, lag_ms) in sorted(counts.by_key.items())
    ]
    # Row by row of a statement that stays the same: there are one or two.
    added = (sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert)(HOUR)
    session.flush()
    session.connection().execute(
        added.on_conflict_do_update(
            index_elements=["program_id", "hour", "wallet", "step", "lag_bucket"],
            set_={
                "updates": HOUR.c.updates + added.excluded.updates,
                "lag_ms": HOUR.c.lag_ms + added.excluded.lag_ms,
            },
        ),
        rows,
    )


def record_fetch(session: Session, pass_id: UUID, version: int, now: datetime) -> None:
    """Note that a phone has fetched this version: the change is delivered. Older news is ignored.

    What was changed or pushed meanwhile is an update of its own, which begins where that happened.
    """
    table = IssuedPass
    session.execute(
        sa.update(IssuedPass)
        .where(col(table.id) == pass_id, col(table.fetched_version) < version)
        .values(
            fetched_version=version,
            fetched_at=now,
            delivered_change_at=col(table.behind_since),
            behind_since=sa.case(
                (sa.and_(col(table.live), col(table.version) > version), col(table.changed_at)), else_=_NO_TIME
            ),
            unfetched_since=sa.case((col(table.pushed_version) > version, col(table.pushed_at)), else_=_NO_TIME),
        ),
        execution_options={"synchronize_session": False},
    )


def record_pushed(session: Session, versions: Mapping[UUID, int], now: datetime) -> None:
    """Note that the push service, or Google, took these versions of passes, and count the updates that it ends.

    An update of Apple's that a phone has already been asked for is not asked for a second time.
    """
    if not versions:
        return
    values = {"versions": {pass_id.hex: version for pass_id, version in versions.items()}, "now": now}
    counts = Counts.none()
    # What is told to everybody changed for everybody in one moment.
    for (program_id, wallet, changed_at), more in ask(session, Asked(_TAKEN, values, Counter)).items():
        if changed_at is not None:
            counts.add(program_id, wallet, "accepted", changed_at=changed_at, now=now, more=more)
    add_counts(session, counts)


def _take(_one_of: OneOf) -> sa.sql.dml.ReturningUpdate[Any]:
    """Returns program, wallet, and the first change of the update if it counts as accepted now."""
    table = PASS.c
    # One statement for however many versions there are: an object of JSON, by the pass's id.
    given = sa.func.json_each(sa.bindparam("versions", type_=sa.JSON)).table_valued("key", "value", name="given")
    version = sa.cast(sa.cast(given.c.value, sa.Text), sa.BigInteger)
    now = sa.bindparam("now", type_=UTCDateTime())
    at_google = table.wallet == "google"
    asked = sa.and_(~at_google, table.fetched_version < version, table.unfetched_since.is_(None))
    still_behind = sa.case((table.version > version, table.changed_at), else_=_NO_TIME)
    # What is returned is of the rows as they are afterwards.
    counted = sa.case(
        # At Google this ends the update; an iPhone may fetch before the push service's answer is written.
        (sa.or_(at_google, table.fetched_version >= table.pushed_version), table.delivered_change_at),
        (table.unfetched_since == now, table.behind_since),
        else_=_NO_TIME,
    )
    return (
        sa.update(PASS)
        .where(table.id == sa.cast(given.c.key, sa.Uuid()), table.pushed_version < version)
        .values(
            pushed_version=version,
            pushed_at=now,
            push_error=None,
            unfetched_since=sa.case((asked, now), else_=table.unfetched_since),
            delivered_change_at=sa.case((at_google, table.behind_since), else_=table.delivered_change_at),
            behind_since=sa.case((at_google, still_behind), else_=table.behind_since),
        )
        .returning(table.program_id, table.wallet, sa.type_coerce(counted, UTCDateTime()))
    )


_TAKEN: Final = Read(_take)


def record_refused(session: Session, reasons: Mapping[UUID, str]) -> None:
    """Note why the newest version of passes was not taken; it is tried again. The same reason is written once."""
    by_reason: dict[str, list[UUID]] = {}
    for pass_id, reason in reasons.items():
        by_reason.setdefault(reason[:PUSH_ERROR_CHARACTERS_MAX], []).append(pass_id)
    for reason, pass_ids in sorted(by_reason.items()):
        session.execute(
            sa.update(IssuedPass)
            .where(
                among(session, col(IssuedPass.id), pass_ids),
                col(IssuedPass.version) > col(IssuedPass.pushed_version),
                col(IssuedPass.push_error).is_distinct_from(reason),
            )
            .values(push_error=reason),
            execution_options={"synchronize_session": False},
        )


@dataclass(frozen=True, slots=True)
class Fetch:
    """A card that a phone has fetched: whose, and when."""

    program_id: UUID
    member_id: UUID
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Fetches:
    """What was fetched since the last count; ``since`` is none on the very first look, which counts nothing."""

    since: datetime | None
    until: datetime
    counts: Counts
    fetched: Sequence[Fetch] = ()


def uncounted_fetches(session: Session, now: datetime) -> Fetches:
    """Read the fetches that the hours do not know yet (scope ``ALL_PROGRAMS``).

    Of several fetches of one card within these few seconds the last is seen.
    """
    until = now - COUNTED_AFTER
    since = session.scalar(sa.select(col(DeliveryMark.counted_until)))
    counts = Counts.none()
    fetched: list[Fetch] = []
    if since is None:
        return Fetches(None, until, counts)
    rows = session.execute(
        sa.select(
            col(IssuedPass.program_id),
            col(IssuedPass.member_id),
            col(IssuedPass.wallet),
            col(IssuedPass.fetched_at),
            col(IssuedPass.delivered_change_at),
        ).where(col(IssuedPass.fetched_at) > since, col(IssuedPass.fetched_at) <= until),
        execution_options={"yield_per": FETCHES_READ_AT_ONCE},
    )
    for row in rows:
        # Not asked of the database: SQLite would go by the index of wallets, through all passes of this one.
        if row.wallet != "apple":
            continue
        fetched.append(Fetch(row.program_id, row.member_id, row.fetched_at))
        if row.delivered_change_at is not None:
            counts.add(row.program_id, "apple", "fetched", changed_at=row.delivered_change_at, now=row.fetched_at)
    return Fetches(since, until, counts, fetched)


def count_fetches(session: Session, fetches: Fetches) -> bool:
    """Add what was read to the hours, unless somebody else has done so meanwhile; whether it was added."""
    if fetches.since is None:
        insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
        first = insert(DeliveryMark).values(id=1, counted_until=fetches.until)
        session.execute(first.on_conflict_do_nothing(index_elements=["id"]))
        return False
    moved = session.execute(
        sa.update(DeliveryMark)
        .where(col(DeliveryMark.counted_until) == fetches.since)
        .values(counted_until=fetches.until)
        .returning(col(DeliveryMark.id)),
        execution_options={"synchronize_session": False},
    ).scalar_one_or_none()
    if moved is None:
        return False
    add_counts(session, fetches.counts)
    return True


def fetches_by_program(fetched: Iterable[Fetch]) -> dict[UUID, dict[UUID, datetime]]:
    """By program and member the moment of the newest fetch."""
    found: dict[UUID, dict[UUID, datetime]] = {}
    for fetch in fetched:
        members = found.setdefault(fetch.program_id, {})
        members[fetch.member_id] = max(fetch.fetched_at, members.get(fetch.member_id, fetch.fetched_at))
    return found
