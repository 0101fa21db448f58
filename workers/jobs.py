"""What happens when the bell rings: rows are claimed, handed to their topic's handler, and settled.

Two kinds of topic. *Inside* work touches only the database: it happens in the transaction that finishes its
row, exactly once. *Outside* work talks to a wallet with no transaction open, and may happen twice; what it
learned is written together with the row's end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
import structlog
from rq.timeouts import BaseTimeoutException
from sqlmodel import Session

from wallet_server.campaigns.services import BATCH_DUE, send_batch
from wallet_server.db import ALL_PROGRAMS, is_locked, transaction
from wallet_server.issuance.services import PASS_CHANGED, REFRESH_PRIORITY, refresh_passes
from wallet_server.issuance.turns import DAY_TURNED, Turn, ask_for_turn, refresh_turned
from wallet_server.mail.services import MAIL_DUE
from wallet_server.notifications.services import tell_tiers
from wallet_server.outbox import services as outbox
from wallet_server.outbox.services import Leased
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import PROGRAM_PUBLISHED, TIERS_CHANGED
from wallet_server.recovery.services import RECOVERY_REQUESTED, look_up
from wallet_server.tiers.services import review_table
from wallet_server.webhooks.services import WEBHOOK_DUE
from workers import mail, push, webhooks
from workers.outcome import Settled
from workers.runtime import Runtime

BUSY_DELAY: Final = timedelta(seconds=1)

Outside = Callable[[Runtime, Sequence[Leased]], Settled]
"""Talks to the world; returns what became of each row, and what to write."""
Inside = Callable[[Session, ProgramDefinition, Mapping[str, Any], datetime], object]
"""Works in the row's own transaction."""


@dataclass(frozen=True, slots=True)
class Handler:
    """What to do with the rows of one topic: exactly one of the two kinds."""

    outside: Outside | None = None
    inside: Inside | None = None


def _send_campaign_batch(
    session: Session, program: ProgramDefinition, payload: Mapping[str, Any], now: datetime
) -> None:
    send_batch(session, program, UUID(payload["campaign_id"]), int(payload["batch"]), now)


def _refresh_passes(session: Session, program: ProgramDefinition, payload: Mapping[str, Any], now: datetime) -> None:
    after = UUID(payload["after"]) if payload["after"] else None
    if (reached := refresh_passes(session, program, after, now)) is not None:
        rest = {"v": 1, "after": str(reached)}
        outbox.add(session, topic=PROGRAM_PUBLISHED, queue="bulk", program_id=program.id, payload=rest, now=now)


def _look_up(session: Session, program: ProgramDefinition, payload: Mapping[str, Any], now: datetime) -> None:
    look_up(session, program, UUID(payload["recovery_id"]), now)


def _turn_day(session: Session, program: ProgramDefinition, payload: Mapping[str, Any], now: datetime) -> None:
    after = UUID(payload["after"]) if payload["after"] else None
    turn = Turn.from_json(payload["turn"])
    if (reached := refresh_turned(session, program, turn, after, now)) is not None:
        ask_for_turn(session, program.id, turn, reached, now)


def _review_tiers(session: Session, program: ProgramDefinition, payload: Mapping[str, Any], now: datetime) -> None:
    reviewed = review_table(session, program, UUID(payload["after"]) if payload["after"] else None, now)
    for member_ids in reviewed.changed.values():
        tell_tiers(session, program, member_ids, now, priority=REFRESH_PRIORITY)
    if reviewed.after is not None:
        rest = {"v": 1, "after": str(reviewed.after)}
        outbox.add(session, topic=TIERS_CHANGED, queue="bulk", program_id=program.id, payload=rest, now=now)


HANDLERS: Final[Mapping[str, Handler]] = {
    PASS_CHANGED: Handler(outside=push.pass_changed),
    BATCH_DUE: Handler(inside=_send_campaign_batch),
    PROGRAM_PUBLISHED: Handler(inside=_refresh_passes),
    DAY_TURNED: Handler(inside=_turn_day),
    TIERS_CHANGED: Handler(inside=_review_tiers),
    WEBHOOK_DUE: Handler(outside=webhooks.webhook_due),
    RECOVERY_REQUESTED: Handler(inside=_look_up),
    MAIL_DUE: Handler(outside=mail.mail_due),
}


def work(runtime: Runtime, row_ids: Sequence[int]) -> None:
    """Do what is still to do of these rows. Rows that somebody else has, or has done, are passed over."""
    engine = runtime.context.engine
    with transaction(engine, ALL_PROGRAMS) as session:
        leased = outbox.claim(session, row_ids, runtime.context.clock.now())
    by_topic: dict[str, list[Leased]] = {}
    for row in leased:
        by_topic.setdefault(row.topic, []).append(row)
    for topic, rows in by_topic.items():
        handler = HANDLERS.get(topic)
        if handler is None:
            # An older worker meets a newer server's row: there may be a newer worker, too.
            for row in rows:
                _give_back(runtime, row, LookupError(f"this worker knows no topic {topic!r}"))
        elif handler.inside is not None:
            for row in rows:
                _work_inside(runtime, row, handler.inside)
        else:
            assert handler.outside is not None
            _work_outside(runtime, rows, handler.outside)


def _work_inside(runtime: Runtime, row: Leased, inside: Inside) -> None:
    now = runtime.context.clock.now()
    try:
        with transaction(runtime.context.engine, row.program_id) as session:
            # First: it locks the row, and whoever has lost the lease must not do anything.
            if outbox.finish(session, row, now):
                inside(session, load_program(session, program_id=row.program_id), row.payload, now)
    except Exception as error:  # noqa: BLE001 - whatever it was, the row goes back and the others go on
        _give_back(runtime, row, error)


def _work_outside(runtime: Runtime, rows: Sequence[Leased], outside: Outside) -> None:
    try:
        settled = outside(runtime, rows)
        _settle(runtime, settled)
    except BaseTimeoutException:
        raise  # the time of the whole job is over: the leases lapse
    except Exception as error:  # noqa: BLE001 - one bad row must not hold up the others: each alone
        if len(rows) == 1:
            _give_back(runtime, rows[0], error)
            return
        structlog.get_logger().warning("a batch failed; its rows are tried one by one", error=repr(error))
        for row in rows:
            _work_outside(runtime, [row], outside)


def _settle(runtime: Runtime, settled: Settled) -> None:
    now = runtime.context.clock.now()
    with transaction(runtime.context.engine, ALL_PROGRAMS) as session:
        settled.record(session, now)
        outbox.finish_all(session, settled.done, now)
        for again in settled.again:
            delay = again.delay
            if delay is None:
                delay = outbox.back_off(again.row.attempts, runtime.chance.random())
            outbox.retry(session, again.row, now, error=again.error, delay=delay, attempts_max=again.attempts_max)


def _give_back(runtime: Runtime, row: Leased, error: Exception) -> None:
    log = structlog.get_logger().bind(topic=row.topic, row=row.id, attempts=row.attempts)
    busy = isinstance(error, sa.exc.DBAPIError) and is_locked(error)
    if busy:
        log.info("the database is busy; the row waits")
    else:
        log.error("a row failed", exc_info=error)
    delay = BUSY_DELAY if busy else outbox.back_off(row.attempts, runtime.chance.random())
    with transaction(runtime.context.engine, ALL_PROGRAMS) as session:
        outbox.retry(session, row, runtime.context.clock.now(), error=repr(error), delay=delay)
