"""What is due by the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from structlog.testing import capture_logs

from tests.conftest import NOW
from tests.workers.conftest import StoppedClock
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.outbox import services as outbox
from workers import schedule
from workers.schedule import Scheduler, Task


def test_each_task_runs_at_its_own_time(workshop):
    ran: list[str] = []
    seconds = [0.0]
    tasks = tuple(
        Task(name, timedelta(seconds=every), lambda _context, name=name: ran.append(name))
        for name, every in (("fast", 2), ("slow", 10))
    )
    scheduler = Scheduler(lambda: workshop.context, lambda: seconds[0], tasks)
    for moment in (0, 1, 2, 3, 4, 9, 10):
        seconds[0] = moment
        scheduler.turn()
    assert ran.count("fast") == 4
    assert ran.count("slow") == 2


def test_a_task_that_fails_does_not_stop_the_others(workshop):
    ran: list[int] = []

    def fail(_context) -> None:
        raise RuntimeError("no")

    tasks = (Task("bad", timedelta(seconds=1), fail), Task("good", timedelta(seconds=1), lambda _: ran.append(1)))
    with capture_logs() as logs:
        Scheduler(lambda: workshop.context, lambda: 0.0, tasks).turn()
    assert ran == [1]
    assert [entry["task"] for entry in logs] == ["bad"]


def test_every_task_of_ours_runs_on_an_empty_server(workshop):
    with capture_logs() as logs:
        Scheduler(lambda: workshop.context, lambda: 0.0).turn()
    assert logs == []


def test_done_rows_are_kept_for_a_week(workshop):
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        outbox.add(session, topic="t", queue="push", program_id=workshop.program.id, payload={}, now=NOW)
    [row] = workshop.rows()
    with transaction(workshop.engine) as session:
        [leased] = outbox.claim(session, [row.id], NOW)
        outbox.finish(session, leased, NOW)
    machine = StoppedClock()
    context = replace(workshop.context, machine_clock=machine)
    machine.advance(timedelta(days=7).total_seconds())
    schedule.prune(context)
    assert workshop.states() == ["done"]
    machine.advance(1)
    schedule.prune(context)
    assert workshop.states() == []


def test_the_log_warns_before_the_certificate_expires(workshop):
    machine = StoppedClock()
    context = replace(workshop.context, machine_clock=machine)
    expires = context.wallets.signer.not_after

    def levels(before: timedelta) -> list[str]:
        machine.moment = expires - before
        with capture_logs() as logs:
            schedule.watch_certificate(context)
        return [entry["log_level"] for entry in logs]

    assert levels(timedelta(days=61)) == []
    assert levels(timedelta(days=59)) == ["warning"]
    assert levels(timedelta(days=6)) == ["error"]
    assert levels(timedelta(days=-1)) == ["error"]


def test_points_that_become_spendable_show_on_the_pass(workshop, clock):
    from tests.people import publish
    from wallet_server.purchases.commands import LineInput, RecordPurchase
    from wallet_server.purchases.services import record_purchase

    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        section = {"base_percent": 1, "pending_days": 1}
        from tests.factories import CAFE

        program = publish(session, NOW, program={**CAFE["program"], "points": section})
    ana = workshop.on_phone(workshop.join(), "aa")
    from wallet_server.members.queries import cards_of_members

    with transaction(workshop.engine, program.id) as session:
        card = cards_of_members(session, [ana])[ana].number
        line = LineInput(sku="burger", category=None, quantity_thousandths=1000, unit_price_minor=100_000)
        command = RecordPurchase(receipt_id="r", card_number=card, outlet="A", occurred_at=NOW, lines=(line,))
        record_purchase(session, program, command, now=NOW, source="till", recorded_by="till")
    version = workshop.issued(ana).version
    schedule.release_points(workshop.context)
    assert workshop.issued(ana).version == version
    clock.advance(timedelta(days=2).total_seconds())
    schedule.release_points(workshop.context)
    assert workshop.issued(ana).version == version + 1


def test_the_clock_ends_holds_and_points_and_balances(workshop, clock):
    from tests.factories import CAFE
    from tests.people import publish
    from wallet_server.ledger.holds import PlaceHold, place_hold
    from wallet_server.ledger.postings import earn
    from wallet_server.ledger.queries import balance
    from wallet_server.ledger.services import post
    from wallet_server.members.queries import cards_of_members

    section = {"base_percent": 1, "zeroing": [{"name": "Year's end", "month": 12, "day": 31}]}
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW, program={**CAFE["program"], "points": section})
    ana = workshop.on_phone(workshop.join(), "aa")
    with transaction(workshop.engine, program.id) as session:
        card = cards_of_members(session, [ana])[ana].number
        earned = [
            earn(ana, 10, reason="gift", occurred_at=NOW, expires_at=NOW + timedelta(days=2)),
            earn(ana, 5, reason="gift", occurred_at=NOW),
        ]
        post(session, program.id, earned, NOW)
        place_hold(session, program, PlaceHold(card, "A", 4, 3600), now=NOW, actor="key:test")

    def turn() -> tuple[int, int]:
        for task in (schedule.expire_holds, schedule.expire_points, schedule.zero_balances):
            task(workshop.context)
        with reading(workshop.engine, program.id) as session:
            spendable = balance(session, ana).spendable
        return spendable, workshop.issued(ana).version

    spendable, version = turn()
    assert spendable == 11
    for days, left, changes in ((1, 15, 1), (1, 5, 2), (60, 0, 3), (1, 0, 3)):
        clock.advance(timedelta(days=days).total_seconds())
        assert turn() == (left, version + changes)
