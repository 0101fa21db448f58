"""Tell others what happened: ``webhook.due``.

A row of work names subjects of a webhook; it is done when everything that waited for them when it was taken
has been told or given up. How often and when something is tried again is decided for each message
(``wallet_server.webhooks.deliveries``), so a row may come back as often as it likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.outbox.services import Leased
from wallet_server.webhooks import deliveries
from workers.outcome import Again, Settled
from workers.runtime import Runtime

BEGIN_WITHIN_S: Final = 8.0
"""With the ten seconds that one message may take, shorter than the job's time-out and its other work."""
LOOK_AGAIN_MIN: Final = timedelta(seconds=0.5)
LOOKS_MAX: Final = 1_000_000
"""A row of work is never given up: its messages are, each after three days."""
HELD_BACK: Final = "messages wait for their next try"


def webhook_due(runtime: Runtime, rows: Sequence[Leased]) -> Settled:
    """Send what is due of these rows' subjects, in order for each of them."""
    named = [(row, UUID(row.payload["webhook_id"]), list(row.payload["subjects"])) for row in rows]
    wanted: dict[UUID, set[str]] = {}
    for _row, webhook_id, subjects in named:
        wanted.setdefault(webhook_id, set()).update(subjects)
    began_at = runtime.context.clock.now()
    with transaction(runtime.context.engine, ALL_PROGRAMS) as session:
        claimed = deliveries.claim(session, wanted, began_at)
    sent = runtime.webhooks.send(claimed.lines, begin_within_s=BEGIN_WITHIN_S)
    jitter = runtime.chance.random()
    now = runtime.context.clock.now()

    def record(session: Session, now: datetime) -> None:
        deliveries.settle(session, sent, now, jitter)

    later = dict(claimed.later)
    for line, outcomes in sent.items():
        if due_at := deliveries.due_again(line, outcomes, now, jitter):
            later[line.endpoint.id, line.subject] = due_at
    done, again = [], []
    for row, webhook_id, subjects in named:
        waits = [later[webhook_id, subject] for subject in subjects if (webhook_id, subject) in later]
        if waits:
            delay = max(min(waits) - now, LOOK_AGAIN_MIN)
            again.append(Again(row, HELD_BACK, delay=delay, attempts_max=LOOKS_MAX))
        else:
            done.append(row)
    return Settled(done=done, again=again, record=record)
