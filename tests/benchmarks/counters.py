"""Tills at the counter of one process, as a web process has it: run as a process of its own, so that several can.

Reads ``{"database", "program", "cards", "name", "tills": [number, …], "seconds"}`` from its input, serves each till a
few times as a process has that did not start this moment, prints ``ready``, begins at the next line and prints the
seconds of each purchase.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests.benchmarks.market import ready
from wallet_server.db import create_engine, reading
from wallet_server.garbage import collect_rarely
from wallet_server.idempotency.services import Call, refusal_document
from wallet_server.programs.queries import load_program
from wallet_server.purchases.commands import RecordPurchase
from wallet_server.purchases.counter import Counter, Turn
from wallet_server.purchases.services import Recorded
from wallet_server.web.pos_api.writing import purchase_body

FIRST = 5
"""Purchases of each till that are not counted."""


def main() -> None:
    """Press, and print what it took; an error ends with a traceback and a code that is not 0."""
    asked = json.loads(sys.stdin.readline())
    engine = create_engine(asked["database"], pool_size=16)
    with reading(engine) as session:
        program = load_program(session, program_id=UUID(asked["program"]))
    counter = Counter(engine, refusal=refusal_document)
    tills, seconds = asked["tills"], asked["seconds"]
    waiting = ready(tuple(asked["cards"]), asked["name"], tills, seconds)
    taken: list[float] = []
    errors: list[Exception] = []

    def body(done: Recorded) -> tuple[int, Mapping[str, Any]]:
        return 201, purchase_body(done, program)

    def record(command: RecordPurchase) -> None:
        call = Call(program.id, "bench", command.receipt_id, "hash", datetime.now(UTC))
        answer = counter.record(Turn(program, call, command, "key:bench", body))
        assert answer.status == 201, answer

    def run(till: int) -> None:
        try:
            for command in waiting[till][FIRST:]:
                begun = time.perf_counter()
                if begun >= ends_at:
                    return
                record(command)
                taken.append(time.perf_counter() - begun)
            raise RuntimeError("a till ran out of receipts")
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(till,)) for till in tills]
    for till in tills:
        for command in waiting[till][:FIRST]:
            record(command)
    collect_rarely()
    print("ready", flush=True)
    sys.stdin.readline()
    ends_at = time.perf_counter() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    json.dump(taken, sys.stdout)


if __name__ == "__main__":
    main()
