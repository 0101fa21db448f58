"""Traces as sentences in three languages."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings

from tests.factories import CAFE
from tests.unit.rules.programs import definition
from tests.unit.rules.test_rules_property import rules as random_rules
from wallet_server.i18n import LANGUAGES, translator
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rules import sentences
from wallet_server.rules.engine import Line, MemberFacts, Receipt, quote
from wallet_server.rules.receipt import OwnCoefficient
from wallet_server.rules.sentences import Listener

TUESDAY = datetime(2026, 11, 24, 14, 59, tzinfo=UTC)
LINE = Line(1, 1000, 100_000, sku="cappuccino", categories=("coffee", "drinks"), cost_minor=40_000)
SEGMENTS = [{"code": code, "name": code.title(), "when": {}} for code in ("quiet", "loyal")]


def told(
    rule: dict[str, Any], language: str = "en", *, kind: str = "rule", points: Any = None, **facts: Any
) -> list[str]:
    program = definition(points, rules=[{"name": "Rule", **rule}] if rule else [], segments=SEGMENTS)
    member = MemberFacts(UUID(int=1), **{"spendable": 0, "tier": "base", **facts})
    made = quote(program, Receipt("A", TUESDAY, (LINE,), "cash"), member)
    steps = json.loads(json.dumps(made.trace))  # as it comes back from the database
    return [plain(told_of(step, language, program)) for step in steps if step["kind"] == kind]


def told_of(step: dict[str, Any], language: str, program: ProgramDefinition) -> str:
    return sentences.said(step, Listener(translator(language), program))


def plain(text: str) -> str:
    return re.sub(r"[\u00a0\u202f\u2009]", " ", text)


def behavior(**when: Any) -> dict[str, Any]:
    return {"family": "behavior", "when": when, "earn": {"percent": 20}}


def customer(**when: Any) -> dict[str, Any]:
    return {"family": "customer", "when": when, "earn": {"multiply": 2}}


def product(**when: Any) -> dict[str, Any]:
    return {"family": "product", "when": when, "earn": {"multiply": 2}}


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Monday 20 % did not apply: bought on Tuesday."),
        ("ru", "Правило «Monday 20 %» не сработало: день покупки: вторник."),
        ("mk", "Правилото „Monday 20 %“ не се примени: ден на купување: вторник."),
    ],
)
def test_why_monday_did_not_count_on_tuesday(language: str, said: str) -> None:
    assert told({**behavior(weekdays=["mon"]), "name": "Monday 20 %"}, language) == [said]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (behavior(time={"from": "16:00", "to": "18:00"}), "Rule did not apply: bought at 15:59, not 16:00–18:00."),
        (behavior(dates=[{"from": "2026-03-08"}]), "Rule did not apply: bought on Nov 24, 2026."),
        (
            behavior(receipt_total_minor={"from": 200_000}),
            "Rule did not apply: the receipt comes to MKD 1,000.00, not MKD 2,000.00 or more.",
        ),
        (behavior(nth_purchase=10), "Rule did not apply: purchase number 1, not 10."),
        (behavior(payment_types=["card"]), "Rule did not apply: paid by cash, not card."),
        ({**behavior(), "outlets": ["B"]}, "Rule did not apply: bought at Restaurant A, not Restaurant B."),
        ({**behavior(), "starts_at": "2027-01-01T00:00:00"}, "Rule did not apply: it holds from Jan 1, 2027 00:00."),
        ({**behavior(), "ends_at": "2026-11-01T00:00:00"}, "Rule did not apply: it ended at Nov 1, 2026 00:00."),
        (customer(tiers=["silver"]), "Rule did not apply: the tier is Member, not Silver."),
        (customer(segments=["quiet"]), "Rule did not apply: the member is not in the segment."),
        (customer(tags=["vip"]), "Rule did not apply: the member does not have the tag."),
        (customer(tenure_days_min=30), "Rule did not apply: a member for 24 days, not at least 30."),
        (customer(birthday_within_days=1), "Rule did not apply: the birthday is 2 days away."),
        (product(skus=["burger"]), "Rule did not apply: product cappuccino, not burger."),
        (product(categories=["food"]), "Rule did not apply: category coffee, not food."),
        (product(quantity_min="1.5"), "Rule did not apply: quantity 1, not at least 1.5."),
        (
            product(unit_price_minor={"from": 1, "to": 5000}),
            "Rule did not apply: price MKD 1,000.00, not from MKD 0.01 to less than MKD 50.00.",
        ),
        (
            product(margin_percent={"from": "12.5", "to": 40}),
            "Rule did not apply: margin 60 %, not from 12.5 % to less than 40 %.",
        ),
        (product(margin_percent={"to": 0}), "Rule did not apply: margin 60 %, not less than 0 %."),
    ],
)
def test_each_condition_says_what_was_found(rule: dict[str, Any], said: str) -> None:
    facts = {"joined_at": datetime(2026, 10, 31, 12, tzinfo=UTC), "birthday": datetime(1990, 11, 26, tzinfo=UTC).date()}
    assert told(rule, **facts) == [said]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (product(categories=["drinks"]), "Rule: points × 2 (category coffee)."),
        ({"family": "customer", "earn": {"fixed_percent": "7.5"}}, "Rule: exactly 7.5 % in points."),
        ({"family": "behavior", "earn": {"fixed_points": 25}}, "Rule: 25 points on top."),
        ({"family": "product", "earn": {"fixed_points": 2}}, "Rule: 2 points on top for each unit."),
        ({"family": "customer", "earn": {"max_points": 3}}, "Rule: at most 3 points."),
        (
            {"family": "product", "earn": {"none": True}, "redeem": {"max_percent": 0}},
            "Rule: earns nothing; cannot be paid with points.",
        ),
        (
            {"family": "behavior", "earn": {"discount_percent": 10}, "redeem": {"receipt_max_percent": 50}},
            "Rule: 10 % off the price; points pay at most 50 % of the receipt.",
        ),
        (customer(segments=["quiet", "loyal"]), "Rule: points × 2 (in the segment Quiet)."),
        (customer(tags=["vip", "press"]), "Rule: points × 2 (the member has the tag press)."),
        (product(margin_percent={"from": 60}), "Rule: points × 2 (margin 60 %)."),
        (customer(members=["7"]), "Rule: points × 2 (this member)."),
        (customer(birthday_within_days=0), "Rule: points × 2 (it is the birthday)."),
    ],
)
def test_each_effect_says_what_it_does(rule: dict[str, Any], said: str) -> None:
    facts = {
        "segments": frozenset({"quiet"}),
        "tags": frozenset({"press"}),
        "cards": frozenset({"7"}),
        "birthday": TUESDAY.date(),
    }
    assert told(rule, **facts) == [said]


def test_the_steps_around_the_rules_are_told_too() -> None:
    assert told({}, kind="program") == ["Every line earns 1 %.", "Points may pay up to 100 % of a line."]
    assert told({}, kind="rounding") == ["Together: 10 points."]
    carried = told(customer(), kind="rounding", points={"carry_fraction": True, "base_percent": "0.73"})
    assert carried == ["Rounded: 14.6 became 14 points; 0.6 is kept for the next receipt."]
    assert told({"family": "customer", "earn": {"max_points": 3}}, kind="cap") == ["Rule: 10 points became 3."]
    assert told(customer(), kind="percent") == ["Each line earns 1 % × 2 = 2 %."]
    assert told(product(), kind="percent", language="ru") == ["приносит 1 % × 2 = 2 %."]
    assert told({"family": "customer", "earn": {"none": True}}, kind="percent") == ["Each line earns nothing."]


@pytest.mark.parametrize(
    ("validity", "language", "said"),
    [
        ({"starts_at": "2026-12-01T00:00:00"}, "en", "The program begins on Dec 1, 2026 00:00: nothing is earned yet."),
        (
            {"ends_at": "2026-11-24T15:00:00", "redeem_until": "2026-12-31T00:00:00"},
            "en",
            "The program ended at Nov 24, 2026 15:00: nothing is earned any more.",
        ),
        ({"ends_at": "2026-11-24T15:00:00"}, "en", "The program ended; points could pay until Nov 24, 2026 15:00."),
        (
            {"ends_at": "2026-11-01T00:00:00+01:00", "redeem_until": "2026-11-20T00:00:00+01:00"},
            "en",
            "The program ended; points could pay until Nov 20, 2026 00:00.",
        ),
    ],
)
def test_a_program_outside_its_time_says_so(validity: dict[str, str], language: str, said: str) -> None:
    program = definition(program={**CAFE["program"], "validity": validity}, rules=[{"name": "Rule", **customer()}])
    made = quote(program, Receipt("A", TUESDAY, (LINE,)), MemberFacts(UUID(int=1), 100))
    steps = [step for step in made.trace if step["kind"] == "validity"]
    assert [plain(told_of(step, language, program)) for step in steps] == [said]
    assert made.points_earned == 0


def test_a_members_own_percent_and_a_tier_are_named() -> None:
    own = (OwnCoefficient(Fraction(5)),)
    assert told({}, kind="own", own=own) == ["The member's own percent: 5 % of the price in points."]
    levels = [{"code": "base", "name": {"en": "Member", "mk": "Член"}, "earn": {"percent": 5}}]
    program = definition(tiers={"levels": levels})
    made = quote(program, Receipt("A", TUESDAY, (LINE,)), MemberFacts(UUID(int=1), 0, tier="base"))
    [step] = [step for step in made.trace if step["kind"] == "tier"]
    said = told_of(step, "mk", program)
    assert said == "Ниво Член: 5 % од цената во поени (нивото е Член)."


def test_a_step_of_before_or_of_a_later_version_is_told_in_its_own_words() -> None:
    step = {"rule": "x", "family": "program", "line": 2, "matched": True, "effect": {}, "why": "so it was"}
    assert told_of(step, "ru", definition()) == "so it was"
    assert told_of({**step, "kind": "of the future"}, "ru", definition()) == "so it was"


@settings(max_examples=60, deadline=None)
@given(random_rules(), random_rules())
def test_any_trace_can_be_told_in_every_language(first: dict[str, Any], second: dict[str, Any]) -> None:
    program = definition(
        {"base_percent": 3},
        limits={"A": "50", "B": "80"},
        rules=[{"name": "First", **first}, {"name": "Second", **second}],
        segments=SEGMENTS,
    )
    facts = MemberFacts(UUID(int=1), 0, tier="base", cards=frozenset({"1111"}), segments=frozenset({"quiet"}))
    for lines in ((LINE,), (LINE, Line(2, 500, 1234))):
        made = quote(program, Receipt("A", TUESDAY, lines), facts)
        for step in json.loads(json.dumps(made.trace)):
            english = told_of(step, "en", program)
            assert english.endswith(".")
            assert "%(" not in english
            for language in set(LANGUAGES) - {"en"}:
                other = told_of(step, language, program)
                assert "%(" not in other
                assert other != english
