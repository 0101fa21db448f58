"""Short-term programs and programs by margin, at the till: what is earned, what pays, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import CAFE
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.holds import PlaceHold
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import current_file, load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput, RefundPurchase
from wallet_server.purchases.holds import capture_hold, place_hold
from wallet_server.purchases.queries import trace_of_purchase
from wallet_server.purchases.refunds import refund_purchase
from wallet_server.purchases.services import Recorded
from wallet_server.verification import run_checks

DAY = timedelta(days=1)
SEASON = {
    "starts_at": "2026-11-23T00:00:00",
    "ends_at": "2026-11-25T00:00:00",
    "redeem_until": "2026-11-30T00:00:00",
}
VISITS = {
    "code": "two",
    "name": "Two visits",
    "metric": "visits",
    "target": 2,
    "reward": {"points": 500},
}
RULES: list[dict[str, Any]] = [
    {"name": "Ten", "family": "behavior", "earn": {"percent": 10}},
    {"name": "Sale", "family": "product", "when": {"categories": ["food"]}, "earn": {"discount_percent": 20}},
    {"name": "Half in points", "family": "customer", "redeem": {"max_percent": 50}},
]


def season(engine: Engine) -> Shop:
    program = {**CAFE["program"], "validity": SEASON}
    return open_shop(engine, program=program, rules=RULES, challenges=[VISITS], **{"pass": {}})


def buy(shop: Shop, moment: datetime, redeem: int | str = 0, category: str = "food") -> Recorded:
    line = LineInput(None, category, 1000, 100_000)
    command = purchase(shop.card, moment.isoformat(), lines=(line,), redeem_points=redeem, occurred_at=moment)
    [recorded] = shop.record(command, now=moment)
    return recorded


def test_a_short_term_program_brings_something_in_its_time_only(engine: Engine) -> None:
    shop = season(engine)
    before = buy(shop, NOW - DAY)
    assert (before.quote.points_earned, before.quote.discount_minor, before.challenges) == (0, 0, ())
    first = buy(shop, NOW)
    assert (first.quote.points_earned, first.quote.discount_minor) == (80, 20_000)
    assert [state.progress for state in first.challenges] == [1]
    last = buy(shop, datetime(2026, 11, 24, 22, 59, tzinfo=UTC))  # 23:59 in Skopje
    assert (last.quote.points_earned, [won.points for won in last.rewards]) == (80, [500])
    over = buy(shop, datetime(2026, 11, 24, 23, 0, tzinfo=UTC))
    assert (over.quote.points_earned, over.quote.discount_minor, over.challenges) == (0, 0, ())
    paying = buy(shop, NOW + 5 * DAY, redeem="max")
    assert (paying.quote.points_redeemed, paying.quote.money_due_minor) == (500, 50_000), "limits still hold"
    with pytest.raises(DomainError) as refused:
        buy(shop, datetime(2026, 11, 29, 23, 0, tzinfo=UTC), redeem=10)
    assert refused.value.code == "redeem_limit_exceeded"
    assert buy(shop, NOW + 8 * DAY, redeem="max").quote.points_redeemed == 0
    assert shop.balance().spendable == 160
    assert run_checks(engine).violations == []


def test_a_refund_after_the_end_takes_back_what_its_time_had_brought(engine: Engine) -> None:
    shop = season(engine)
    bought = buy(shop, NOW)
    with transaction(engine, shop.program.id) as session:
        command = RefundPurchase(purchase_id=bought.purchase_id, refund_id="1", lines=None)
        refunded = refund_purchase(session, shop.program, command, now=NOW + 6 * DAY, recorded_by="key:test")
    assert (refunded.points_taken_back, refunded.money_minor) == (80, 80_000)
    assert shop.balance().spendable == 0
    assert run_checks(engine).violations == []


def test_no_points_are_set_aside_that_pay_no_more(engine: Engine) -> None:
    """What was set aside in time pays as long as the hold lasts: a till has promised it."""
    shop = season(engine)
    buy(shop, NOW)
    over = datetime(2026, 11, 29, 23, 0, tzinfo=UTC)  # 30 November in Skopje
    command = PlaceHold(shop.card, "A", 50, expires_in_seconds=86_400)
    with transaction(engine, shop.program.id) as session:
        held = place_hold(session, shop.program, command, now=over - timedelta(seconds=1), actor="key:test")
    with transaction(engine, shop.program.id) as session, pytest.raises(DomainError) as refused:
        place_hold(session, shop.program, replace(command, points=1), now=over, actor="key:test")
    assert refused.value.code == "redeem_limit_exceeded"
    with transaction(engine, shop.program.id) as session:
        captured = capture_hold(session, shop.program, held.id, points=None, now=over, actor="key:test")
    assert (captured.captured_points, captured.balance.spendable, captured.balance.held) == (50, 30, 0)
    assert run_checks(engine).violations == []


MARGIN: list[dict[str, Any]] = [
    {"name": "High", "family": "product", "when": {"margin_percent": {"from": 60}}, "earn": {"percent": 10}},
    {"name": "Low", "family": "product", "when": {"margin_percent": {"to": 60}}, "earn": {"none": True}},
]
PRODUCTS: list[dict[str, Any]] = [
    {"sku": "cappuccino", "price_minor": 30_000, "cost_minor": 12_000},
    {"sku": "burger", "price_minor": 45_000, "cost_minor": 20_000},
    {"sku": "water", "price_minor": 10_000},
]


def test_margins_come_from_the_catalog_and_the_price_on_the_receipt(engine: Engine) -> None:
    catalog = {"products": PRODUCTS}
    shop = open_shop(engine, rules=MARGIN, catalog=catalog, challenges=[], **{"pass": {}})
    wanted = (("cappuccino", 30_000), ("cappuccino", 29_999), ("burger", 45_000), ("water", 10_000), (None, 20_000))
    lines = tuple(LineInput(sku, None, 1000, price) for sku, price in wanted)
    [recorded] = shop.record(purchase(shop.card, "1", lines=lines))
    assert [str(line.earn_percent) for line in recorded.quote.lines] == ["10", "0", "0", "1", "1"]
    with reading(engine, shop.program.id) as session:
        trace = trace_of_purchase(session, recorded.purchase_id)
    assert trace is not None
    found = {
        (step["rule"], step["line"]): step["compared"][0]["found"]
        for step in trace.trace["steps"]
        if step["kind"] == "rule" and step["compared"]
    }
    assert found["High", 1] == "60"
    assert found["Low", 3] == "500/9"
    assert found["High", 4] is None, "nobody has entered a cost"


def test_a_refund_computes_with_the_costs_of_then(engine: Engine) -> None:
    shop = open_shop(engine, rules=MARGIN, catalog={"products": PRODUCTS}, challenges=[], **{"pass": {}})
    lines = tuple(LineInput("cappuccino", None, 1000, 30_000) for _ in range(2))
    [recorded] = shop.record(purchase(shop.card, "1", lines=lines))
    assert recorded.quote.points_earned == 60
    dearer = [{**PRODUCTS[0], "cost_minor": 29_000}, *PRODUCTS[1:]]
    later = open_shop_again(shop, dearer)
    with transaction(engine, shop.program.id) as session:
        command = RefundPurchase(purchase_id=recorded.purchase_id, refund_id="1", lines=((1, 1000),))
        refunded = refund_purchase(session, later.program, command, now=NOW + DAY, recorded_by="key:test")
    assert refunded.points_taken_back == 30, "half of what it had brought, whatever the product costs today"


def open_shop_again(shop: Shop, products: list[dict[str, Any]]) -> Shop:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        document = current_file(session, shop.program.id).model_dump(mode="json", by_alias=True, exclude_none=True)
        document["catalog"]["products"] = products
        apply_program(session, ProgramFile.model_validate(document), now=NOW + DAY, actor="test")
        program = load_program(session, program_id=shop.program.id)
    return Shop(shop.engine, program, shop.members)
