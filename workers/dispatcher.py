"""Read the outbox and ring the workers.

Any number of dispatchers may run: each row is announced by one of them. Valkey is only told where to look,
so when it is down, or was emptied, rows wait in the database and are announced again (the sweeper's rule of
``outbox.services``: what was announced five seconds ago and is still there).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import redis
import sqlalchemy as sa
import structlog
from rq import Queue
from sqlalchemy.engine import Engine

from wallet_server.clock import Clock
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.outbox import services as outbox
from workers.queues import ring

QUEUED_RINGS_MAX: Final = 16
"""While so many rings wait unheard, more would only be noise."""
URGENT: Final = 0
"""Rows of this priority or a smaller one have somebody at a till behind them."""
URGENT_RINGS_MORE: Final = 4
"""They are rung beyond the limit, and before all that waits: a promotion to everybody must not hold them up."""
ROWS_PER_RING: Final = 25
"""Of urgent rows, which hold a pass or two each."""
LONG_ROWS_PER_RING: Final = 2
"""Of the others, which hold up to 500 passes each: a ring is one job, and the urgent wait for its end."""
BUSY_PAUSE_S: Final = 0.02
IDLE_PAUSE_S: Final = 0.1
TROUBLE_PAUSE_S: Final = 0.5
BURY_EVERY: Final = timedelta(seconds=5)


@dataclass
class Dispatcher:
    """One dispatching process, with what it needs to remember between turns."""

    engine: Engine
    clock: Clock
    bells: Sequence[Queue]
    _buried_at: datetime | None = field(default=None, init=False)
    _trouble: str = field(default="", init=False)

    def turn(self) -> int:
        """Announce what is due now; the number of rows. Raises what the database or Valkey raise."""
        now = self.clock.now()
        self._bury(now)
        return sum(self._announce(bell, now) for bell in self.bells)

    def run(self, stop: threading.Event) -> None:
        """Take turns until ``stop`` is set, through any outage of Valkey or the database."""
        while not stop.is_set():
            stop.wait(self._careful_turn())

    def _careful_turn(self) -> float:
        """One turn; how many seconds to wait before the next."""
        try:
            announced = self.turn()
        except (redis.exceptions.RedisError, sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            trouble = "valkey" if isinstance(error, redis.exceptions.RedisError) else "database"
            if trouble != self._trouble:  # once, not twice a second
                structlog.get_logger().warning(
                    "no rings go out; rows wait in the outbox", trouble=trouble, error=str(error)
                )
            self._trouble = trouble
            return TROUBLE_PAUSE_S
        if self._trouble:
            structlog.get_logger().info("rings go out again", trouble=self._trouble)
            self._trouble = ""
        return BUSY_PAUSE_S if announced else IDLE_PAUSE_S

    def _announce(self, bell: Queue, now: datetime) -> int:
        with reading(self.engine, ALL_PROGRAMS) as session:
            if not outbox.has_due(session, bell.name, now):
                return 0
            urgent = outbox.has_due(session, bell.name, now, priority_max=URGENT)
        # Asked before rows are marked as announced: a Valkey that is down fails here.
        waiting = bell.count
        first: list[int] = []
        rest: list[int] = []
        room = QUEUED_RINGS_MAX + URGENT_RINGS_MORE - waiting
        if urgent and room > 0:
            with transaction(self.engine, ALL_PROGRAMS) as session:
                first = outbox.due(session, bell.name, now, limit=room * ROWS_PER_RING, priority_max=URGENT)
        rings = [first[start : start + ROWS_PER_RING] for start in range(0, len(first), ROWS_PER_RING)]
        for row_ids in reversed(rings):  # each goes to the front, so that the first comes last
            ring(bell, row_ids, first=True)
        room = QUEUED_RINGS_MAX - waiting - len(rings)
        if room > 0:
            with transaction(self.engine, ALL_PROGRAMS) as session:
                rest = outbox.due(session, bell.name, now, limit=room * LONG_ROWS_PER_RING)
        for start in range(0, len(rest), LONG_ROWS_PER_RING):
            ring(bell, rest[start : start + LONG_ROWS_PER_RING])
        return len(first) + len(rest)

    def _bury(self, now: datetime) -> None:
        if self._buried_at is not None and now - self._buried_at < BURY_EVERY:
            return
        self._buried_at = now
        with reading(self.engine, ALL_PROGRAMS) as session:
            if not outbox.has_poison(session, now):
                return
        with transaction(self.engine, ALL_PROGRAMS) as session:
            buried = outbox.bury(session, now)
        if buried:
            structlog.get_logger().error("workers died on these rows three times; they are given up", rows=buried)
