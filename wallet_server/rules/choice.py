"""What the matching rules of a line come to together. Pure.

Source: ``bonus-processing.md``, sections "Earn effects", "Redeem effects" and "Discounts".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from wallet_server.programs.rule import FAMILIES
from wallet_server.rules.book import CompiledRule
from wallet_server.rules.receipt import NOTHING, LineTerms


@dataclass(frozen=True, slots=True)
class Choice:
    """The percents of a line, and the rules that decided them.

    ``coefficients`` are the winners of the families by name of the family; ``fixed`` is the winner whose
    ``fixed_percent`` took their place, ``cap`` the smallest ``max_percent`` if it took something away, ``none``
    a rule by which the line earns nothing, ``discount`` the discount that lowers its amount.
    """

    earn_percent: Fraction
    redeem_percent: Fraction
    points_per_unit: Fraction
    coefficients: Mapping[str, CompiledRule]
    fixed: CompiledRule | None
    cap: CompiledRule | None
    none: CompiledRule | None
    discount: CompiledRule | None

    @property
    def is_base(self) -> bool:
        """No rule said anything about earning or about the price."""
        return not (self.coefficients or self.cap or self.none or self.discount)


def choose(rules: Sequence[CompiledRule], base: LineTerms) -> Choice:
    """What these rules, all of which match, say about a line. Each family's come in the file's order."""
    limits = [rule.redeem_max_percent for rule in rules if rule.redeem_max_percent is not None]
    redeem = min((base.redeem_percent, *limits))
    discount = _winner((rule, rule.discount_percent) for rule in rules)
    none = next((rule for rule in rules if rule.none), None)
    if none is not None:
        return Choice(NOTHING, redeem, NOTHING, {}, None, None, none, discount)
    chosen: dict[str, CompiledRule] = {}
    percent = base.earn_percent
    for family in FAMILIES:
        best = _winner((rule, rule.coefficient) for rule in rules if rule.family == family)
        if best is not None and best.coefficient is not None:
            chosen[family] = best
            percent *= best.coefficient
    fixed = _winner((rule, rule.fixed_percent) for rule in chosen.values())
    if fixed is not None and fixed.fixed_percent is not None:
        percent = fixed.fixed_percent
    cap = min((rule for rule in rules if rule.max_percent is not None), key=_max_percent, default=None)
    if cap is not None and _max_percent(cap) < percent:
        percent = _max_percent(cap)
    else:
        cap = None
    points = sum((rule.points for rule in rules if rule.points is not None and rule.family == "product"), NOTHING)
    return Choice(percent, redeem, points, chosen, fixed, cap, None, discount)


def _max_percent(rule: CompiledRule) -> Fraction:
    assert rule.max_percent is not None, "only rules with the limit are compared"
    return rule.max_percent


def _winner(effects: Iterable[tuple[CompiledRule, Fraction | None]]) -> CompiledRule | None:
    """The highest priority wins, then the largest value, then the earlier in the file."""
    best: tuple[int, Fraction] | None = None
    winner: CompiledRule | None = None
    for rule, value in effects:
        if value is not None and (best is None or (rule.priority, value) > best):
            best, winner = (rule.priority, value), rule
    return winner
