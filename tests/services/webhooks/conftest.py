"""A program and a webhook, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import publish
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.webhooks.address import AddressPolicy
from wallet_server.webhooks.models import Webhook, WebhookDelivery
from wallet_server.webhooks.services import create_webhook

POLICY = AddressPolicy()
URL = "https://shop.example/hook"

AddWebhook = Callable[..., Webhook]


@pytest.fixture
def program(session: Session) -> ProgramDefinition:
    return publish(session, NOW)


@pytest.fixture
def add_webhook(session: Session, program: ProgramDefinition) -> AddWebhook:
    def add(*events: str, url: str = URL, program_id: UUID | None = None) -> Webhook:
        return create_webhook(
            session, program_id or program.id, url=url, events=events or ("*",), policy=POLICY,
            actor="staff:owner@cafe.example", now=NOW,
        )  # fmt: skip

    return add


def deliveries(session: Session, **values: Any) -> list[WebhookDelivery]:
    session.expire_all()
    return list(session.exec(select(WebhookDelivery).filter_by(**values).order_by(col(WebhookDelivery.id))))


def due_rows(session: Session) -> list[OutboxRow]:
    return list(session.exec(select(OutboxRow).where(OutboxRow.topic == "webhook.due").order_by(col(OutboxRow.id))))
