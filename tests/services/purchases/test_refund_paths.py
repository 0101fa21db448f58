"""However a purchase is refunded, what is done depends only on what is left (invariant L12)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import ceil
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import Shop, open_shop, purchase
from tests.services.purchases.test_concurrency import TILLS, at_once
from tests.unit.rules.programs import definition as program
from wallet_server.challenges.queries import states as challenge_states
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.errors import DomainError
from wallet_server.ledger.models import Lot
from wallet_server.members.models import MemberStatistics
from wallet_server.programs.models import Program
from wallet_server.purchases.commands import LineInput
from wallet_server.purchases.models import Purchase
from wallet_server.purchases.refunds import Refunded
from wallet_server.purchases.remainder import Bought, BoughtLine, remainder
from wallet_server.rules.engine import Line, MemberFacts, Quote, Receipt, quote
from wallet_server.tiers.models import MemberTier
from wallet_server.verification import CHECKS

RULES: list[dict[str, Any]] = [
    {"name": "x", "family": "product", "when": {"skus": ["a"]}, "earn": {"multiply": 3}},
    {"name": "x", "family": "product", "when": {"quantity_min": 2}, "earn": {"multiply": "2.5"}},
    {"name": "x", "family": "product", "when": {"skus": ["a", "b"]}, "earn": {"max_points": 7}},
    {"name": "x", "family": "product", "when": {"skus": ["b"]}, "earn": {"fixed_points": "1.5"}},
    {"name": "x", "family": "product", "when": {"skus": ["c"]}, "earn": {"none": True}},
    {"name": "x", "family": "behavior", "when": {"receipt_total_minor": {"from": 2000}}, "earn": {"multiply": 2}},
    {"name": "x", "family": "behavior", "when": {"receipt_total_minor": {"from": 1500}}, "earn": {"fixed_points": 4}},
    {
        "name": "x",
        "family": "behavior",
        "when": {"receipt_total_minor": {"from": 900}},
        "earn": {"discount_percent": 7},
    },
    {"name": "x", "family": "customer", "when": {"tiers": ["silver"]}, "earn": {"fixed_percent": 60}},
    {"name": "x", "family": "behavior", "when": {"receipt_total_minor": {"to": 1200}}, "earn": {"multiply": 4}},
    {"name": "x", "family": "behavior", "when": {"receipt_total_minor": {"from": 2500}}, "earn": {"none": True}},
]
LINES = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3_000), st.integers(0, 900)), min_size=1, max_size=4)
SETTINGS = st.fixed_dictionaries(
    {
        "base_percent": st.sampled_from(["1", "50", "100", "333.3"]),
        "point_value_minor": st.sampled_from([1, 7, 100]),
        "rounding": st.sampled_from(["down", "half_up", "up"]),
        "carry_fraction": st.booleans(),
        "earn_on_points_part": st.booleans(),
    }
)


def bought_of(receipt: Receipt, facts: MemberFacts, made: Quote) -> Bought:
    return Bought(
        outlet=receipt.outlet,
        occurred_at=receipt.occurred_at,
        payment_type=receipt.payment_type,
        money_due_minor=made.money_due_minor,
        points_redeemed=made.points_redeemed,
        facts=facts,
        lines=tuple(
            BoughtLine(
                line.line,
                line.quantity_thousandths,
                line.unit_price_minor,
                part.discount_minor,
                part.paid_with_points_minor,
                line.sku,
            )
            for line, part in zip(receipt.lines, made.lines, strict=True)
        ),
    )


@st.composite
def purchases(draw: st.DrawFn, *, paid: bool = True) -> tuple[Any, Bought, Quote, Receipt]:
    chosen = draw(st.lists(st.sampled_from(range(len(RULES))), max_size=4, unique=True))
    rules = [{**RULES[place], "name": f"rule {place}"} for place in chosen]
    definition = program(points=draw(SETTINGS), rules=rules)
    receipt = Receipt(
        "A",
        NOW,
        tuple(Line(number, quantity, price, sku) for number, (sku, quantity, price) in enumerate(draw(LINES), start=1)),
    )
    carried = draw(st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(9, 10)]))
    facts = MemberFacts(uuid4(), spendable=10_000, carried=carried, tier=draw(st.sampled_from(["base", "silver"])))
    limit = quote(definition, receipt, facts).redeemable_points if paid else 0
    made = quote(definition, receipt, facts, draw(st.integers(0, limit)))
    return definition, bought_of(receipt, facts, made), made, receipt


@given(purchases())
@settings(max_examples=100, deadline=None)
def test_what_is_left_of_a_whole_purchase_is_the_purchase(case: tuple[Any, Bought, Quote, Receipt]) -> None:
    definition, bought, made, _receipt = case
    whole = remainder(definition, bought, {line.line: line.quantity_thousandths for line in bought.lines})
    assert whole.points_earned == made.points_earned
    assert whole.points_redeemed == made.points_redeemed
    assert whole.money_minor == made.money_due_minor
    assert whole.amount_minor == made.total_minor - made.discount_minor
    assert whole.carried == made.carried
    nothing = remainder(definition, bought, {})
    assert (nothing.points_earned, nothing.points_redeemed, nothing.money_minor) == (0, 0, 0)
    assert (nothing.amount_minor, nothing.carried) == (0, bought.facts.carried)


@given(purchases(paid=False), st.data())
@settings(max_examples=100, deadline=None)
def test_what_is_left_is_worth_what_a_receipt_of_it_would_be(
    case: tuple[Any, Bought, Quote, Receipt], data: st.DataObject
) -> None:
    """``earned(what is left)`` is the engine's own answer, where no points paid."""
    definition, bought, _made, receipt = case
    left = {line.line: data.draw(st.integers(1, line.quantity_thousandths)) for line in bought.lines}
    for number in data.draw(st.sets(st.integers(2, 4))) & left.keys():
        left[number] = 0
    smaller = Receipt(
        receipt.outlet,
        receipt.occurred_at,
        tuple(
            Line(line.line, left[line.line], line.unit_price_minor, line.sku)
            for line in receipt.lines
            if left[line.line]
        ),
    )
    alone = quote(definition, smaller, bought.facts)
    rest = remainder(definition, bought, left)
    assert rest.points_earned == alone.points_earned
    assert rest.carried == alone.carried


def test_a_lines_discount_is_shared_and_rounded_half_up() -> None:
    line = BoughtLine(1, 2000, 105, discount_minor=15, paid_with_points_minor=0)
    # Of the 105 of one unit 7.5 are off: 8.
    assert [line.discounted_minor(left) for left in (0, 1000, 2000)] == [0, 97, 195]


@given(purchases(), st.data())
@settings(max_examples=60, deadline=None)
def test_points_return_by_the_share_of_each_line(case: tuple[Any, Bought, Quote, Receipt], data: st.DataObject) -> None:
    definition, bought, made, _receipt = case
    left = {line.line: data.draw(st.integers(0, line.quantity_thousandths)) for line in bought.lines}
    rest = remainder(definition, bought, left)
    shares = (
        Fraction(line.paid_with_points_minor * left[line.line], line.quantity_thousandths) for line in bought.lines
    )
    assert rest.points_redeemed == ceil(sum(shares) / definition.points.point_value_minor)
    assert 0 <= rest.money_minor <= made.money_due_minor
    assert rest.points_earned >= 0
    less = remainder(definition, bought, {number: quantity // 2 for number, quantity in left.items()})
    assert less.amount_minor <= rest.amount_minor
    assert less.points_redeemed <= rest.points_redeemed


@given(
    data=st.data(),
    amounts=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 1_500)), min_size=1, max_size=3),
    paid=st.sampled_from([0, "max"]),
    spends=st.booleans(),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_slicing_leaves_the_member_as_one_refund_does(
    engine: Engine, data: st.DataObject, amounts: list[tuple[int, int]], paid: Any, spends: bool
) -> None:
    """The same refund in parts and at once, for two members who did the same before and between."""
    with engine.begin() as connection:
        known = connection.execute(sa.select(sa.func.count()).select_from(Program)).scalar_one()
    slug = f"cafe-{known}"
    section = {**program_file()["program"], "slug": slug}
    points = {"base_percent": 50, "carry_fraction": data.draw(st.booleans()), "pending_days": data.draw(PENDING)}
    rules = [{**rule, "name": f"rule {place}"} for place, rule in enumerate(RULES)]
    shop = open_shop(engine, members=2, program=section, points=points, rules=rules)
    lines = tuple(
        LineInput("abc"[place], None, quantity * 1000, price) for place, (quantity, price) in enumerate(amounts)
    )
    wanted = {place: data.draw(st.integers(1, quantity)) for place, (quantity, _price) in enumerate(amounts, start=1)}
    states, lots, straight = [], [], not points["carry_fraction"]
    for member, slices in zip(shop.members, (data.draw(_slices(wanted)), [wanted]), strict=True):
        card = member.card_number
        shop.record(purchase(card, f"{card}-1", 13_370, occurred_at=NOW - 30 * DAY))
        [done] = shop.record(purchase(card, f"{card}-2", lines=lines, redeem_points=paid))
        if spends:
            shop.record(purchase(card, f"{card}-3", 777, redeem_points="max"))
        refunds = [
            shop.refund(done.purchase_id, f"R-{number}", *((line, count * 1000) for line, count in part.items()))
            for number, part in enumerate(slices)
        ]
        states.append((_state(shop, member.member_id), _sums(refunds)))
        # A point that changes hands on the way comes as a lot of its own: then only their sums are the same.
        straight = straight and all(refund.points_taken_back >= 0 for refund in refunds)
        lots.append(_lots(shop, member.member_id))
    assert states[0] == states[1]
    if straight:
        assert lots[0] == lots[1]
    with reading(engine, ALL_PROGRAMS) as session:
        assert [violation for check in CHECKS for violation in check(session)] == []


PENDING = st.sampled_from([0, 2])
DAY = timedelta(days=1)


@st.composite
def _slices(draw: st.DrawFn, wanted: dict[int, int]) -> list[dict[int, int]]:
    """The same quantities in some other order, a unit or more at a time."""
    units = draw(st.permutations([line for line, count in wanted.items() for _unit in range(count)]))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(units) - 1)))))
    parts = [units[start:end] for start, end in pairwise([0, *cuts, len(units)])]
    return [dict(Counter(part)) for part in parts if part]


def _state(shop: Shop, member_id: UUID) -> Any:
    """What the member has, and what the purchases say; without ids and the number of entries."""
    with reading(shop.engine, shop.program.id) as session:
        statistics = session.exec(select(MemberStatistics).where(MemberStatistics.member_id == member_id)).one()
        bought = session.exec(
            select(Purchase).where(Purchase.member_id == member_id).order_by(col(Purchase.receipt_id))
        ).all()
        tier = session.exec(select(MemberTier.tier).where(MemberTier.member_id == member_id)).one()
        progress = challenge_states(session, shop.program, [member_id], NOW)[member_id]
    return (
        replace(shop.balance(member_id), sequence=0),
        statistics.model_dump(exclude={"member_id"}),
        [(one.returned_minor, one.points_returned, one.points_taken_back, one.refunded_at) for one in bought],
        tier,
        progress,
    )


def _lots(shop: Shop, member_id: UUID) -> list[tuple[int, int, bool]]:
    """Points, what remains of them and whether they can be spent, of each lot with something left."""
    with reading(shop.engine, shop.program.id) as session:
        rows = session.exec(select(Lot).where(Lot.member_id == member_id).order_by(col(Lot.id))).all()
    return [(lot.points, lot.remaining, lot.released) for lot in rows if lot.remaining]


def _sums(refunds: list[Refunded]) -> tuple[int, ...]:
    names = ("amount_minor", "points_returned", "points_taken_back")
    return tuple(sum(getattr(refund, name) for refund in refunds) for name in names)


def test_sixteen_tills_refund_one_purchase(engine: Engine) -> None:
    """Each takes one unit of ten back: ten succeed, and nothing is taken twice."""
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", lines=(LineInput(None, None, 10_000, 7_777),)))
    results = at_once([partial(shop.refund, done.purchase_id, f"R-{n}", (1, 1000)) for n in range(TILLS)])
    refused = [result.code for result in results if isinstance(result, DomainError)]
    assert refused == ["refund_exceeds_purchase"] * (TILLS - 10)
    assert sum(result.amount_minor for result in results if isinstance(result, Refunded)) == 77_770
    assert sum(result.points_taken_back for result in results if isinstance(result, Refunded)) == 7
    assert shop.balance().spendable == 0
    with reading(engine, ALL_PROGRAMS) as session:
        assert [violation for check in CHECKS for violation in check(session)] == []


def test_sixteen_tills_send_one_refund(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", 100_000))
    results = at_once([partial(shop.refund, done.purchase_id, "R-1", (1, 100))] * TILLS)
    assert sum(isinstance(result, Refunded) for result in results) == 1
    assert {result.code for result in results if isinstance(result, DomainError)} == {"duplicate_refund"}
    assert shop.balance().spendable == 9
