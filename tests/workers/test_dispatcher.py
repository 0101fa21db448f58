"""The doorbell: Valkey may forget everything, be gone, or be full of somebody else's junk."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from rq import Queue
from rq.job import Job
from structlog.testing import capture_logs

from tests.conftest import NOW
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.services import announce, passes_changed
from wallet_server.outbox import services as outbox
from workers.dispatcher import (
    LONG_ROWS_PER_RING,
    QUEUED_RINGS_MAX,
    ROWS_PER_RING,
    URGENT,
    URGENT_RINGS_MORE,
    Dispatcher,
)
from workers.queues import QUEUES, BellWorker, Doorbell, queue, ring


@pytest.fixture
def bells(valkey) -> list[Queue]:
    return [queue(name, valkey) for name in QUEUES]


@pytest.fixture
def dispatcher(workshop, clock, bells) -> Dispatcher:
    return Dispatcher(workshop.engine, clock, bells)


@pytest.fixture
def answer(workshop, bells) -> Iterator[callable]:
    """Let a worker answer every ring that waits."""

    def run(name: str = "push") -> None:
        [bell] = [bell for bell in bells if bell.name == name]
        BellWorker(bell, lambda: workshop.runtime).work(burst=True, logging_level="ERROR")

    return run


def fill(workshop, count: int, queue: str = "push", priority: int = 0) -> None:
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        work = outbox.Work(topic="t", queue=queue, program_id=workshop.program.id, payload={"v": 1}, priority=priority)
        outbox.add_many(session, [work] * count, now=workshop.clock.now())


def rung(bell: Queue) -> list[int]:
    return [row_id for job in bell.jobs for row_id in job.row_ids()]


def test_a_change_goes_from_the_commit_to_the_phone(workshop, dispatcher, answer):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    assert dispatcher.turn() == 1
    answer()
    assert workshop.pushes.batches == [["aa"]]
    assert workshop.states() == ["done"]
    assert dispatcher.turn() == 0


def test_a_campaign_goes_from_its_launch_to_the_phones_once_each(workshop, dispatcher, answer):
    from wallet_server.campaigns.services import create, launch
    from wallet_server.segments.condition import Condition
    from wallet_server.segments.services import save_segment

    members = [workshop.on_phone(workshop.join(marketing=True), f"{number:02x}") for number in range(3)]
    now, program = workshop.clock.now(), workshop.program
    with transaction(workshop.engine, program.id) as session:
        who = {"actor": "staff:o", "now": now}
        segment = save_segment(session, program, code="all", name="All", condition=Condition(), **who)
        made = create(session, program, name="Hi", segment_id=segment.id, message={"mk": "Здраво"}, **who)
        launch(session, program, made.id, **who)
    dispatcher.turn()
    answer("bulk")
    workshop.work()  # a second ring for the same rows finds nobody waiting
    dispatcher.turn()
    answer("push")
    assert sorted(workshop.pushes.tokens) == ["00", "01", "02"]
    assert {workshop.issued(member_id).version for member_id in members} == {2}
    assert set(workshop.states()) == {"done"}


def test_rows_go_to_their_own_queue_in_rings_of_a_few(workshop, dispatcher, bells):
    fill(workshop, 60)
    fill(workshop, 2, "bulk")
    assert dispatcher.turn() == 62
    push, bulk = bells
    assert [len(job.row_ids()) for job in push.jobs] == [ROWS_PER_RING, ROWS_PER_RING, 10]
    assert [len(job.row_ids()) for job in bulk.jobs] == [2]


@pytest.mark.parametrize(
    ("priority", "rows", "rings"),
    [(10, LONG_ROWS_PER_RING, QUEUED_RINGS_MAX), (URGENT, ROWS_PER_RING, QUEUED_RINGS_MAX + URGENT_RINGS_MORE)],
)
def test_while_enough_rings_wait_no_more_are_added(workshop, dispatcher, bells, priority, rows, rings):
    fill(workshop, (rings + 3) * rows, priority=priority)
    dispatcher.turn()
    dispatcher.turn()
    assert bells[0].count == rings


def test_a_till_s_change_overtakes_twenty_thousand_promotion_pushes(workshop, dispatcher, bells):
    """40 rows of 500 passes are waiting, as many of them rung as may be; then somebody pays."""
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        announce(session, workshop.program.id, [uuid4() for _ in range(20_000)], NOW, priority=10)
    promotions = [row.id for row in workshop.rows()]
    assert len(promotions) == 40
    dispatcher.turn()
    assert bells[0].count == QUEUED_RINGS_MAX
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    dispatcher.turn()
    assert rung(bells[0])[0] == workshop.rows()[-1].id
    assert rung(bells[0])[1:] == promotions[: QUEUED_RINGS_MAX * LONG_ROWS_PER_RING], "promotions keep their order"


def test_several_urgent_rings_keep_their_order_before_the_others(workshop, dispatcher, bells):
    fill(workshop, 6, priority=10)
    dispatcher.turn()
    fill(workshop, 2 * ROWS_PER_RING + 1)
    dispatcher.turn()
    ids = [row.id for row in workshop.rows()]
    assert rung(bells[0]) == ids[6:] + ids[:6]


def test_the_urgent_are_done_first_and_then_the_tiers_and_then_the_promotions(workshop, dispatcher, answer):
    members = {priority: workshop.on_phone(workshop.join(), f"{priority:02x}") for priority in (10, 5, 0)}
    for priority, member_id in members.items():
        with transaction(workshop.engine, workshop.program.id) as session:
            passes_changed(session, workshop.program, [member_id], NOW, priority=priority)
    dispatcher.turn()
    answer()
    assert workshop.pushes.tokens == ["00", "05", "0a"]


def test_rq_two_queue_loss(workshop, dispatcher, bells, answer, clock):
    """A ring that a killed worker had taken is in no queue any more: it is given again after five seconds."""
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    dispatcher.turn()
    bells[0].connection.lpop(bells[0].key)
    clock.advance(4)
    assert dispatcher.turn() == 0
    clock.advance(1)
    assert dispatcher.turn() == 1
    answer()
    assert workshop.states() == ["done"]


def test_a_flushed_valkey_loses_nothing(workshop, dispatcher, answer, clock, valkey):
    members = [workshop.on_phone(workshop.join(), f"{number:02x}") for number in range(5)]
    for member_id in members:
        workshop.change(member_id)
    dispatcher.turn()
    valkey.flushall()
    clock.advance(5)
    assert dispatcher.turn() == 5
    answer()
    assert sorted(workshop.pushes.tokens) == [f"{number:02x}" for number in range(5)]
    assert set(workshop.states()) == {"done"}


def test_two_dispatchers_announce_each_row_once(workshop, clock, valkey_url, bells):
    fill(workshop, 300)
    both = []
    for _ in range(2):
        connection = redis.Redis.from_url(valkey_url)
        both.append(Dispatcher(workshop.engine, clock, [queue("push", connection)]))
    barrier = threading.Barrier(2)

    def run(dispatcher: Dispatcher) -> None:
        barrier.wait(timeout=10)
        for _ in range(5):
            dispatcher.turn()

    threads = [threading.Thread(target=run, args=(dispatcher,)) for dispatcher in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(rung(bells[0])) == [row.id for row in workshop.rows()]
    for dispatcher in both:
        dispatcher.bells[0].connection.close()


def test_without_valkey_the_dispatcher_says_so_once_and_no_row_counts_as_announced(workshop, clock, tmp_path):
    nobody = redis.Redis.from_url(f"unix://{tmp_path}/nobody.sock")
    dispatcher = Dispatcher(workshop.engine, clock, [queue("push", nobody)])
    fill(workshop, 3)
    with capture_logs() as logs:
        for _ in range(3):
            dispatcher._careful_turn()
    assert [entry["trouble"] for entry in logs] == ["valkey"]
    assert {row.rung_at for row in workshop.rows()} == {None}


def test_the_dispatcher_goes_on_when_valkey_is_back(workshop, clock, bells, monkeypatch):
    fill(workshop, 1)
    dispatcher = Dispatcher(workshop.engine, clock, bells[:1])

    def refused(*_args, **_kwargs):
        raise redis.exceptions.ConnectionError("refused")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(redis.Redis, "execute_command", refused)
        dispatcher._careful_turn()
    with capture_logs() as logs:
        dispatcher._careful_turn()
    assert [entry["event"] for entry in logs] == ["rings go out again"]
    assert rung(bells[0]) == [row.id for row in workshop.rows()]


def test_a_dispatcher_stops_when_it_is_asked_to(workshop, dispatcher):
    stop = threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_poisonous_row_is_buried_by_the_dispatcher(workshop, dispatcher, clock):
    fill(workshop, 1)
    [row] = workshop.rows()
    for _ in range(outbox.LAPSES_MAX):
        with transaction(workshop.engine) as session:
            assert outbox.claim(session, [row.id], clock.now())
        clock.advance(31)
    with capture_logs() as logs:
        dispatcher.turn()
    assert workshop.states() == ["failed"]
    assert [entry["rows"] for entry in logs] == [[row.id]]


# -- junk in Valkey ---------------------------------------------------------------------------------

TOUCHED: list[object] = []


def touch(*arguments: object) -> None:
    """What an attacker would like to have run."""
    TOUCHED.append(arguments)


class Exploit:
    def __reduce__(self):
        return (touch, ("pickle",))


@pytest.mark.parametrize(
    "call",
    [
        ("os.system", ["true"], {}),
        (f"{__name__}.touch", [[1]], {}),
        ("workers.jobs.work", [], {}),
        ("workers.jobs.work", [[1], [2]], {}),
        ("workers.jobs.work", ["1"], {}),
        ("workers.jobs.work", [["1"]], {}),
        ("workers.jobs.work", [[True]], {}),
        ("workers.jobs.work", [list(range(201))], {}),
        ("workers.jobs.work", [[1]], {"runtime": 1}),
    ],
)
def test_a_job_that_is_not_a_ring_of_ours_is_not_run(bells, workshop, answer, call):
    function, arguments, keywords = call
    foreign = Queue("push", connection=bells[0].connection, serializer="json")
    foreign.enqueue_call(function, args=arguments, kwargs=keywords)
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    ring(bells[0], [row.id for row in workshop.rows()])
    with capture_logs() as logs:
        answer()
    assert any(entry["event"] == "job failed" for entry in logs)
    assert TOUCHED == []
    assert workshop.states() == ["done"], "the next ring was not answered"


def test_pickled_jobs_and_callbacks_are_never_unpacked(bells, workshop, answer, valkey):
    job = Job.create("workers.jobs.work", args=[[]], connection=valkey, serializer="json", id=uuid4().hex)
    job.save()
    valkey.hset(
        job.key,
        mapping={
            "data": pickle.dumps(Exploit()),
            "success_callback_name": f"{__name__}.touch",
            "failure_callback_name": f"{__name__}.touch",
        },
    )
    valkey.rpush(bells[0].key, job.id)
    good = bells[0].enqueue("workers.jobs.work", args=[[]], result_ttl=0)
    valkey.hset(good.key, "success_callback_name", f"{__name__}.touch")
    with capture_logs():
        answer()
    assert TOUCHED == []
    assert bells[0].count == 0


def test_a_ring_is_a_small_json_document(bells, valkey):
    ring(bells[0], [3, 4])
    [job] = bells[0].jobs
    assert isinstance(job, Doorbell)
    assert job.data == b'["workers.jobs.work", null, [[3, 4]], {}]'
