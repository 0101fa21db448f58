"""What the worker does with messages: takes those that are due, in order, and writes down what became of them.

The oldest message that waits for a subject holds its line. Whoever moves that message's ``not_before`` on (and
counts one attempt up) has the line until then; nobody else sends anything of it. The count of attempts is the
fence: who finds another one than he left has lost the line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from wallet_server.db import UTCDateTime
from wallet_server.webhooks.models import Webhook, WebhookDelivery
from wallet_server.webhooks.services import disable_webhook, give_up, ring_for

LEASE: Final = timedelta(seconds=30)
"""A line is one worker's for so long: longer than a job may take."""
LINE_MAX: Final = 20
"""Messages of one subject that are sent in one go."""
CLAIMED_MAX: Final = 400
GIVE_UP_AFTER: Final = timedelta(days=3)
DELAYS: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
)
"""After the first failure, the second …; the last one for all that follow, until three days have passed."""
REST_MIN: Final = timedelta(seconds=5)
REST_MAX: Final = timedelta(minutes=5)
GONE: Final = 410
NEVER_ANSWERED: Final = "nothing but failures for three days"
ANSWERED_GONE: Final = "the receiver answered 410 Gone"
ACTOR: Final = "system"
FORGOTTEN_AFTER: Final = timedelta(minutes=15)
FORGOTTEN_MAX: Final = 500
PRUNE_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True)
class Message:
    """One message to send; ``attempts`` counts this one already if it is the first of its line."""

    id: UUID
    event: str
    payload: Mapping[str, Any]
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a webhook's messages go, and what its secret is made of."""

    id: UUID
    program_id: UUID
    url: str
    secret_generation: int
    rotated_at: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The messages of one subject for one webhook, to be sent in this order; ``has_more``: others wait behind."""

    endpoint: Endpoint
    subject: str
    messages: tuple[Message, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message that was sent; ``status`` is ``None`` where nobody answered."""

    message: Message
    status: int | None
    error: str

    @property
    def delivered(self) -> bool:
        """Only 2xx is a yes: a redirect is not followed, so it is a no."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Claimed:
    """``lines`` are this worker's; ``later`` says when to look again at the subjects that could not be had."""

    lines: Sequence[Line]
    later: Mapping[tuple[UUID, str], datetime]


def claim(session: Session, wanted: Mapping[UUID, Collection[str]], now: datetime) -> Claimed:
    """Take the lines of these webhooks' subjects that are due. The session works over all programs."""
    lines: list[Line] = []
    later: dict[tuple[UUID, str], datetime] = {}
    webhooks = {row.id: row for row in session.exec(select(Webhook).where(col(Webhook.id).in_(list(wanted))))}
    for webhook_id, subjects in sorted(wanted.items()):
        webhook = webhooks.get(webhook_id)
        if webhook is None:
            continue
        if webhook.disabled_at is not None:
            # Written by somebody who did not see yet that it was switched off.
            give_up(session, webhook_id, webhook.disabled_because, now)
        elif webhook.resting_until is not None and webhook.resting_until > now:
            later.update({(webhook_id, subject): webhook.resting_until for subject in subjects})
        else:
            claimed = _claim(session, webhook, subjects, now)
            lines += claimed.lines
            later.update(claimed.later)
    return Claimed(lines, later)


def _claim(session: Session, webhook: Webhook, subjects: Collection[str], now: datetime) -> Claimed:
    rows = session.exec(
        select(WebhookDelivery)
        .where(col(WebhookDelivery.webhook_id) == webhook.id, col(WebhookDelivery.subject).in_(list(subjects)))
        .where(sa.text("state = 'waiting'"))  # as the index says it, or SQLite would not use it
        .order_by(col(WebhookDelivery.id))
        .limit(CLAIMED_MAX + 1)
    ).all()
    waiting: dict[str, list[WebhookDelivery]] = {}
    for row in rows[:CLAIMED_MAX]:
        waiting.setdefault(row.subject, []).append(row)
    # Those that were cut off are looked at again.
    later = {(webhook.id, subject): now for subject in subjects} if len(rows) > CLAIMED_MAX else {}
    taken = _take(session, [found[0].id for found in waiting.values() if found[0].not_before <= now], now)
    endpoint = Endpoint(webhook.id, webhook.program_id, webhook.url, webhook.secret_generation, webhook.rotated_at)
    lines: list[Line] = []
    for subject, found in waiting.items():
        head = found[0]
        if head.id in taken:
            messages = tuple(
                Message(row.id, row.event, row.payload, taken.get(row.id, row.attempts), row.created_at)
                for row in found[:LINE_MAX]
            )
            lines.append(Line(endpoint, subject, messages, has_more=len(found) > LINE_MAX))
        else:
            # Not yet due, or another worker's since a moment ago.
            later[webhook.id, subject] = head.not_before
    return Claimed(lines, later)


def _take(session: Session, heads: Sequence[UUID], now: datetime) -> Mapping[UUID, int]:
    """Take the lines of these messages, those that are still free; their attempts, this one counted."""
    taken = session.execute(
        sa.update(WebhookDelivery)
        .where(
            col(WebhookDelivery.id).in_(sorted(heads)),
            col(WebhookDelivery.state) == "waiting",
            col(WebhookDelivery.not_before) <= now,
        )
        .values(not_before=now + LEASE, attempts=col(WebhookDelivery.attempts) + 1)
        .returning(col(WebhookDelivery.id), col(WebhookDelivery.attempts)),
        execution_options={"synchronize_session": False},
    )
    return {row.id: row.attempts for row in taken}


def settle(session: Session, sent: Mapping[Line, Sequence[Outcome]], now: datetime, jitter: float) -> None:
    """Write down what became of the lines that were sent; the session works over all programs.

    A line holds its outcomes up to and with its first failure; no outcome means that there was no time for it.
    ``jitter`` (0 to 1) spreads the next tries. A line that was lost meanwhile is left to its new holder.
    """
    _lock_webhooks(session, {line.endpoint.id for line in sent})
    ours = _still_ours(session, sent)
    _update(session, [_settled(one, place, now, jitter) for line in ours for place, one in enumerate(sent[line])])
    _update(session, [_untouched(line.messages[0], now) for line in ours if not sent[line]])
    _settle_health(session, {line: sent[line] for line in ours if sent[line]}, now)


def _lock_webhooks(session: Session, webhook_ids: Collection[UUID]) -> None:
    # Before the messages: whoever switches a webhook off or deletes it holds it first, and then what waits for it.
    session.execute(
        sa.select(col(Webhook.id))
        .where(col(Webhook.id).in_(sorted(webhook_ids)))
        .order_by(col(Webhook.id))
        .with_for_update(key_share=True)
    )


def _still_ours(session: Session, sent: Mapping[Line, Sequence[Outcome]]) -> list[Line]:
    heads = sorted(line.messages[0].id for line in sent)
    found = session.execute(
        sa.select(col(WebhookDelivery.id), col(WebhookDelivery.attempts))
        .where(col(WebhookDelivery.id).in_(heads), col(WebhookDelivery.state) == "waiting")
        .order_by(col(WebhookDelivery.id))
        .with_for_update()
    )
    attempts_now = {row.id: row.attempts for row in found}
    return [line for line in sent if attempts_now.get(line.messages[0].id) == line.messages[0].attempts]


def _update(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    session.connection().execute(
        sa.update(WebhookDelivery)
        .where(col(WebhookDelivery.id) == sa.bindparam("row_id"))
        .values({name: sa.bindparam(name) for name in rows[0] if name != "row_id"}),
        list(rows),
    )


def _settled(outcome: Outcome, place: int, now: datetime, jitter: float) -> dict[str, Any]:
    message = outcome.message
    attempts = message.attempts if place == 0 else message.attempts + 1
    over = outcome.delivered or outcome.status == GONE or now >= message.created_at + GIVE_UP_AFTER
    return {
        "row_id": message.id,
        "state": "delivered" if outcome.delivered else "failed" if over else "waiting",
        "attempts": attempts,
        "not_before": now if over else next_try(message.created_at, attempts, now, _spread(message, jitter)),
        "last_status": outcome.status,
        "last_error": outcome.error[:300],
        "finished_at": now if over else None,
    }


def _untouched(message: Message, now: datetime) -> dict[str, Any]:
    """There was no time for the line: the attempt that claiming it counted did not take place."""
    return {"row_id": message.id, "state": "waiting", "attempts": message.attempts - 1, "not_before": now}


def _spread(message: Message, jitter: float) -> float:
    """Of each message its own, so that what failed together does not come back together."""
    return (jitter + (message.id.int & 0xFFFF) / 0x10000) % 1


def due_again(line: Line, outcomes: Sequence[Outcome], now: datetime, jitter: float) -> datetime | None:
    """When to look at a line again after these outcomes; ``None``: everything that was in it is over."""
    row = _settled(outcomes[-1], len(outcomes) - 1, now, jitter) if outcomes else None
    if row is not None and row["state"] == "waiting":
        due_at: datetime = row["not_before"]
        return due_at
    return now if len(outcomes) < len(line.messages) or line.has_more else None


def next_try(created_at: datetime, attempts: int, now: datetime, jitter: float) -> datetime:
    """When to try again after so many failures: spread by a fifth, the last time when three days are over."""
    delay = DELAYS[min(attempts, len(DELAYS)) - 1] * (0.8 + 0.4 * jitter)
    return max(now + DELAYS[0] / 2, min(now + delay, created_at + GIVE_UP_AFTER))


def _settle_health(session: Session, sent: Mapping[Line, Sequence[Outcome]], now: datetime) -> None:
    by_webhook: dict[UUID, list[Outcome]] = {}
    programs: dict[UUID, UUID] = {}
    for line, outcomes in sent.items():
        by_webhook.setdefault(line.endpoint.id, []).extend(outcomes)
        programs[line.endpoint.id] = line.endpoint.program_id
    for webhook_id in sorted(by_webhook):
        outcomes = by_webhook[webhook_id]
        because = _judge(session, webhook_id, outcomes, now)
        if because:
            disable_webhook(session, programs[webhook_id], webhook_id, because=because, actor=ACTOR, now=now)


def _judge(session: Session, webhook_id: UUID, outcomes: Sequence[Outcome], now: datetime) -> str:
    """Keep how the webhook fares; why it is to be switched off, or nothing."""
    if any(outcome.status == GONE for outcome in outcomes):
        return ANSWERED_GONE
    if any(outcome.delivered for outcome in outcomes):
        session.execute(
            sa.update(Webhook)
            .where(col(Webhook.id) == webhook_id, col(Webhook.failing_since).is_not(None))
            .values(failing_since=None, resting_until=None),
            execution_options={"synchronize_session": False},
        )
        return ""
    failing_since = session.execute(
        sa.update(Webhook)
        .where(col(Webhook.id) == webhook_id)
        .values(failing_since=sa.func.coalesce(col(Webhook.failing_since), sa.literal(now, UTCDateTime())))
        .returning(col(Webhook.failing_since)),
        execution_options={"synchronize_session": False},
    ).scalar_one()
    assert failing_since is not None
    if now >= failing_since + GIVE_UP_AFTER:
        return NEVER_ANSWERED
    if all(outcome.status is None for outcome in outcomes):
        # Nobody is there: members' messages need not find that out one by one, ten seconds each.
        rest = min(max((now - failing_since) / 2, REST_MIN), REST_MAX)
        session.execute(
            sa.update(Webhook).where(col(Webhook.id) == webhook_id).values(resting_until=now + rest),
            execution_options={"synchronize_session": False},
        )
    return ""


def ring_forgotten(session: Session, now: datetime) -> int:
    """Ask again for messages that should have been sent long ago: their row of work was given up. How many.

    The session works over all programs; due by the clock.
    """
    long_ago = now - FORGOTTEN_AFTER
    earlier = aliased(WebhookDelivery)
    held_back = (
        sa.select(sa.literal(1))
        .select_from(earlier)
        .where(
            col(earlier.webhook_id) == col(WebhookDelivery.webhook_id),
            col(earlier.subject) == col(WebhookDelivery.subject),
            col(earlier.id) < col(WebhookDelivery.id),
            col(earlier.state) == "waiting",
        )
        .exists()
    )
    rested = sa.or_(col(Webhook.resting_until).is_(None), col(Webhook.resting_until) < long_ago)
    found = session.execute(
        sa.select(
            col(WebhookDelivery.id),
            col(WebhookDelivery.program_id),
            col(WebhookDelivery.webhook_id),
            col(WebhookDelivery.subject),
        )
        .join(Webhook, col(Webhook.id) == col(WebhookDelivery.webhook_id))
        .where(sa.text("webhook_delivery.state = 'waiting'"), col(WebhookDelivery.not_before) < long_ago)
        .where(~held_back, rested)
        .order_by(col(WebhookDelivery.id))
        .limit(FORGOTTEN_MAX)
    ).all()
    # So that they are not found again at the next turn of the clock.
    session.execute(
        sa.update(WebhookDelivery)
        .where(col(WebhookDelivery.id).in_([row.id for row in found]), col(WebhookDelivery.state) == "waiting")
        .values(not_before=now),
        execution_options={"synchronize_session": False},
    )
    by_program: dict[UUID, dict[UUID, dict[str, None]]] = {}
    for _id, program_id, webhook_id, subject in found:
        by_program.setdefault(program_id, {}).setdefault(webhook_id, {})[subject] = None
    for program_id, subjects in by_program.items():
        ring_for(session, program_id, subjects, now)
    return len(found)


def prune(session: Session, before: datetime, *, limit: int = PRUNE_BATCH) -> int:
    """Delete messages that were over before a moment, at most ``limit`` at once; how many were deleted.

    With its last message a webhook goes that somebody has deleted.
    """
    old = (
        sa.select(col(WebhookDelivery.id))
        .where(col(WebhookDelivery.state) != "waiting", col(WebhookDelivery.finished_at) < before)
        .limit(limit)
    )
    deleted = session.execute(
        sa.delete(WebhookDelivery).where(col(WebhookDelivery.id).in_(old)).returning(col(WebhookDelivery.id)),
        execution_options={"synchronize_session": False},
    )
    told = sa.select(sa.literal(1)).where(col(WebhookDelivery.webhook_id) == col(Webhook.id)).exists()
    session.execute(
        sa.delete(Webhook).where(col(Webhook.deleted_at).is_not(None), ~told),
        execution_options={"synchronize_session": False},
    )
    return len(deleted.all())
