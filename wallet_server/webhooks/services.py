"""Telling others what happened: :func:`emit` in the transaction of the change, and keeping the webhooks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, new_id
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.outbox import services as outbox
from wallet_server.reads import Asked, Read, Rows, ask, known
from wallet_server.staff import audit
from wallet_server.webhooks.address import AddressPolicy, parse_target
from wallet_server.webhooks.events import ALL_EVENTS, EVENTS, TEST_EVENT, Event, is_wanted, message
from wallet_server.webhooks.models import Webhook, WebhookDelivery

WEBHOOK_DUE: Final = "webhook.due"
QUEUE: Final = "bulk"
PRIORITY: Final = 20
"""Behind what members wait for."""
SUBJECTS_PER_ROW: Final = 50
WEBHOOKS_MAX: Final = 20
RETRIED_MAX: Final = 1_000
"""Failed messages that one push of the button sends again, the oldest first."""
DISABLED_BY_STAFF: Final = "switched off by staff"
DELETED_BY_STAFF: Final = "deleted by staff"
_LISTENERS: Final = "webhook listeners"
_SILENCED: Final = "webhooks silenced"


@dataclass(frozen=True, slots=True)
class Listener:
    """A webhook that is switched on, as :func:`emit` needs it."""

    id: UUID
    events: list[str]
    program: str
    """The slug of its program."""


def emit(session: Session, program_id: UUID, events: Sequence[Event], now: datetime) -> None:
    """Write down, in the caller's transaction, what the program's webhooks are to be told; a worker tells it.

    Costs one small read per transaction and program where nobody listens, however often it is called.
    Emit after the change's own locks are taken: the order of emission is the order of delivery.
    """
    if not events or session.info.get(_SILENCED):
        return
    told = listeners(session, program_id)
    if told:
        _write(session, program_id, [(one, event) for one in told for event in events], now)


@contextmanager
def silenced(session: Session, *, when: bool = True) -> Iterator[None]:
    """Tell nobody of what happens inside: history that is imported is no news."""
    before = session.info.get(_SILENCED, False)
    session.info[_SILENCED] = before or when
    try:
        yield
    finally:
        session.info[_SILENCED] = before


def listeners(session: Session, program_id: UUID) -> Sequence[Listener]:
    """The program's webhooks that are switched on; read once in a transaction and remembered in its session."""
    return ask(session, listeners_asked(session, program_id))


def listeners_asked(session: Session, program_id: UUID) -> Asked[Sequence[Listener]]:
    """As :func:`listeners`, to be asked with other things; the session remembers the answer."""
    remembered: dict[UUID, Sequence[Listener]] = session.info.setdefault(_LISTENERS, {})
    if program_id in remembered:
        return known(remembered[program_id])

    def answer(rows: Rows) -> Sequence[Listener]:
        remembered[program_id] = [Listener(*row) for row in rows]
        return remembered[program_id]

    return Asked(_LISTENING, {"program_id": program_id}, answer)


_WEBHOOK: Final[sa.Table] = Webhook.__table__  # type: ignore[attr-defined]
# The room of programs is above this one: of its table only these two columns are named here.
_PROGRAM: Final = sa.table("program", sa.column("id", sa.Uuid()), sa.column("slug", sa.String()))
_LISTENING: Final = Read(
    lambda _one_of: (
        sa.select(_WEBHOOK.c.id, _WEBHOOK.c.events, _PROGRAM.c.slug)
        .join(_PROGRAM, _PROGRAM.c.id == _WEBHOOK.c.program_id)
        .where(
            _WEBHOOK.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
            _WEBHOOK.c.disabled_at.is_(None),
        )
        .order_by(_WEBHOOK.c.id)
    )
)


def _write(session: Session, program_id: UUID, told: Sequence[tuple[Listener, Event]], now: datetime) -> None:
    deliveries: list[dict[str, Any]] = []
    subjects: dict[UUID, dict[str, None]] = {}
    for listener, event in told:
        assert event.name in EVENTS or event.name == TEST_EVENT, f"{event.name} is no event"
        if event.name != TEST_EVENT and not is_wanted(event.name, listener.events):
            continue
        delivery_id = new_id()
        deliveries.append(
            {
                "id": delivery_id,
                "program_id": program_id,
                "webhook_id": listener.id,
                "event": event.name,
                "subject": str(event.subject),
                "payload": message(delivery_id, event, program=listener.program, now=now),
                "state": "waiting",
                "attempts": 0,
                "not_before": now,
                "last_error": "",
                "created_at": now,
            }
        )
        subjects.setdefault(listener.id, {})[str(event.subject)] = None
    insert_rows(session, WebhookDelivery, deliveries)
    ring_for(session, program_id, subjects, now)


def ring_for(session: Session, program_id: UUID, subjects: Mapping[UUID, Collection[str]], now: datetime) -> None:
    """Ask the workers to look at these webhooks' subjects."""
    works = [
        outbox.Work(
            topic=WEBHOOK_DUE,
            queue=QUEUE,
            program_id=program_id,
            priority=PRIORITY,
            payload={"v": 1, "webhook_id": str(webhook_id), "subjects": part},
        )
        for webhook_id, names in subjects.items()
        for part in _parts(list(names))
    ]
    outbox.add_many(session, works, now=now)


def _parts(names: list[str]) -> list[list[str]]:
    return [names[start : start + SUBJECTS_PER_ROW] for start in range(0, len(names), SUBJECTS_PER_ROW)]


def create_webhook(
    session: Session,
    program_id: UUID,
    *,
    url: str,
    events: Collection[str],
    policy: AddressPolicy,
    actor: str,
    now: datetime,
) -> Webhook:
    """Add a webhook, switched on. Its secret is ``TokenMint.webhook_secret``.

    Raises ``DomainError``: ``validation`` (with ``field`` and ``reason``), ``too_many_webhooks``.
    """
    target, chosen = parse_target(url, policy), _chosen(events)
    count = session.scalar(
        select(sa.func.count())
        .select_from(Webhook)
        .where(col(Webhook.program_id) == program_id, col(Webhook.deleted_at).is_(None))
    )
    if (count or 0) >= WEBHOOKS_MAX:
        raise DomainError(
            "too_many_webhooks", f"a program has at most {WEBHOOKS_MAX} webhooks: change one of them", status=409
        )
    webhook = Webhook(program_id=program_id, url=target.url, events=chosen, created_at=now, created_by=actor[:200])
    session.add(webhook)
    session.flush()
    _forget_listeners(session)
    _note(session, webhook, "webhook.created", actor, now, events=chosen)
    return webhook


def change_webhook(
    session: Session,
    program_id: UUID,
    webhook_id: UUID,
    *,
    url: str,
    events: Collection[str],
    policy: AddressPolicy,
    actor: str,
    now: datetime,
) -> Webhook:
    """Give a webhook another address or other events; what waits goes to the new address.

    Raises ``NotFoundError(unknown_webhook)`` and ``DomainError(validation)`` as :func:`create_webhook`.
    """
    webhook = _locked(session, program_id, webhook_id)
    target, chosen = parse_target(url, policy), _chosen(events)
    changed = {
        name: new
        for name, old, new in (("url", webhook.url, target.url), ("events", webhook.events, chosen))
        if old != new
    }
    if not changed:
        return webhook
    if "url" in changed:
        webhook.failing_since = webhook.resting_until = None
    webhook.url, webhook.events = target.url, chosen
    session.add(webhook)
    _forget_listeners(session)
    _note(session, webhook, "webhook.changed", actor, now, **changed)
    return webhook


def rotate_secret(session: Session, program_id: UUID, webhook_id: UUID, *, actor: str, now: datetime) -> Webhook:
    """Make a new secret; the one before goes on signing beside it for a day, any older one no longer.

    Raises ``NotFoundError(unknown_webhook)``.
    """
    webhook = _locked(session, program_id, webhook_id)
    webhook.secret_generation += 1
    webhook.rotated_at = now
    session.add(webhook)
    _note(session, webhook, "webhook.rotated", actor, now)
    return webhook


def note_secret_shown(session: Session, program_id: UUID, webhook_id: UUID, *, actor: str, now: datetime) -> Webhook:
    """Write into the audit log that somebody looked at the secret. Raises ``NotFoundError(unknown_webhook)``."""
    webhook = _locked(session, program_id, webhook_id)
    _note(session, webhook, "webhook.secret_shown", actor, now)
    return webhook


def disable_webhook(
    session: Session, program_id: UUID, webhook_id: UUID, *, because: str, actor: str, now: datetime
) -> Webhook:
    """Switch a webhook off: it is told of nothing any more, and what waits has failed (and can be sent again).

    Switching it off again changes nothing. Raises ``NotFoundError(unknown_webhook)``.
    """
    webhook = _locked(session, program_id, webhook_id)
    if webhook.disabled_at is not None:
        return webhook
    _switch_off(session, webhook, because, now)
    _note(session, webhook, "webhook.disabled", actor, now, because=because)
    return webhook


def delete_webhook(session: Session, program_id: UUID, webhook_id: UUID, *, actor: str, now: datetime) -> Webhook:
    """Delete a webhook: it is told of nothing any more and shown to nobody; its messages stay as long as all do.

    Raises ``NotFoundError(unknown_webhook)``, also where it was deleted before.
    """
    webhook = _locked(session, program_id, webhook_id)
    webhook.deleted_at = now
    _switch_off(session, webhook, DELETED_BY_STAFF, now)
    _note(session, webhook, "webhook.deleted", actor, now)
    return webhook


def _switch_off(session: Session, webhook: Webhook, because: str, now: datetime) -> None:
    webhook.disabled_at, webhook.disabled_because = now, because[:300]
    session.add(webhook)
    session.flush()
    give_up(session, webhook.id, because, now)
    _forget_listeners(session)


def give_up(session: Session, webhook_id: UUID, because: str, now: datetime) -> None:
    """Mark everything that waits for a webhook as failed."""
    session.execute(
        sa.update(WebhookDelivery)
        .where(col(WebhookDelivery.webhook_id) == webhook_id, sa.text("state = 'waiting'"))
        .values(state="failed", finished_at=now, last_error=because[:300]),
        execution_options={"synchronize_session": False},
    )


def enable_webhook(session: Session, program_id: UUID, webhook_id: UUID, *, actor: str, now: datetime) -> Webhook:
    """Switch a webhook on: it is told of what happens from here on.

    Switching it on again changes nothing. Raises ``NotFoundError(unknown_webhook)``.
    """
    webhook = _locked(session, program_id, webhook_id)
    if webhook.disabled_at is None:
        return webhook
    webhook.disabled_at, webhook.disabled_because = None, ""
    webhook.failing_since = webhook.resting_until = None
    session.add(webhook)
    session.flush()
    _forget_listeners(session)
    _note(session, webhook, "webhook.enabled", actor, now)
    return webhook


def send_test(session: Session, program_id: UUID, webhook_id: UUID, *, now: datetime) -> None:
    """Tell one webhook a ``webhook.test``, whatever events it has chosen.

    Raises ``NotFoundError(unknown_webhook)`` and ``DomainError(webhook_disabled)``.
    """
    webhook = _enabled(session, program_id, webhook_id)
    [listener] = [one for one in listeners(session, program_id) if one.id == webhook.id]
    event = Event(TEST_EVENT, webhook.id, {"note": "Somebody asked for this test message in the panel."})
    _write(session, program_id, [(listener, event)], now)


def retry_delivery(
    session: Session, program_id: UUID, webhook_id: UUID, delivery_id: UUID, *, actor: str, now: datetime
) -> None:
    """Send one message that failed again; one that waits or was delivered is left as it is.

    Raises ``NotFoundError`` (``unknown_webhook``, ``unknown_delivery``) and ``DomainError(webhook_disabled)``.
    """
    webhook = _enabled(session, program_id, webhook_id)
    found = session.exec(
        select(WebhookDelivery.id).where(WebhookDelivery.id == delivery_id, WebhookDelivery.webhook_id == webhook_id)
    ).one_or_none()
    if found is None:
        raise NotFoundError("unknown_delivery", "this webhook has no such message")
    _retry(session, webhook, [delivery_id], actor, now)


def retry_failed(session: Session, program_id: UUID, webhook_id: UUID, *, actor: str, now: datetime) -> int:
    """Send the messages that failed again, the oldest first, at most :data:`RETRIED_MAX`; how many they are.

    Raises as :func:`retry_delivery`.
    """
    webhook = _enabled(session, program_id, webhook_id)
    failed = session.exec(
        select(WebhookDelivery.id)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.state == "failed")
        .order_by(col(WebhookDelivery.id))
        .limit(RETRIED_MAX)
    ).all()
    return _retry(session, webhook, failed, actor, now)


def _retry(session: Session, webhook: Webhook, ids: Sequence[UUID], actor: str, now: datetime) -> int:
    again = session.execute(
        sa.update(WebhookDelivery)
        .where(col(WebhookDelivery.id).in_(ids), col(WebhookDelivery.state) == "failed")
        .values(state="waiting", not_before=now, finished_at=None)
        .returning(col(WebhookDelivery.subject)),
        execution_options={"synchronize_session": False},
    ).all()
    if again:
        subjects = sorted({subject for (subject,) in again})
        ring_for(session, webhook.program_id, {webhook.id: subjects}, now)
        _note(session, webhook, "webhook.retried", actor, now, messages=len(again))
    return len(again)


def _chosen(events: Collection[str]) -> list[str]:
    unknown = sorted(set(events) - {*EVENTS, ALL_EVENTS})
    if unknown:
        raise DomainError("validation", f"unknown event {', '.join(unknown)}", field="events", reason="events_unknown")
    if not events:
        raise DomainError("validation", "choose at least one event", field="events", reason="events_none")
    return [ALL_EVENTS] if ALL_EVENTS in events else [name for name in EVENTS if name in events]


def _locked(session: Session, program_id: UUID, webhook_id: UUID) -> Webhook:
    webhook = session.exec(
        select(Webhook)
        .where(Webhook.id == webhook_id, Webhook.program_id == program_id, col(Webhook.deleted_at).is_(None))
        # Not against those who write messages to it (their key only has to stay), but against each other.
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if webhook is None:
        raise NotFoundError("unknown_webhook", "there is no such webhook in this program")
    return webhook


def _enabled(session: Session, program_id: UUID, webhook_id: UUID) -> Webhook:
    webhook = _locked(session, program_id, webhook_id)
    if webhook.disabled_at is not None:
        raise DomainError("webhook_disabled", "the webhook is switched off: switch it on first", status=409)
    return webhook


def _forget_listeners(session: Session) -> None:
    session.info.pop(_LISTENERS, None)


def _note(session: Session, webhook: Webhook, action: str, actor: str, now: datetime, **detail: Any) -> None:
    # The address without its query: some receivers put their own secret there.
    subject = webhook.url.partition("?")[0]
    if "url" in detail:
        detail["url"] = str(detail["url"]).partition("?")[0]
    audit.record(
        session,
        program_id=webhook.program_id,
        actor=actor,
        action=action,
        subject=subject,
        detail={"webhook_id": str(webhook.id), **detail},
        now=now,
    )
