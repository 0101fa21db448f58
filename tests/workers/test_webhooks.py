"""Messages to others over real sockets: signed, in order for each member, again until they arrive."""

from __future__ import annotations

import itertools
import socket
from datetime import datetime, timedelta

import pytest
from sqlmodel import select

from tests.conftest import NOW
from tests.services.webhooks.receiver import Heard, Receiver, is_signed, listening
from tests.workers.desk import ANA, ELENA, MARKO, Desk, is_of, of_member
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.outbox.models import OutboxRow
from wallet_server.staff.models import AuditRecord
from wallet_server.webhooks.deliveries import next_try
from wallet_server.webhooks.models import Webhook, WebhookDelivery
from wallet_server.webhooks.services import DELETED_BY_STAFF, delete_webhook, disable_webhook, rotate_secret
from workers import webhooks as webhooks_worker
from workers.schedule import ring_forgotten_webhooks


def test_a_message_arrives_signed_and_is_done(desk: Desk, receiver: Receiver) -> None:
    webhook_id = desk.add(receiver.url)
    desk.happen(ANA, points=3)
    desk.work()
    [heard] = receiver.heard
    [row] = desk.messages()
    assert heard.message == {
        "version": 1,
        "id": str(row.id),
        "type": "purchase.recorded",
        "occurred_at": "2026-11-23T15:30:00+00:00",
        "program": "cafe-ohrid",
        "data": {"member": str(ANA), "points": 3},
    }
    assert (heard.id, heard.path) == (str(row.id), "/hook?shop=1")
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["host"] == receiver.url.split("/")[2]
    mint = desk.workshop.context.mint
    assert is_signed(heard, mint.webhook_secret(webhook_id))
    assert not is_signed(heard, mint.webhook_secret(webhook_id, 1))
    assert (row.state, row.attempts, row.last_status, row.last_error) == ("delivered", 1, 204, "")
    assert row.finished_at == desk.clock.now()
    assert desk.work_states() == ["done"]


def test_after_a_rotation_both_secrets_verify_for_a_day(desk: Desk, receiver: Receiver) -> None:
    webhook_id = desk.add(receiver.url)
    mint = desk.workshop.context.mint
    with transaction(desk.engine, desk.workshop.program.id) as session:
        rotate_secret(session, desk.workshop.program.id, webhook_id, actor="staff:a", now=desk.clock.now())
    desk.happen(ANA)
    desk.work()
    desk.clock.advance(24 * 3600)
    desk.happen(ANA)
    desk.work()
    during, after = receiver.heard
    assert [is_signed(during, mint.webhook_secret(webhook_id, generation)) for generation in (0, 1)] == [True, True]
    assert [is_signed(after, mint.webhook_secret(webhook_id, generation)) for generation in (0, 1)] == [False, True]


def test_a_moved_business_clock_does_not_spoil_signatures(desk: Desk, receiver: Receiver) -> None:
    webhook_id = desk.add(receiver.url)
    desk.clock.advance(100 * 24 * 3600)
    desk.happen(ANA)
    desk.work()
    assert is_signed(receiver.heard[0], desk.workshop.context.mint.webhook_secret(webhook_id))


def test_one_connection_serves_many_messages(desk: Desk, receiver: Receiver) -> None:
    desk.add(receiver.url)
    for number in range(5):
        desk.happen(ANA, number=number)
        desk.work()
    assert [one.message["data"]["number"] for one in receiver.heard] == [0, 1, 2, 3, 4]
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_anything_but_2xx_is_tried_again_with_the_same_id(desk: Desk, receiver: Receiver, status: int) -> None:
    with listening() as elsewhere:
        answer = (status, {"Location": elsewhere.url}, b"no\x00 <b>way</b>\n")
        receiver.answer = lambda heard: answer if len(receiver.heard) < 2 else 200
        desk.add(receiver.url)
        desk.happen(ANA)
        desk.work()
        [row] = desk.messages()
        assert (row.state, row.attempts, row.last_status) == ("waiting", 1, status)
        assert row.last_error == f"{status} no <b>way</b>"
        assert timedelta(seconds=4) <= row.not_before - desk.clock.now() <= timedelta(seconds=6)
        desk.work()
        assert len(receiver.heard) == 1, "not before its time"
        desk.run_for(timedelta(minutes=2))
        assert receiver.ids() == [str(row.id)] * 3
        assert desk.states() == ["delivered"]
        assert desk.messages()[0].attempts == 3
        assert elsewhere.heard == [], "a redirect was followed"


def test_a_failing_member_holds_back_only_himself(desk: Desk, receiver: Receiver) -> None:
    broken = True
    receiver.answer = lambda heard: 500 if broken and is_of(heard, ANA) else 200
    desk.add(receiver.url)
    desk.happen(ANA, MARKO, n=1)
    desk.happen(ANA, n=2)
    desk.happen(MARKO, n=2)
    desk.work()
    for n in (3, 4):
        desk.happen(ANA, MARKO, ELENA, n=n)
        desk.work()
    assert [one.message["data"]["n"] for one in of_member(receiver, MARKO)] == [1, 2, 3, 4]
    assert [one.message["data"]["n"] for one in of_member(receiver, ELENA)] == [3, 4]
    assert [one.message["data"]["n"] for one in of_member(receiver, ANA)] == [1], "Ana's first one is still to come"
    broken = False
    desk.run_for(timedelta(minutes=5))
    assert [one.message["data"]["n"] for one in of_member(receiver, ANA)] == [1, 1, 2, 3, 4]
    assert set(desk.states()) == {"delivered"}
    assert set(desk.work_states()) == {"done"}


def test_the_tries_grow_apart_until_three_days_are_over_and_then_it_is_switched_off(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.answer = lambda heard: 500
    at: list[datetime] = []
    desk.add(receiver.url)
    desk.happen(ANA, n=1)
    desk.happen(ANA, n=2)
    began_at = desk.clock.now()
    for _ in range(60):
        before = len(receiver.heard)
        desk.work()
        at += [desk.clock.now()] * (len(receiver.heard) - before)
        if desk.webhook().disabled_at is not None:
            break
        with reading(desk.engine) as session:
            desk.clock.moment = min(session.exec(select(OutboxRow.not_before).where(OutboxRow.state == "waiting")))
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert 12 <= len(at) <= 18
    assert gaps[0] < timedelta(seconds=7)
    assert all(later > earlier for earlier, later in itertools.pairwise(gaps[:9]))
    assert max(gaps) < timedelta(hours=15)
    assert at[-1] == began_at + timedelta(days=3)
    webhook = desk.webhook()
    assert webhook.disabled_at == at[-1]
    assert webhook.disabled_because == "nothing but failures for three days"
    assert desk.states() == ["failed", "failed"]
    assert len(set(receiver.ids())) == 1
    with reading(desk.engine, ALL_PROGRAMS) as session:
        record = session.exec(select(AuditRecord).where(AuditRecord.action == "webhook.disabled")).one()
    assert (record.actor, record.detail["because"]) == ("system", webhook.disabled_because)
    desk.work()
    desk.clock.advance(30)
    desk.work()
    assert set(desk.work_states()) == {"done"}


def test_the_last_try_is_when_three_days_are_over() -> None:
    assert next_try(NOW, 1, NOW, 0.5) == NOW + timedelta(seconds=5)
    assert next_try(NOW, 9, NOW, 0.5) == NOW + timedelta(hours=12)
    assert next_try(NOW, 99, NOW, 0.5) == NOW + timedelta(hours=12)
    assert next_try(NOW, 99, NOW + timedelta(hours=70), 0.5) == NOW + timedelta(days=3)
    assert {next_try(NOW, 1, NOW, jitter) - NOW for jitter in (0.0, 1.0)} == {
        timedelta(seconds=4), timedelta(seconds=6)
    }  # fmt: skip


def test_one_success_in_between_keeps_it_on(desk: Desk, receiver: Receiver) -> None:
    receiver.answer = lambda heard: 500 if is_of(heard, ANA) else 200
    desk.add(receiver.url)
    desk.happen(ANA)
    desk.run_for(timedelta(days=2))
    assert desk.webhook().failing_since == NOW
    desk.happen(MARKO)
    desk.work()
    assert desk.webhook().failing_since is None
    desk.run_for(timedelta(days=2))
    assert desk.states() == ["failed", "delivered"]
    assert desk.webhook().disabled_at is None


def test_410_switches_it_off_at_once(desk: Desk, receiver: Receiver) -> None:
    receiver.answer = lambda heard: 410
    desk.add(receiver.url)
    desk.happen(ANA, n=1)
    desk.happen(ANA, n=2)
    desk.work()
    assert len(receiver.heard) == 1
    assert desk.states() == ["failed", "failed"]
    assert desk.webhook().disabled_because == "the receiver answered 410 Gone"
    desk.happen(ANA, n=3)
    assert len(desk.messages()) == 2


@pytest.mark.parametrize("status", [200, 410, 500])
def test_one_that_is_deleted_while_it_answers_stays_deleted(desk: Desk, receiver: Receiver, status: int) -> None:
    webhook_id = desk.add(receiver.url)

    def delete(heard: Heard) -> int:
        with transaction(desk.engine, desk.workshop.program.id) as session:
            delete_webhook(session, desk.workshop.program.id, webhook_id, actor="staff:a", now=desk.clock.now())
        return status

    receiver.answer = delete
    desk.happen(ANA)
    desk.work()
    desk.run_for(timedelta(minutes=5))
    assert len(receiver.heard) == 1
    assert (desk.states(), desk.webhook().disabled_because) == (["failed"], DELETED_BY_STAFF)
    assert set(desk.work_states()) == {"done"}


def test_what_was_written_while_it_was_switched_off_is_not_sent(desk: Desk, receiver: Receiver) -> None:
    """A change that had read the webhook before somebody switched it off."""
    webhook_id = desk.add(receiver.url)
    desk.happen(ANA)
    with transaction(desk.engine, desk.workshop.program.id) as session:
        disable_webhook(session, desk.workshop.program.id, webhook_id, because="away", actor="a", now=NOW)
        row = session.exec(select(WebhookDelivery)).one()
        row.state = "waiting"
        session.add(row)
    desk.work()
    assert (receiver.heard, desk.states(), desk.work_states()) == ([], ["failed"], ["done"])


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_address_where_nobody_is_rests_instead_of_being_asked_for_each_member(desk: Desk) -> None:
    desk.add(f"http://127.0.0.1:{unused_port()}/")
    desk.happen(ANA)
    desk.work()
    [row] = desk.messages()
    assert (row.state, row.attempts, row.last_status) == ("waiting", 1, None)
    assert row.last_error.startswith("no answer: ")
    assert desk.webhook().resting_until == NOW + timedelta(seconds=5)
    desk.happen(MARKO)
    desk.work()
    assert [row.attempts for row in desk.messages()] == [1, 0]
    desk.run_for(timedelta(hours=1))
    webhook = desk.webhook()
    assert webhook.resting_until is not None
    assert webhook.resting_until - webhook.failing_since > timedelta(minutes=5)
    assert all(row.attempts > 3 for row in desk.messages())


def test_who_comes_back_hears_everything_in_order(desk: Desk) -> None:
    port = unused_port()
    desk.add(f"http://127.0.0.1:{port}/")
    for n in range(3):
        desk.happen(ANA, MARKO, n=n)
        desk.run_for(timedelta(minutes=1))
    with listening() as receiver:
        with transaction(desk.engine, ALL_PROGRAMS) as session:
            webhook = session.exec(select(Webhook)).one()
            webhook.url = receiver.url
            session.add(webhook)
        desk.run_for(timedelta(hours=1))
    for member in (ANA, MARKO):
        assert [one.message["data"]["n"] for one in of_member(receiver, member)] == [0, 1, 2]
    assert desk.webhook().resting_until is None


def test_a_long_line_is_sent_in_parts(desk: Desk, receiver: Receiver) -> None:
    desk.add(receiver.url)
    for n in range(45):
        desk.happen(ANA, n=n)
    desk.run_for(timedelta(minutes=1))
    assert [one.message["data"]["n"] for one in receiver.heard] == list(range(45))
    assert set(desk.work_states()) == {"done"}


def test_a_message_that_is_somebody_elses_now_is_left_to_him(desk: Desk, receiver: Receiver) -> None:
    """A worker that hung for longer than its lease: another has sent the message, and failed, meanwhile."""
    desk.add(receiver.url)
    desk.happen(ANA)

    def overtake(heard: Heard) -> int:
        with transaction(desk.engine, ALL_PROGRAMS) as session:
            row = session.exec(select(WebhookDelivery)).one()
            row.attempts += 1
            row.last_error = "the other's"
            session.add(row)
        return 200

    receiver.answer = overtake
    desk.work()
    [row] = desk.messages()
    assert (row.state, row.attempts, row.last_error) == ("waiting", 2, "the other's")


def test_no_transaction_is_open_while_somebody_answers(desk: Desk, receiver: Receiver) -> None:
    open_then: list[int] = []
    engine = desk.workshop.context.engine

    def look(heard: Heard) -> int:
        open_then.append(engine.pool.checkedout())
        return 200

    receiver.answer = look
    desk.add(receiver.url)
    desk.happen(ANA)
    desk.work()
    assert open_then == [0]


def test_a_row_of_work_that_was_given_up_is_written_anew(desk: Desk, receiver: Receiver) -> None:
    desk.add(receiver.url)
    desk.happen(ANA)
    with transaction(desk.engine, ALL_PROGRAMS) as session:
        for row in session.exec(select(OutboxRow)):
            row.state = "failed"
            session.add(row)
    desk.work()
    assert receiver.heard == []
    desk.clock.advance(16 * 60)
    ring_forgotten_webhooks(desk.workshop.context)
    desk.work()
    assert desk.states() == ["delivered"]


def test_when_the_time_is_over_nothing_more_is_begun(desk: Desk, receiver: Receiver, monkeypatch) -> None:
    """And the attempt that did not take place is not counted."""
    monkeypatch.setattr(webhooks_worker, "BEGIN_WITHIN_S", -1.0)
    desk.add(receiver.url)
    desk.happen(ANA)
    desk.work()
    [row] = desk.messages()
    assert (receiver.heard, row.state, row.attempts, row.last_error) == ([], "waiting", 0, "")
    monkeypatch.undo()
    desk.run_for(timedelta(seconds=5))
    assert desk.states() == ["delivered"]
    assert desk.messages()[0].attempts == 1
