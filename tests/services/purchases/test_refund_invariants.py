"""Each check of refunds and visits is tripped by a row that breaks it, and by no other (mutants)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tests.services.ledger.test_invariants import one, tripped
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.ledger.invariants import CHECKS as LEDGER_CHECKS
from wallet_server.purchases.commands import LineInput
from wallet_server.purchases.invariants import CHECKS, refunds_can_be_recomputed


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """A purchase that was refunded in part, one that was refunded whole, and a visit."""
    shop = open_shop(engine, challenges=[], tiers={"levels": []}, **NO_STAMPS)
    shop.record(purchase(shop.card, "A-1", 500_000))
    [part] = shop.record(purchase(shop.card, "A-2", lines=(LineInput(None, None, 4000, 25_000),), redeem_points=20))
    [whole] = shop.record(purchase(shop.card, "A-3", 100_000))
    shop.refund(part.purchase_id, "R-1", (1, 2000))
    shop.refund(whole.purchase_id, "R-1")
    shop.visit("V-1")
    return shop


NO_STAMPS: dict[str, Any] = {"pass": {}}
PART, WHOLE = one("purchase", "receipt_id = 'A-2'"), one("purchase", "receipt_id = 'A-3'")
TAKEN = "kind = 'take_back'"
MUTANTS = {
    "a refund that says more money": (
        f"UPDATE refund SET amount_minor = amount_minor + 1 {one('refund', 'points_returned > 0')}",
        {"L11"},
    ),
    "more money back than was paid": (
        f"UPDATE refund SET money_minor = money_minor + 1 {one('refund', 'points_returned = 0')}",
        {"L11"},
    ),
    "a refund that returned a point more": (
        f"UPDATE refund SET points_returned = points_returned + 1 {one('refund', 'points_returned > 0')}",
        {"L11"},
    ),
    "a refund that took a point less": (
        f"UPDATE refund SET points_taken_back = points_taken_back - 1 {one('refund', 'points_returned > 0')}",
        {"L11"},
    ),
    "a line that came back more": (
        "UPDATE purchase_line SET returned_thousandths = returned_thousandths + 500 WHERE returned_thousandths = 2000",
        {"L11", "L12"},
    ),
    "a refunded line that is forgotten": ("DELETE FROM refund_line WHERE quantity_thousandths = 2000", {"L11"}),
    "a purchase that is over too early": (
        f"UPDATE purchase SET refunded_at = occurred_at {PART}",
        {"L11", "L19"},
    ),
    "a purchase that is not over": (f"UPDATE purchase SET refunded_at = NULL {WHOLE}", {"L11", "L19"}),
    "a purchase that says it lost a point less": (
        f"UPDATE purchase SET points_taken_back = points_taken_back - 1 {PART}",
        {"L11", "L12", "L19"},
    ),
    "a purchase that says it got a point less": (
        f"UPDATE purchase SET points_returned = points_returned - 1 {PART}",
        {"L11", "L12"},
    ),
    "a posting that is no longer a return": (
        f"UPDATE posting SET kind = 'adjust' {one('posting', 'kind = ' + repr('return'))}",
        {"L11", "L21"},
    ),
    "points that were taken back of nothing": (
        f"UPDATE posting SET reverses_id = NULL {one('posting', TAKEN)}",
        {"L11"},
    ),
    "a price that was changed": (
        "UPDATE purchase_line SET unit_price_minor = 12500 WHERE unit_price_minor = 25000",
        {"L12"},
    ),
    "a visit that was nowhere counted": ("UPDATE member_statistics SET visits = visits - 1", {"L19"}),
    "a visit of another day": ("UPDATE visit SET occurred_at = '2020-01-01 00:00:00.000000'", {"L19"}),
}


def test_a_refunded_shop_is_sound(shop: Shop) -> None:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [violation for check in (*LEDGER_CHECKS, *CHECKS) for violation in check(session)] == []
        assert refunds_can_be_recomputed(session) == []


def test_each_invariant_names_the_row_that_breaks_it(shop: Shop) -> None:
    assert tripped(shop, MUTANTS) == {name: checks for name, (_statement, checks) in MUTANTS.items()}
