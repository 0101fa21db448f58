"""Emission: written with the change, for those who chose the event, and next to free where nobody listens."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.conftest import NOW
from tests.people import publish
from tests.services.webhooks.conftest import POLICY, AddWebhook, deliveries, due_rows
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.webhooks.events import EVENTS, Event
from wallet_server.webhooks.models import WebhookDelivery
from wallet_server.webhooks.services import SUBJECTS_PER_ROW, create_webhook, disable_webhook, emit, send_test

ANA, MARKO = new_id(), new_id()


def bought(subject=ANA, points: int = 3) -> Event:
    return Event("purchase.recorded", subject, {"points_earned": points})


def test_without_a_webhook_a_transaction_pays_one_small_read(engine: Engine) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
    with transaction(engine, program.id) as session, heard(session) as said:
        emit(session, program.id, [], NOW)
        assert said == []
        for _ in range(5):
            emit(session, program.id, [bought()], NOW)
        assert len(said) == 1
        assert said[0].verb == "SELECT"
        assert (deliveries(session), due_rows(session)) == ([], [])


def test_with_webhooks_it_is_three_statements_for_any_number_of_events(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    add_webhook()
    with heard(session) as said:
        emit(session, program.id, [bought(), bought(MARKO), bought()], NOW)
    assert [statement.verb for statement in said] == ["SELECT", "INSERT", "INSERT"]
    assert len(deliveries(session)) == 3


def test_the_message_is_written_whole_and_in_order(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    webhook = add_webhook()
    events = [Event("member.enrolled", ANA, {"channel": "till"}), bought(MARKO), bought(points=1), bought(points=2)]
    emit(session, program.id, events, NOW)
    written = deliveries(session)
    assert [row.event for row in written] == [event.name for event in events]
    assert [row.subject for row in written] == [str(event.subject) for event in events]
    assert {row.state for row in written} == {"waiting"}
    first = written[0]
    assert first.payload == {
        "version": 1,
        "id": str(first.id),
        "type": "member.enrolled",
        "occurred_at": "2026-11-23T15:30:00+00:00",
        "program": "cafe-ohrid",
        "data": {"channel": "till"},
    }
    [due] = due_rows(session)
    assert due.payload == {"v": 1, "webhook_id": str(webhook.id), "subjects": [str(ANA), str(MARKO)]}
    assert (due.queue, due.program_id) == ("bulk", program.id)


def test_each_webhook_is_told_what_it_chose(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    tiers = add_webhook("tier.changed", url="https://tiers.example/")
    both = add_webhook("purchase.recorded", "tier.changed", url="https://both.example/")
    emit(session, program.id, [bought()], NOW)
    emit(session, program.id, [Event("tier.changed", ANA, {"to": "silver"})], NOW)
    assert [row.event for row in deliveries(session, webhook_id=tiers.id)] == ["tier.changed"]
    assert [row.event for row in deliveries(session, webhook_id=both.id)] == ["purchase.recorded", "tier.changed"]
    assert len({row.id for row in deliveries(session)}) == 3
    assert len(due_rows(session)) == 3


def test_an_event_that_nobody_chose_leaves_nothing(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    add_webhook("tier.changed")
    emit(session, program.id, [bought()], NOW)
    assert (deliveries(session), due_rows(session)) == ([], [])


def test_a_webhook_that_is_switched_off_is_told_nothing(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    webhook = add_webhook()
    disable_webhook(session, program.id, webhook.id, because="x", actor="staff:a", now=NOW)
    emit(session, program.id, [bought()], NOW)
    assert deliveries(session) == []


def test_another_programs_webhook_hears_nothing(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    bakery = publish(session, NOW, "bakery")
    add_webhook(program_id=bakery.id)
    emit(session, program.id, [bought()], NOW)
    assert deliveries(session) == []
    emit(session, bakery.id, [bought()], NOW)
    assert [row.payload["program"] for row in deliveries(session)] == ["bakery"]


def test_rows_of_work_name_a_part_of_the_members_each(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    add_webhook()
    members = [new_id() for _ in range(2 * SUBJECTS_PER_ROW + 1)]
    emit(session, program.id, [bought(member) for member in members for _ in range(2)], NOW)
    rows = due_rows(session)
    assert [len(row.payload["subjects"]) for row in rows] == [SUBJECTS_PER_ROW, SUBJECTS_PER_ROW, 1]
    assert {name for row in rows for name in row.payload["subjects"]} == {str(member) for member in members}


def test_a_change_that_is_rolled_back_is_not_told(engine) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        create_webhook(session, program.id, url="https://a.example", events=["*"], policy=POLICY, actor="cli", now=NOW)

    def fail_after_emitting() -> None:
        with transaction(engine, program.id) as session:
            emit(session, program.id, [bought()], NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_emitting()
    with reading(engine, ALL_PROGRAMS) as session:
        assert session.exec(sa.select(sa.func.count()).select_from(WebhookDelivery)).scalar() == 0


def test_an_event_must_be_one_of_the_catalogue(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    add_webhook()
    with pytest.raises(AssertionError, match=r"purchase\.forgotten is no event"):
        emit(session, program.id, [Event("purchase.forgotten", ANA, {})], NOW)
    emit(session, program.id, [Event(name, ANA, {}) for name in EVENTS], NOW + timedelta(seconds=1))
    assert len(deliveries(session)) == len(EVENTS)


def test_a_test_message_goes_to_one_webhook_whatever_it_chose(
    session: Session, program: ProgramDefinition, add_webhook: AddWebhook
) -> None:
    add_webhook(url="https://other.example/")
    webhook = add_webhook("tier.changed")
    send_test(session, program.id, webhook.id, now=NOW)
    [row] = deliveries(session)
    assert (row.webhook_id, row.event, row.subject) == (webhook.id, "webhook.test", str(webhook.id))
