"""Messages to others over real sockets: signed, in order for each member, again until they arrive, and no further."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.webhooks.receiver import Heard, Receiver, is_signed, listening
from tests.workers.conftest import Workshop, make_workshop
from tests.workers.test_processes import ROOT, wait_for
from wallet_server.clock import SandboxClock, SystemClock
from wallet_server.context import make_context
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.outbox.models import OutboxRow
from wallet_server.staff.models import AuditRecord
from wallet_server.tokens import TokenMint
from wallet_server.webhooks import sender as sender_module
from wallet_server.webhooks.address import AddressPolicy
from wallet_server.webhooks.deliveries import Endpoint, Line, Message, next_try
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.models import Webhook, WebhookDelivery
from wallet_server.webhooks.sender import WebhookSender
from wallet_server.webhooks.services import create_webhook, disable_webhook, emit, rotate_secret
from workers import webhooks as webhooks_worker
from workers.jobs import work
from workers.queues import queue, ring
from workers.schedule import ring_forgotten_webhooks

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


@pytest.fixture
def desk(workshop: Workshop) -> Desk:
    return Desk(workshop)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as one:
        yield one


def of_member(receiver: Receiver, member: UUID) -> list[Heard]:
    return [one for one in receiver.heard if one.message["data"].get("member") == str(member)]


def is_of(heard: Heard, member: UUID) -> bool:
    return heard.message["data"].get("member") == str(member)


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


def test_three_workers_keep_each_members_order_whatever_fails(desk: Desk, receiver: Receiver) -> None:
    """Every member's messages arrive in their order: what came first never comes first again after a later one."""
    chance = random.Random(7)
    receiver.answer = lambda heard: 200 if chance.random() < 0.7 else 500
    desk.add(receiver.url)
    members = [new_id() for _ in range(6)]
    context = replace(desk.workshop.context, clock=SystemClock())
    desk.clock = SystemClock()
    per_member = 8
    for n in range(per_member):
        desk.happen(*members, n=n)
    stop = threading.Event()
    wrong: list[BaseException] = []

    def hurry() -> None:
        """Messages that failed are due at once: the test is about order, not about patience."""
        while not stop.is_set():
            with transaction(desk.engine, ALL_PROGRAMS) as session:
                now = desk.clock.now()
                for row in session.exec(select(WebhookDelivery).where(WebhookDelivery.state == "waiting")):
                    if row.last_error and row.not_before > now and row.attempts < 99 and row.id not in leased:
                        row.not_before = now
                        session.add(row)
                for due in session.exec(select(OutboxRow).where(OutboxRow.state == "waiting")):
                    due.not_before = now
                    session.add(due)
            stop.wait(0.05)

    leased: set[UUID] = set()

    class Watched(WebhookSender):
        def send(self, lines: Any, **options: Any) -> Any:
            ids = {message.id for line in lines for message in line.messages}
            leased.update(ids)
            try:
                return super().send(lines, **options)
            finally:
                leased.difference_update(ids)

    def run() -> None:
        clocks = {"clock": desk.clock, "machine_clock": desk.clock}
        sender = Watched(context.mint, LOOPBACK, **clocks)
        runtime = replace(desk.workshop.runtime, context=context, webhooks=sender)
        try:
            while not stop.is_set():
                with reading(desk.engine) as session:
                    ids = list(session.exec(select(OutboxRow.id).where(OutboxRow.state != "done")))
                work(runtime, random.sample(ids, len(ids))[:25])
        except BaseException as error:
            wrong.append(error)
            raise
        finally:
            sender.close()

    threads = [threading.Thread(target=run) for _ in range(3)] + [threading.Thread(target=hurry)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 60
        while set(desk.states()) != {"delivered"}:
            assert time.monotonic() < deadline, desk.states()
            assert not wrong, wrong
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
    for member in members:
        order = [one.message["data"]["n"] for one in of_member(receiver, member)]
        assert sorted(set(order)) == list(range(per_member))
        assert order == sorted(order), order


def test_a_killed_workers_message_is_sent_again_with_the_same_id(
    sqlite_engine, settings, valkey, valkey_url, receiver: Receiver
) -> None:
    """kill -9 between sending and writing down: told twice under one id, and nothing is lost."""
    settings = settings.model_copy(update={"REDIS_URL": valkey_url})
    context = make_context(settings)
    desk = Desk(make_workshop(context, SandboxClock(context.engine)))
    webhook_id = desk.add(receiver.url)
    desk.happen(ANA, n=1)
    desk.happen(ANA, n=2)
    answered, killed = threading.Event(), threading.Event()

    def hold(heard: Heard) -> int:
        answered.set()
        killed.wait(60)
        return 200

    receiver.answer = hold
    worker = subprocess.Popen(
        [sys.executable, "-m", "workers", "worker", "bulk"], cwd=ROOT, env={**os.environ, **settings.environment()}
    )
    try:
        wait_until_listening(valkey, worker)
        ring(queue("bulk", valkey), [row.id for row in desk.workshop.rows()])
        assert answered.wait(60), "the worker never sent"
        worker.send_signal(signal.SIGKILL)
        worker.wait(timeout=60)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait(timeout=60)
        killed.set()
    receiver.answer = lambda heard: 200
    assert desk.states() == ["waiting", "waiting"]
    desk.work()
    assert desk.states() == ["waiting", "waiting"], "the lease was not respected"
    desk.clock.advance(timedelta(seconds=31))
    desk.work()
    assert desk.states() == ["delivered", "delivered"]
    wait_for(lambda: len(receiver.heard) >= 3, "the first request was never answered")
    first, second = (str(row.id) for row in desk.messages())
    assert sorted(receiver.ids()) == sorted([first, first, second])
    assert len({one.body for one in receiver.heard if one.id == first}) == 1
    assert all(is_signed(one, context.mint.webhook_secret(webhook_id)) for one in receiver.heard)
    desk.workshop.runtime.webhooks.close()
    context.engine.dispose()


def wait_until_listening(valkey: Any, worker: subprocess.Popen) -> None:
    wait_for(lambda: worker.poll() is None and valkey.scard("rq:workers"), "the worker did not start")


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


# The line itself: who may be reached, and what may not be trusted on the way.


class Names:
    """A resolver that a test writes; counts how often it is asked."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): numbers for name, numbers in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.names[host]


def one_line(url: str, *payloads: dict[str, Any]) -> Line:
    messages = tuple(Message(new_id(), "a.b", payload, 1, NOW) for payload in payloads or ({"a": 1},))
    return Line(Endpoint(new_id(), new_id(), url, 0, None), "s", messages, has_more=False)


Send = Callable[..., Any]


@pytest.fixture
def send_to(workshop_mint) -> Iterator[Send]:
    """Send one message to an address; what became of it."""
    senders: list[WebhookSender] = []

    def send(url: str, policy: AddressPolicy = LOOPBACK, **options: Any) -> Any:
        clock = SystemClock()
        sender = WebhookSender(workshop_mint, policy, clock=clock, machine_clock=clock, **options)
        senders.append(sender)
        line = one_line(url)
        [outcome] = sender.send([line], begin_within_s=5)[line]
        return outcome

    yield send
    for sender in senders:
        sender.close()


@pytest.fixture
def workshop_mint() -> TokenMint:
    return TokenMint("0123456789abcdefghijklmnopqrstuvwxyz-test")


@pytest.mark.parametrize(
    "numbers",
    [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["93.184.215.14", "192.168.0.1"]],
)
def test_a_name_that_stands_for_an_address_inside_is_not_connected_to(
    send_to: Send, monkeypatch: pytest.MonkeyPatch, numbers: list[str]
) -> None:
    """No connection at all: also not to the good one of two addresses."""
    connections: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connections.append(address))
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, address: connections.append(address))
    outcome = send_to("https://inside.example/", AddressPolicy(), resolve=Names(inside_example=numbers))
    assert outcome.status is None
    assert outcome.error.startswith("not sent: ")
    assert connections == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001"])
def test_odd_ways_to_write_this_machine_are_seen_through(send_to: Send, host: str) -> None:
    outcome = send_to(f"https://{host}/", AddressPolicy())
    assert outcome.error.startswith(("not sent: ", "no answer: the name")), outcome


def test_a_sandbox_does_not_write_to_the_network_around_it(send_to: Send) -> None:
    outcome = send_to("https://printer.example/", resolve=Names(printer_example=["192.168.1.9"]))
    assert outcome.error.startswith("not sent: ")


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's certificate for shop.example alone, and clients who trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "shop.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


def test_https_is_checked_by_name_and_connected_by_number(
    send_to: Send, certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, trusting = certificates
    names = Names(shop_example=["127.0.0.1"], other_example=["127.0.0.1"])
    with listening(server) as receiver:
        port = receiver.url.split("/")[2].partition(":")[2]
        options: dict[str, Any] = {"policy": AddressPolicy(private=True), "resolve": names, "certificates": trusting}
        assert send_to(f"https://shop.example:{port}/hook", **options).status == 204
        [heard] = receiver.heard
        assert heard.headers["host"] == f"shop.example:{port}"
        assert names.asked == ["shop.example"], "looked up once: what was judged is what was connected to"
        wrong_name = send_to(f"https://other.example:{port}/hook", **options)
        untrusted = send_to(f"https://shop.example:{port}/hook", **{**options, "certificates": None})
    for outcome in (wrong_name, untrusted):
        assert outcome.status is None
        assert "certificate" in outcome.error.lower(), outcome.error
    assert len(receiver.heard) == 1


def test_the_second_address_is_tried_where_the_first_is_dead(send_to: Send, receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "shop.localhost")
    outcome = send_to(url, resolve=Names(shop_localhost=["::1", "127.0.0.1"]))
    assert outcome.status == 204


def test_a_name_that_nobody_knows_is_an_ordinary_failure(send_to: Send) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    outcome = send_to("https://gone.example/", AddressPolicy(), resolve=unknown)
    assert (outcome.status, outcome.error) == (None, "no answer: the name gone.example cannot be looked up")


def test_proxies_of_the_environment_and_cookies_are_not_used(
    send_to: Send, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    receiver.answer = lambda heard: (200, {"Set-Cookie": "a=b"}, b"")
    assert send_to(receiver.url).status == 200
    assert send_to(receiver.url).status == 200
    assert "cookie" not in receiver.heard[1].headers


def test_of_an_endless_answer_four_kib_are_read(send_to: Send) -> None:
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def flood() -> None:
            nonlocal sent
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n")
                try:
                    while True:
                        sent += connection.send(b"x" * 4096)
                except OSError:
                    return

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        outcome = send_to(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert outcome.status == 500
    assert len(outcome.error) < 300
    assert sent < 50_000_000


def drip(connection: socket.socket, stop: threading.Event) -> None:
    """An answer of one letter at a time, for ever."""
    with connection:
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 200 ")
            while not stop.wait(0.05):
                connection.sendall(b"O")
        except OSError:
            return


def test_who_answers_too_slowly_is_not_waited_for(send_to: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds in all, not between two letters (shortened here)."""
    monkeypatch.setattr(sender_module, "TIMEOUT_S", 0.5)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: drip(server.accept()[0], stop), daemon=True)
        thread.start()
        outcome = send_to(f"http://127.0.0.1:{server.getsockname()[1]}/")
        stop.set()
        thread.join(timeout=10)
    assert outcome.status is None
    assert "no answer within" in outcome.error


def test_what_is_no_http_is_an_ordinary_failure(send_to: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        outcome = send_to(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join(timeout=10)
    assert outcome.status is None
    assert outcome.error.startswith("no answer: ")


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
