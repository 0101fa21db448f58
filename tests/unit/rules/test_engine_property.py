"""The engine against a second implementation, written naively from bonus-processing.md with fractions only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.rules.programs import NOON, definition, facts
from wallet_server.rules.engine import Line, LineTerms, Receipt, Terms, quote, settle


@dataclass
class Naive:
    redeemable: int
    paid: list[int]
    points: list[int]
    earned: int
    carried: Fraction


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def naive(
    lines: list[tuple[Fraction, int]],
    terms: list[tuple[Fraction, Fraction]],
    *,
    point_value: int,
    rounding: str,
    carry: bool,
    on_points: bool,
    receipt_limit: Fraction | None,
    spendable: int,
    carried: Fraction,
    wanted: str | int,
) -> Naive:
    amounts = [half_up(quantity * price) for quantity, price in lines]
    own_limits = [math.floor(amount * redeem / 100) for amount, (_, redeem) in zip(amounts, terms, strict=True)]
    payable = sum(own_limits)
    if receipt_limit is not None:
        payable = min(payable, math.floor(sum(amounts) * receipt_limit / 100))
    redeemable = min(payable // point_value, spendable)
    points = redeemable if wanted == "max" else min(int(wanted), redeemable)

    money = points * point_value
    weights = [amount * redeem for amount, (_, redeem) in zip(amounts, terms, strict=True)]
    exact = [money * weight / sum(weights) if sum(weights) else Fraction(0) for weight in weights]
    paid = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(lines)), key=lambda i: (-(exact[i] - math.floor(exact[i])), i))
    while sum(paid) < money:
        for i in by_remainder:
            if sum(paid) < money and paid[i] < own_limits[i]:
                paid[i] += 1

    earn_exact = [
        Fraction(amount - (0 if on_points else part)) / point_value * earn / 100
        for amount, part, (earn, _) in zip(amounts, paid, terms, strict=True)
    ]
    total = sum(earn_exact) + (carried if carry else 0)
    earned = {"down": math.floor, "half_up": half_up, "up": math.ceil}[rounding](Fraction(total))
    per_line = [math.floor(value) for value in earn_exact]
    by_remainder = sorted(range(len(lines)), key=lambda i: (-(earn_exact[i] - math.floor(earn_exact[i])), i))
    while sum(per_line) < earned:
        for i in by_remainder:
            per_line[i] += sum(per_line) < earned
    cut_off = max(Fraction(0), Fraction(total) - earned) if carry else Fraction(0)
    return Naive(redeemable, paid, per_line, earned, cut_off)


percents = st.decimals(min_value=0, max_value=100, places=2).map(Fraction)
line = st.tuples(st.integers(1, 20_000), st.integers(0, 300_000))


@settings(max_examples=400, deadline=None)
@given(
    lines=st.lists(line, min_size=1, max_size=6),
    earn=st.lists(st.decimals(min_value=0, max_value=300, places=1).map(Fraction), min_size=6, max_size=6),
    redeem=st.lists(percents, min_size=6, max_size=6),
    point_value=st.sampled_from([1, 7, 100, 250]),
    rounding=st.sampled_from(["down", "half_up", "up"]),
    carry=st.booleans(),
    on_points=st.booleans(),
    receipt_limit=st.none() | percents,
    spendable=st.integers(0, 50_000),
    carried=st.fractions(min_value=0, max_value=Fraction(99, 100), max_denominator=10_000),
    wanted=st.just("max") | st.integers(0, 50_000),
)
def test_the_engine_agrees_with_the_page(
    lines, earn, redeem, point_value, rounding, carry, on_points, receipt_limit, spendable, carried, wanted
) -> None:
    points = {
        "point_value_minor": point_value,
        "rounding": rounding,
        "carry_fraction": carry,
        "earn_on_points_part": on_points,
    }
    receipt = Receipt("A", NOON, tuple(Line(i, quantity, price) for i, (quantity, price) in enumerate(lines, 1)))
    terms = Terms(
        tuple(LineTerms(earn[i], redeem[i]) for i in range(len(lines))),
        receipt_max_percents=() if receipt_limit is None else (receipt_limit,),
    )
    expected = naive(
        [(Fraction(quantity, 1000), price) for quantity, price in lines],
        [(earn[i], redeem[i]) for i in range(len(lines))],
        point_value=point_value,
        rounding=rounding,
        carry=carry,
        on_points=on_points,
        receipt_limit=receipt_limit,
        spendable=spendable,
        carried=carried,
        wanted=wanted,
    )
    settings_ = definition(points).points
    wanted = wanted if wanted == "max" else min(wanted, expected.redeemable)
    made = settle(settings_, receipt, terms, facts(spendable, carried), wanted)

    assert made.redeemable_points == expected.redeemable
    assert [part.paid_with_points_minor for part in made.lines] == expected.paid
    assert made.points_earned == expected.earned
    assert [part.points_earned for part in made.lines] == expected.points
    assert made.carried == expected.carried

    # What must hold whatever the rules say.
    assert sum(part.points_earned for part in made.lines) == made.points_earned
    assert sum(part.paid_with_points_minor for part in made.lines) == made.points_redeemed * point_value
    assert made.money_due_minor + made.points_redeemed * point_value == made.total_minor
    assert made.points_redeemed <= min(made.redeemable_points, spendable)
    assert 0 <= made.carried < 1
    for part in made.lines:
        assert 0 <= part.paid_with_points_minor <= part.amount_minor * part.redeem_percent / 100
        assert part.points_earned >= 0


@settings(max_examples=100, deadline=None)
@given(
    amounts=st.lists(st.integers(0, 1_000_000), min_size=1, max_size=8),
    limit=st.decimals(min_value=0, max_value=100, places=1),
    spendable=st.integers(0, 20_000),
)
def test_a_split_bill_never_allows_more_than_the_whole(amounts: list[int], limit: Decimal, spendable: int) -> None:
    program = definition(limits={"A": str(limit), "B": "100"})

    def payable(parts: list[int]) -> int:
        lines = tuple(Line(i, 1000, amount) for i, amount in enumerate(parts, 1))
        return quote(program, Receipt("A", NOON, lines), facts(spendable)).redeemable_points

    left, split = spendable, 0
    for amount in amounts:
        part = quote(program, Receipt("A", NOON, (Line(1, 1000, amount),)), facts(left), "max").points_redeemed
        split, left = split + part, left - part
    assert split <= payable(amounts)
