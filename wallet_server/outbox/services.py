"""Work that outlives its process: a row is written with the change that asks for it, then done by a worker.

A row is taken under a lease with a generation number. Whoever lost the lease (a worker that hung, or the
orphan of a killed one) can no longer finish the row: its generation is old (fencing, invariant C4).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import UTCDateTime, insert_rows
from wallet_server.outbox.models import OutboxRow
from wallet_server.reads import Asked, OneOf, Read, ask, one_round

OUTBOX: sa.Table = OutboxRow.__table__  # type: ignore[attr-defined]
LEASE: Final = timedelta(seconds=30)
"""A job must be over, and its rows finished, within this time."""
RING_AGAIN_AFTER: Final = timedelta(seconds=5)
"""The sweeper's rule: what was announced this long ago and is still due is announced again."""
ATTEMPTS_MAX: Final = 10
LAPSES_MAX: Final = 3
CLAIM_MAX: Final = 200
BACK_OFF_FIRST: Final = timedelta(seconds=2)
BACK_OFF_MAX: Final = timedelta(minutes=5)
ERROR_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something to do after the commit. ``payload`` holds ids only and its version, ``{"v": 1, …}``."""

    topic: str
    queue: str
    program_id: UUID
    payload: Mapping[str, Any]
    priority: int = 0
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Leased:
    """A row that this worker, and no other, may finish."""

    id: int
    topic: str
    program_id: UUID
    payload: Mapping[str, Any]
    generation: int
    attempts: int


def add(
    session: Session,
    *,
    topic: str,
    queue: str,
    program_id: UUID,
    payload: Mapping[str, Any],
    now: datetime,
    priority: int = 0,
    not_before: datetime | None = None,
) -> None:
    """Write one row of work in the caller's transaction; a smaller ``priority`` is done sooner."""
    work = Work(
        topic=topic, queue=queue, program_id=program_id, payload=payload, priority=priority, not_before=not_before
    )
    add_many(session, [work], now=now)


def add_many(session: Session, works: Sequence[Work], *, now: datetime) -> None:
    """Write many rows of work with one statement."""
    insert_rows(
        session,
        OutboxRow,
        [
            {
                "topic": work.topic,
                "queue": work.queue,
                "priority": work.priority,
                "program_id": work.program_id,
                "payload": dict(work.payload),
                "state": "waiting",
                "attempts": 0,
                "lapses": 0,
                "lease_generation": 0,
                "not_before": work.not_before or now,
                "created_at": now,
                "error": "",
            }
            for work in works
        ],
    )


def _free(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """Nobody works on the row: it waits, or its worker's lease has lapsed (but not too often)."""
    return sa.and_(
        col(OutboxRow.not_before) <= now,
        sa.or_(
            col(OutboxRow.state) == "waiting",
            sa.and_(
                col(OutboxRow.state) == "leased",
                col(OutboxRow.lease_until) < now,
                col(OutboxRow.lapses) < LAPSES_MAX - 1,
            ),
        ),
    )


def has_due(session: Session, queue: str, now: datetime, *, priority_max: int | None = None) -> bool:
    """Whether :func:`due` would find anything; locks nothing, so that idle dispatchers are in nobody's way."""
    return session.scalar(sa.select(_due_ids(queue, now, 1, priority_max).exists())) or False


def due(session: Session, queue: str, now: datetime, limit: int, *, priority_max: int | None = None) -> list[int]:
    """Ids of rows to announce now, most urgent first; they count as announced from here on.

    With ``priority_max`` only those that are at least so urgent. Several dispatchers may ask at once: each row
    goes to one of them.
    """
    marked = session.execute(
        sa.update(OutboxRow)
        .where(_among(_due_ids(queue, now, limit, priority_max).with_for_update(skip_locked=True)))
        .values(rung_at=now)
        .returning(col(OutboxRow.priority), col(OutboxRow.id)),
        execution_options={"synchronize_session": False},
    )
    return [row_id for _priority, row_id in sorted(tuple(row) for row in marked)]


def _due_ids(queue: str, now: datetime, limit: int, priority_max: int | None) -> sa.Select[int | None]:
    rung_at = col(OutboxRow.rung_at)
    urgent_enough = sa.true() if priority_max is None else col(OutboxRow.priority) <= priority_max
    return (
        sa.select(col(OutboxRow.id))
        .where(col(OutboxRow.state).in_(("waiting", "leased")))  # says to SQLite that the partial index fits
        .where(col(OutboxRow.queue) == queue, _free(now))
        .where(sa.or_(rung_at.is_(None), rung_at <= now - RING_AGAIN_AFTER), urgent_enough)
        .order_by(col(OutboxRow.priority), col(OutboxRow.id))
        .limit(limit)
    )


def _among(ids: sa.Select[int | None]) -> sa.ColumnElement[bool]:
    # A CTE that locks rows is computed once; PostgreSQL may run a plain sub-select anew for each row, and
    # with SKIP LOCKED it would find others each time.
    return col(OutboxRow.id).in_(sa.select(ids.cte("chosen").c.id))


def claim(session: Session, ids: Collection[int], now: datetime) -> list[Leased]:
    """Lease those of the rows that are free; the others are somebody else's, done, or not yet due.

    A lapsed lease is taken over under a new generation. Rows come in the order of urgency.
    """
    assert len(ids) <= CLAIM_MAX, f"{len(ids)} rows were to be claimed at once"
    values = {"ids": list(ids), "now": now, "until": now + LEASE}
    rows = ask(session, Asked(_CLAIM, values, list))
    return [Leased(*row[1:]) for row in sorted(rows, key=lambda row: (row[0], row[1]))]


def _lease(one_of: OneOf) -> sa.sql.dml.ReturningUpdate[Any]:
    table = OUTBOX.c
    now, until = (sa.bindparam(name, type_=UTCDateTime()) for name in ("now", "until"))
    wanted = sa.select(table.id).where(one_of(table.id, "ids"), _free(now)).order_by(table.id)
    return (
        sa.update(OUTBOX)
        .where(_among(wanted.with_for_update(skip_locked=True)))
        .values(
            state="leased",
            lease_until=until,
            lease_generation=table.lease_generation + 1,
            attempts=table.attempts + 1,
            # The old state is what the row had before this statement: leased means that a worker died.
            lapses=table.lapses + sa.case((table.state == "leased", 1), else_=0),
        )
        .returning(
            table.priority,
            table.id,
            table.topic,
            table.program_id,
            table.payload,
            table.lease_generation,
            table.attempts,
        )
    )


_CLAIM: Final = Read(_lease)


def _held(row: Any, generation: Any) -> sa.ColumnElement[bool]:
    return sa.and_(
        col(OutboxRow.id) == row,
        col(OutboxRow.state) == "leased",
        col(OutboxRow.lease_generation) == generation,
    )


def finish(session: Session, leased: Leased, now: datetime) -> bool:
    """Mark a row done. False: the lease was lost meanwhile, and the row is another worker's."""
    return finish_all(session, [leased], now) == 1


def finish_all(session: Session, rows: Collection[Leased], now: datetime) -> int:
    """Mark rows done, in one round; how many. The others' leases were lost meanwhile."""
    with one_round(session) as asks:
        answers = [asks(Asked(_FINISH, {"row": row.id, "generation": row.generation, "now": now}, len)) for row in rows]
    return sum(answer.value for answer in answers)


def _finish(_one_of: OneOf) -> sa.sql.dml.ReturningUpdate[Any]:
    row = sa.bindparam("row", type_=OUTBOX.c.id.type)
    return (
        sa.update(OUTBOX)
        .where(_held(row, sa.bindparam("generation", type_=sa.Integer())))
        .values(state="done", finished_at=sa.bindparam("now", type_=UTCDateTime()), lease_until=None, error="")
        .returning(OUTBOX.c.id)
    )


_FINISH: Final = Read(_finish)


def retry(
    session: Session,
    leased: Leased,
    now: datetime,
    *,
    error: str,
    delay: timedelta,
    attempts_max: int = ATTEMPTS_MAX,
) -> bool:
    """Give a row back to be tried again after ``delay``, or mark it failed at its last attempt.

    False: the lease was lost meanwhile.
    """
    error = error[:ERROR_CHARACTERS_MAX]
    if leased.attempts >= attempts_max:
        return _mark(session, leased, state="failed", finished_at=now, lease_until=None, error=error)
    return _mark(session, leased, state="waiting", not_before=now + delay, lease_until=None, rung_at=None, error=error)


def _mark(session: Session, leased: Leased, **values: Any) -> bool:
    result = session.execute(
        sa.update(OutboxRow).where(_held(leased.id, leased.generation)).values(**values).returning(col(OutboxRow.id)),
        execution_options={"synchronize_session": False},
    )
    return result.scalar_one_or_none() is not None


def back_off(attempts: int, jitter: float) -> timedelta:
    """How long to wait after so many attempts: doubling from 2 s to 5 min, spread by ``jitter`` (0 to 1).

    Half of the time is fixed and half is spread, so that what failed together does not come back together.
    """
    doublings = min(max(attempts, 1) - 1, 20)
    longest = min(BACK_OFF_FIRST * (1 << doublings), BACK_OFF_MAX)
    return longest * (0.5 + 0.5 * jitter)


def _poison(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        col(OutboxRow.state) == "leased",
        col(OutboxRow.lease_until) < now,
        col(OutboxRow.lapses) >= LAPSES_MAX - 1,
    )


def has_poison(session: Session, now: datetime) -> bool:
    """Whether :func:`bury` would find anything; a read."""
    return session.scalar(sa.select(sa.select(col(OutboxRow.id)).where(_poison(now)).exists())) or False


def bury(session: Session, now: datetime) -> list[int]:
    """Mark rows on which a worker died three times as failed, so that they take no fourth one; their ids."""
    buried = session.execute(
        sa.update(OutboxRow)
        .where(_poison(now))
        .values(state="failed", finished_at=now, error=f"poison: {LAPSES_MAX} workers died on it")
        .returning(col(OutboxRow.id)),
        execution_options={"synchronize_session": False},
    )
    return sorted(row_id for (row_id,) in buried if row_id is not None)


def prune(session: Session, before: datetime, *, limit: int = 5_000) -> int:
    """Delete rows that were done before a moment, at most ``limit`` at once; how many were deleted."""
    old = (
        sa.select(col(OutboxRow.id))
        .where(col(OutboxRow.state) == "done", col(OutboxRow.finished_at) < before)
        .limit(limit)
    )
    deleted = session.execute(
        sa.delete(OutboxRow).where(col(OutboxRow.id).in_(old)).returning(col(OutboxRow.id)),
        execution_options={"synchronize_session": False},
    )
    return len(deleted.all())
