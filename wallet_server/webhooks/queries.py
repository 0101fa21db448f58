"""Reading webhooks: the list with how each fares, and the log of what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.errors import NotFoundError
from wallet_server.webhooks.models import Webhook, WebhookDelivery

WAITING_COUNTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Health:
    """How a webhook fares. ``waiting`` is counted up to :data:`WAITING_COUNTED_MAX`."""

    waiting: int
    delivered_at: datetime | None
    """When the newest message that arrived had been written."""


def list_webhooks(session: Session, program_id: UUID) -> Sequence[Webhook]:
    """A program's webhooks, those that are switched on first, the oldest first."""
    statement = (
        select(Webhook)
        .where(Webhook.program_id == program_id, col(Webhook.deleted_at).is_(None))
        .order_by(col(Webhook.disabled_at).is_not(None), col(Webhook.id))
    )
    return session.exec(statement).all()


def find_webhook(session: Session, program_id: UUID, webhook_id: UUID) -> Webhook:
    """One webhook of the program. Raises ``NotFoundError(unknown_webhook)``."""
    found = session.exec(
        select(Webhook).where(
            Webhook.id == webhook_id, Webhook.program_id == program_id, col(Webhook.deleted_at).is_(None)
        )
    ).one_or_none()
    if found is None:
        raise NotFoundError("unknown_webhook", "there is no such webhook in this program")
    return found


def health(session: Session, webhook_id: UUID) -> Health:
    """What waits for a webhook, and when something arrived last; cheap however long its log is."""
    some = (
        sa.select(sa.literal(1))
        .select_from(WebhookDelivery)
        .where(col(WebhookDelivery.webhook_id) == webhook_id, sa.text("state = 'waiting'"))
        .limit(WAITING_COUNTED_MAX)
        .subquery()
    )
    delivered_at = session.scalar(
        sa.select(col(WebhookDelivery.created_at))
        .where(col(WebhookDelivery.webhook_id) == webhook_id, col(WebhookDelivery.state) == "delivered")
        .order_by(col(WebhookDelivery.created_at).desc())
        .limit(1)
    )
    return Health(session.scalar(sa.select(sa.func.count()).select_from(some)) or 0, delivered_at)


def log(
    session: Session, webhook_id: UUID, *, only: str | None = None, before: UUID | None = None, limit: int = 50
) -> Sequence[WebhookDelivery]:
    """A webhook's messages, the newest first; ``only`` those of one state, older than ``before``; at most 200."""
    statement = (
        select(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook_id)
        .order_by(col(WebhookDelivery.created_at).desc(), col(WebhookDelivery.id).desc())
        .limit(min(limit, 200))
    )
    if only is not None:
        statement = statement.where(WebhookDelivery.state == only)
    if before is not None:
        edge = (
            select(WebhookDelivery.created_at)
            .where(WebhookDelivery.id == before, WebhookDelivery.webhook_id == webhook_id)
            .scalar_subquery()
        )
        statement = statement.where(
            sa.tuple_(col(WebhookDelivery.created_at), col(WebhookDelivery.id))
            < sa.tuple_(edge, sa.literal(before, sa.Uuid()))
        )
    return session.exec(statement).all()
