"""Who works on which queue, as RQ's own register of workers says."""

from __future__ import annotations

from datetime import UTC, datetime

import redis
from rq import Worker
from rq.serializers import JSONSerializer

from workers.queues import QUEUES, connect


def heartbeats(url: str) -> dict[str, list[datetime]]:
    """When the workers of each queue were last heard. Raises ``redis.exceptions.RedisError``.

    A worker that was killed stays in the register until its entry fades, at most some minutes.
    """
    connection = connect(url)
    try:
        found: dict[str, list[datetime]] = {name: [] for name in QUEUES}
        for worker in Worker.all(connection=connection, serializer=JSONSerializer):
            beat = worker.last_heartbeat
            for name in worker.queue_names():
                if name in found and beat is not None:
                    found[name].append(beat if beat.tzinfo else beat.replace(tzinfo=UTC))
        return found
    finally:
        connection.close()


def problem(error: redis.exceptions.RedisError) -> str:
    """One line of why Valkey does not answer."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
