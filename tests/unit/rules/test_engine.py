"""The worked examples of bonus-processing.md that need no rule, and the refusals."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.unit.rules.programs import definition, facts, receipt
from wallet_server.errors import DomainError
from wallet_server.rules.engine import LineTerms, Terms, quote, settle


def test_example_1_one_percent_comes_back_and_all_may_be_paid_with_points() -> None:
    made = quote(definition(), receipt(100_000), facts(1000))
    assert (made.points_earned, made.redeemable_points) == (10, 1000)
    paid = quote(definition(), receipt(100_000), facts(1000), 1000)
    assert (paid.points_redeemed, paid.money_due_minor, paid.points_earned) == (1000, 0, 0)


def test_example_13_a_line_limit_and_a_receipt_limit() -> None:
    program = definition(limits={"A": "50", "B": "80"})
    terms = Terms((LineTerms(Fraction(1), Fraction(30)),), receipt_max_percents=(Fraction(50),))
    made = settle(program.points, receipt(100_000), terms, facts(900))
    assert made.redeemable_points == 300


@pytest.mark.parametrize(("outlet", "payable"), [("A", 500), ("B", 800)])
def test_example_14_the_outlet_limits_the_receipt(outlet: str, payable: int) -> None:
    program = definition(limits={"A": "50", "B": "80"})
    made = quote(program, receipt(100_000, outlet=outlet), facts(900))
    assert made.redeemable_points == payable
    assert any(step["rule"] == "receipt_max_percent" for step in made.trace)


def test_example_15_points_are_earned_on_the_money_part() -> None:
    made = quote(definition(), receipt(100_000), facts(300), 300)
    assert (made.points_earned, made.money_due_minor) == (7, 70_000)
    whole = quote(definition({"earn_on_points_part": True}), receipt(100_000), facts(300), 300)
    assert whole.points_earned == 10


def test_example_17_the_fraction_is_carried() -> None:
    program = definition({"base_percent": 100, "carry_fraction": True})
    carried, earned = Fraction(0), []
    for _receipt in range(3):
        made = quote(program, receipt(60), facts(carried=carried))
        earned.append(made.points_earned)
        carried = made.carried
    assert earned == [0, 1, 0]
    assert carried == Fraction(4, 5)


def test_without_carry_the_fraction_is_lost() -> None:
    made = quote(definition({"base_percent": 100}), receipt(60), facts(carried=Fraction(9, 10)))
    assert (made.points_earned, made.carried) == (0, 0)


def test_rounding_up_leaves_nothing_to_carry() -> None:
    program = definition({"base_percent": 100, "carry_fraction": True, "rounding": "half_up"})
    made = quote(program, receipt(160), facts())
    assert (made.points_earned, made.carried) == (2, 0)


@pytest.mark.parametrize(("rounding", "earned"), [("down", 1), ("half_up", 2), ("up", 2)])
def test_rounding_is_applied_once_to_the_receipt(rounding: str, earned: int) -> None:
    # Three times half a point: line by line it would have been 0 or 3.
    made = quote(definition({"rounding": rounding}), receipt(5000, 5000, 5000), facts())
    assert made.points_earned == earned
    assert sum(line.points_earned for line in made.lines) == earned


def test_points_of_a_receipt_are_shared_by_the_largest_remainder() -> None:
    made = quote(definition(), receipt(15_000, 4000, 11_000), facts())
    assert made.points_earned == 3
    assert [line.points_earned for line in made.lines] == [2, 0, 1]


def test_paid_money_is_shared_in_proportion() -> None:
    made = quote(definition(), receipt(10_000, 30_000), facts(100), 100)
    assert [line.paid_with_points_minor for line in made.lines] == [2500, 7500]


def test_a_line_that_may_not_be_paid_with_points_is_not() -> None:
    terms = Terms((LineTerms(Fraction(1), Fraction(0)), LineTerms(Fraction(1), Fraction(100))))
    made = settle(definition().points, receipt(50_000, 10_000), terms, facts(600), "max")
    assert made.points_redeemed == 100
    assert [line.paid_with_points_minor for line in made.lines] == [0, 10_000]


def test_the_odd_minor_unit_passes_over_a_line_at_its_limit() -> None:
    # Exact shares of 4: 1.595 and 2.405. The first has the larger remainder, but may carry 1 only (99.5 % of 2).
    terms = Terms((LineTerms(Fraction(1), Fraction(995, 10)), LineTerms(Fraction(1), Fraction(100))))
    settings = definition({"point_value_minor": 1}).points
    made = settle(settings, receipt(2, 3), terms, facts(1000), "max")
    assert [line.paid_with_points_minor for line in made.lines] == [1, 3]


def test_max_redeems_what_is_possible() -> None:
    assert quote(definition(), receipt(100_000), facts(30), "max").points_redeemed == 30
    assert quote(definition(), receipt(1000), facts(30), "max").points_redeemed == 10
    assert quote(definition(), receipt(1099), facts(30), "max").points_redeemed == 10


def test_more_than_the_card_has_is_refused() -> None:
    with pytest.raises(DomainError) as refusal:
        quote(definition(), receipt(100_000), facts(30), 31)
    assert (refusal.value.code, refusal.value.status) == ("insufficient_points", 409)


def test_more_than_may_be_paid_is_refused() -> None:
    with pytest.raises(DomainError) as refusal:
        quote(definition(limits={"A": "50", "B": "80"}), receipt(10_000), facts(300), 51)
    assert refusal.value.code == "redeem_limit_exceeded"
    assert refusal.value.extra["payable_points"] == 50


def test_fewer_than_the_program_takes_are_neither_offered_nor_taken() -> None:
    program = definition({"min_points": 50})
    assert quote(program, receipt(100_000), facts(49)).redeemable_points == 0
    assert quote(program, receipt(100_000), facts(49), "max").points_redeemed == 0
    assert quote(program, receipt(4900), facts(500)).redeemable_points == 0
    with pytest.raises(DomainError) as refusal:
        quote(program, receipt(100_000), facts(500), 49)
    assert refusal.value.code == "redeem_limit_exceeded"
    assert quote(program, receipt(100_000), facts(500), 50).points_redeemed == 50


def test_a_receipt_of_nothing_earns_and_pays_nothing() -> None:
    made = quote(definition(), receipt(0, 0), facts(10), "max")
    assert (made.points_earned, made.points_redeemed, made.money_due_minor) == (0, 0, 0)


def test_the_trace_says_how_the_points_came_about() -> None:
    made = quote(definition(), receipt(12_345), facts())
    rules = [step["rule"] for step in made.trace]
    assert rules == ["base_percent", "base_redeem_percent", "rounding"]
    assert made.trace[-1]["effect"] == {"rounding": "down", "exact": "1.2345", "carried": "0"}
