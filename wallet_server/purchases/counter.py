"""Tills that come at the same moment are served together: one of them records for all, with one commit.

A batch costs hardly more than a single purchase, in statements and in the database's waits for its disk, so that a
busy hour is cheaper for each till than a quiet one. Whoever finds the counter free serves at once and waits for
nobody; who comes meanwhile is next. One batch at a time is faster than two side by side, which would only be smaller;
but where a batch is held up, by a member who is locked elsewhere, the others do not stand behind it. Each till gets
its own answer: one that is refused does not touch the others, and a batch that fails as a whole is done again one by
one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlmodel import Session

from wallet_server.errors import DomainError
from wallet_server.idempotency.services import Answer, Call, Refusal, answer_each_once
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.keys import TillKey, refused_keys
from wallet_server.purchases.commands import RecordPurchase
from wallet_server.purchases.services import Recorded, record_purchases

BATCH_MAX: Final = 32
"""Tills served together: more would keep the first of them waiting."""
GATHER_SECONDS: Final = 0.002
"""How long a till waits for others, where the last batch says that there are some."""
PATIENCE_SECONDS: Final = 0.25
"""How long a till stands behind one batch before it opens a second place: something holds that batch up."""
WAIT_SECONDS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Turn:
    """One till's purchase, under its key. ``body`` makes the answer of what was recorded.

    ``till_key`` is who brings it, where that is to be looked at again before anything is done.
    """

    program: ProgramDefinition
    call: Call
    command: RecordPurchase
    recorded_by: str
    body: Callable[[Recorded], tuple[int, Mapping[str, Any]]]
    till_key: TillKey | None = None

    def is_apart_from(self, other: Turn) -> bool:
        """Whether both may go into one batch: each is told the balance that its own purchase left."""
        mine, its = self.call, other.call
        return (mine.client, mine.key) != (
            its.client,
            its.key,
        ) and self.command.card_number != other.command.card_number


@dataclass(eq=False, slots=True)
class _Waiting:
    """A till in the queue; ``leads`` once it is its turn to serve."""

    turn: Turn
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    result: Answer | BaseException | None = None


class Counter:
    """The purchases of one process on one database. ``places`` batches at most run side by side.

    SQLite writes one at a time, so a second place would not help there.
    """

    def __init__(self, engine: Engine, *, refusal: Refusal, places: int | None = None) -> None:
        self._engine = engine
        self._refusal = refusal
        self._places = places or (1 if engine.dialect.name == "sqlite" else 2)
        self._serving = 0
        self._queue: list[_Waiting] = []
        self._came = threading.Condition()
        self._expected = 1

    def record(self, turn: Turn) -> Answer:
        """Record a purchase once and return the answer, which may have been given before.

        Raises ``DomainError`` as :func:`wallet_server.idempotency.services.answer_once` does with
        :func:`wallet_server.purchases.services.record_purchase`; ``busy`` (503) after a minute in the queue, and for
        a till key that is no longer what it was.
        """
        mine = _Waiting(turn)
        with self._came:
            self._queue.append(mine)
            self._lead(mine, beside=0)
            self._came.notify_all()
        gives_up_at = time.monotonic() + WAIT_SECONDS_MAX
        while not (mine.leads or mine.woken.wait(PATIENCE_SECONDS)):
            with self._came:
                self._lead(mine, beside=self._places - 1)
            if time.monotonic() > gives_up_at:
                self._leave(mine)
                break
        if mine.leads:
            self._serve(mine)
        if isinstance(mine.result, BaseException):
            raise mine.result
        assert mine.result is not None, "a till went without an answer"
        return mine.result

    def _lead(self, mine: _Waiting, *, beside: int) -> None:
        """Let a till that still waits serve, if no more than so many others do."""
        if mine in self._queue and not mine.leads and self._serving <= beside:
            self._serving += 1
            mine.leads = True

    def _leave(self, mine: _Waiting) -> None:
        """Give up waiting, unless an answer or the lead came at the last moment."""
        with self._came:
            if mine.leads or mine.result is not None:
                return
            if mine in self._queue:
                self._queue.remove(mine)
            mine.result = DomainError("busy", "too many purchases are waiting; try again", status=503, retry_after=1)

    def _serve(self, mine: _Waiting) -> None:
        """Answer a batch, ours among it, and hand the counter on, whatever happens."""
        batch = [mine]
        try:
            batch = self._gather(mine)
            self._answer(batch)
        except BaseException as error:
            for waiting in batch:
                waiting.result = waiting.result or error
            raise
        finally:
            self._hand_on()
            for waiting in batch:
                waiting.woken.set()

    def _gather(self, mine: _Waiting) -> list[_Waiting]:
        """Our till and those behind it that can go together, in the order they came."""
        with self._came:
            if len(self._queue) < self._expected:
                self._came.wait_for(lambda: len(self._queue) >= self._expected, GATHER_SECONDS)
            batch = [mine]
            self._queue.remove(mine)
            program = mine.turn.program
            for waiting in self._queue:
                if len(batch) == BATCH_MAX:
                    break
                if not waiting.leads and waiting.turn.program is program and _fits(waiting.turn, batch):
                    batch.append(waiting)
            self._queue = [waiting for waiting in self._queue if waiting not in batch]
            self._expected = len(batch)
            return batch

    def _hand_on(self) -> None:
        with self._came:
            self._serving -= 1
            if self._serving:
                return  # whoever serves beside us hands on to the rest
            for waiting in self._queue:
                if not waiting.leads:
                    self._lead(waiting, beside=0)
                    waiting.woken.set()
                    return

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            self._record(batch)
        except Exception:
            if len(batch) == 1:
                raise
            # One of them may be the reason: alone, each gets what is its own.
            for waiting in batch:
                try:
                    self._record([waiting])
                except Exception as error:  # noqa: BLE001 - raised again in the thread of its till
                    waiting.result = error

    def _record(self, batch: Sequence[_Waiting]) -> None:
        turns = [waiting.turn for waiting in batch]

        def work(session: Session, places: Sequence[int]) -> list[tuple[int, Mapping[str, Any]] | DomainError]:
            done = record_purchases(
                session,
                turns[0].program,
                [turns[place].command for place in places],
                now=max(turns[place].call.now for place in places),
                source="till",
                recorded_by=[turns[place].recorded_by for place in places],
                on_error="return",
            )
            return [
                result if isinstance(result, DomainError) else turns[place].body(result)
                for place, result in zip(places, done, strict=True)
            ]

        calls = [turn.call for turn in turns]
        keys = {place: turn.till_key for place, turn in enumerate(turns) if turn.till_key is not None}
        refused = refused_keys(keys) if keys else None
        results = answer_each_once(self._engine, calls, work, refusal=self._refusal, refused=refused)
        for waiting, result in zip(batch, results, strict=True):
            waiting.result = result


def _fits(turn: Turn, batch: Sequence[_Waiting]) -> bool:
    return all(turn.is_apart_from(waiting.turn) for waiting in batch)
