"""Rules at the till: a recorded purchase earns and pays what the page says, with what the database knows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from tests.statements import heard
from tests.unit.rules import naive
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.members.models import Member
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput
from wallet_server.purchases.invariants import lines_add_up, statistics_count_the_purchases
from wallet_server.purchases.models import Purchase
from wallet_server.purchases.queries import lines_of_purchase, people_asked_for, purchase_by_id, trace_of_purchase
from wallet_server.purchases.services import Recorded, quote_purchase

LINES = (
    LineInput("cappuccino", None, 2000, 30_000),
    LineInput("burger", None, 1000, 45_000),
    LineInput(None, "tobacco", 1000, 50_000),
    LineInput(None, None, 1500, 9_999),
)
RULES: list[dict[str, Any]] = [
    {"name": "Drinks double", "family": "product", "when": {"categories": ["drinks"]}, "earn": {"multiply": 2}},
    {
        "name": "Monday",
        "family": "behavior",
        "when": {"weekdays": ["mon"]},
        "earn": {"percent": "7.5"},
        "outlets": ["A"],
    },
    {
        "name": "No tobacco",
        "family": "product",
        "when": {"categories": ["tobacco"]},
        "earn": {"none": True},
        "redeem": {"max_percent": 0},
    },
    {"name": "Burger week", "family": "product", "when": {"skus": ["burger"]}, "earn": {"discount_percent": 15}},
    {"name": "Burger stamp", "family": "product", "when": {"skus": ["burger"]}, "earn": {"fixed_points": "1.5"}},
    {"name": "Coffee limit", "family": "product", "when": {"categories": ["coffee"]}, "earn": {"max_points": 60}},
    {"name": "Third time", "family": "behavior", "when": {"nth_purchase": 3}, "earn": {"fixed_points": 25}},
    {
        "name": "By card",
        "family": "behavior",
        "when": {"payment_types": ["card"]},
        "redeem": {"receipt_max_percent": 40},
    },
]


def asked(rule: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"name": "asked", "family": "customer", "earn": {"multiply": 10}, "when": rule, **more}]


def earned(shop: Shop, *receipts: str, **values: Any) -> list[int]:
    return [
        done.quote.points_earned
        for done in shop.record(*(purchase(shop.card, name, 100_000, **values) for name in receipts))
    ]


def test_a_batch_with_rules_gives_what_the_page_says_and_keeps_it(engine: Engine) -> None:
    shop = open_shop(engine, rules=RULES, points={"carry_fraction": True})
    commands = [
        purchase(shop.card, "A-1", lines=LINES),
        purchase(shop.card, "A-2", lines=LINES, redeem_points="max", payment_type="card"),
        purchase(shop.card, "A-3", lines=LINES, occurred_at=NOW + timedelta(minutes=1), redeem_points=5),
        purchase(shop.card, "A-4", lines=LINES, outlet="B", redeem_points="max"),
    ]
    recorded = shop.record(*commands)
    spendable, carried = 0, Fraction(0)
    for number, (command, done) in enumerate(zip(commands, recorded, strict=True)):
        expected = naive.quote(
            {
                "point_value_minor": 100,
                "base_percent": 1,
                "base_redeem_percent": 100,
                "min_points": 0,
                "earn_on_points_part": False,
                "carry_fraction": True,
                "rounding": "down",
            },
            RULES,
            naive.Ticket(
                command.outlet,
                "Europe/Skopje",
                command.occurred_at,
                command.payment_type,
                [
                    naive.Bought(Fraction(line.quantity_thousandths, 1000), line.unit_price_minor, line.sku, categories)
                    for line, categories in zip(LINES, [("coffee", "drinks"), ("food",), ("tobacco",), ()], strict=True)
                ],
            ),
            naive.Somebody(spendable, carried, "base", number, NOW, None, shop.card, frozenset()),
            command.redeem_points,
        )
        _holds(engine, shop, done, expected)
        spendable += sum(expected.points) + expected.of_receipt - sum(expected.paid) // 100
        carried = expected.carried
    assert (shop.balance().spendable, shop.balance().carried) == (spendable, carried)
    assert recorded[2].quote.receipt_points == 25
    with reading(engine, ALL_PROGRAMS) as session:
        assert lines_add_up(session) == []
        assert statistics_count_the_purchases(session) == []


def _holds(engine: Engine, shop: Shop, done: Recorded, expected: naive.Answer) -> None:
    with reading(engine, shop.program.id) as session:
        kept = purchase_by_id(session, done.purchase_id)
        lines = lines_of_purchase(session, done.purchase_id)
    assert [line.discount_minor for line in lines] == expected.discounts
    assert [Fraction(line.earn_percent) for line in lines] == expected.percents
    assert [Fraction(line.redeem_percent) for line in lines] == expected.redeem
    assert [line.paid_with_points_minor for line in lines] == expected.paid
    assert [line.points_earned for line in lines] == expected.points
    assert (kept.receipt_points, kept.points_earned) == (
        expected.of_receipt,
        sum(expected.points) + expected.of_receipt,
    )
    assert kept.discount_minor == sum(expected.discounts) > 0


def test_points_of_the_receipt_that_are_not_told_break_the_invariant(engine: Engine) -> None:
    shop = open_shop(engine, rules=[{"name": "r", "family": "behavior", "earn": {"fixed_points": 5}}])
    assert earned(shop, "A-1") == [15]
    with transaction(engine, ALL_PROGRAMS) as session:
        assert lines_add_up(session) == []
        session.execute(sa.update(Purchase).values(receipt_points=0))
        assert len(lines_add_up(session)) == 1


def test_a_rule_for_one_card_is_for_that_member_only(engine: Engine) -> None:
    shop = open_shop(engine, members=2)
    other = shop.members[1]
    rules = asked({"members": [shop.card, "0000"]})
    republish(shop, rules=rules)
    assert earned(shop, "A-1") == [100]
    assert [done.quote.points_earned for done in shop.record(purchase(other.card_number, "A-2", 100_000))] == [10]


def republish(shop: Shop, **sections: Any) -> None:
    file = shop.program.file.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"catalog"})
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate({**file, **sections}), now=NOW, actor="test")
        shop.program = load_program(session, program_id=shop.program.id)


def test_the_nth_purchase_is_counted_within_a_batch(engine: Engine) -> None:
    shop = open_shop(
        engine, rules=[{"name": "r", "family": "behavior", "when": {"nth_purchase": 3}, "earn": {"multiply": 2}}]
    )
    assert earned(shop, "A-1", "A-2", "A-3", "A-4") == [10, 10, 20, 10]


def test_a_tier_that_a_batch_brings_counts_from_the_next_receipt(engine: Engine) -> None:
    levels = [
        {"code": "base", "name": "B"},
        {"code": "silver", "name": "S", "reach": {"any": [{"purchases": 2}]}, "earn": {"percent": 5}},
    ]
    shop = open_shop(engine, tiers={"levels": levels})
    assert earned(shop, "A-1", "A-2", "A-3") == [10, 10, 50]


@pytest.mark.parametrize(("days", "points"), [(29, 10), (30, 100)])
def test_tenure_counts_local_days(engine: Engine, days: int, points: int) -> None:
    shop = open_shop(engine, rules=asked({"tenure_days_min": 30}))
    # Half past midnight of the 23rd in Skopje, when it is the 22nd in UTC.
    moment = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    with transaction(engine, shop.program.id) as session:
        session.execute(sa.update(Member).values(joined_at=moment - timedelta(days=days, minutes=20)))
    assert earned(shop, "A-1", occurred_at=moment) == [points]


def test_a_birthday_brings_more(engine: Engine) -> None:
    shop = open_shop(engine, rules=asked({"birthday_within_days": 1}))
    assert earned(shop, "A-1") == [10]
    for birthday, points in ((date(1990, 11, 24), 100), (date(1990, 11, 25), 10)):
        with transaction(engine, shop.program.id) as session:
            session.execute(sa.update(Member).values(birthday=birthday))
        assert earned(shop, f"A-{birthday}") == [points]


def test_segments_are_those_before_the_batch(engine: Engine) -> None:
    segment = {"code": "regulars", "name": "Regulars", "when": {"visits_last_30_days": {"at_least": 2}}}
    shop = open_shop(engine, members=2, rules=asked({"segments": ["regulars"]}), segments=[segment])
    # The other member's visits are not hers.
    shop.record(*(purchase(shop.members[1].card_number, f"B-{number}") for number in range(3)))
    assert earned(shop, "A-1", "A-2", "A-3") == [10, 10, 10]
    with reading(engine, shop.program.id) as session:
        quoted = quote_purchase(session, shop.program, purchase(shop.card, "A-4", 100_000), NOW)
    [done] = shop.record(purchase(shop.card, "A-4", 100_000))
    assert done.quote == quoted.quote
    assert done.quote.points_earned == 100
    with reading(engine, shop.program.id) as session:
        trace = trace_of_purchase(session, done.purchase_id)
        assert trace is not None
        assert trace.trace["facts"] == {"tier": "base", "purchases": 3, "carried": "0", "segments": ["regulars"]}
        [step] = [step for step in trace.trace["steps"] if step["kind"] == "rule"]
        assert (step["why"], step["matched"]) == ("segment regulars", True)


def test_nothing_is_read_that_no_rule_asks_for(engine: Engine) -> None:
    shop = open_shop(engine, rules=RULES)
    with reading(engine, shop.program.id) as session, heard(session) as said:
        assert people_asked_for(session, shop.program, [shop.member_id], NOW) == {}
    assert said == []


def test_a_rule_holds_for_the_moment_of_the_receipt_not_of_its_recording(engine: Engine) -> None:
    rule = {"name": "r", "family": "behavior", "when": {"dates": [{"from": "2026-11-20"}]}, "earn": {"multiply": 2}}
    shop = open_shop(engine, rules=[rule])
    assert earned(shop, "A-1", occurred_at=NOW - timedelta(days=3)) == [20]
    assert earned(shop, "A-2") == [10]
