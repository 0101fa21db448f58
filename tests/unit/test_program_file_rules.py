"""Rules in program files: what is refused, with its line, and what reads the same when written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import program_file
from wallet_server.errors import DomainError
from wallet_server.programs.diff import changes
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.rule import CONDITIONS, RuleConditions
from wallet_server.programs.yaml_file import dump_program, parse_program

HEAD = """\
program:
  slug: cafe
  name: Cafe
  currency: MKD
  time_zone: Europe/Skopje
  languages: [mk]
  points: {base_percent: 1}
outlets:
  - {code: A, name: A}
tiers:
  levels: [{code: base, name: B}, {code: silver, name: S, reach: {any: [{purchases: 2}]}}]
segments:
  - {code: quiet, name: Quiet, when: {}}
rules:
"""
LINE = len(HEAD.splitlines()) + 1
CUSTOMER = "{name: r, family: customer, earn: {multiply: 2}"
BEHAVIOR = "{name: r, family: behavior, earn: {multiply: 2}"


def refused(text: str) -> str:
    with pytest.raises(DomainError) as problem:
        parse_program(text)
    assert problem.value.code == "program_file"
    return problem.value.detail


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{family: customer, earn: {multiply: 2}}", "rules[0].name: is missing"),
        (
            "{name: r, family: vip, earn: {multiply: 2}}",
            "rules[0].family: should be 'customer', 'product' or 'behavior'",
        ),
        ("{name: r, family: customer}", "rules[0]: give earn, redeem, or both"),
        ("{name: r, family: customer, earn: {multiply: 2, percent: 5}}", "rules[0].earn: earn takes one of multiply,"),
        ("{name: r, family: customer, earn: {}}", "rules[0].earn: earn takes one of multiply,"),
        ("{name: r, family: customer, earn: {multiply: -1}}", "rules[0].earn.multiply: should be greater than"),
        ("{name: r, family: customer, earn: {multiply: 1001}}", "rules[0].earn.multiply: should be less than"),
        ("{name: r, family: customer, earn: {none: false}}", "rules[0].earn.none: must be true"),
        ("{name: r, family: customer, earn: {max_points: 1.5}}", "rules[0].earn.max_points: "),
        ("{name: r, family: customer, earn: {discount_percent: 101}}", "rules[0].earn.discount_percent: "),
        ("{name: r, family: customer, earn: {fixed_points: 0.5}}", "rules[0]: earn.fixed_points of a customer rule"),
        ("{name: r, family: product, redeem: {receipt_max_percent: 5}}", "rules[0]: redeem.receipt_max_percent is for"),
        (
            "{name: r, family: product, redeem: {max_percent: 5, receipt_max_percent: 5}}",
            "rules[0].redeem: redeem takes",
        ),
        (CUSTOMER + ", when: {weekdays: [mon]}}", "rules[0]: when.weekdays is a condition of behavior rules"),
        (CUSTOMER + ", when: {tags: ['no tag']}}", "rules[0].when.tags[0]: "),
        (CUSTOMER + ", when: {tiers: []}}", "rules[0].when.tiers: list should have at least 1 item"),
        (CUSTOMER + ", when: {tiers: [gold]}}", "rules[0].when.tiers[0]: 'gold' is not defined in this file"),
        (CUSTOMER + ", when: {segments: [loud]}}", "rules[0].when.segments[0]: 'loud' is not defined in this file"),
        (CUSTOMER + ", when: {members: [123]}}", "rules[0].when.members[0]: must be a text; put it in quotes"),
        (CUSTOMER + ", outlets: [A, Z]}", "rules[0].outlets[1]: 'Z' is not defined in this file"),
        (CUSTOMER + ", priority: 1.5}", "rules[0].priority: "),
        (CUSTOMER + ", starts_at: 2026}", "rules[0].starts_at: must be a moment such as 2026-06-01T00:00:00+02:00"),
        (CUSTOMER + ", starts_at: '1767225600'}", "rules[0].starts_at: must be a moment"),
        (CUSTOMER + ", starts_at: 0001-01-01T00:00:00Z}", "rules[0].starts_at: the year must be from 1970"),
        (
            CUSTOMER + ", starts_at: 2026-06-01T00:00:00+02:00, ends_at: 2026-05-31T22:00:00Z}",
            "rules[0]: starts_at is not before ends_at",
        ),
        (
            CUSTOMER + ", starts_at: 2026-06-01T00:00:00, ends_at: 2026-07-01T00:00:00Z}",
            "rules[0]: write starts_at and ends_at both with an offset",
        ),
        (BEHAVIOR + ", when: {weekdays: [monday]}}", "rules[0].when.weekdays[0]: should be 'mon', 'tue'"),
        (BEHAVIOR + ", when: {time: {from: 16:00, to: 16:00}}}", "rules[0].when.time: from and to are both 16:00"),
        (BEHAVIOR + ", when: {time: {from: 16:00, to: 24:00}}}", "rules[0].when.time.to: "),
        (BEHAVIOR + ", when: {time: {from: 16:00}}}", "rules[0].when.time.to: is missing"),
        (BEHAVIOR + ", when: {dates: [{from: 2026-02-29}]}}", "rules[0].when.dates[0].from: '2026-02-29' is no day"),
        (
            BEHAVIOR + ", when: {dates: [{from: 02-30, yearly: true}]}}",
            "rules[0].when.dates[0].from: '02-30' is no day",
        ),
        (BEHAVIOR + ", when: {dates: [{from: 03-08}]}}", "rules[0].when.dates[0]: '03-08' has no year"),
        (
            BEHAVIOR + ", when: {dates: [{from: 2026-03-08, yearly: true}]}}",
            "rules[0].when.dates[0]: '2026-03-08' has a",
        ),
        (
            BEHAVIOR + ", when: {dates: [{from: 2026-03-08, to: 2026-03-07}]}}",
            "rules[0].when.dates[0]: from 2026-03-08 is after to 2026-03-07",
        ),
        (
            BEHAVIOR + ", when: {receipt_total_minor: {from: 5, to: 5}}}",
            "rules[0].when.receipt_total_minor: from 5 is not",
        ),
        (BEHAVIOR + ", when: {receipt_total_minor: {to: 0}}}", "rules[0].when.receipt_total_minor: from 0 is not"),
        (BEHAVIOR + ", when: {receipt_total_minor: {}}}", "rules[0].when.receipt_total_minor: give from, to, or both"),
        (BEHAVIOR + ", when: {nth_purchase: 0}}", "rules[0].when.nth_purchase: should be greater than"),
        (
            "{name: r, family: product, earn: {multiply: 2}, when: {quantity_min: 0.0005}}",
            "rules[0].when.quantity_min: ",
        ),
    ],
)
def test_a_wrong_rule_is_refused_with_its_line_and_place(rule: str, problem: str) -> None:
    assert refused(f"{HEAD}  - {rule}\n").startswith(f"line {LINE}: {problem}")


def test_two_rules_of_one_name_are_refused() -> None:
    assert (
        refused(f"{HEAD}  - {CUSTOMER}}}\n  - {CUSTOMER}}}\n") == f"line {LINE + 1}: rules[1].name: 'r' is there twice"
    )


@pytest.mark.parametrize("effect", ["percent", "fixed_percent"])
def test_a_share_of_a_base_of_nothing_is_refused(effect: str) -> None:
    text = HEAD.replace("base_percent: 1", "base_percent: 0")
    rule = "{name: r, family: customer, earn: {multiply: 2}}"
    assert parse_program(f"{text}  - {rule}\n").rules[0].earn is not None
    wrong = refused(f"{text}  - {rule.replace('multiply', effect)}\n")
    assert wrong.startswith(f"line {LINE}: rules[0].earn: percent and fixed_percent are shares of base_percent")
    tier = text.replace("name: S,", f"name: S, earn: {{{effect}: 5}},")
    assert ": tiers.levels[1].earn: percent and fixed" in refused(tier + "  []\n")


def test_a_tiers_effect_is_one_that_customer_rules_have() -> None:
    text = HEAD.replace("name: S,", "name: S, redeem: {receipt_max_percent: 5},")
    assert "tiers.levels[1]: redeem.receipt_max_percent is for behavior rules" in refused(text + "  []\n")


WHOLE: list[dict[str, Any]] = [
    {"name": "Coffee double", "family": "product", "when": {"categories": ["coffee"]}, "earn": {"multiply": 2}},
    {
        "name": "Monday 20",
        "family": "behavior",
        "when": {"weekdays": ["mon"]},
        "earn": {"percent": 20},
        "outlets": ["A"],
        "starts_at": "2026-01-01T00:00:00+01:00",
    },
    {
        "name": "No tobacco",
        "family": "product",
        "when": {"categories": ["tobacco"]},
        "earn": {"none": True},
        "redeem": {"max_percent": 0},
    },
    {
        "name": "Everything of a customer",
        "family": "customer",
        "when": {
            "members": ["1234567890123452"],
            "tiers": ["silver"],
            "segments": ["quiet"],
            "tags": ["vip"],
            "tenure_days_min": 30,
            "birthday_within_days": 0,
        },
        "priority": -3,
        "redeem": {"max_percent": "33.3"},
    },
    {
        "name": "Everything of a product",
        "family": "product",
        "when": {
            "skus": ["1002"],
            "quantity_min": "0.5",
            "unit_price_minor": {"from": 1, "to": 2},
            "margin_percent": {"from": "-12.5", "to": 40},
        },
        "earn": {"fixed_points": "0.125"},
    },
    {
        "name": "Everything of a behavior",
        "family": "behavior",
        "when": {
            "time": {"from": "22:00", "to": "02:00"},
            "dates": [{"from": "12-20", "to": "01-06", "yearly": True}, {"from": "2026-03-08"}],
            "receipt_total_minor": {"from": 200_000},
            "nth_purchase": 10,
            "payment_types": ["card"],
        },
        "ends_at": "2026-06-01T00:00:00",
        "redeem": {"receipt_max_percent": 50},
        "earn": {"max_points": 15},
    },
]


def whole(rules: list[dict[str, Any]] = WHOLE) -> ProgramFile:
    segments = [{"code": "quiet", "name": "Quiet", "when": {}}]
    return ProgramFile.model_validate(program_file(rules=rules, segments=segments))


def test_every_condition_is_written_so_that_it_reads_the_same() -> None:
    file = whole()
    used = {name for rule in file.rules for name in rule.when.given()}
    assert used == set(RuleConditions.model_fields)
    assert {name for names in CONDITIONS.values() for name in names} == used
    assert parse_program(dump_program(file)) == file
    assert ProgramFile.model_validate(file.model_dump(mode="json", by_alias=True, exclude_none=True)) == file


@pytest.mark.parametrize(
    ("place", "key", "value", "said"),
    [
        (0, "earn", {"multiply": 3}, "rule Coffee double: earn multiply 2 → multiply 3"),
        (1, "when", {"weekdays": ["tue"]}, "rule Monday 20: when.weekdays mon → tue"),
        (1, "starts_at", None, "rule Monday 20: starts_at 2026-01-01T00:00:00+01:00 → none"),
        (0, "name", "Coffee triple", "rule Coffee triple added: product rule, when categories coffee: earn multiply 2"),
    ],
)
def test_changed_rules_are_told_in_words(place: int, key: str, value: Any, said: str) -> None:
    rules = [dict(rule) for rule in WHOLE]
    if value is None:
        del rules[place][key]
    else:
        rules[place][key] = value
    assert changes(whole(), whole(rules))[0] == said


def test_the_order_of_rules_means_something() -> None:
    assert changes(whole(), whole(WHOLE[:1])) == tuple(f"rule {rule['name']} removed" for rule in WHOLE[1:])
    [said] = changes(whole(WHOLE[:2]), whole(WHOLE[1::-1]))
    assert said == "rules: order Coffee double, Monday 20 → Monday 20, Coffee double"
