"""The rules of one program version made ready: checks as closures, effects as numbers, and an index. Pure.

The index finds the rules that could hold for a receipt by what is selective about them (a card number, a sku,
a weekday …), so that a quote costs what its matching rules cost, however many rules there are. It never misses
a rule that holds: it leaves out only what one of the rule's own checks would refuse.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.fields import MINOR_MAX
from wallet_server.programs.rule import WEEKDAYS, Earn, Family, MinorRange, Redeem, Rule, RuleConditions
from wallet_server.rules.conditions import Check, Situation, checks_of, crosses_midnight, minutes_of, month_day
from wallet_server.rules.numbers import shortest
from wallet_server.rules.receipt import Line, LineTerms, OwnCoefficient, TraceStep

BOOKS_MAX: Final = 64
EXPLAINED_MAX: Final = 20
"""How many rules that were out of question a trace explains besides those that were looked at."""
MONTHS_INDEXED_MAX: Final = 60
ONE: Final = Fraction(1)

Kind = Literal["rule", "tier", "own"]
_Key = tuple[str | None, str, Hashable]
_Keys = tuple[str, frozenset[Hashable]]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """A rule ready to be asked. ``place`` is its place in the program file; effects that it has not are None.

    ``coefficient`` is what it does to its family's K (n of ``multiply``, p / BB of the percents).
    """

    place: int
    kind: Kind
    name: str
    family: Family
    priority: int
    checks: tuple[Check, ...]
    effect: Mapping[str, Any]
    coefficient: Fraction | None = None
    fixed_percent: Fraction | None = None
    points: Fraction | None = None
    max_percent: Fraction | None = None
    max_points: int | None = None
    none: bool = False
    discount_percent: Fraction | None = None
    redeem_max_percent: Fraction | None = None
    receipt_max_percent: Fraction | None = None

    @property
    def limits_paying(self) -> bool:
        """It says something about what points may pay."""
        return self.redeem_max_percent is not None or self.receipt_max_percent is not None


def compiled(
    place: int,
    kind: Kind,
    rule: Rule,
    base_percent: Fraction,
) -> CompiledRule:
    """A rule of a program whose base percent is this one."""
    earn, redeem = rule.earn or _NO_EARN, rule.redeem or _NO_REDEEM
    share = earn.percent if earn.percent is not None else earn.fixed_percent
    assert share is None or base_percent, "a file with a share of nothing is refused"
    return CompiledRule(
        place=place,
        kind=kind,
        name=rule.name,
        family=rule.family,
        priority=rule.priority,
        checks=checks_of(rule),
        effect=_effect(rule.earn, rule.redeem),
        coefficient=_exact(earn.multiply) if share is None else Fraction(share) / base_percent,
        fixed_percent=_exact(earn.fixed_percent),
        points=_exact(earn.fixed_points),
        max_percent=_exact(earn.max_percent),
        max_points=earn.max_points,
        none=bool(earn.none),
        discount_percent=_exact(earn.discount_percent),
        redeem_max_percent=_exact(redeem.max_percent),
        receipt_max_percent=_exact(redeem.receipt_max_percent),
    )


_NO_EARN: Final = Earn.model_construct()
_NO_REDEEM: Final = Redeem.model_construct()


def _exact(value: Any) -> Fraction | None:
    return None if value is None else Fraction(value)


def _effect(earn: Earn | None, redeem: Redeem | None) -> Mapping[str, Any]:
    """The effects as the trace shows them: what is earned at the top, the limit of paying under ``redeem``."""
    effect: dict[str, Any] = {} if earn is None else _given(earn)
    if redeem is not None:
        effect["redeem"] = _given(redeem)
    return effect


def _given(part: Earn | Redeem) -> dict[str, Any]:
    values = {name: value for name, value in part if value is not None}
    return {name: value if isinstance(value, bool) else shortest(Fraction(value)) for name, value in values.items()}


def own_rule(own: OwnCoefficient, base_percent: Fraction) -> CompiledRule:
    """A member's own coefficient: a customer rule like any other, before the first of the file."""
    effect: dict[str, Any] = {"percent": shortest(own.percent)}
    if own.redeem_max_percent is not None:
        effect["redeem"] = {"max_percent": shortest(own.redeem_max_percent)}
    return CompiledRule(
        place=-1,
        kind="own",
        name="own coefficient",
        family="customer",
        priority=0,
        checks=(),
        effect=effect,
        # A share of nothing is nothing: the base was taken away after the coefficient was given.
        coefficient=own.percent / base_percent if base_percent else ONE,
        redeem_max_percent=own.redeem_max_percent,
    )


@dataclass(frozen=True, slots=True, eq=False)
class RuleBook:
    """All rules of a program version, in the order of the file, tiers' effects after the rules.

    ``asks`` are the conditions on the member that some rule has: what has to be read before the engine runs.
    """

    base: LineTerms
    base_steps: tuple[TraceStep, ...]
    rules: tuple[CompiledRule, ...]
    asks: frozenset[str]
    segments: frozenset[str]
    tags: frozenset[str]
    explained: tuple[CompiledRule, ...]
    of_receipts: Mapping[_Key, tuple[CompiledRule, ...]]
    receipt_kinds: tuple[str, ...]
    of_lines: Mapping[_Key, tuple[CompiledRule, ...]]
    line_kinds: tuple[str, ...]

    def for_receipt(self, situation: Situation) -> list[CompiledRule]:
        """Customer and behavior rules that could hold, in the order of the file."""
        found = self._look_up(self.of_receipts, situation.outlet, _receipt_keys(self.receipt_kinds, situation))
        found.sort(key=_place)
        return found

    def for_line(self, situation: Situation, line: Line) -> list[CompiledRule]:
        """Product rules that could hold for a line, in the order of the file."""
        found = self._look_up(self.of_lines, situation.outlet, _line_keys(self.line_kinds, line))
        if len(found) > 1:
            found.sort(key=_place)
        return found

    @staticmethod
    def _look_up(
        index: Mapping[_Key, tuple[CompiledRule, ...]], outlet: str, keys: Iterable[tuple[str, Hashable]]
    ) -> list[CompiledRule]:
        found: dict[int, CompiledRule] = {}  # by place: several keys may lead to the same rule
        for kind, key in keys:
            for scope in (None, outlet):
                for rule in index.get((scope, kind, key), ()):
                    found[rule.place] = rule
        return list(found.values())


def _place(rule: CompiledRule) -> int:
    return rule.place


@lru_cache(maxsize=BOOKS_MAX)
def rule_book(program: ProgramDefinition) -> RuleBook:
    """The rules of a program version, made once for the definition that is kept in memory."""
    points = program.points
    base_percent = Fraction(points.base_percent)
    base = LineTerms(base_percent, Fraction(points.base_redeem_percent))
    written: list[tuple[Kind, Rule]] = [("rule", rule) for rule in program.file.rules]
    written += [
        ("tier", _tier_rule(level.code, level.earn, level.redeem))
        for level in program.file.tiers.levels
        if level.earn is not None or level.redeem is not None
    ]
    rules = [compiled(place, kind, rule, base_percent) for place, (kind, rule) in enumerate(written)]
    of_receipts: dict[_Key, list[CompiledRule]] = {}
    of_lines: dict[_Key, list[CompiledRule]] = {}
    for (_kind, rule), ready in zip(written, rules, strict=True):
        index = of_lines if rule.family == "product" else of_receipts
        kind, keys = next(_selective_for_lines(rule.when) if rule.family == "product" else _selective(rule))
        for scope in rule.outlets or (None,):
            for key in keys:
                index.setdefault((scope, kind, key), []).append(ready)
    asked = {name for _kind, rule in written for name in rule.when.given()}
    return RuleBook(
        base=base,
        base_steps=tuple(_base_steps(base)),
        rules=tuple(rules),
        asks=frozenset(asked),
        segments=frozenset(code for _kind, rule in written for code in rule.when.segments or ()),
        tags=frozenset(tag for _kind, rule in written for tag in rule.when.tags or ()),
        # A rule for certain cards is nobody else's business.
        explained=tuple(
            ready for (_kind, rule), ready in zip(written, rules, strict=True) if rule.when.members is None
        )[:EXPLAINED_MAX],
        of_receipts={key: tuple(found) for key, found in of_receipts.items()},
        receipt_kinds=tuple(sorted({kind for _scope, kind, _key in of_receipts})),
        of_lines={key: tuple(found) for key, found in of_lines.items()},
        line_kinds=tuple(sorted({kind for _scope, kind, _key in of_lines})),
    )


def _tier_rule(code: str, earn: Earn | None, redeem: Redeem | None) -> Rule:
    return Rule(name=code, family="customer", when=RuleConditions(tiers=[code]), earn=earn, redeem=redeem)


def _base_steps(base: LineTerms) -> Iterator[TraceStep]:
    for rule, effect, why in (
        ("base_percent", {"percent": shortest(base.earn_percent)}, "every line earns the program's base percent"),
        (
            "base_redeem_percent",
            {"max_percent": shortest(base.redeem_percent)},
            "points may pay this share of every line",
        ),
    ):
        yield {
            "rule": rule,
            "kind": "program",
            "family": "program",
            "line": None,
            "matched": True,
            "effect": effect,
            "why": why,
        }


def _selective(rule: Rule) -> Iterator[_Keys]:
    """Ways to find a rule, the most selective first: a kind of key, and the keys under which it must be found."""
    when = rule.when
    if when.members is not None:
        yield "card", frozenset(when.members)
    if when.nth_purchase is not None:
        yield "nth", frozenset((when.nth_purchase,))
    yield from _by_dates(when)
    if when.segments is not None:
        yield "segment", frozenset(when.segments)
    if when.tags is not None:
        yield "tag", frozenset(when.tags)
    if when.tiers is not None:
        yield "tier", frozenset(when.tiers)
    if when.payment_types is not None:
        yield "payment", frozenset(when.payment_types)
    yield from _by_validity(rule)
    yield from _by_clock(when)
    if when.receipt_total_minor is not None:
        yield "size", _sizes(when.receipt_total_minor)
    yield "all", frozenset((None,))


def _selective_for_lines(when: RuleConditions) -> Iterator[_Keys]:
    """The same for product rules, which are looked up for each line: only what a line has itself."""
    if when.skus is not None:
        yield "sku", frozenset(when.skus)
    if when.categories is not None:
        yield "category", frozenset(when.categories)
    if when.unit_price_minor is not None:
        yield "price", _sizes(when.unit_price_minor)
    yield "all", frozenset((None,))


def _by_dates(when: RuleConditions) -> Iterator[_Keys]:
    ranges = when.dates or ()
    # A window that crosses midnight still holds in the first hours of the day after.
    crosses = crosses_midnight(when.time)
    if ranges and all(part.yearly for part in ranges):
        months: set[Hashable] = set()
        for part in ranges:
            first, last = month_day(part.from_), month_day(part.to or part.from_)
            if first <= last:
                months.update(range(first[0], last[0] + 1))
            else:
                months.update(range(first[0], 13), range(1, last[0] + 1))
            if crosses and last[1] >= 28:
                months.add(last[0] % 12 + 1)
        yield "month of year", frozenset(months)
    elif ranges and not any(part.yearly for part in ranges):
        after = timedelta(days=1 if crosses else 0)
        spans = [(date.fromisoformat(part.from_), date.fromisoformat(part.to or part.from_)) for part in ranges]
        yield from _by_months((first, last + after) for first, last in spans)


def _by_validity(rule: Rule) -> Iterator[_Keys]:
    if rule.starts_at is not None and rule.ends_at is not None:
        # No zone is two days away from another.
        margin = timedelta(days=2)
        yield from _by_months([(rule.starts_at.date() - margin, rule.ends_at.date() + margin)])


def _by_months(spans: Iterable[tuple[date, date]]) -> Iterator[_Keys]:
    months: set[Hashable] = set()
    for first, last in spans:
        begin, end = first.year * 12 + first.month, last.year * 12 + last.month
        if end - begin >= MONTHS_INDEXED_MAX:
            return
        months.update(range(begin, end + 1))
    yield "month", frozenset(months)


def _by_clock(when: RuleConditions) -> Iterator[_Keys]:
    if when.weekdays is not None:
        days = {WEEKDAYS.index(day) for day in when.weekdays}
        if crosses_midnight(when.time):
            days |= {(day + 1) % 7 for day in days}
        yield "weekday", frozenset(days)
    if when.time is not None:
        first, end = minutes_of(when.time.from_), minutes_of(when.time.to)
        last = end - 1 if first < end else end - 1 + 24 * 60
        yield "hour", frozenset(hour % 24 for hour in range(first // 60, last // 60 + 1))


def _sizes(amounts: MinorRange) -> frozenset[int]:
    """The numbers of binary digits that an amount in the range may have."""
    last = amounts.to - 1 if amounts.to is not None else MINOR_MAX
    return frozenset(range((amounts.from_ or 0).bit_length(), last.bit_length() + 1))


def _receipt_keys(kinds: Iterable[str], situation: Situation) -> Iterator[tuple[str, Hashable]]:
    facts, day = situation.facts, situation.day
    for kind in kinds:
        if kind == "card":
            yield from ((kind, number) for number in facts.cards)
        elif kind in {"segment", "tag"}:
            yield from ((kind, code) for code in (facts.segments if kind == "segment" else facts.tags))
        elif kind == "nth":
            yield kind, facts.purchases + 1
        elif kind == "month of year":
            yield kind, day.month
        elif kind == "month":
            yield kind, day.year * 12 + day.month
        elif kind == "tier":
            yield kind, facts.tier
        elif kind == "payment":
            yield kind, situation.payment_type
        elif kind == "weekday":
            yield kind, day.weekday()
        elif kind == "hour":
            yield kind, situation.minute // 60
        elif kind == "size":
            yield kind, situation.total_minor.bit_length()
        else:
            yield kind, None


def _line_keys(kinds: Iterable[str], line: Line) -> Iterator[tuple[str, Hashable]]:
    for kind in kinds:
        if kind == "sku":
            yield kind, line.sku
        elif kind == "category":
            yield from ((kind, code) for code in line.categories)
        elif kind == "price":
            yield kind, line.unit_price_minor.bit_length()
        else:
            yield kind, None
