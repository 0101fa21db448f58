"""Refunds: what comes back and where it goes, and that a purchase refunded whole might never have been."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import VISITS, Shop, assert_sound, open_shop, purchase, rows, statistics
from wallet_server.challenges.models import ChallengeProgress
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.insights.queries import report
from wallet_server.ledger.models import Lot
from wallet_server.ledger.queries import entries
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput
from wallet_server.purchases.models import Purchase, PurchaseLine, Refund
from wallet_server.purchases.queries import lines_of_refunds, purchase_by_id, refunds_of_purchase, trace_of_purchase
from wallet_server.segments.condition import Condition
from wallet_server.segments.queries import count

DAY = timedelta(days=1)


def test_points_that_paid_go_back_and_points_earned_are_taken_back(engine: Engine) -> None:
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-1", 10_000_000))
    [done] = shop.record(purchase(shop.card, "A-2", 60_000, 40_000, redeem_points=300))
    assert (done.quote.points_earned, done.balance.spendable) == (7, 707)
    # The second line: 120 of the 300 points paid for it, and 2.8 of the 7 points came from it.
    refund = shop.refund(done.purchase_id, "R-1", (2, 1000))
    assert (refund.amount_minor, refund.money_minor) == (40_000, 28_000)
    assert (refund.points_returned, refund.points_taken_back, refund.points_owed) == (120, 3, 0)
    assert refund.balance.spendable == shop.balance().spendable == 707 + 120 - 3
    assert refund.trace["steps"][-1]["effect"]["exact"] == "4.2"
    assert refund.trace["effects"]["points_left"] == 4
    rest = shop.refund(done.purchase_id, "R-2")
    assert (rest.amount_minor, rest.money_minor) == (60_000, 42_000)
    assert (rest.points_returned, rest.points_taken_back) == (180, 4)
    assert rest.balance.spendable == 1000
    with reading(shop.engine, shop.program.id) as session:
        kept = purchase_by_id(session, done.purchase_id)
        assert (kept.returned_minor, kept.points_returned, kept.points_taken_back) == (100_000, 300, 7)
        assert kept.refunded_at == NOW
        assert [row.refund_id for row in refunds_of_purchase(session, kept.id)] == ["R-1", "R-2"]
        assert [(line.line, line.amount_minor) for line in lines_of_refunds(session, [refund.id])[refund.id]] == [
            (2, 40_000)
        ]
        newest = entries(session, shop.member_id, limit=2)
        assert {row.reason for row in newest} == {"Refund R-2 of receipt A-2"}
    assert_sound(shop)


def test_three_refunds_of_one_do_what_one_of_three_does(engine: Engine) -> None:
    shop = open_shop(engine, points={"base_percent": 50})
    [done] = shop.record(purchase(shop.card, "A-1", lines=(LineInput(None, None, 3000, 100),)))
    assert done.quote.points_earned == 1
    taken = [shop.refund(done.purchase_id, f"R-{n}", (1, 1000)).points_taken_back for n in range(3)]
    assert taken == [0, 1, 0]
    [other] = shop.record(purchase(shop.card, "A-2", lines=(LineInput(None, None, 3000, 100),)))
    assert shop.refund(other.purchase_id, "R-1").points_taken_back == 1
    assert_sound(shop)


RICH = {"name": "From 2000", "family": "behavior", "when": {"receipt_total_minor": {"from": 200_000}}, "earn": {}}


@pytest.mark.parametrize(
    ("effect", "earned", "left"),
    [
        ({"multiply": 2}, 40, 10),
        ({"fixed_points": 25}, 45, 10),
        # Without the discount that 2,000.00 had brought, the 1,000.00 that is left earns in full.
        ({"discount_percent": 10}, 18, 10),
    ],
)
def test_a_receipt_that_no_longer_reaches_2000_loses_what_2000_had_brought(
    engine: Engine, effect: dict[str, int], earned: int, left: int
) -> None:
    shop = open_shop(engine, rules=[{**RICH, "earn": effect}])
    [done] = shop.record(purchase(shop.card, "A-1", 100_000, 100_000))
    assert done.quote.points_earned == earned
    refund = shop.refund(done.purchase_id, "R-1", (1, 1000))
    assert refund.points_taken_back == earned - left
    # The line is worth what it was sold for.
    assert refund.amount_minor == refund.money_minor == (90_000 if "discount_percent" in effect else 100_000)
    assert shop.refund(done.purchase_id, "R-2").balance.spendable == 0
    assert_sound(shop)


def test_what_is_left_may_earn_more_than_the_whole_had_earned(engine: Engine) -> None:
    rule = {
        "name": "Small receipts",
        "family": "behavior",
        "when": {"receipt_total_minor": {"from": 100_000, "to": 200_000}},
        "earn": {"multiply": 2},
    }
    shop = open_shop(engine, rules=[rule])
    [done] = shop.record(purchase(shop.card, "A-1", 150_000, 100_000, 50_000))
    assert done.quote.points_earned == 30
    assert shop.refund(done.purchase_id, "R-1", (2, 500)).points_taken_back == 5  # 2,500.00 is left: 25
    assert shop.refund(done.purchase_id, "R-2", (2, 500), (3, 500)).points_taken_back == -10  # 1,750.00 doubled: 35
    assert (shop.balance().spendable, statistics(shop).points_earned) == (35, 35)
    assert shop.refund(done.purchase_id, "R-3").points_taken_back == 35
    assert (shop.balance().spendable, statistics(shop).points_earned) == (0, 0)
    assert_sound(shop)


def test_what_is_left_of_a_purchase_that_earned_nothing_may_earn(engine: Engine) -> None:
    rule = {**RICH, "earn": {"none": True}}
    shop = open_shop(engine, rules=[rule])
    [done] = shop.record(purchase(shop.card, "A-1", 150_000, 100_000))
    assert done.quote.points_earned == 0
    refund = shop.refund(done.purchase_id, "R-1", (2, 1000))
    assert (refund.points_taken_back, refund.balance.spendable) == (-15, 15)
    assert_sound(shop)
    assert shop.refund(done.purchase_id, "R-2").points_taken_back == 15
    assert shop.balance().spendable == 0
    assert_sound(shop)


def test_caps_and_fixed_points_of_products_are_computed_anew(engine: Engine) -> None:
    rules = [
        {"name": "Coffee tenfold", "family": "product", "when": {"categories": ["coffee"]}, "earn": {"multiply": 10}},
        {"name": "At most 15", "family": "product", "when": {"categories": ["coffee"]}, "earn": {"max_points": 15}},
        {"name": "Burger", "family": "product", "when": {"skus": ["burger"]}, "earn": {"fixed_points": 4}},
    ]
    shop = open_shop(engine, rules=rules)
    lines = (LineInput("cappuccino", None, 3000, 30_000), LineInput("burger", None, 2000, 45_000))
    [done] = shop.record(purchase(shop.card, "A-1", lines=lines))
    assert done.quote.points_earned == 15 + 9 + 8
    assert shop.refund(done.purchase_id, "R-1", (1, 1000)).points_taken_back == 0  # 60 points, still capped at 15
    assert shop.refund(done.purchase_id, "R-2", (1, 1600)).points_taken_back == 3  # 12 points: no cap any more
    assert shop.refund(done.purchase_id, "R-3", (2, 1000)).points_taken_back == 9 + 8 - (4 + 4)
    assert shop.refund(done.purchase_id, "R-4").balance.spendable == 0
    assert_sound(shop)


def test_a_refund_computes_with_the_rules_and_facts_of_the_purchase(engine: Engine) -> None:
    rules = [
        {"name": "Silver", "family": "customer", "when": {"tiers": ["silver"]}, "earn": {"multiply": 3}},
        {"name": "Drinks", "family": "product", "when": {"categories": ["drinks"]}, "earn": {"multiply": 2}},
        {"name": "Birthday", "family": "customer", "when": {"birthday_within_days": 3}, "earn": {"multiply": 5}},
    ]
    shop = open_shop(engine, rules=rules)
    [done] = shop.record(
        purchase(shop.card, "A-1", lines=(LineInput("cappuccino", None, 2000, 100_000),)),
        purchase(shop.card, "A-2", 1_000_000),
    )[:1]
    assert done.quote.points_earned == 40
    # By now the member is silver, coffee is no drink any more, and the rule is another.
    file = program_file(
        rules=[{**rules[1], "earn": {"multiply": 7}}],
        catalog={"categories": [{"code": "drinks"}, {"code": "coffee"}], "products": []},
        challenges=[],
    )
    file.pop("pass")
    with transaction(engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(file), now=NOW + DAY, actor="test")
        shop.program = load_program(session, slug="cafe-ohrid")
    assert shop.program.version == 2
    assert shop.refund(done.purchase_id, "R-1", (1, 1000), now=NOW + DAY).points_taken_back == 20
    assert_sound(shop)


def test_pending_points_are_taken_first_and_debts_remain_for_what_was_spent(engine: Engine) -> None:
    shop = open_shop(engine, points={"pending_days": 3})
    [first] = shop.record(purchase(shop.card, "A-1", 100_000))
    refund = shop.refund(first.purchase_id, "R-1", (1, 500))
    assert (refund.balance.pending, refund.balance.spendable) == (5, 0)
    shop = open_shop_with_everything_spent(engine)
    [done] = rows_of_receipt(shop, "A-1")
    refund = shop.refund(done, "R-1")
    assert (refund.points_taken_back, refund.points_owed) == (10, 10)
    assert (refund.balance.spendable, refund.balance.owed) == (0, 10)
    [later] = shop.record(purchase(shop.card, "A-9", 150_000))
    assert (later.balance.spendable, later.balance.owed) == (5, 0)
    assert_sound(shop)


def open_shop_with_everything_spent(engine: Engine) -> Shop:
    shop = open_shop(engine, program={**program_file()["program"], "slug": "second"})
    shop.record(purchase(shop.card, "A-1", 100_000))
    shop.record(purchase(shop.card, "A-2", 1000, redeem_points=10))
    return shop


def rows_of_receipt(shop: Shop, receipt_id: str) -> list[Any]:
    with reading(shop.engine, shop.program.id) as session:
        return list(session.exec(select(Purchase.id).where(Purchase.receipt_id == receipt_id)).all())


def test_points_of_an_expired_lot_come_anew_for_the_programs_grace(engine: Engine) -> None:
    shop = open_shop(engine, points={"expiry": {"kind": "rolling_days", "days": 10}, "refund_grace_days": 7})
    shop.record(purchase(shop.card, "A-1", 1_000_000, occurred_at=NOW - 8 * DAY))
    [done] = shop.record(purchase(shop.card, "A-2", 10_000, redeem_points=100))
    refund = shop.refund(done.purchase_id, "R-1", now=NOW + 5 * DAY)
    assert (refund.points_returned, refund.balance.spendable) == (100, 100)
    assert refund.trace["effects"]["points_reissued"] == 100
    newest = max(rows(shop, Lot), key=lambda lot: lot.id)
    assert newest.expires_at is not None
    assert timedelta(days=7) <= newest.expires_at - (NOW + 5 * DAY) <= timedelta(days=8)


def test_a_carried_fraction_is_as_if_the_purchase_had_never_been(engine: Engine) -> None:
    shop = open_shop(engine, points={"base_percent": 100, "carry_fraction": True})
    done = [shop.record(purchase(shop.card, f"A-{n}", 60))[0] for n in range(3)]
    assert [one.quote.points_earned for one in done] == [0, 1, 0]
    assert shop.balance().carried == Fraction(4, 5)
    # 0.60 less leaves 1.20; then the middle one, whose point is taken back while the rest make none.
    shop.refund(done[0].purchase_id, "R-1")
    assert (shop.balance().spendable, shop.balance().carried) == (1, Fraction(1, 5))
    refund = shop.refund(done[2].purchase_id, "R-1")
    assert (refund.points_taken_back, refund.trace["effects"]["carried_points"]) == (0, -1)
    assert (shop.balance().spendable, shop.balance().carried) == (0, Fraction(3, 5))
    refund = shop.refund(done[1].purchase_id, "R-1")
    assert (refund.points_taken_back, refund.trace["effects"]["carried_points"]) == (1, 1)
    assert (shop.balance().spendable, shop.balance().carried) == (0, Fraction(0))
    assert_sound(shop)


def test_a_full_refund_leaves_the_member_as_if_the_purchase_had_never_been(engine: Engine) -> None:
    shop = open_shop(engine, points={"carry_fraction": True}, challenges=[VISITS, *program_file()["challenges"]])
    shop.record(purchase(shop.card, "A-1", 500_030, occurred_at=NOW - 2 * DAY))

    def state() -> Any:
        with reading(engine, ALL_PROGRAMS) as session:
            found = statistics(shop)
            progress = session.exec(select(ChallengeProgress).order_by(col(ChallengeProgress.challenge))).all()
            return (
                (shop.balance().spendable, shop.balance().pending, shop.balance().owed, shop.balance().carried),
                (found.purchases, found.visits, found.spend_minor, found.points_earned),
                (found.first_visit_at, found.last_visit_at),
                [(one.challenge, one.window, one.progress, one.completions) for one in progress if one.progress],
            )

    before = state()
    lines = (LineInput("burger", None, 2000, 600_010), LineInput("cappuccino", None, 1500, 3333))
    [done] = shop.record(purchase(shop.card, "A-2", lines=lines, redeem_points=20))
    assert done.tier == "silver"
    refund = shop.refund(done.purchase_id, "R-1")
    assert state() == before
    assert refund.tier == "base"
    assert refund.trace["effects"]["tier"] == {"from": "silver", "to": "base"}
    assert shop.tier_changes()[-1].reason == "refunded"
    # The number of the receipt stays taken: history is not undone.
    with pytest.raises(DomainError) as refusal:
        shop.record(purchase(shop.card, "A-2"))
    assert refusal.value.code == "duplicate_receipt"
    assert_sound(shop)


def test_what_cannot_come_back_is_refused_and_changes_nothing(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", 30_000, 20_000))
    shop.refund(done.purchase_id, "R-1", (1, 400))
    for lines, code, status in (
        (((1, 601),), "refund_exceeds_purchase", 409),
        (((3, 1000),), "unknown_line", 422),
        (((1, 0),), "validation", 422),
        (((1, 100), (1, 100)), "validation", 422),
    ):
        with pytest.raises(DomainError) as refusal:
            shop.refund(done.purchase_id, "R-2", *lines)
        assert (refusal.value.code, refusal.value.status) == (code, status)
    with pytest.raises(DomainError) as refusal:
        shop.refund(done.purchase_id, "R-1", (2, 1000))
    assert (refusal.value.code, refusal.value.status) == ("duplicate_refund", 409)
    with pytest.raises(DomainError) as refusal:
        shop.refund(uuid4(), "R-2")
    assert (refusal.value.code, refusal.value.status) == ("unknown_purchase", 404)
    with pytest.raises(DomainError) as refusal:
        shop.refund(done.purchase_id, "R-2", outlet="B")
    assert (refusal.value.code, refusal.value.status) == ("other_outlet", 403)
    assert len(rows(shop, Refund)) == 1
    shop.refund(done.purchase_id, "R-2", outlet="A")
    with pytest.raises(DomainError) as refusal:
        shop.refund(done.purchase_id, "R-3")
    assert refusal.value.code == "refund_exceeds_purchase"
    assert {line.returned_thousandths for line in rows(shop, PurchaseLine)} == {1000}
    assert_sound(shop)


def test_imported_purchases_are_refunded_too(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "old", 100_000, occurred_at=NOW - 400 * DAY), source="import")
    assert shop.refund(done.purchase_id, "R-1").points_taken_back == 10
    assert statistics(shop).first_visit_at is None
    assert_sound(shop)


def test_the_facts_are_kept_with_the_trace(engine: Engine) -> None:
    rules = [{"name": "Drinks", "family": "product", "when": {"categories": ["drinks"]}, "earn": {"multiply": 2}}]
    shop = open_shop(engine, rules=rules)
    [done] = shop.record(purchase(shop.card, "A-1", lines=(LineInput("cappuccino", None, 1000, 30_000),)))
    with reading(engine, shop.program.id) as session:
        trace = trace_of_purchase(session, done.purchase_id)
    assert trace is not None
    assert trace.trace["facts"] == {
        "tier": "base",
        "purchases": 0,
        "carried": "0",
        "above": {"coffee": ["drinks"]},
    }


def test_a_refunded_purchase_is_none_for_segments_and_reports(engine: Engine) -> None:
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-0", 1_000_000, occurred_at=NOW - DAY))
    [part, whole] = shop.record(
        purchase(shop.card, "A-1", 30_000, 20_000, redeem_points=50), purchase(shop.card, "A-2")
    )
    shop.refund(part.purchase_id, "R-1", (1, 1000))
    shop.refund(whole.purchase_id, "R-1")
    with reading(engine, shop.program.id) as session:
        visits = Condition.model_validate({"visits_last_30_days": {"at_least": 2}})
        assert count(session, shop.program, visits, NOW) == 1
        visits = Condition.model_validate({"visits_last_30_days": {"at_least": 3}})
        assert count(session, shop.program, visits, NOW) == 0
        week = report(session, shop.program, every="week", now=NOW).periods[-1]
    assert (week.active_members, week.purchases, week.spend_minor) == (1, 1, 20_000)
    assert (week.points_earned, week.points_redeemed) == (1, 20)
