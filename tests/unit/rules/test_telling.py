"""Whole traces and rules in words: by line, what applied apart from what did not, and what members must not hear."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings

from tests.unit.rules.programs import definition
from tests.unit.rules.test_rules_property import rules as random_rules
from wallet_server.i18n import LANGUAGES, translator
from wallet_server.programs.rule import ALLOWED, FAMILIES, Rule, RuleConditions
from wallet_server.rules.engine import Line, MemberFacts, Receipt, quote
from wallet_server.rules.sentences import PRIVATE, Listener
from wallet_server.rules.telling import codes_in, tell
from wallet_server.rules.words import Names, conditions_of, effects_of, outlets_of, state_of, validity_of

MONDAY = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)  # 16:30 in Skopje
SEGMENTS: list[dict[str, Any]] = [{"code": code, "name": f"Hidden {code}", "when": {}} for code in ("quiet", "loyal")]
LINES = (
    Line(1, 1000, 30_000, sku="cappuccino", categories=("coffee", "drinks"), cost_minor=9_000),
    Line(2, 1000, 45_000, sku="burger", categories=("food",)),
)
NAMES = Names({"cappuccino": {"en": "Cappuccino", "mk": "Капучино"}}, {"coffee": {"en": "Coffee"}})
FACTS = MemberFacts(
    UUID(int=1), 0, tier="base", cards=frozenset({"1111"}), segments=frozenset({"quiet"}), tags=frozenset({"staff"})
)


def product(name: str, multiply: int, **when: Any) -> dict[str, Any]:
    return {"name": name, "family": "product", "when": when, "earn": {"multiply": multiply}}


def test_a_trace_is_told_line_by_line_with_what_did_not_apply_apart() -> None:
    program = definition(
        rules=[
            product("Coffee", 2, categories=["coffee"]),
            product("Coffee on Tuesdays", 3, categories=["coffee"], weekdays=["tue"]),
            {"name": "Big", "family": "behavior", "when": {"receipt_total_minor": {"from": 100_000}},
             "earn": {"fixed_points": 5}},
        ]
    )  # fmt: skip
    made = quote(program, Receipt("A", MONDAY, LINES), FACTS)
    told = tell(made.trace, Listener(translator("en"), program, NAMES))
    [coffee] = told.lines
    assert coffee.line == 1
    assert coffee.applied == ("Coffee: points × 2 (category Coffee).", "earns 1 % × 2 = 2 %.")
    assert coffee.missed == ("Coffee on Tuesdays did not apply: bought on Monday.",)
    assert told.receipt.applied[0] == "Every line earns 1 %."
    assert told.receipt.applied[-1] == "Rounded: 10.5 became 10 points."
    assert "Big did not apply: the receipt comes to MKD\N{NO-BREAK SPACE}750.00" in told.receipt.missed[0]
    assert (told.missed, told.is_empty) == (2, False)
    assert codes_in([made.trace]) == (set(), {"coffee"})


def test_nothing_kept_is_nothing_told() -> None:
    assert tell((), Listener(translator("en"), definition())).is_empty


def test_a_members_own_offer_has_no_name_and_anothers_is_not_heard_of() -> None:
    program = definition(
        rules=[
            product("For card 1111", 2, members=["1111"]),
            product("For card 2222", 3, members=["2222"]),
            product("Sleepers", 4, segments=["quiet"]),
            product("Silver sleepers", 5, tiers=["silver"], segments=["loyal"]),
            product("Dear ones", 6, margin_percent={"from": 50}),
            product("Next year", 7) | {"starts_at": "2027-01-01T00:00:00"},
        ],
        segments=SEGMENTS,
    )
    trace = quote(program, Receipt("A", MONDAY, LINES), FACTS).trace
    told = tell(trace, Listener(translator("en"), program, NAMES, is_member=True))
    every = " ".join(text for part in (told.receipt, *told.lines) for text in (*part.applied, *part.missed))
    assert "Just for you: points × 2." in every
    assert "Dear ones: points × 6." in every
    assert "Just for you did not" not in every, "what passed by in silence is not heard of either"
    for secret in ("1111", "2222", "leepers", "Hidden", "argin", "70", "Next year", "may pay"):
        assert secret not in every, secret
    staff = tell(trace, Listener(translator("en"), program, NAMES))
    assert "margin 70 %" in str(staff)
    assert "Hidden quiet" in str(staff)


@settings(max_examples=80, deadline=None)
@given(random_rules(), random_rules())
def test_no_trace_tells_a_member_of_rules_that_pick_people_out(first: dict[str, Any], second: dict[str, Any]) -> None:
    named = [{"name": f"internal-{place}", **rule} for place, rule in enumerate((first, second))]
    program = definition({"base_percent": 3}, rules=named, segments=SEGMENTS)
    trace = quote(program, Receipt("A", MONDAY, LINES, "card"), FACTS).trace
    for language in LANGUAGES:
        told = str(tell(trace, Listener(translator(language), program, is_member=True)))
        assert "Hidden" not in told
        for rule in named:
            if not PRIVATE.isdisjoint(rule.get("when", {})):
                assert rule["name"] not in told


def test_every_condition_has_its_words() -> None:
    assert {name for names in ALLOWED.values() for name in names} == set(RuleConditions.model_fields)


EVERY: dict[str, Any] = {
    "members": ["1", "2", "3", "4"],
    "tiers": ["base", "silver"],
    "segments": ["quiet"],
    "tags": ["staff"],
    "tenure_days_min": 365,
    "birthday_within_days": 3,
    "skus": ["cappuccino", "a", "b", "c", "d", "e", "f"],
    "categories": ["coffee"],
    "quantity_min": "1.5",
    "unit_price_minor": {"from": 10000, "to": 20000},
    "margin_percent": {"to": "12.5"},
    "weekdays": ["mon", "fri"],
    "time": {"from": "22:00", "to": "02:00"},
    "dates": [{"from": "03-08", "yearly": True}, {"from": "2026-12-24", "to": "2026-12-26"}],
    "receipt_total_minor": {"from": 200000},
    "nth_purchase": 10,
    "payment_types": ["card"],
}


def test_a_rule_in_words() -> None:
    rule = Rule.model_validate(
        {"name": "R", "family": "product", "when": EVERY, "outlets": ["A", "B"], "starts_at": "2026-06-01T00:00:00",
         "ends_at": "2026-09-01T00:00:00", "earn": {"fixed_points": "0.5"}, "redeem": {"max_percent": 0}}
    )  # fmt: skip
    program, t = definition(segments=SEGMENTS), translator("en")
    assert set(rule.when.given()) == set(RuleConditions.model_fields)
    said = [re.sub(r"[\u00a0\u202f\u2009]", " ", words) for words in conditions_of(rule, t, program, NAMES)]
    assert said == [
        "4 named cards",
        "tier Member or Silver",
        "in the segment Hidden quiet",
        "with the tag staff",
        "a member for 365 days or longer",
        "up to 3 days around the birthday",
        "Cappuccino, a, b, c, d or 2 more",
        "category Coffee",
        "quantity 1.5 or more",
        "price from MKD 100.00 to less than MKD 200.00",
        "margin less than 12.5 %",
        "Mon, Fri",
        "22:00–02:00",
        "March 8 every year or Dec 24, 2026 – Dec 26, 2026",
        "receipt of MKD 2,000.00 or more",
        "purchase number 10",
        "paid by card",
    ]
    assert effects_of(rule.earn, rule.redeem, rule.family, t) == [
        "0.5 points on top for each unit", "cannot be paid with points",
    ]  # fmt: skip
    assert outlets_of(rule, t, program) == "Restaurant A or Restaurant B"
    assert validity_of(rule, t) == "Jun 1, 2026 00:00 – Sep 1, 2026 00:00"


@settings(max_examples=40, deadline=None)
@given(random_rules())
def test_any_rule_has_words_in_every_language(content: dict[str, Any]) -> None:
    rule = Rule.model_validate({"name": "R", **content})
    program = definition(segments=SEGMENTS)
    for language in LANGUAGES:
        t = translator(language)
        assert all(effects_of(rule.earn, rule.redeem, rule.family, t))
        words = conditions_of(rule, t, program)
        assert len(words) == len(rule.when.given())
        assert all(words)
        assert bool(validity_of(rule, t)) is (rule.starts_at is not None or rule.ends_at is not None)


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "state"),
    [
        (None, None, "running"),
        ("2026-11-23T16:30:00", None, "running"),
        ("2026-11-23T16:31:00", None, "later"),
        ("2026-11-23T16:30:00+01:00", None, "running"),
        ("2026-11-23T16:30:00+00:00", None, "later"),
        (None, "2026-11-23T16:30:00", "over"),
        (None, "2026-11-23T16:31:00", "running"),
        ("2026-01-01T00:00:00+01:00", "2026-11-23T15:30:00+00:00", "over"),
    ],
)
def test_a_rule_runs_from_its_beginning_until_just_before_its_end(
    starts_at: str | None, ends_at: str | None, state: str
) -> None:
    content = {"name": "R", "family": FAMILIES[0], "earn": {"multiply": 2}, "starts_at": starts_at, "ends_at": ends_at}
    rule = Rule.model_validate({key: value for key, value in content.items() if value is not None})
    assert state_of(rule, MONDAY, "Europe/Skopje") == state
