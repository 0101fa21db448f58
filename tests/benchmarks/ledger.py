"""Purchases recorded with all that follows from them, as a share of what the bare database does in the same minute.

On PostgreSQL, set up as it comes (each commit reaches the disk), the share is of ``pgbench -N``; on SQLite of a bare
transaction that writes the same rows with the sqlite3 module. Rounds take turns, so that a machine that is busy is
busy for both; each figure is the median of its rounds. *Service* are counters with a thread for each till, *http* the
tills' API of a whole running group: two processes on PostgreSQL, one on SQLite, which has one writer at a time.
*Statements alone* are those of the service at 16 tills, told again by two processes that compute nothing. The program
has 20 rules, tiers and challenges.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import statements
from tests.benchmarks.market import Market, new_postgres, open_market, ready, till_keys
from tests.benchmarks.storms import storms
from tests.group import READY, environment, free_port
from tests.postgres import PGBENCH, postgres_server
from wallet_server.db import create_engine
from wallet_server.purchases.commands import RecordPurchase

ROUNDS = 3
SECONDS = 4.0
TILLS = (1, 8, 16)
PROCESSES = 2
"""Web processes on PostgreSQL: as many as this machine has cores."""
KEYS = 96
"""A key may call 6,000 times a minute: the tills of the benchmark change theirs."""
STORM_ROUNDS = 1_000
PGBENCH_SCALE = 10
STATEMENTS_BATCHES = 400
"""Of each teller of the statements alone."""


def measure(
    data: Path, *, rounds: int = ROUNDS, seconds: float = SECONDS, storm_rounds: int = STORM_ROUNDS
) -> dict[str, Any]:
    """Shares and latencies on both databases, and how many of the storms went wrong."""
    data.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {}
    with postgres_server(durable=True) as folder:
        result["postgresql"] = _postgresql(data, folder, rounds, seconds)
    result["sqlite"] = _sqlite(data, rounds, seconds)
    if storm_rounds:
        result["storms"] = storms(data, storm_rounds)
    return result


def _postgresql(data: Path, folder: str, rounds: int, seconds: float) -> dict[str, Any]:
    new_postgres(folder, "bare")
    _pgbench(folder, "-i", "-s", str(PGBENCH_SCALE), "-q")
    url = new_postgres(folder, "ours")
    market = open_market(create_engine(url, pool_size=16))
    figures = _Figures()
    _statements(data, folder, market, rounds, figures)
    with _running_group(data / "group", url) as port:
        secrets = till_keys(market, KEYS)
        for number in range(rounds):
            for tills in TILLS:
                bare = _pgbench_tps(folder, tills, seconds)
                figures.add(f"pgbench per second, {tills} tills", bare)
                taken = _service(market, f"s{number}-{tills}", tills, seconds, processes=PROCESSES)
                figures.add(f"service share, {tills} tills", len(taken) / seconds / bare)
                figures.latencies(f"service, {tills} tills", taken)
                taken = _http(market, secrets, port, f"h{number}-{tills}", tills, seconds)
                figures.add(f"http share, {tills} tills", len(taken) / seconds / bare)
                figures.latencies(f"http, {tills} tills", taken)
    market.engine.dispose()
    return figures.medians()


def _statements(data: Path, folder: str, market: Market, rounds: int, figures: _Figures) -> None:
    """What of the share is the database's own: the statements alone, in batches as full as those of 16 tills."""
    tills = TILLS[-1]
    files = [
        statements.write(
            statements.record(
                market,
                new_postgres(folder, f"heard{place}", like="ours"),
                market.cards[place::PROCESSES],  # a member's purchases are told one after the other
                f"told{place}",
                tills // PROCESSES,
                STATEMENTS_BATCHES,
            ),
            data / f"statements{place}",
        )
        for place in range(PROCESSES)
    ]
    for number in range(rounds):
        bare = _pgbench_tps(folder, tills, SECONDS)
        taken = statements.tell(new_postgres(folder, f"told{number}", like="ours"), files)
        purchases = (STATEMENTS_BATCHES - statements.WARM) * tills
        figures.add(f"statements alone share, {tills} tills", purchases / taken / bare)


class _Figures:
    """What the rounds brought, by name."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        self._found.setdefault(name, []).append(value)

    def latencies(self, name: str, taken: list[float]) -> None:
        cuts = statistics.quantiles(taken, n=100)
        self.add(f"{name}: median ms", cuts[49] * 1000)
        self.add(f"{name}: p99 ms", cuts[98] * 1000)

    def medians(self) -> dict[str, Any]:
        found = {name: statistics.median(values) for name, values in self._found.items()}
        return {
            name: round(value) if "per second" in name else round(value, 1 if name.endswith("ms") else 3)
            for name, value in found.items()
        }


def _pgbench(folder: str, *arguments: str) -> str:
    command = [str(PGBENCH), "-h", folder, "-U", "app", *arguments, "bare"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def _pgbench_tps(folder: str, clients: int, seconds: float) -> float:
    printed = _pgbench(folder, "-N", "-n", "-c", str(clients), "-j", "2", "-T", str(round(seconds)))
    found = re.search(r"tps = ([\d.]+)", printed)
    assert found, printed
    return float(found[1])


def _service(market: Market, name: str, tills: int, seconds: float, *, processes: int = 1) -> list[float]:
    """Seconds of each purchase that threads of so many processes brought, each process to a counter of its own."""
    with contextlib.ExitStack() as stack:
        counters = []
        for first in range(min(processes, tills)):
            counter = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.counters"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            stack.callback(counter.kill)
            assert counter.stdin is not None, "it was asked for"
            asked = {
                "database": market.engine.url.render_as_string(hide_password=False),
                "program": str(market.program.id),
                "cards": market.cards,
                "name": name,
                "tills": list(range(first, tills, processes)),
                "seconds": seconds,
            }
            counter.stdin.write(json.dumps(asked) + "\n")
            counter.stdin.flush()
            counters.append(counter)
        for counter in counters:
            assert counter.stdout is not None, "it was asked for"
            assert counter.stdout.readline() == "ready\n", "a counter did not open"
        for counter in counters:
            assert counter.stdin is not None, "it was asked for"
            counter.stdin.write("begin\n")
            counter.stdin.flush()
        taken: list[float] = []
        for counter in counters:
            printed, _nothing = counter.communicate(timeout=seconds + 120)
            assert counter.returncode == 0, "a counter has failed"
            taken += json.loads(printed)
        return taken


def _http(market: Market, secrets: list[str], port: int, name: str, tills: int, seconds: float) -> list[float]:
    """Seconds of each purchase that tills posted to the running group."""
    requests = [
        [_request(command, secrets[(till + tills * number) % len(secrets)]) for number, command in enumerate(commands)]
        for till, commands in ready(market.cards, name, range(tills), seconds).items()
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.tills"],
        input=json.dumps({"port": port, "seconds": seconds, "requests": requests}),
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    taken: list[float] = json.loads(done.stdout)
    return taken


def _request(command: RecordPurchase, secret: str) -> str:
    body = json.dumps(
        {
            "receipt_id": command.receipt_id,
            "card_number": command.card_number,
            "outlet": command.outlet,
            "occurred_at": command.occurred_at.isoformat(),
            "payment_type": command.payment_type,
            "redeem_points": command.redeem_points,
            "lines": [
                {
                    "sku": line.sku,
                    "quantity": line.quantity_thousandths // 1000,
                    "unit_price_minor": line.unit_price_minor,
                }
                for line in command.lines
            ],
        }
    )
    return (
        f"POST /api/v1/purchases HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {command.receipt_id}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )


@contextlib.contextmanager
def _running_group(data: Path, url: str) -> Iterator[int]:
    """A whole ``wallet-server up`` on a database; yields its port."""
    data.mkdir(parents=True)
    port = free_port()
    log = data / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wallet_server", "up", "--port", str(port), "--web-processes", str(PROCESSES)],
            env=environment(data, DATABASE_URL=url, WALLET_SECRET_KEY=os.urandom(32).hex()),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 120
        while READY not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _sqlite(data: Path, rounds: int, seconds: float) -> dict[str, Any]:
    template = data / "template.sqlite"
    market = open_market(create_engine(f"sqlite:///{template}"))
    figures = _Figures()
    for number in range(rounds):
        ours, bare = data / f"ours{number}.sqlite", data / f"bare{number}.sqlite"
        shutil.copy(template, ours)
        shutil.copy(template, bare)
        engine = create_engine(f"sqlite:///{ours}", pool_size=16)
        here = Market(engine, market.program, market.cards, market.till_key)
        alone = _service(here, f"s{number}", 1, seconds)
        bare_per_second = _bare(ours, bare)
        figures.add("bare per second", bare_per_second)
        for tills in TILLS:
            taken = alone if tills == 1 else _service(here, f"s{number}-{tills}", tills, seconds)
            figures.add(f"service share, {tills} tills", len(taken) / seconds / bare_per_second)
            figures.latencies(f"service, {tills} tills", taken)
        engine.dispose()
    return figures.medians()


_OF_PURCHASE = {
    "purchase": "SELECT * FROM purchase ORDER BY rowid",
    "purchase_line": "SELECT * FROM purchase_line",
    "purchase_trace": "SELECT * FROM purchase_trace",
    "posting": "SELECT * FROM posting WHERE purchase_id IS NOT NULL",
    "entry": "SELECT entry.* FROM entry",
    "lot": "SELECT lot.* FROM lot",
    "allocation": "SELECT allocation.* FROM allocation",
    "challenge_contribution": "SELECT * FROM challenge_contribution",
}
_KEY = {"purchase": "id", "challenge_contribution": "source_id"}


def _bare(ours: Path, bare: Path) -> float:
    """Purchases a second that the sqlite3 module writes, each in a transaction of its own, from what ours wrote."""
    with contextlib.closing(sqlite3.connect(ours)) as source:
        source.row_factory = sqlite3.Row
        of_posting = dict(source.execute("SELECT id, purchase_id FROM posting").fetchall())
        # The copy has what the shop had sold before.
        there = {row[0] for row in source.execute("SELECT id FROM purchase WHERE receipt_id LIKE 'opening-%'")}
        work: dict[str, list[tuple[str, tuple[Any, ...]]]] = {}
        members: dict[str, str] = {}
        for table, query in _OF_PURCHASE.items():
            for row in source.execute(query):
                names = row.keys()
                owner = (
                    row[_KEY.get(table, "purchase_id")] if "posting_id" not in names else of_posting[row["posting_id"]]
                )
                if owner in there:
                    continue
                marks = ", ".join("?" * len(names))
                quoted = ", ".join(f'"{name}"' for name in names)
                statement = f"INSERT INTO {table} ({quoted}) VALUES ({marks})"
                work.setdefault(owner, []).append((statement, tuple(row)))
                if table == "purchase":
                    members[owner] = row["member_id"]
        keys = [tuple(row) for row in source.execute("SELECT * FROM idempotency_key ORDER BY rowid")]
    assert len(keys) == len(work) == len(members)
    put = f"INSERT INTO idempotency_key VALUES ({', '.join('?' * len(keys[0]))})"
    with contextlib.closing(sqlite3.connect(bare, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous=FULL")
        target.execute("PRAGMA foreign_keys=ON")
        assert target.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        begun = time.perf_counter()
        for (owner, rows), key in zip(work.items(), keys, strict=True):
            member = members[owner]
            target.execute("BEGIN IMMEDIATE")
            for statement, values in rows:
                target.execute(statement, values)
            for changed in _CHANGED:
                target.execute(changed, (member,))
            target.execute(put, key)
            target.execute("COMMIT")
        return len(work) / (time.perf_counter() - begun)


_CHANGED = (
    "UPDATE member_balance SET spendable = spendable + 1, sequence = sequence + 1 WHERE member_id = ?",
    "UPDATE member_statistics SET purchases = purchases + 1, spend_minor = spend_minor + 1 WHERE member_id = ?",
    "UPDATE issued_pass SET version = version + 1 WHERE member_id = ?",
    "UPDATE challenge_progress SET progress = progress + 1 WHERE member_id = ?",
)
