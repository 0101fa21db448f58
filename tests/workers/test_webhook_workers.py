"""Webhooks of several workers, and of one that is killed: each member's order is kept, and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlmodel import select

from tests.services.webhooks.receiver import Heard, Receiver, is_signed
from tests.workers.conftest import make_workshop
from tests.workers.desk import ANA, LOOPBACK, Desk, of_member
from tests.workers.test_processes import ROOT, wait_for
from wallet_server.clock import SandboxClock, SystemClock
from wallet_server.context import make_context
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.outbox.models import OutboxRow
from wallet_server.webhooks.models import WebhookDelivery
from wallet_server.webhooks.sender import WebhookSender
from workers.jobs import work
from workers.queues import queue, ring


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
