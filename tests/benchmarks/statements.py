"""What the database alone takes for purchases: their statements, told again with nothing computed in between.

Batches are recorded as a counter tells them to PostgreSQL on a copy of the shop, and told word for word to another
copy by processes that know psycopg and nothing of ours. Whoever writes these rows with these statements is slower.
Run as a process of its own, a teller reads its batches from a file and prints the seconds it took.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.market import Market, receipts
from wallet_server import pipeline
from wallet_server.db import create_engine
from wallet_server.idempotency.services import Call, refusal_document
from wallet_server.purchases.commands import RecordPurchase
from wallet_server.purchases.counter import Counter, Turn, _Waiting
from wallet_server.purchases.services import Recorded
from wallet_server.web.pos_api.writing import purchase_body

Round = list[tuple[str, Any]]
Batch = list[Round]
"""The statements with their values, by round trip."""

WARM = 20
"""Batches of each teller that are not counted."""


def record(market: Market, url: str, cards: Sequence[str], name: str, size: int, count: int) -> list[Batch]:
    """Bring so many batches of so many purchases to a counter on the copy at ``url``, and note what it says."""
    engine = create_engine(url)
    counter = Counter(engine, refusal=refusal_document)
    commands = receipts(tuple(cards), name, seed=0)
    batches: list[Batch] = []

    def turn(command: RecordPurchase) -> Turn:
        def body(done: Recorded) -> tuple[int, dict[str, Any]]:
            return 201, purchase_body(done, market.program)

        call = Call(market.program.id, name, command.receipt_id, "hash", datetime.now(UTC))
        return Turn(market.program, call, command, "key:bench", body)

    with _noted() as rounds:
        for _batch in range(count):
            by_card: dict[str, RecordPurchase] = {}
            while len(by_card) < size:
                by_card.update({command.card_number: command for command in islice(commands, 1)})
            counter._answer([_Waiting(turn(command)) for command in by_card.values()])
            batches.append(list(rounds))
            rounds.clear()
    engine.dispose()
    return batches


@contextmanager
def _noted() -> Iterator[list[Round]]:
    rounds: list[Round] = []
    ask = pipeline.ask

    def noting(connection: Any, questions: Any) -> Any:
        rounds.append([*connection.info.get(pipeline._WAITING, ()), *questions])
        return ask(connection, questions)

    pipeline.ask = noting
    try:
        yield rounds
    finally:
        pipeline.ask = ask


def write(batches: Sequence[Batch], file: Path) -> Path:
    """Keep batches for a teller."""
    file.write_bytes(pickle.dumps(batches))
    return file


def tell(url: str, files: Sequence[Path]) -> float:
    """Seconds that tellers side by side take, one for each file."""
    tellers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.statements", url, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for file in files
    ]
    try:
        for teller in tellers:
            assert teller.stdout is not None, "it was asked for"
            assert teller.stdout.readline() == "ready\n", "a teller did not begin"
        for teller in tellers:
            assert teller.stdin is not None, "it was asked for"
            teller.stdin.write("begin\n")
            teller.stdin.flush()
        taken = [float(teller.communicate(timeout=120)[0]) for teller in tellers]
    finally:
        for teller in tellers:
            teller.kill()
    return max(taken)


def main() -> None:
    """Tell what a file holds; an error ends with a traceback and a code that is not 0."""
    address, file = sys.argv[1:]
    batches: list[Batch] = pickle.loads(Path(file).read_bytes())
    with psycopg.connect(address) as connection:

        def say(batch: Batch) -> None:
            for one in batch:
                with connection.pipeline():
                    told = [connection.cursor().execute(text, values, prepare=True) for text, values in one]
                for cursor in told:
                    if cursor.description is not None:
                        cursor.fetchall()
            connection.commit()

        for batch in batches[:WARM]:
            say(batch)
        print("ready", flush=True)
        sys.stdin.readline()
        begun = time.perf_counter()
        for batch in batches[WARM:]:
            say(batch)
        print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
