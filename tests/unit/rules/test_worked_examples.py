"""Each row of "Worked examples" of bonus-processing.md that needs a rule; the others are in test_engine.py.

Base 1 %, one point is 1.00, rounding down. Local times are those of Skopje, where the café is.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.unit.rules.programs import definition
from wallet_server.rules.engine import Line, MemberFacts, Quote, Receipt, quote
from wallet_server.rules.receipt import OwnCoefficient

CARD = "1234567890123452"
ZONE = ZoneInfo("Europe/Skopje")


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def made(
    rules: list[dict[str, Any]],
    *lines: tuple[str, int],
    at: str = "2026-11-24T12:00",
    outlet: str = "A",
    spendable: int = 0,
    points: dict[str, Any] | None = None,
    limits: dict[str, str] | None = None,
    own: tuple[OwnCoefficient, ...] = (),
) -> Quote:
    program = definition(points, limits, rules=[{"name": f"rule {i}", **rule} for i, rule in enumerate(rules)])
    facts = MemberFacts(UUID(int=1), spendable, cards=frozenset({CARD}), own=own)
    bought = tuple(
        Line(number, 1000, amount, sku=category, categories=(category,))
        for number, (category, amount) in enumerate(lines, start=1)
    )
    return quote(program, Receipt(outlet, local(at), bought), facts)


def card(percent: int, **more: Any) -> dict[str, Any]:
    return {"family": "customer", "when": {"members": [CARD]}, "earn": {"percent": percent}, **more}


def category(code: str, **effects: Any) -> dict[str, Any]:
    return {"family": "product", "when": {"categories": [code]}, **effects}


def behavior(earn: dict[str, Any], **when: Any) -> dict[str, Any]:
    return {"family": "behavior", "when": when, "earn": earn}


def test_2_a_card_with_five_percent() -> None:
    assert made([card(5)], ("x", 100_000)).points_earned == 50


def test_3_each_outlet_has_its_own_percent() -> None:
    rules = [card(5, outlets=["A"]), card(8, outlets=["B"])]
    assert made(rules, ("x", 100_000), outlet="B").points_earned == 80
    assert made(rules, ("x", 100_000), outlet="A").points_earned == 50


def test_3_the_outlets_own_percent_beats_the_networks_for_the_same_member() -> None:
    own = (OwnCoefficient(Fraction(50)), OwnCoefficient(Fraction(8), outlet="B"))
    assert made([], ("x", 100_000), outlet="B", own=own).points_earned == 80
    assert made([], ("x", 100_000), outlet="A", own=own).points_earned == 500


@pytest.mark.parametrize(("at", "earned"), [("2026-05-31T23:59", 100), ("2026-06-01T00:00", 2)])
def test_4_a_percent_until_a_day(at: str, earned: int) -> None:
    for ends_at in ("2026-06-01T00:00:00+02:00", "2026-06-01T00:00:00"):
        assert made([card(50, ends_at=ends_at)], ("x", 20_000), at=at).points_earned == earned
    own = (OwnCoefficient(Fraction(50), ends_at=local("2026-06-01T00:00")),)
    assert made([], ("x", 20_000), at=at, own=own).points_earned == earned


def test_5_a_category_counts_twice() -> None:
    quoted = made([category("coffee", earn={"multiply": 2})], ("coffee", 30_000), ("cake", 10_000))
    assert quoted.points_earned == 7
    assert [(line.earn_percent, line.points_earned) for line in quoted.lines] == [(2, 6), (1, 1)]


def test_6_a_fixed_percent_whatever_the_card_says() -> None:
    rules = [category("lunch", earn={"fixed_percent": 5}), card(10)]
    quoted = made(rules, ("lunch", 40_000), ("tea", 10_000))
    assert quoted.points_earned == 30
    assert [line.points_earned for line in quoted.lines] == [20, 10]


def test_7_percents_of_two_families_multiply() -> None:
    quoted = made([category("lunch", earn={"percent": 5}), card(10)], ("lunch", 40_000))
    assert (quoted.points_earned, quoted.lines[0].earn_percent) == (200, 50)


def test_8_what_earns_nothing_and_is_not_paid_with_points() -> None:
    rules = [category("cigarettes", earn={"none": True}, redeem={"max_percent": 0})]
    quoted = made(rules, ("cigarettes", 50_000), ("tea", 10_000), spendable=600)
    assert (quoted.points_earned, quoted.redeemable_points) == (1, 100)


@pytest.mark.parametrize(("at", "earned"), [("15:59", 5), ("16:00", 15), ("17:59", 15), ("18:00", 5)])
def test_9_happy_hours(at: str, earned: int) -> None:
    rules = [behavior({"multiply": 3}, time={"from": "16:00", "to": "18:00"})]
    assert made(rules, ("x", 50_000), at=f"2026-11-24T{at}").points_earned == earned


def test_10_a_weekday_and_a_card_multiply() -> None:
    rules = [behavior({"percent": 20}, weekdays=["mon"]), card(5)]
    assert made(rules, ("x", 100_000), at="2026-11-23T12:00").points_earned == 1000
    assert made(rules, ("x", 100_000), at="2026-11-24T12:00").points_earned == 50


@pytest.mark.parametrize("year", [2026, 2027])
def test_11_a_day_of_every_year(year: int) -> None:
    rules = [behavior({"percent": 8}, dates=[{"from": "03-08", "to": "03-08", "yearly": True}])]
    assert made(rules, ("x", 100_000), at=f"{year}-03-08T09:00").points_earned == 80
    assert made(rules, ("x", 100_000), at=f"{year}-03-09T00:00").points_earned == 10


@pytest.mark.parametrize(("total", "earned"), [(199_999, 19), (200_000, 40)])
def test_12_a_receipt_from_an_amount(total: int, earned: int) -> None:
    assert (
        made([behavior({"multiply": 2}, receipt_total_minor={"from": 200_000})], ("x", total)).points_earned == earned
    )


def test_13_the_smaller_of_the_lines_and_the_outlets_limit() -> None:
    rules = [{"family": "customer", "redeem": {"max_percent": 30}}]
    assert made(rules, ("x", 100_000), spendable=900, limits={"A": "50", "B": "80"}).redeemable_points == 300


def test_16_a_category_earns_at_most_so_many_points() -> None:
    rules = [category("coffee", earn={"max_points": 15}), category("coffee", earn={"multiply": 10})]
    quoted = made(rules, ("coffee", 30_000), ("cake", 10_000))
    assert [line.points_earned for line in quoted.lines] == [15, 1]


@pytest.mark.parametrize(
    ("at", "earned"),
    [
        ("2026-11-27T23:30", 20),
        ("2026-11-28T01:30", 20),
        ("2026-11-28T02:00", 10),
        ("2026-11-27T01:30", 10),
        ("2026-11-27T21:59", 10),
        ("2026-11-28T23:30", 10),
    ],
)
def test_18_a_window_across_midnight_belongs_to_the_day_on_which_it_began(at: str, earned: int) -> None:
    rules = [behavior({"multiply": 2}, weekdays=["fri"], time={"from": "22:00", "to": "02:00"})]
    assert made(rules, ("x", 100_000), at=at).points_earned == earned
    dated = [
        behavior({"multiply": 2}, dates=[{"from": "2026-11-27"}], time={"from": "22:00", "to": "02:00"}),
    ]
    assert made(dated, ("x", 100_000), at=at).points_earned == earned
