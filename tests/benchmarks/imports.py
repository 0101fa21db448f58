"""Receipts taken by an import, as a share of writing the same rows with the bare driver.

The share carries over to other machines, the receipts per second do not. Both sides commit as often, on a
database with the same members, tables, keys and indexes; the sample is made up, and the same each time.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.types.json import Jsonb
from sqlalchemy.engine import Engine

from tests.factories import CAFE
from tests.postgres import postgres_server
from wallet_server import migrations
from wallet_server.clock import SystemClock
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.imports.runs import BATCH_ITEMS_MAX, run
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import apply_program

ROUNDS = 3
MEMBERS = 300
RECEIPTS = 1_500
LINES_MEAN = 9
REFERENCED = ("program", "outlet", "member", "card")
# In the order in which they may be written: a row after what it points at.
TABLES = ("purchase", "purchase_line", "purchase_trace", "posting", "entry", "lot", "challenge_contribution")


def measure(data: Path) -> dict[str, Any]:
    """Receipts per second on SQLite and PostgreSQL, and each as a share of the bare driver's."""
    data.mkdir(parents=True, exist_ok=True)
    _write_sample(data)
    result: dict[str, Any] = {
        "receipts": RECEIPTS,
        "lines": pq.ParquetFile(data / "receipts.parquet").metadata.num_rows,
    }
    rounds: dict[str, list[tuple[float, float]]] = {"sqlite": [], "postgresql": []}
    with postgres_server() as folder:
        for number in range(ROUNDS):
            for kind, urls in (
                ("sqlite", [f"sqlite:///{data / name}{number}.sqlite" for name in ("ours", "bare")]),
                ("postgresql", [_new_postgres(folder, f"{name}{number}") for name in ("ours", "bare")]),
            ):
                ours, bare = (create_engine(url) for url in urls)
                rounds[kind].append((_import(ours, data), _bare(ours, bare)))
                ours.dispose()
                bare.dispose()
    for kind, seconds in rounds.items():
        result[f"{kind}_receipts_per_second"] = round(RECEIPTS / statistics.median(ours for ours, _bare in seconds))
        result[f"{kind}_share_of_bare_driver"] = round(statistics.median(bare / ours for ours, bare in seconds), 3)
    return result


def _write_sample(folder: Path) -> None:
    dice = random.Random(1)
    people = [f"person-{number}" for number in range(MEMBERS)]
    products = [(product["sku"], product["category"]) for product in CAFE["catalog"]["products"]]
    start = datetime(2026, 1, 1, 8, tzinfo=UTC)
    lines = []
    for number in range(RECEIPTS):
        head = {
            "receipt_id": f"R{number}",
            "outlet": dice.choice("AB"),
            "external_id": dice.choice(people),
            "occurred_at": start + timedelta(minutes=13 * number),
        }
        for _line in range(1 + min(int(dice.expovariate(1 / LINES_MEAN)), 60)):
            sku, category = dice.choice(products)
            price = dice.randrange(1_000, 50_000)
            lines.append({**head, "sku": sku, "category": category, "quantity": 1, "unit_price_minor": price})
    pq.write_table(pa.Table.from_pylist(lines), folder / "receipts.parquet")
    pq.write_table(pa.table({"external_id": people}), folder / "members.parquet")


def _prepare(engine: Engine, data: Path) -> None:
    migrations.upgrade(engine)
    with transaction(engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(CAFE), now=SystemClock().now(), actor="bench")
    run(engine, SystemClock(), slug="cafe-ohrid", kind="members", path=data / "members.parquet")


def _import(engine: Engine, data: Path) -> float:
    _prepare(engine, data)
    begun = time.perf_counter()
    summary = run(engine, SystemClock(), slug="cafe-ohrid", kind="receipts", path=data / "receipts.parquet")
    seconds = time.perf_counter() - begun
    assert summary.place.created == RECEIPTS, summary
    return seconds


def _bare(ours: Engine, bare: Engine) -> float:
    """Write what the import has written with executemany, and commit as often."""
    migrations.upgrade(bare)
    with _driver(ours) as source, _driver(bare) as target:
        quoted = "?" if ours.dialect.name == "sqlite" else "%s"
        if quoted == "?":
            target.execute("PRAGMA synchronous=FULL")
        for table in REFERENCED:
            _copy(source, target, table, quoted, batches=1)
        batches = max(RECEIPTS // BATCH_ITEMS_MAX // len(TABLES), 1)
        return sum(_copy(source, target, table, quoted, batches=batches) for table in TABLES)


def _copy(source: Any, target: Any, table: str, quoted: str, *, batches: int) -> float:
    cursor = source.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    rows = [[Jsonb(value) if isinstance(value, dict) else value for value in row] for row in cursor.fetchall()]
    columns = ", ".join(f'"{name}"' for name in names)
    statement = f"INSERT INTO {table} ({columns}) VALUES ({', '.join([quoted] * len(names))})"
    size = max(len(rows) // batches, 1)
    begun = time.perf_counter()
    for first in range(0, len(rows), size):
        target.cursor().executemany(statement, rows[first : first + size])
        target.commit()
    return time.perf_counter() - begun


@contextmanager
def _driver(engine: Engine) -> Iterator[Any]:
    if engine.dialect.name == "sqlite":
        connection: Any = sqlite3.connect(str(engine.url.database))
        connection.execute("PRAGMA foreign_keys=ON")
    else:
        connection = psycopg.connect(engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        yield connection
    finally:
        connection.close()


def _new_postgres(folder: str, name: str) -> str:
    with psycopg.connect(host=folder, user="app", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://app@/{name}?host={folder}"
