"""The index of the rules: it never misses a rule that holds, and asks few that do not."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.unit.rules.programs import definition
from wallet_server.rules import trace
from wallet_server.rules.book import EXPLAINED_MAX, rule_book
from wallet_server.rules.conditions import NO_LINE, situation_of
from wallet_server.rules.engine import Line, MemberFacts, Receipt, quote

MEMBER = MemberFacts(UUID(int=1), 0, tier="silver", purchases=1, cards=frozenset({"77"}), segments=frozenset({"s"}))
TIMES = [
    None,
    ("22:00", "02:00"),
    ("16:00", "18:00"),
    ("23:30", "00:30"),
    ("00:00", "01:00"),
    ("18:01", "00:00"),
    ("16:30", "18:30"),
]
DATES: list[Any] = [
    None,
    [{"from": "02-28", "yearly": True}],
    [{"from": "12-31", "yearly": True}],
    [{"from": "12-20", "to": "01-01", "yearly": True}],
    [{"from": "01-05", "to": "12-31", "yearly": True}],
    [{"from": "03-02", "to": "03-01", "yearly": True}],
    [{"from": "2026-12-31"}],
    [{"from": "2027-02-01", "to": "2027-02-28"}],
    [{"from": "2000-01-01", "to": "2900-01-01"}],
    [{"from": "2027-02-28"}, {"from": "01-01", "yearly": True}],
]
WEEKDAYS = [None, ["thu"], ["sun", "fri"]]
VALIDITY = [
    None,
    ("2026-12-31T00:00:00", "2027-01-02T00:00:00"),
    ("2027-03-01T00:00:00+14:00", "2027-03-01T20:00:00-11:00"),
]


def moments() -> list[datetime]:
    starts = datetime(2026, 12, 30, 12, tzinfo=UTC), datetime(2027, 2, 26, 12, tzinfo=UTC)
    return [start + timedelta(minutes=29 * step) for start in starts for step in range(200)]


def behavior(**rule: Any) -> dict[str, Any]:
    return {"family": "behavior", "earn": {"multiply": 2}, **rule}


@pytest.mark.parametrize("zone", ["Europe/Skopje", "Pacific/Kiritimati"])
def test_no_rule_that_holds_is_missed(zone: str) -> None:
    rules = []
    for time, dates, weekdays, validity in itertools.product(TIMES, DATES, WEEKDAYS, VALIDITY):
        when = {"dates": dates, "weekdays": weekdays, "time": time and {"from": time[0], "to": time[1]}}
        rule = behavior(name=str(len(rules)), when={name: value for name, value in when.items() if value})
        rules.append(rule | ({"starts_at": validity[0], "ends_at": validity[1]} if validity else {}))
    book = rule_book(definition(rules=rules))
    held = 0
    for moment in moments():
        situation = situation_of(Receipt("A", moment, (Line(1, 1000, 5000),)), MEMBER, zone)
        candidates = {rule.place for rule in book.for_receipt(situation)}
        holds = {rule.place for rule in book.rules if all(check.holds(situation, NO_LINE) for check in rule.checks)}
        held += len(holds)
        assert holds <= candidates, (moment, [rules[place] for place in holds - candidates])
    assert held > 1000, "the moments meet the rules"


@pytest.mark.parametrize("total", [0, 1, 2, 3, 4, 999, 1000, 1023, 1024, 10**12])
def test_amounts_are_found_by_their_size(total: int) -> None:
    spans = [{"from": 3}, {"to": 1}, {"to": 4}, {"from": 1000, "to": 1024}, {"from": 1023, "to": 1025}]
    written = [behavior(name=f"r{n}", when={"receipt_total_minor": span}) for n, span in enumerate(spans)]
    written += [
        {"name": f"p{n}", "family": "product", "earn": {"multiply": 2}, "when": {"unit_price_minor": span}}
        for n, span in enumerate(spans)
    ]
    line = Line(1, 1000, total)
    made = quote(definition(rules=written), Receipt("A", datetime(2026, 1, 1, tzinfo=UTC), (line,)), MEMBER)
    wanted = {
        f"{family}{n}"
        for n, span in enumerate(spans)
        if span.get("from", 0) <= total < span.get("to", 10**15)
        for family in "rp"
    }
    assert {step["rule"] for step in made.trace if step["kind"] == "rule" and step["matched"]} == wanted


def many(count: int) -> list[dict[str, Any]]:
    """A network's rules, of which a receipt of one line concerns three."""
    rules: list[dict[str, Any]] = []
    for number in range(count // 4):
        rules += [
            {"name": f"sku {number}", "family": "product", "when": {"skus": [f"s{number}"]}, "earn": {"multiply": 2}},
            {
                "name": f"card {number}",
                "family": "customer",
                "when": {"members": [f"{number}"]},
                "earn": {"percent": 5},
            },
            behavior(name=f"nth {number}", when={"nth_purchase": number + 1}),
            behavior(name=f"day {number}", when={"dates": [{"from": f"{1970 + number}-03-01"}]}),
        ]
    return rules


def test_the_cost_grows_with_the_rules_that_match_not_with_the_number_of_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = trace.Story.matches

    def counted(story: trace.Story, rule: Any, *line: Any) -> bool:
        asked.append(rule.name)
        return original(story, rule, *line)

    monkeypatch.setattr(trace.Story, "matches", counted)
    line = Line(1, 1000, 5000, sku="s3")
    moment = datetime(1973, 3, 1, 12, tzinfo=ZoneInfo("Europe/Skopje"))
    member = MemberFacts(UUID(int=1), 0, purchases=3, cards=frozenset({"3"}))
    steps = set()
    for count in (200, 2000):
        asked.clear()
        made = quote(definition(rules=many(count)), Receipt("A", moment, (line,)), member)
        assert sorted(asked) == ["card 3", "day 3", "nth 3", "sku 3"]
        steps.add(len(made.trace))
    assert len(steps) == 1, "nor does the trace grow"


def test_rules_out_of_question_are_explained_up_to_a_limit() -> None:
    rules = [behavior(name=f"r{number}", when={"payment_types": [f"p{number}"]}) for number in range(40)]
    card = {"name": "hers", "family": "customer", "when": {"members": ["99"]}, "earn": {"percent": 5}}
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    made = quote(definition(rules=[card, *rules]), Receipt("A", moment, (Line(1, 1000, 5000),), "cash"), MEMBER)
    missed = [step["rule"] for step in made.trace if not step["matched"]]
    assert missed == [f"r{number}" for number in range(EXPLAINED_MAX)]
    assert "99" not in str(made.trace)


def test_a_version_is_compiled_once() -> None:
    program = definition(rules=many(8))
    assert rule_book(program) is rule_book(program)


def test_what_the_member_has_to_be_asked_is_known_beforehand() -> None:
    when = {"tenure_days_min": 3, "segments": ["s"], "tags": ["vip"]}
    rule = {"name": "r", "family": "customer", "when": when, "earn": {"multiply": 2}}
    program = definition(rules=[rule], segments=[{"code": "s", "name": "S", "when": {}}])
    assert rule_book(program).asks == {"tenure_days_min", "segments", "tags"}
    assert rule_book(program).tags == {"vip"}
    assert rule_book(program).segments == {"s"}
    assert rule_book(definition()).asks == frozenset()
