"""What several rules come to together, case by case."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.unit.rules.programs import definition
from wallet_server.errors import DomainError
from wallet_server.rules.conditions import days_to_birthday
from wallet_server.rules.engine import Line, MemberFacts, Quote, Receipt, quote
from wallet_server.rules.receipt import OwnCoefficient

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def rules_of(*rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": f"rule {place}", "family": "customer", **rule} for place, rule in enumerate(rules)]


def made(
    *rules: dict[str, Any],
    lines: tuple[Line, ...] | None = None,
    points: dict[str, Any] | None = None,
    redeem: int | str = 0,
    **facts: Any,
) -> Quote:
    program = definition(points, rules=rules_of(*rules))
    member = MemberFacts(UUID(int=1), **{"spendable": 0, **facts})
    return quote(program, Receipt("A", NOON, lines or (Line(1, 1000, 100_000),)), member, redeem)


def percent(*rules: dict[str, Any], **values: Any) -> Fraction:
    return made(*rules, **values).lines[0].earn_percent


def earn(family: str = "customer", priority: int = 0, **effect: Any) -> dict[str, Any]:
    return {"family": family, "earn": effect, "priority": priority}


def test_the_highest_priority_of_a_family_wins_then_the_best_for_the_member() -> None:
    assert percent(earn(multiply=3), earn(multiply=2)) == 3
    assert percent(earn(multiply=3), earn(multiply=2, priority=1)) == 2
    assert percent(earn(multiply=3), earn(percent=4)) == 4
    assert percent(earn(multiply=3), earn(percent=4), points={"base_percent": 2}) == 6
    assert percent(earn(multiply=0)) == 0
    assert percent(earn(multiply=3), earn("product", multiply=2), earn("behavior", multiply="0.5")) == 3


def test_of_equals_the_earlier_rule_decides() -> None:
    # Both count as coefficient 5; the first takes the other families' coefficients along, the second does not.
    others = earn("product", multiply=2)
    assert percent(earn(percent=5), earn(fixed_percent=5), others) == 10
    assert percent(earn(fixed_percent=5), earn(percent=5), others) == 5


def test_a_fixed_percent_that_wins_its_family_ends_the_multiplying() -> None:
    assert percent(earn(fixed_percent=5), earn("product", multiply=100)) == 5
    assert percent(earn(fixed_percent=5), earn(multiply=6), earn("product", multiply=2)) == 12
    assert percent(earn(fixed_percent=5), earn("product", fixed_percent=7)) == 7
    assert percent(earn(fixed_percent=5, priority=1), earn("product", fixed_percent=7)) == 5
    assert percent(earn(fixed_percent=5), points={"base_percent": 3}) == 5


def test_the_smallest_cap_holds_for_a_fixed_percent_too() -> None:
    assert percent(earn(fixed_percent=9), earn(max_percent=8), earn("behavior", max_percent=7)) == 7
    assert percent(earn(multiply=2), earn(max_percent=8)) == 2


def test_nothing_changes_that_a_line_earns_nothing() -> None:
    none = {"family": "product", "when": {"skus": ["smoke"]}, "earn": {"none": True}, "priority": -5}
    lines = (Line(1, 1000, 100_000, sku="smoke"), Line(2, 1000, 100_000))
    quoted = made(
        none, earn("product", fixed_points=7), earn("behavior", fixed_points=3), earn(fixed_percent=9), lines=lines
    )
    assert [line.points_earned for line in quoted.lines] == [0, 97]
    assert (quoted.points_earned, quoted.receipt_points) == (100, 3)
    assert quoted.lines[0].earn_percent == 0


def test_a_remainder_does_not_go_to_a_line_that_earns_nothing() -> None:
    none = {"family": "product", "when": {"skus": ["smoke"]}, "earn": {"none": True}}
    lines = (Line(1, 1000, 100_000, sku="smoke"), Line(2, 1000, 50_000))
    # Left over from the time when the program rounded down: 0.99 points now make one, with no remainder of a line.
    settings = {"carry_fraction": True, "rounding": "up"}
    quoted = made(none, lines=lines, points=settings, carried=Fraction(99, 100))
    assert [line.points_earned for line in quoted.lines] == [0, 6]


def test_fixed_points_are_for_each_unit_or_once_for_the_receipt() -> None:
    lines = (Line(1, 2500, 10_000), Line(2, 1000, 10_000))
    quoted = made(earn("product", fixed_points=2), earn("product", fixed_points="0.5"), lines=lines)
    assert [line.points_earned for line in quoted.lines] == [9, 3]  # 2.5 + 6.25 and 1 + 2.5, of 12.25 together
    quoted = made(earn(fixed_points=2), earn("behavior", fixed_points=5), earn(max_points=0), lines=lines)
    assert (quoted.points_earned, quoted.receipt_points) == (7, 7)
    assert [line.points_earned for line in quoted.lines] == [0, 0]


def test_caps_are_applied_in_the_order_of_the_file() -> None:
    lines = (Line(1, 1000, 300_000, sku="a"), Line(2, 1000, 100_000, sku="b"))
    only_a = {"family": "product", "when": {"skus": ["a"]}, "earn": {"max_points": 10}}
    everything = earn(max_points=20)
    # 30 and 10: first a to 10, then 10 + 10 are no more than 20; or both to 15 + 5 first, then a to 10.
    assert [line.points_earned for line in made(only_a, everything, lines=lines).lines] == [10, 10]
    assert [line.points_earned for line in made(everything, only_a, lines=lines).lines] == [10, 5]


def test_a_cap_says_what_it_took() -> None:
    [step] = [step for step in made(earn(max_points=4)).trace if step["kind"] == "cap"]
    assert (step["effect"], step["why"]) == ({"max_points": "4", "exact": "10"}, "10 points became 4")


def test_a_discount_lowers_what_is_earned_and_paid() -> None:
    weak, strong = earn("product", discount_percent=10), earn("behavior", discount_percent=15)
    quoted = made(weak, strong, spendable=2000)
    assert (quoted.discount_minor, quoted.money_due_minor, quoted.points_earned) == (15_000, 85_000, 8)
    assert quoted.redeemable_points == 850
    assert made({**weak, "priority": 1}, strong).discount_minor == 10_000
    # Half up, line by line: 0.5 + 0.5, not 1 of the sum.
    lines = (Line(1, 1000, 5), Line(2, 1000, 5))
    assert [line.discount_minor for line in made(weak, lines=lines).lines] == [1, 1]


def test_rules_ask_about_amounts_before_discounts() -> None:
    total = {"family": "behavior", "when": {"receipt_total_minor": {"from": 100_000}}, "earn": {"multiply": 2}}
    price = {"family": "product", "when": {"unit_price_minor": {"from": 100_000}}, "earn": {"multiply": 3}}
    assert percent(total, price, earn(discount_percent=50)) == 6


def test_limits_of_paying_are_the_smallest_that_speak() -> None:
    line_limit = {"redeem": {"max_percent": 40}}
    receipt_limit = {"family": "behavior", "redeem": {"receipt_max_percent": 25}}
    quoted = made(line_limit, receipt_limit, earn("product", none=True), spendable=2000)
    assert (quoted.lines[0].redeem_percent, quoted.redeemable_points) == (40, 250)
    assert made({"redeem": {"max_percent": 0}}, spendable=2000).redeemable_points == 0
    assert (
        made({"redeem": {"max_percent": 80}}, points={"base_redeem_percent": 60}, spendable=2000).redeemable_points
        == 600
    )


def test_a_tiers_effects_are_customer_rules() -> None:
    levels = [
        {"code": "base", "name": "B", "earn": {"percent": 2}},
        {
            "code": "silver",
            "name": "S",
            "reach": {"any": [{"purchases": 2}]},
            "earn": {"percent": 5},
            "redeem": {"max_percent": 50},
        },
    ]
    program = definition(tiers={"levels": levels}, rules=rules_of(earn("product", multiply=2)))
    receipt = Receipt("A", NOON, (Line(1, 1000, 100_000),))
    for tier, earned, payable in (("base", 40, 1000), ("silver", 100, 500), ("gone", 20, 1000)):
        quoted = quote(program, receipt, MemberFacts(UUID(int=1), 5000, tier=tier))
        assert (quoted.points_earned, quoted.redeemable_points) == (earned, payable)


def test_a_members_own_coefficient_is_a_customer_rule_like_any_other() -> None:
    own = OwnCoefficient(Fraction(5), redeem_max_percent=Fraction(20))
    quoted = made(earn(multiply=3), own=(own,), spendable=5000)
    assert (quoted.lines[0].earn_percent, quoted.redeemable_points) == (5, 200)
    assert percent(earn(multiply=7), own=(own,)) == 7
    assert percent(earn(multiply=3, priority=1), own=(own,)) == 3
    assert percent(own=(OwnCoefficient(Fraction(5), ends_at=NOON),)) == 1
    assert percent(own=(OwnCoefficient(Fraction(5), outlet="B"),)) == 1
    assert percent(own=(own,), points={"base_percent": 0}) == 0


def test_more_points_than_a_receipt_may_earn_are_refused() -> None:
    wild = [earn(family, multiply=1000) for family in ("customer", "product", "behavior")]
    lines = (Line(1, 1000, 10**12),)
    with pytest.raises(DomainError) as refused:
        made(*wild, lines=lines, points={"base_percent": 1000, "point_value_minor": 1})
    assert refused.value.code == "points_limit"


@pytest.mark.parametrize(
    ("day", "birthday", "days"),
    [
        ((2026, 11, 24), (1990, 11, 24), 0),
        ((2026, 12, 31), (1990, 1, 1), 1),
        ((2027, 1, 2), (1990, 12, 30), 3),
        ((2027, 2, 28), (2000, 2, 29), 0),
        ((2028, 2, 28), (2000, 2, 29), 1),
        ((2028, 2, 29), (2000, 2, 29), 0),
    ],
)
def test_days_to_the_nearest_birthday(day: tuple[int, int, int], birthday: tuple[int, int, int], days: int) -> None:
    assert days_to_birthday(date(*day), date(*birthday)) == days


def test_the_nth_purchase_is_the_one_after_those_before() -> None:
    tenth = {"family": "behavior", "when": {"nth_purchase": 10}, "earn": {"multiply": 2}}
    assert [percent(tenth, purchases=before) for before in (8, 9, 10)] == [1, 2, 1]


def test_a_price_range_ends_before_its_end() -> None:
    rule = {"family": "product", "when": {"unit_price_minor": {"from": 100, "to": 200}}, "earn": {"multiply": 2}}
    lines = tuple(Line(place, 1000, price) for place, price in enumerate((99, 100, 199, 200), start=1))
    assert [line.earn_percent for line in made(rule, lines=lines).lines] == [1, 2, 2, 1]


def test_tenure_is_counted_in_local_days() -> None:
    rule = {"when": {"tenure_days_min": 1}, "earn": {"multiply": 2}}
    # Half an hour after midnight, and half an hour before it, in Skopje; the receipt is of the 24th.
    for joined_at, wanted in (
        (datetime(2026, 11, 23, 23, 30, tzinfo=UTC), 1),
        (datetime(2026, 11, 23, 22, 30, tzinfo=UTC), 2),
    ):
        assert percent(rule, joined_at=joined_at) == wanted


def test_what_is_not_known_of_a_member_does_not_hold() -> None:
    for when in ({"tenure_days_min": 1}, {"birthday_within_days": 182}, {"tiers": ["silver"]}, {"members": ["1"]}):
        assert percent({"when": when, "earn": {"multiply": 2}}) == 1


def test_the_trace_names_the_value_that_was_compared() -> None:
    monday = {"family": "behavior", "when": {"weekdays": ["mon"]}, "earn": {"percent": 20}, "outlets": ["A"]}
    coffee = {
        "family": "product",
        "when": {"categories": ["drinks"]},
        "earn": {"multiply": 2},
        "redeem": {"max_percent": 0},
    }
    lines = (Line(1, 1000, 30_000, sku="x", categories=("coffee", "drinks")), Line(2, 1000, 30_000))
    steps = [step for step in made(monday, coffee, lines=lines).trace if step["kind"] == "rule"]
    assert steps == [
        {
            "rule": "rule 1",
            "kind": "rule",
            "family": "product",
            "line": 1,
            "matched": True,
            "effect": {"multiply": "2", "redeem": {"max_percent": "0"}},
            "why": "category coffee",
            "compared": [{"condition": "categories", "wanted": ["drinks"], "found": "coffee", "held": True}],
        },
        {
            "rule": "rule 0",
            "kind": "rule",
            "family": "behavior",
            "line": None,
            "matched": False,
            "effect": {"percent": "20"},
            "why": "bought on tue, not mon",
            "compared": [{"condition": "weekdays", "wanted": ["mon"], "found": "tue", "held": False}],
        },
    ]


def test_the_trace_says_how_a_percent_came_about() -> None:
    coffee = {"family": "product", "when": {"skus": ["c"]}, "earn": {"multiply": 2}}
    lines = (Line(1, 1000, 30_000, sku="c"), Line(2, 1000, 30_000))
    trace = made(earn(percent=5), coffee, earn("behavior", discount_percent=10), lines=lines).trace
    steps = {step["line"]: step for step in trace if step["kind"] == "percent"}
    assert steps[1]["effect"] == {
        "base_percent": "1",
        "coefficients": {"customer": "5", "product": "2"},
        "percent": "10",
        "discount_percent": "10",
    }
    assert steps[1]["chosen"] == {"customer": "rule 0", "product": "rule 1", "discount_percent": "rule 2"}
    assert steps[1]["why"] == "1 % × 5 × 2 = 10 %, after 10 % off"
    assert (steps[None]["why"], steps[None]["others"]) == ("1 % × 5 = 5 %, after 10 % off", True)
    none = [step for step in made(earn(none=True)).trace if step["kind"] == "percent"]
    assert [(step["why"], step["effect"]["none"], step["others"]) for step in none] == [("earns nothing", True, False)]


@pytest.mark.parametrize(
    ("local", "card", "points"),
    [
        ("2026-11-23T15:59", "1", 3),
        ("2026-11-23T16:00", "1", 6),
        ("2026-11-23T17:59", "1", 6),
        ("2026-11-23T18:00", "1", 3),
        ("2026-11-24T16:00", "1", 3),
        ("2026-11-23T16:00", "2", 3),
    ],
)
def test_a_product_rule_may_say_when_and_for_whom(local: str, card: str, points: int) -> None:
    """Cappuccino doubles on Mondays from 16 to 18, for the card 1; the cake beside it does not."""
    when = {
        "skus": ["cappuccino"], "weekdays": ["mon"], "time": {"from": "16:00", "to": "18:00"}, "members": ["1"],
    }  # fmt: skip
    program = definition(rules=[{"name": "Hour", "family": "product", "when": when, "earn": {"multiply": 2}}])
    lines = (Line(1, 1000, 30_000, sku="cappuccino"), Line(2, 1000, 10_000, sku="cake"))
    at = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Skopje"))
    made = quote(program, Receipt("A", at, lines), MemberFacts(UUID(int=1), 0, cards=frozenset((card,))))
    assert [line.points_earned for line in made.lines] == [points, 1]
