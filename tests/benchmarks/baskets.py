"""A year of the grocery's baskets imported under 30 rules, each compared with what the naive engine makes of it.

The data is simulated (docs/recipes/grocery.md). The replay shares nothing with the server but the files.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
import yaml
from sqlalchemy.engine import Engine

from tests.unit.rules import naive
from wallet_server import migrations
from wallet_server.clock import SystemClock
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.imports.completejourney import data_folder, write_files
from wallet_server.imports.runs import run
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import apply_program

ZONE = "America/New_York"
ROWS_READ = 65_536
TIERS = ((400_000, "gold"), (100_000, "silver"), (0, "neighbour"))
AISLES = 12


def measure(data: Path, *, baskets: int | None = None) -> dict[str, Any]:
    """Baskets a second on SQLite; raises ``AssertionError`` for the first basket that the naive engine sees otherwise.

    ``baskets`` takes the year's first so many only.
    """
    write_files(data, source=data_folder())
    receipts = data / "receipts.parquet"
    if baskets is not None:
        _keep(receipts, baskets)
    program = yaml.safe_load((data / "grocery.yaml").read_text(encoding="utf-8"))
    program["rules"] = rules = _rules(receipts)
    engine = create_engine(f"sqlite:///{data / 'wallet.sqlite'}")
    migrations.upgrade(engine)
    with transaction(engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(program), now=SystemClock().now(), actor="bench")
    run(engine, SystemClock(), slug="grocery", kind="members", path=data / "members.parquet")
    begun = time.perf_counter()
    summary = run(engine, SystemClock(), slug="grocery", kind="receipts", path=receipts)
    seconds = time.perf_counter() - begun
    assert not summary.place.refused, summary
    matched = _compare(engine, receipts, program, rules)
    engine.dispose()
    return {
        "rules": len(rules),
        "rules that changed something": matched,
        "baskets": summary.place.created,
        "baskets_per_second": round(summary.place.created / seconds),
        "baskets that differ from the naive replay": 0,
    }


def _keep(receipts: Path, baskets: int) -> None:
    table = pq.read_table(receipts)
    ids = dict.fromkeys(table["receipt_id"].to_pylist())
    wanted = pa.array(list(ids)[:baskets])
    pq.write_table(table.filter(pc.is_in(table["receipt_id"], wanted)), receipts, row_group_size=ROWS_READ)


def _rules(receipts: Path) -> list[dict[str, Any]]:
    """Thirty rules of all families, about what is bought most."""
    aisles = Counter(code for code in pq.read_table(receipts, columns=["category"])["category"].to_pylist() if code)
    names = [code for code, _count in aisles.most_common(AISLES)]
    departments = sorted({code.partition("/")[0] for code in names})
    made: list[dict[str, Any]] = [
        {"name": f"Aisle {code}", "family": "product", "when": {"categories": [code]}, "earn": earn}
        for code, earn in zip(names, _EARN * 2, strict=False)
    ]
    made += [
        {"name": "Department", "family": "product", "when": {"categories": departments[:1]}, "earn": {"multiply": 2}},
        {"name": "Dear", "family": "product", "when": {"unit_price_minor": {"from": 1000}}, "earn": {"percent": 3}},
        {
            "name": "Cheap",
            "family": "product",
            "when": {"unit_price_minor": {"to": 50}},
            "earn": {"max_percent": "0.5"},
        },
        {"name": "Many", "family": "product", "when": {"quantity_min": 3}, "earn": {"multiply": "1.25"}},
        {"name": "Silver", "family": "customer", "when": {"tiers": ["silver"]}, "earn": {"multiply": "1.5"}},
        {"name": "Gold", "family": "customer", "when": {"tiers": ["gold"]}, "earn": {"multiply": 2}},
        {"name": "Tenth", "family": "behavior", "when": {"nth_purchase": 10}, "earn": {"fixed_points": 100}},
        {"name": "Hundredth", "family": "behavior", "when": {"nth_purchase": 100}, "earn": {"fixed_points": 500}},
        {"name": "Big", "family": "behavior", "when": {"receipt_total_minor": {"from": 10000}}, "earn": {"percent": 2}},
        {"name": "Small", "family": "behavior", "when": {"receipt_total_minor": {"to": 500}}, "earn": {"multiply": 3}},
        {
            "name": "Night",
            "family": "behavior",
            "when": {"time": {"from": "22:00", "to": "06:00"}, "weekdays": ["fri", "sat"]},
            "earn": {"multiply": "2.5"},
        },
        {
            "name": "Holidays",
            "family": "behavior",
            "when": {"dates": [{"from": "12-20", "to": "01-02", "yearly": True}]},
            "earn": {"multiply": 2},
            "priority": 5,
        },
        *(
            {"name": f"On {day}", "family": "behavior", "when": {"weekdays": [day]}, "earn": {"multiply": f"1.{place}"}}
            for place, day in enumerate(("mon", "tue", "wed", "thu", "sun"), start=1)
        ),
        {"name": "Limit", "family": "behavior", "earn": {"max_points": 2000}},
    ]
    return made[:30]


_EARN: list[dict[str, Any]] = [
    {"multiply": 2},
    {"percent": "1.5"},
    {"fixed_points": 3},
    {"discount_percent": 5},
    {"none": True},
    {"fixed_percent": 4},
]


def _compare(engine: Engine, receipts: Path, program: dict[str, Any], rules: list[dict[str, Any]]) -> int:
    """Replay every basket; how many rules changed what some basket earned."""
    parents = {section["code"]: section.get("parent") for section in program["catalog"]["categories"]}
    points = {
        "point_value_minor": 1,
        "base_percent": 1,
        "base_redeem_percent": 100,
        "rounding": "down",
        "min_points": 0,
        "carry_fraction": False,
        "earn_on_points_part": False,
    } | program["program"]["points"]
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT receipt_id, points_earned, discount_minor, receipt_points FROM purchase")
        )
        recorded = {row[0]: tuple(row[1:]) for row in rows}
    people: dict[str, naive.Somebody] = {}
    spent: Counter[str] = Counter()
    matched: set[str] = set()
    for lines in _baskets(receipts):
        first = lines[0]
        person = people.setdefault(first["external_id"], _somebody())
        ticket = _ticket(lines, parents)
        made = naive.quote(points, rules, ticket, person, 0)
        expected = (sum(made.points) + made.of_receipt, sum(made.discounts), made.of_receipt)
        assert recorded.pop(first["receipt_id"]) == expected, f"basket {first['receipt_id']}: {expected} was expected"
        matched |= {
            rule["name"]
            for rule in rules
            if rule["name"] not in matched
            and any(
                naive.holds(rule, ticket, line if rule["family"] == "product" else None, person)
                for line in ticket.lines
            )
        }
        total = sum(naive.half_up(line.quantity * line.price) for line in ticket.lines)
        spent[first["external_id"]] += total - expected[1]
        person.purchases += 1
        person.spendable += expected[0]
        person.tier = next(tier for least, tier in TIERS if spent[first["external_id"]] >= least)
    assert not recorded, f"{len(recorded)} recorded purchases are in no file"
    return len(matched)


def _somebody() -> naive.Somebody:
    return naive.Somebody(0, Fraction(0), "neighbour", 0, datetime(2017, 1, 1, tzinfo=UTC), None, "", frozenset())


def _baskets(receipts: Path) -> Iterator[list[dict[str, Any]]]:
    def lines() -> Iterator[dict[str, Any]]:
        for batch in pq.ParquetFile(receipts).iter_batches(ROWS_READ):
            yield from batch.to_pylist()

    for _receipt, group in groupby(lines(), key=lambda line: line["receipt_id"]):
        yield list(group)


def _ticket(lines: list[dict[str, Any]], parents: dict[str, str | None]) -> naive.Ticket:
    def ancestors(code: str | None) -> tuple[str, ...]:
        return () if code is None else (code, *ancestors(parents.get(code)))

    bought = [
        naive.Bought(Fraction(line["quantity"]), line["unit_price_minor"], line["sku"], ancestors(line["category"]))
        for line in lines
    ]
    return naive.Ticket(lines[0]["outlet"], ZONE, lines[0]["occurred_at"], None, bought)
