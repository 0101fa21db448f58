"""Quotes of the bonus engine alone: what they cost by the number of rules, and by the number that match.

Receipts of 8 lines, no database. A program of 20, 200 or 2,000 rules has the same ones that match; the others are
for other products, hours, amounts and payments. Programs take turns, each figure is the median of its rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from tests.unit.rules.programs import NOON, definition, facts
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rules.book import rule_book
from wallet_server.rules.engine import Line, Receipt, quote

ROUNDS = 7
QUOTES = 300
"""Quotes of a program in each round."""
LINES = 8
RULES = (20, 200, 2_000)
MATCHING = 6
MATCHING_MORE = (0, 5, 10, 20, 40)
OF_MATCHING = 200
"""Rules of the programs with ever more that match."""


def measure(_data: Path) -> dict[str, Any]:
    """Quotes a second, and the cost of a quote as a share of the cheapest program's."""
    by_rules = {number: _program(number, MATCHING) for number in RULES}
    by_matching = {number: _program(OF_MATCHING, number) for number in MATCHING_MORE}
    of_rules: dict[int, list[float]] = {number: [] for number in by_rules}
    of_matching: dict[int, list[float]] = {number: [] for number in by_matching}
    for _round in range(ROUNDS):
        for number, program in by_rules.items():
            of_rules[number].append(_seconds(program))
        for number, program in by_matching.items():
            of_matching[number].append(_seconds(program))
    middle = statistics.median(of_rules[OF_MATCHING])
    result: dict[str, Any] = {
        "lines": LINES,
        "matching rules": MATCHING,
        f"quotes per second with {OF_MATCHING} rules": round(1 / middle),
    }
    first, none = of_rules[RULES[0]], of_matching[0]
    result |= {f"cost with {number:,} rules, to {RULES[0]}": _ratio(of_rules[number], first) for number in RULES[1:]}
    result |= {
        f"cost with {number} of {OF_MATCHING} rules matching, to none": _ratio(of_matching[number], none)
        for number in MATCHING_MORE[1:]
    }
    return result


def _ratio(costs: Sequence[float], base: Sequence[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(costs, base, strict=True)), 2)


def _program(rules: int, matching: int) -> ProgramDefinition:
    """Product, behavior and customer rules in turns; the first ``matching`` hold for every receipt."""
    made = [_holding(number) for number in range(matching)]
    others = _others()
    made += [next(others) for _rule in range(rules - matching)]
    program = definition(rules=made)
    assert len(rule_book(program).rules) == rules
    return program


def _holding(number: int) -> dict[str, Any]:
    name, earn = f"Holds {number}", {"multiply": f"1.{number:02d}"}
    if number % 3 == 0:
        return {"name": name, "family": "product", "when": {"categories": ["food"]}, "earn": earn}
    if number % 3 == 1:
        return {"name": name, "family": "behavior", "when": {"weekdays": ["mon"]}, "earn": earn}
    return {"name": name, "family": "behavior", "when": {"payment_types": ["card"]}, "earn": earn}


def _others() -> Any:
    for number in count():
        name, earn = f"Other {number}", {"multiply": 2}
        when: dict[str, Any] = {"skus": [f"other-{number}"]}
        family = "product"
        if number % 5 == 1:
            family, when = "behavior", {"nth_purchase": number + 100}
        elif number % 5 == 2:
            family, when = "customer", {"members": [f"{number:016d}"]}
        elif number % 5 == 3:
            family, when = "behavior", {"payment_types": [f"voucher-{number}"]}
        elif number % 5 == 4:
            family, when = "product", {"categories": [f"aisle-{number}"]}
        yield {"name": name, "family": family, "when": when, "earn": earn}


def _seconds(program: ProgramDefinition) -> float:
    """Processor seconds of one quote."""
    lines = tuple(
        Line(number, 1_000 * (1 + number % 3), 12_345 + number, f"sku-{number}", ("food",))
        for number in range(1, LINES + 1)
    )
    receipt, member = Receipt("A", NOON, lines, "card"), facts(1_000)
    for _warm in range(3):
        quote(program, receipt, member, 10)
    begun = time.process_time()
    for _quote in range(QUOTES):
        quote(program, receipt, member, 10)
    return (time.process_time() - begun) / QUOTES
