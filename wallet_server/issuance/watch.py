"""Watch over delivery: what the tick finds of each program's passes, kept for metrics and for the alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import upsert_rows
from wallet_server.issuance.delivery import LAG_BOUNDS_S, Asked, judge_fetching, judge_refusals
from wallet_server.issuance.delivery_queries import Stock, recent_and_usual, stock
from wallet_server.issuance.models import DeliveryHour, DeliveryWatch

KEEP_HOURS: Final = timedelta(days=60)
"""Longer than the panel's thirty days and the alarm's four weeks."""
BUCKETS: Final = len(LAG_BOUNDS_S) + 1


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that has begun or ended: phones do not fetch (``unfetched``), or updates are refused (``refused``)."""

    program_id: UUID
    kind: Literal["unfetched", "refused"]
    on: bool
    share: float | None = None
    usual: float | None = None
    refused: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What was read of a program: its passes, and of which hours' updates how many were fetched."""

    stock: Stock
    recent: Asked
    usual: Asked


def look(session: Session, now: datetime) -> dict[UUID, Look]:
    """Read what there is to judge, of all programs that have passes (scope ``ALL_PROGRAMS``)."""
    return {
        program_id: Look(found, *recent_and_usual(session, program_id, now))
        for program_id, found in stock(session, now).items()
    }


def take_stock(session: Session, found: Mapping[UUID, Look], now: datetime) -> list[Alarm]:
    """Keep what was found of each program and judge it; the alarms that begin or end with it.

    Of two ticks at the same moment the second finds the alarm on, and does not tell of it again.
    """
    if not found:
        return []
    before = {
        watch.program_id: watch
        for watch in session.scalars(
            sa.select(DeliveryWatch)
            .where(col(DeliveryWatch.program_id).in_(sorted(found)))
            .order_by(col(DeliveryWatch.program_id))
            .with_for_update()
        )
    }
    alarms: list[Alarm] = []
    rows = []
    for program_id, seen in sorted(found.items()):
        last = before.get(program_id)
        unfetched_since = last.unfetched_alarm_since if last else None
        refused_since = last.refused_alarm_since if last else None
        fetching = judge_fetching(seen.recent, seen.usual, was_on=unfetched_since is not None)
        refused = any(judge_refusals(mine, was_on=refused_since is not None) for mine in seen.stock.passes.values())
        if fetching.alarm != (unfetched_since is not None):
            alarms.append(Alarm(program_id, "unfetched", fetching.alarm, fetching.share, fetching.usual))
        if refused != (refused_since is not None):
            alarms.append(_refused(program_id, seen.stock, refused))
        rows.append(
            {
                "program_id": program_id,
                "watched_at": now,
                "passes": {
                    wallet: {state.value: number for state, number in sorted(mine.items())}
                    for wallet, mine in sorted(seen.stock.passes.items())
                },
                "before": last.before if last else {},
                "unfetched_alarm_since": (unfetched_since or now) if fetching.alarm else None,
                "fetched_share": fetching.share,
                "usual_share": fetching.usual,
                "refused_alarm_since": (refused_since or now) if refused else None,
            }
        )
    # Not what was pruned meanwhile: that is another task's column.
    kept = [name for name in rows[0] if name not in ("program_id", "before")]
    upsert_rows(session, DeliveryWatch, rows, key=["program_id"], update=kept)
    return alarms


def _refused(program_id: UUID, found: Stock, on: bool) -> Alarm:
    worst = max(found.refusals, key=lambda refusal: refusal.passes, default=None)
    passes = sum(refusal.passes for refusal in found.refusals)
    return Alarm(program_id, "refused", on, refused=passes, reason=worst.reason if worst else "")


def prune_hours(session: Session, before: datetime) -> int:
    """Fold hours that nobody looks at any more into one sum per program, for counters that never go back.

    One program at a time; how many rows were folded. A program that was never watched keeps its hours until then.
    """
    hour = DeliveryHour
    watch = session.scalars(
        sa.select(DeliveryWatch)
        .where(sa.exists().where(col(hour.program_id) == col(DeliveryWatch.program_id), col(hour.hour) < before))
        .order_by(col(DeliveryWatch.program_id))
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if watch is None:
        return 0
    old = (col(hour.program_id) == watch.program_id, col(hour.hour) < before)
    pruned = session.execute(
        sa.delete(DeliveryHour)
        .where(*old)
        .returning(col(hour.wallet), col(hour.step), col(hour.lag_bucket), col(hour.updates), col(hour.lag_ms)),
        execution_options={"synchronize_session": False},
    ).all()
    totals = {name: list(numbers) for name, numbers in watch.before.items()}
    for row in pruned:
        numbers = totals.setdefault(f"{row.wallet} {row.step}", [0] * (BUCKETS + 1))
        numbers[row.lag_bucket] += row.updates
        numbers[-1] += row.lag_ms
    watch.before = totals
    session.add(watch)
    session.flush()
    return len(pruned)


@dataclass(frozen=True, slots=True)
class Totals:
    """Updates of all programs since the beginning: by bucket, and their lags together in seconds."""

    buckets: Sequence[int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Watched:
    """All programs together, as metrics tell it. ``totals`` by wallet and step."""

    passes: Mapping[tuple[str, str], int]
    totals: Mapping[tuple[str, str], Totals]
    alarms: Mapping[str, int]
    watched_at: datetime | None


def watched(session: Session) -> Watched:
    """What the last looks found, all programs together (scope ``ALL_PROGRAMS``)."""
    passes: dict[tuple[str, str], int] = {}
    sums: dict[tuple[str, str], list[int]] = {}
    alarms = {"unfetched": 0, "refused": 0}
    oldest: datetime | None = None
    for watch in session.scalars(sa.select(DeliveryWatch)):
        oldest = watch.watched_at if oldest is None else min(oldest, watch.watched_at)
        alarms["unfetched"] += watch.unfetched_alarm_since is not None
        alarms["refused"] += watch.refused_alarm_since is not None
        for wallet, states in watch.passes.items():
            for state, number in states.items():
                passes[wallet, state] = passes.get((wallet, state), 0) + number
        for name, numbers in watch.before.items():
            wallet, _, step = name.partition(" ")
            kept = sums.setdefault((wallet, step), [0] * (BUCKETS + 1))
            for place, number in enumerate(numbers):
                kept[place] += number
    hour = DeliveryHour
    rows = session.execute(
        sa.select(
            col(hour.wallet),
            col(hour.step),
            col(hour.lag_bucket),
            sa.func.sum(col(hour.updates)).label("updates"),
            sa.func.sum(col(hour.lag_ms)).label("lag_ms"),
        ).group_by(col(hour.wallet), col(hour.step), col(hour.lag_bucket))
    )
    for row in rows:
        kept = sums.setdefault((row.wallet, row.step), [0] * (BUCKETS + 1))
        kept[row.lag_bucket] += int(row.updates)
        kept[-1] += int(row.lag_ms)
    totals = {key: Totals(numbers[:-1], numbers[-1] / 1_000) for key, numbers in sums.items()}
    return Watched(passes, totals, alarms, oldest)
