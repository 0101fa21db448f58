"""What must always be true of campaigns; see :mod:`wallet_server.ledger.invariants`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.campaigns.services import BATCH_DUE
from wallet_server.ledger.invariants import Check, Violation, table, violations
from wallet_server.notifications.models import Notification
from wallet_server.outbox.models import OutboxRow

CAMPAIGN, RECIPIENT = table(Campaign), table(CampaignRecipient)
NOTIFICATION, OUTBOX = table(Notification), table(OutboxRow)


def _hex(key: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """An id, or its text, as 32 hexadecimal digits: SQLite stores it so, PostgreSQL writes it with hyphens."""
    return sa.func.replace(sa.cast(key, sa.String()), "-", "")


def audiences_were_frozen_by_a_launch(session: Session) -> list[Violation]:
    """C1: a launched campaign has an audience, one that was not launched has none."""
    has_audience = sa.exists().where(
        RECIPIENT.c.campaign_id == CAMPAIGN.c.id, RECIPIENT.c.program_id == CAMPAIGN.c.program_id
    )
    statement = sa.select(CAMPAIGN.c.id, CAMPAIGN.c.name, CAMPAIGN.c.launched_at).where(
        CAMPAIGN.c.launched_at.is_not(None) != has_audience
    )
    return violations(session, "C1", CAMPAIGN.c.program_id, statement)


def messages_are_shown_once(session: Session) -> list[Violation]:
    """C2: a member has at most one message of each origin, and only a shown one has a moment."""
    twice = (
        sa.select(NOTIFICATION.c.origin, NOTIFICATION.c.member_id, sa.func.count().label("messages"))
        .group_by(NOTIFICATION.c.member_id, NOTIFICATION.c.origin)
        .having(sa.func.count() > 1)
    )
    moment = sa.select(NOTIFICATION.c.id, NOTIFICATION.c.state, NOTIFICATION.c.shown_at).where(
        (NOTIFICATION.c.state == "shown") != NOTIFICATION.c.shown_at.is_not(None)
    )
    return violations(session, "C2", NOTIFICATION.c.program_id, twice) + violations(
        session, "C2", NOTIFICATION.c.program_id, moment
    )


def recipients_agree_with_messages(session: Session) -> list[Violation]:
    """C3: a recipient is in the state of the message; who waits or has failed has none, or one that is put off."""
    message = sa.and_(
        NOTIFICATION.c.program_id == RECIPIENT.c.program_id,
        NOTIFICATION.c.member_id == RECIPIENT.c.member_id,
        NOTIFICATION.c.origin == sa.literal("campaign:") + _hex(RECIPIENT.c.campaign_id),
    )
    told = sa.case((RECIPIENT.c.state.in_(("shown", "suppressed")), RECIPIENT.c.state))
    statement = (
        sa.select(
            RECIPIENT.c.member_id,
            RECIPIENT.c.campaign_id,
            RECIPIENT.c.state,
            NOTIFICATION.c.state.label("message"),
            RECIPIENT.c.decided_at,
        )
        .outerjoin(NOTIFICATION, message)
        .where(
            sa.or_(
                sa.case((NOTIFICATION.c.state != "deferred", NOTIFICATION.c.state)).is_distinct_from(told),
                (RECIPIENT.c.state == "waiting") == RECIPIENT.c.decided_at.is_not(None),
            )
        )
    )
    return violations(session, "C3", RECIPIENT.c.program_id, statement)


def nobody_waits_for_nothing(session: Session) -> list[Violation]:
    """C3: each batch with members who wait has its outbox row; a failed row ends with the next tick."""
    waiting = (
        sa.select(
            RECIPIENT.c.program_id,
            RECIPIENT.c.campaign_id,
            RECIPIENT.c.batch,
            sa.func.count().label("members"),
        )
        .where(RECIPIENT.c.state == "waiting")
        .group_by(RECIPIENT.c.program_id, RECIPIENT.c.campaign_id, RECIPIENT.c.batch)
        .subquery()
    )
    carried = sa.exists().where(
        OUTBOX.c.topic == BATCH_DUE,
        OUTBOX.c.state != "done",
        OUTBOX.c.program_id == waiting.c.program_id,
        _hex(OUTBOX.c.payload["campaign_id"].as_string()) == _hex(waiting.c.campaign_id),
        OUTBOX.c.payload["batch"].as_integer() == waiting.c.batch,
    )
    statement = sa.select(waiting.c.campaign_id, waiting.c.batch, waiting.c.members).where(~carried)
    return violations(session, "C3", waiting.c.program_id, statement)


CHECKS: Final[Sequence[Check]] = (
    audiences_were_frozen_by_a_launch,
    messages_are_shown_once,
    recipients_agree_with_messages,
    nobody_waits_for_nothing,
)
