"""The trace of a quote: which rules were looked at, what they compared, and what came of it. Pure.

A trace is data that is kept with the receipt; the short English ``why`` of each step is for tills and logs,
sentences for people are made of the data by :mod:`wallet_server.rules.sentences`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from wallet_server.rules.book import CompiledRule, RuleBook
from wallet_server.rules.choice import Choice
from wallet_server.rules.conditions import NO_LINE, Check, Situation
from wallet_server.rules.numbers import shortest
from wallet_server.rules.receipt import Line, PointsCap, TraceStep

MISSES_KEPT: Final = 4_096
MISSES_MAX: Final = 100
"""How many rules that did not match one trace holds."""
_WORDS: Final[Mapping[str, str]] = {
    "outlets": "outlet",
    "starts_at": "bought",
    "ends_at": "bought",
    "tiers": "tier",
    "segments": "segment",
    "tags": "tag",
    "tenure_days_min": "days a member",
    "birthday_within_days": "days to the birthday",
    "skus": "product",
    "categories": "category",
    "quantity_min": "quantity",
    "unit_price_minor": "unit price",
    "margin_percent": "margin percent",
    "weekdays": "bought on",
    "time": "bought at",
    "dates": "bought on",
    "receipt_total_minor": "receipt total",
    "nth_purchase": "purchase number",
    "payment_types": "paid by",
}


class Story:
    """Asks rules of one receipt and notes down what they said."""

    def __init__(self, situation: Situation, lines: Sequence[Line]) -> None:
        self.steps: list[TraceStep] = []
        self._situation = situation
        self._lines = lines
        self._asked: set[int] = set()
        self._misses = 0

    def matches(self, rule: CompiledRule, line: Line = NO_LINE) -> bool:
        """Whether all conditions of the rule hold."""
        self._asked.add(rule.place)
        failed = self._failed(rule, line)
        if failed is None:
            compared = [_compared(check, check.found(self._situation, line), held=True) for check in rule.checks]
            self.steps.append(_rule_step(rule, line.line or None, compared, matched=True))
            return True
        if self._misses < MISSES_MAX:
            self._misses += 1
            self.steps.append(_missed(rule, failed, line.line or None, failed.found(self._situation, line)))
        return False

    def explain(self, book: RuleBook) -> None:
        """Say of the first rules of the file that were out of question why they were."""
        line = self._lines[0] if self._lines else NO_LINE
        for rule in book.explained:
            if rule.place in self._asked or self._misses >= MISSES_MAX:
                continue
            failed = self._failed(rule, line)
            if failed is None:
                continue  # a product rule, and there is no line that it could be about
            self._misses += 1
            # Another line may have missed another condition: then there is no one value that was compared.
            known = not failed.of_line or len(self._lines) == 1
            self.steps.append(_missed(rule, failed, None, failed.found(self._situation, line) if known else None))

    def _failed(self, rule: CompiledRule, line: Line) -> Check | None:
        for check in rule.checks:
            if not check.holds(self._situation, line):
                return check
        return None


def _missed(rule: CompiledRule, failed: Check, line: int | None, found: Any) -> TraceStep:
    """The step of a rule that did not match, made once for all receipts on which it missed by the same."""
    return _missed_by(rule, failed, line, tuple(found) if isinstance(found, list) else found)


@lru_cache(maxsize=MISSES_KEPT)
def _missed_by(rule: CompiledRule, failed: Check, line: int | None, found: Hashable) -> TraceStep:
    compared = _compared(failed, list(found) if isinstance(found, tuple) else found, held=False)
    return _rule_step(rule, line, [compared], matched=False)


def _compared(check: Check, found: Any, *, held: bool) -> dict[str, Any]:
    compared = {"condition": check.condition, "wanted": check.wanted, "found": found, "held": held}
    if check.more:
        compared["more"] = check.more
    return compared


def _rule_step(
    rule: CompiledRule, line: int | None, compared: Sequence[Mapping[str, Any]], *, matched: bool
) -> TraceStep:
    return {
        "rule": rule.name,
        "kind": rule.kind,
        "family": rule.family,
        "line": line,
        "matched": matched,
        "effect": rule.effect,
        "why": "; ".join(map(_why, compared)) or "always",
        "compared": compared,
    }


def _why(compared: Mapping[str, Any]) -> str:
    """``category coffee``, and where it did not hold ``category cake, not coffee``."""
    condition, found, wanted = compared["condition"], compared["found"], compared["wanted"]
    if condition == "members":
        return "this member's card" if compared["held"] else "another member's card"
    words = f"{_WORDS[condition]} {_listed(found)}"
    if compared["held"]:
        return words
    more = f" and {compared['more']} more" if "more" in compared else ""
    return f"{words}, not {_bounds(condition, wanted)}{more}"


def _listed(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _bounds(condition: str, wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        return " ".join(f"{word} {value}" for word, value in wanted.items())
    if condition == "dates":
        return " or ".join(_span(part) for part in wanted)
    words = {"starts_at": "from ", "ends_at": "before ", "birthday_within_days": "at most "}
    return words.get(condition, "at least " if condition.endswith("_min") else "") + _listed(wanted)


def _span(part: Mapping[str, Any]) -> str:
    last = part.get("to", part["from"])
    return str(part["from"]) if last == part["from"] else f"{part['from']} to {last}"


def validity_step(bound: str, moment: datetime) -> TraceStep:
    """A short-term program has not begun, or is over: the bound of its validity that the receipt is outside of."""
    words = {
        "starts_at": "the program has not begun",
        "ends_at": "the program has ended",
        "redeem_until": "the program is over and points pay no more",
    }
    return {
        "rule": "validity",
        "kind": "validity",
        "family": "program",
        "line": None,
        "matched": True,
        "effect": {bound: moment.isoformat()},
        "why": words[bound],
    }


def percent_step(line: int | None, base: Fraction, choice: Choice, *, others: bool = False) -> TraceStep:
    """What the rules made of a line together; ``line`` None: of every line, or of all ``others``.

    The others are those that have no such step of their own.
    """
    factors = {
        family: shortest(rule.coefficient)
        for family, rule in choice.coefficients.items()
        if rule.coefficient is not None
    }
    percent = shortest(choice.earn_percent)
    effect: dict[str, Any] = {"base_percent": shortest(base), "coefficients": factors, "percent": percent}
    chosen = {family: rule.name for family, rule in choice.coefficients.items()}
    why = " × ".join((f"{shortest(base)} %", *factors.values())) + f" = {percent} %"
    for rule, word in (
        (choice.fixed, "fixed_percent"),
        (choice.cap, "max_percent"),
        (choice.discount, "discount_percent"),
    ):
        if rule is not None:
            effect[word], chosen[word] = rule.effect[word], rule.name
    if choice.none is not None:
        effect["none"], chosen["none"] = True, choice.none.name
        why = "earns nothing"
    elif choice.cap is not None:
        why = f"at most {percent} %"
    elif choice.fixed is not None:
        why = f"exactly {percent} %"
    return {
        "rule": "percent",
        "kind": "percent",
        "family": "program",
        "line": line,
        "matched": True,
        "effect": effect,
        "chosen": chosen,
        "others": others,
        "why": why if choice.discount is None else f"{why}, after {effect['discount_percent']} % off",
    }


def cap_step(cap: PointsCap, before: Fraction) -> TraceStep:
    """What ``max_points`` took."""
    return {
        "rule": cap.rule,
        "kind": "cap",
        "family": cap.family,
        "line": None,
        "matched": True,
        "effect": {"max_points": str(cap.points), "exact": shortest(before)},
        "why": f"{shortest(before)} points became {cap.points}",
    }


def outlet_step(outlet: str, receipt_max_percent: Fraction) -> TraceStep:
    """The outlet's own limit on what points may pay."""
    return {
        "rule": "receipt_max_percent",
        "kind": "outlet",
        "family": "outlet",
        "line": None,
        "matched": True,
        "effect": {"receipt_max_percent": shortest(receipt_max_percent)},
        "outlet": outlet,
        "why": f"points may pay this share of a whole receipt at outlet {outlet}",
    }
