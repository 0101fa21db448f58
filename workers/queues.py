"""RQ as a doorbell: a job says "look at these outbox rows", and losing one loses nothing.

The JSON serializer, because RQ's own runs whatever was written into Redis. One queue a worker process,
because a job that RQ hands out on two queues is lost for ever when the worker is killed at that moment.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import redis
import structlog
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from wallet_server.outbox.services import CLAIM_MAX, LEASE

if TYPE_CHECKING:
    from workers.runtime import Runtime

QUEUES: Final = ("push", "bulk")
WORK: Final = "workers.jobs.work"
JOB_TIMEOUT_S: Final = 25
"""Shorter than the lease, so that a job that hangs is ended before its rows go to somebody else."""
RING_TTL_S: Final = 60
"""Nobody answered for so long: the ring fades, the sweeper rings again."""
FAILURE_TTL_S: Final = 24 * 3600
WORKER_TTL_S: Final = 60
"""RQ waits 15 s less than this for a ring, so a line that is silent for so long is dead."""
CONNECT_TIMEOUT_S: Final = 3
ANSWER_TIMEOUT_S: Final = 5

assert LEASE.total_seconds() > JOB_TIMEOUT_S


def connect(url: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> redis.Redis:
    """A connection to Valkey that never waits for ever; nothing is sent yet."""
    return redis.Redis.from_url(
        url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=answer_timeout_s, health_check_interval=30
    )


def queue(name: str, connection: redis.Redis) -> Queue:
    """One of our two queues: ``push`` for what somebody waits for, ``bulk`` for the rest."""
    assert name in QUEUES, f"{name!r} is none of our queues"
    return Queue(name, connection=connection, serializer=JSONSerializer, job_class=Doorbell)


def ring(bell: Queue, row_ids: Sequence[int], *, first: bool = False) -> None:
    """Tell a worker to look at these rows of the outbox; ``first``: before all that waits."""
    bell.enqueue(
        WORK,
        args=[list(row_ids)],
        at_front=first,
        job_timeout=JOB_TIMEOUT_S,
        ttl=RING_TTL_S,
        result_ttl=0,
        failure_ttl=FAILURE_TTL_S,
    )


class Doorbell(Job):
    """A job that can do one thing only, whatever somebody has written into Redis.

    No function is looked up by its name, no callback and no webhook is run, and the only argument is a list
    of row numbers.
    """

    runtime: Runtime | None = None

    def row_ids(self) -> list[int]:
        """The rows to look at; raises ``ValueError`` for anything else."""
        arguments = self.args
        if self.func_name != WORK or self.instance is not None or self.kwargs or len(arguments) != 1:
            raise ValueError("this is not a ring of ours")
        ids = arguments[0]
        if not isinstance(ids, list) or len(ids) > CLAIM_MAX or not all(type(item) is int for item in ids):
            raise ValueError(f"a ring names at most {CLAIM_MAX} rows by their numbers")
        return ids

    def _execute(self) -> Any:
        from workers.jobs import work

        assert self.runtime is not None, "the worker did not bind its runtime"
        work(self.runtime, self.row_ids())

    @property
    def success_callback(self) -> None:
        return None

    @property
    def failure_callback(self) -> None:
        return None

    @property
    def stopped_callback(self) -> None:
        return None

    def send_webhooks(self, *_arguments: Any, **_keywords: Any) -> None:
        """Send none: a ring has nobody to tell."""


class BellWorker(SimpleWorker):
    """Works in its own process, on one queue, and takes no orders through Redis."""

    job_class = Doorbell
    log_result_lifespan = False
    max_connection_wait_time = 5.0

    def __init__(self, bell: Queue, runtime: Callable[[], Runtime]) -> None:
        super().__init__(
            [bell],
            connection=bell.connection,
            job_class=Doorbell,
            serializer=JSONSerializer,
            log_job_description=False,
            worker_ttl=WORKER_TTL_S,
        )
        self._runtime = runtime
        self.asked_to_stop = False

    def perform_job(self, job: Job, queue: Queue, execution: Any) -> bool:
        assert isinstance(job, Doorbell)
        job.runtime = self._runtime()
        return super().perform_job(job, queue, execution)

    def subscribe(self) -> None:
        """Do not listen: RQ's remote orders would let whoever can write to Redis stop our workers."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.asked_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def set_shutdown_requested_date(self) -> None:
        try:
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]
        except redis.exceptions.RedisError:
            pass  # a note for `rq info` only; it must not break the job that is being finished

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        structlog.get_logger().error("job failed", job=job.id, exc_info=exc_info)


def work_until_stopped(url: str, name: str, runtime: Callable[[], Runtime], *, pause: Any) -> None:
    """Work on one queue until SIGTERM or SIGINT, through any outage of Valkey.

    ``runtime`` is asked before each job; ``pause`` waits for a number of seconds (``time.sleep``).
    """
    log = structlog.get_logger().bind(queue=name)
    lost = False
    while True:
        connection = connect(url, answer_timeout_s=WORKER_TTL_S)
        worker: BellWorker | None = None
        try:
            connection.ping()
            if lost:
                log.info("valkey is back")
                lost = False
            worker = BellWorker(queue(name, connection), runtime)
            worker.work(logging_level="WARNING")
        except redis.exceptions.RedisError as error:
            if not lost:
                log.warning("valkey does not answer; trying again every second", error=str(error))
                lost = True
        finally:
            connection.close()
        if worker is not None and worker.asked_to_stop:
            return
        # Between two workers the signals are ours: Ctrl-C and SIGTERM end the process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pause(1.0)
