"""The outbox: nothing lost, nothing done by two, nothing held up by what is poisonous."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import publish
from tests.statements import plans_of
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.outbox import services as outbox
from wallet_server.outbox.models import OutboxRow
from wallet_server.outbox.queries import backlog

SECOND = timedelta(seconds=1)


def fill(engine: Engine, count: int = 1, *, queue: str = "push", **values) -> list[int]:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        for number in range(count):
            outbox.add(
                session,
                topic="pass.changed",
                queue=queue,
                program_id=program.id,
                payload={"v": 1, "number": number},
                now=NOW,
                **values,
            )
    with reading(engine) as session:
        return list(session.exec(select(OutboxRow.id).order_by(col(OutboxRow.id))))


def row_of(engine: Engine, row_id: int) -> OutboxRow:
    with reading(engine) as session:
        return session.get_one(OutboxRow, row_id)


def claim(engine: Engine, ids: list[int], now=NOW) -> list[outbox.Leased]:
    with transaction(engine) as session:
        return outbox.claim(session, ids, now)


def test_a_claimed_row_brings_its_payload_and_belongs_to_one_worker(engine):
    [row_id] = fill(engine)
    [leased] = claim(engine, [row_id])
    assert (leased.id, leased.topic, leased.payload) == (row_id, "pass.changed", {"v": 1, "number": 0})
    assert (leased.generation, leased.attempts) == (1, 1)
    assert claim(engine, [row_id], NOW + 29 * SECOND) == []


def test_a_finished_row_is_done_and_never_claimed_again(engine):
    [row_id] = fill(engine)
    [leased] = claim(engine, [row_id])
    with transaction(engine) as session:
        assert outbox.finish(session, leased, NOW)
    assert row_of(engine, row_id).state == "done"
    assert claim(engine, [row_id], NOW + timedelta(days=1)) == []


def test_a_lapsed_lease_is_taken_over_and_the_orphan_is_fenced(engine):
    [row_id] = fill(engine)
    [orphan] = claim(engine, [row_id])
    [heir] = claim(engine, [row_id], NOW + 31 * SECOND)
    assert heir.generation == orphan.generation + 1
    with transaction(engine) as session:
        assert not outbox.finish(session, orphan, NOW + 32 * SECOND)
        assert not outbox.retry(session, orphan, NOW + 32 * SECOND, error="late", delay=SECOND)
    assert row_of(engine, row_id).state == "leased"
    with transaction(engine) as session:
        assert outbox.finish(session, heir, NOW + 33 * SECOND)


def test_rows_are_finished_together_but_for_those_whose_lease_is_lost(engine):
    first, lost, last = ids = fill(engine, 3)
    leased = claim(engine, ids)
    [heir] = claim(engine, [lost], NOW + 31 * SECOND)
    with transaction(engine) as session:
        assert outbox.finish_all(session, leased, NOW + 32 * SECOND) == 2
        assert outbox.finish_all(session, [], NOW) == 0
    assert [row_of(engine, row_id).state for row_id in (first, lost, last)] == ["done", "leased", "done"]
    assert row_of(engine, lost).lease_generation == heir.generation


def test_a_row_given_back_waits_for_its_time_and_keeps_the_reason(engine):
    [row_id] = fill(engine)
    [leased] = claim(engine, [row_id])
    with transaction(engine) as session:
        assert outbox.retry(session, leased, NOW, error="429 TooManyRequests", delay=5 * SECOND)
    row = row_of(engine, row_id)
    assert (row.state, row.error, row.rung_at) == ("waiting", "429 TooManyRequests", None)
    assert claim(engine, [row_id], NOW + 4 * SECOND) == []
    [again] = claim(engine, [row_id], NOW + 5 * SECOND)
    assert again.attempts == 2


def test_the_last_attempt_ends_in_failure(engine):
    [row_id] = fill(engine)
    now = NOW
    for _ in range(outbox.ATTEMPTS_MAX):
        [leased] = claim(engine, [row_id], now)
        with transaction(engine) as session:
            outbox.retry(session, leased, now, error="x" * 2000, delay=SECOND)
        now += 2 * SECOND
    row = row_of(engine, row_id)
    assert row.state == "failed"
    assert len(row.error) == 500
    assert claim(engine, [row_id], now) == []


def test_a_row_that_killed_three_workers_is_buried_and_the_others_go_on(engine):
    poison, healthy = fill(engine, 2)
    now = NOW
    for death in range(outbox.LAPSES_MAX):
        with transaction(engine) as session:
            assert outbox.bury(session, now) == [], f"buried after {death} deaths"
        assert [row.id for row in claim(engine, [poison], now)] == [poison]
        now += 31 * SECOND
    assert claim(engine, [poison], now) == [], "a fourth worker took it"
    with transaction(engine) as session:
        assert outbox.has_poison(session, now)
        assert outbox.bury(session, now) == [poison]
        assert not outbox.has_poison(session, now)
    assert row_of(engine, poison).state == "failed"
    assert "poison" in row_of(engine, poison).error
    assert [row.id for row in claim(engine, [healthy], now)] == [healthy]


def test_due_rows_are_announced_once_and_again_after_five_seconds(engine):
    ids = fill(engine, 3)
    with transaction(engine) as session:
        assert outbox.has_due(session, "push", NOW)
        assert outbox.due(session, "push", NOW, limit=10) == ids
        assert not outbox.has_due(session, "push", NOW + 4 * SECOND)
        assert outbox.due(session, "push", NOW + 4 * SECOND, limit=10) == []
        assert outbox.due(session, "push", NOW + 5 * SECOND, limit=10) == ids
        assert outbox.due(session, "bulk", NOW + 5 * SECOND, limit=10) == []


def test_due_leaves_out_what_is_being_worked_on_until_the_lease_lapses(engine):
    [row_id] = fill(engine)
    claim(engine, [row_id])
    with transaction(engine) as session:
        assert outbox.due(session, "push", NOW + 29 * SECOND, limit=10) == []
        assert outbox.due(session, "push", NOW + 31 * SECOND, limit=10) == [row_id]


def test_urgent_rows_come_first_and_the_limit_holds(engine):
    slow = fill(engine, 3, priority=5)
    urgent = sorted(set(fill(engine, 2, priority=0)) - set(slow))
    with transaction(engine) as session:
        assert outbox.due(session, "push", NOW, limit=3) == [*urgent, slow[0]]


def test_a_row_for_later_is_not_due_before(engine):
    [row_id] = fill(engine, not_before=NOW + timedelta(hours=1))
    with transaction(engine) as session:
        assert outbox.due(session, "push", NOW, limit=10) == []
        assert outbox.due(session, "push", NOW + timedelta(hours=1), limit=10) == [row_id]


@pytest.mark.parametrize("action", ["claim", "due"])
def test_of_many_at_once_each_row_goes_to_exactly_one(engine, action):
    ids = fill(engine, 40)
    barrier = threading.Barrier(4)
    taken: list[list[int]] = [[] for _ in range(4)]

    def take(index: int) -> None:
        barrier.wait(timeout=10)
        for _ in range(20):
            with transaction(engine) as session:
                if action == "claim":
                    taken[index] += [row.id for row in outbox.claim(session, ids[index:] + ids[:index], NOW)]
                else:
                    taken[index] += outbox.due(session, "push", NOW, limit=7)

    threads = [threading.Thread(target=take, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(row_id for mine in taken for row_id in mine) == ids


def test_a_rolled_back_change_leaves_no_work(engine):
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)

    def change(session: Session) -> None:
        outbox.add(session, topic="t", queue="push", program_id=program.id, payload={"v": 1}, now=NOW)
        raise RuntimeError("refused")

    with pytest.raises(RuntimeError), transaction(engine) as session:
        change(session)
    with reading(engine) as session:
        assert backlog(session).open == 0


def test_back_off_doubles_up_to_five_minutes_and_is_spread():
    longest = [outbox.back_off(attempts, 1.0).total_seconds() for attempts in range(1, 12)]
    assert longest == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert outbox.back_off(3, 0.0).total_seconds() == 4
    assert outbox.back_off(10_000, 1.0).total_seconds() == 300


def test_prune_deletes_only_old_done_rows_and_backlog_counts_the_rest(engine):
    done, failed, waiting = fill(engine, 3)
    with transaction(engine) as session:
        for leased in outbox.claim(session, [done, failed], NOW):
            if leased.id == done:
                outbox.finish(session, leased, NOW)
            else:
                outbox.retry(session, leased, NOW, error="no", delay=SECOND, attempts_max=1)
    with transaction(engine) as session:
        assert outbox.prune(session, NOW) == 0
        assert outbox.prune(session, NOW + SECOND) == 1
    with reading(engine) as session:
        assert list(session.exec(select(OutboxRow.id).order_by(col(OutboxRow.id)))) == [failed, waiting]
        found = backlog(session)
    assert (found.open, found.failed) == (1, 1)


def test_the_backlog_is_counted_by_small_indexes(engine):
    fill(engine, 2)
    with transaction(engine) as session:
        plans = plans_of(session, lambda: backlog(session))
    for plan, index in zip(plans, ("ix_outbox_due", "ix_outbox_failed"), strict=True):
        assert index in plan


def test_looking_for_work_is_in_nobodys_way(engine):
    ids = fill(engine)
    with reading(engine, ALL_PROGRAMS) as looks:
        assert outbox.has_due(looks, "push", NOW)
        with transaction(engine) as session:
            assert outbox.due(session, "push", NOW, limit=10) == ids
        assert outbox.has_due(looks, "push", NOW), "one consistent read, whatever others announce"
