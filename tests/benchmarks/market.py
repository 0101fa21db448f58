"""The shop that the benchmarks of the engine and the ledger trade in: a program, its members, their receipts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import psycopg
from sqlalchemy.engine import Engine

from tests.factories import CAFE
from wallet_server import migrations
from wallet_server.db import ALL_PROGRAMS, refresh_planner_statistics, transaction
from wallet_server.members.services import ENROL_MAX, Enrol, enrol_many
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program, create_api_key
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.services import record_purchases

MEMBERS = 1_000
OPENING_RECEIPTS = 1_000
"""What the shop has sold before the benchmark begins."""
PER_SECOND_MAX = 4_000
SKUS = ("cappuccino", "burger", "dinner", "espresso", "cake", "salad", "wine", "water")
CATEGORIES = ("coffee", "food", "food", "coffee", "food", "food", "drinks", "drinks")
CATALOG = {
    "categories": [{"code": "drinks"}, {"code": "coffee", "parent": "drinks"}, {"code": "food"}],
    "products": [{"sku": sku, "category": category} for sku, category in zip(SKUS, CATEGORIES, strict=True)],
}
RULES: list[dict[str, Any]] = [
    {"name": "Drinks", "family": "product", "when": {"categories": ["drinks"]}, "earn": {"multiply": 2}},
    {"name": "Coffee", "family": "product", "when": {"categories": ["coffee"]}, "earn": {"percent": 5}},
    {"name": "No water", "family": "product", "when": {"skus": ["water"]}, "earn": {"none": True}},
    {"name": "Wine", "family": "product", "when": {"skus": ["wine"]}, "redeem": {"max_percent": 0}},
    {"name": "Cake week", "family": "product", "when": {"skus": ["cake"]}, "earn": {"discount_percent": 10}},
    {"name": "Burger stamp", "family": "product", "when": {"skus": ["burger"]}, "earn": {"fixed_points": 5}},
    {"name": "Many", "family": "product", "when": {"quantity_min": 3}, "earn": {"multiply": "1.5"}},
    {"name": "Dear", "family": "product", "when": {"unit_price_minor": {"from": 40000}}, "earn": {"multiply": "1.2"}},
    {"name": "Silver", "family": "customer", "when": {"tiers": ["silver"]}, "earn": {"multiply": "1.5"}},
    {"name": "Gold", "family": "customer", "when": {"tiers": ["gold"]}, "earn": {"multiply": 2}},
    {"name": "By card", "family": "behavior", "when": {"payment_types": ["card"]}, "earn": {"multiply": "1.1"}},
    {"name": "By cash", "family": "behavior", "when": {"payment_types": ["cash"]}, "earn": {"multiply": 1}},
    {
        "name": "Big",
        "family": "behavior",
        "when": {"receipt_total_minor": {"from": 90000}},
        "earn": {"fixed_points": 9},
    },
    {"name": "Fifth", "family": "behavior", "when": {"nth_purchase": 5}, "earn": {"fixed_points": 50}},
    *(
        {"name": f"On {day}", "family": "behavior", "when": {"weekdays": [day]}, "earn": {"multiply": f"1.{number}"}}
        for number, day in enumerate(("mon", "tue", "wed", "thu", "fri", "sat"), start=1)
    ),
]
"""Twenty: a handful of them matches any receipt."""
TIERS = {
    "levels": [
        {"code": "base", "name": {"en": "Member"}},
        {"code": "silver", "name": {"en": "Silver"}, "reach": {"any": [{"spend_minor": 1_000_000}]}},
        {"code": "gold", "name": {"en": "Gold"}, "reach": {"any": [{"spend_minor": 5_000_000}]}},
    ]
}


@dataclass(frozen=True, slots=True)
class Market:
    """A program in a database, its members' cards, and a till's key."""

    engine: Engine
    program: ProgramDefinition
    cards: tuple[str, ...]
    till_key: str


def open_market(engine: Engine, *, members: int = MEMBERS, sold: int = OPENING_RECEIPTS) -> Market:
    """Set everything up in a database that is empty; ``sold`` receipts have been recorded before."""
    now = datetime.now(UTC)
    migrations.upgrade(engine)
    file = ProgramFile.model_validate({**CAFE, "catalog": CATALOG, "rules": RULES, "tiers": TIERS})
    with transaction(engine, ALL_PROGRAMS) as session:
        applied = apply_program(session, file, now=now, actor="bench")
        _key, secret = create_api_key(
            session, applied.program_id, outlet_id=None, scopes=["earn", "redeem"], now=now, actor="bench"
        )
        program = load_program(session, program_id=applied.program_id)
    people = [Enrol(email=f"person{number}@example.com", channel="till") for number in range(members)]
    enrolled = []
    for start in range(0, members, ENROL_MAX):
        with transaction(engine, program.id) as session:
            enrolled += enrol_many(session, program, people[start : start + ENROL_MAX], now=now, actor="bench")
    cards = tuple(one.card_number for one in enrolled)
    commands = list(islice(receipts(cards, "opening", 0), sold))
    with transaction(engine, program.id) as session:
        record_purchases(session, program, commands, now=now, source="till", recorded_by="bench", on_error="return")
    # With empty tables PostgreSQL plans as for a handful of rows, and connections keep what they have planned.
    refresh_planner_statistics(engine)
    engine.dispose()
    return Market(engine, program, cards, secret)


def till_keys(market: Market, count: int) -> list[str]:
    """More keys for tills."""
    now = datetime.now(UTC)
    with transaction(market.engine, ALL_PROGRAMS) as session:
        return [
            create_api_key(
                session, market.program.id, outlet_id=None, scopes=["earn", "redeem"], now=now, actor="bench"
            )[1]
            for _key in range(count)
        ]


def receipts(cards: tuple[str, ...], name: str, seed: int) -> Iterator[RecordPurchase]:
    """Receipts without end of one to four lines, every tenth paid with points as far as they go."""
    dice = random.Random(seed)
    number = 0
    while True:
        number += 1
        lines = tuple(
            LineInput(dice.choice(SKUS), None, 1000 * dice.choice((1, 1, 1, 2, 3)), dice.randrange(5_000, 50_000, 100))
            for _line in range(dice.randint(1, 4))
        )
        yield RecordPurchase(
            receipt_id=f"{name}-{number}",
            card_number=dice.choice(cards),
            outlet=dice.choice("AB"),
            occurred_at=datetime.now(UTC),
            lines=lines,
            payment_type=dice.choice(("card", "cash")),
            redeem_points="max" if number % 10 == 0 else 0,
        )


def ready(cards: tuple[str, ...], name: str, tills: Sequence[int], seconds: float) -> dict[int, list[RecordPurchase]]:
    """Each till's receipts, made before the clock runs: more than all of them together can bring in this time."""
    count = int(PER_SECOND_MAX * seconds / len(tills)) + 100
    return {till: list(islice(receipts(cards, f"{name}-{till}", till), count)) for till in tills}


def new_postgres(folder: str, name: str, *, like: str = "template1") -> str:
    """The address of a new database on a server of :func:`tests.postgres.postgres_server`, a copy of ``like``."""
    with psycopg.connect(host=folder, user="app", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
    return f"postgresql://app@/{name}?host={folder}"
