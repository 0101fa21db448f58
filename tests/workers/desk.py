"""A workshop with webhooks, for tests of what a worker makes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlmodel import col, select

from tests.services.webhooks.receiver import Heard, Receiver
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.outbox.models import OutboxRow
from wallet_server.webhooks.address import AddressPolicy
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.models import Webhook, WebhookDelivery
from wallet_server.webhooks.services import create_webhook, emit

if TYPE_CHECKING:
    from tests.workers.conftest import Workshop

LOOPBACK = AddressPolicy(loopback=True)
ANA, MARKO, ELENA = sorted(new_id() for _ in range(3))


class Desk:
    """A workshop with webhooks: happenings go in, and what the worker makes of them is looked at."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.engine = workshop.engine
        self.clock = workshop.clock

    def add(self, url: str, *events: str) -> UUID:
        with transaction(self.engine, self.workshop.program.id) as session:
            return create_webhook(
                session, self.workshop.program.id, url=url, events=events or ("*",), policy=LOOPBACK,
                actor="staff:owner@cafe.example", now=self.clock.now(),
            ).id  # fmt: skip

    def happen(self, *members: UUID, **data: Any) -> None:
        """One transaction with an event for each member."""
        with transaction(self.engine, self.workshop.program.id) as session:
            events = [Event("purchase.recorded", member, {"member": str(member), **data}) for member in members]
            emit(session, self.workshop.program.id, events, self.clock.now())

    def work(self) -> None:
        self.workshop.work()

    def webhook(self) -> Webhook:
        with reading(self.engine, ALL_PROGRAMS) as session:
            return session.exec(select(Webhook)).one()

    def messages(self) -> list[WebhookDelivery]:
        with reading(self.engine, ALL_PROGRAMS) as session:
            return list(session.exec(select(WebhookDelivery).order_by(col(WebhookDelivery.id))))

    def states(self) -> list[str]:
        return [row.state for row in self.messages()]

    def work_states(self) -> list[str]:
        with reading(self.engine) as session:
            rows = session.exec(select(OutboxRow).where(OutboxRow.topic == "webhook.due").order_by(col(OutboxRow.id)))
            return [row.state for row in rows]

    def run_for(self, duration: timedelta, *, steps_max: int = 200) -> None:
        """Let the time pass from one due moment to the next, working at each."""
        ends_at = self.clock.now() + duration
        for _ in range(steps_max):
            self.work()
            with reading(self.engine) as session:
                due = session.exec(select(OutboxRow.not_before).where(OutboxRow.state == "waiting")).all()
            following = min((moment for moment in due), default=None)
            if following is None or following > ends_at:
                break
            self.clock.moment = max(self.clock.moment, following)
        self.clock.moment = max(self.clock.moment, ends_at)


def of_member(receiver: Receiver, member: UUID) -> list[Heard]:
    return [one for one in receiver.heard if one.message["data"].get("member") == str(member)]


def is_of(heard: Heard, member: UUID) -> bool:
    return heard.message["data"].get("member") == str(member)
