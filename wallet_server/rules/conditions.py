"""Conditions of rules as closures, made once for a program's version, and the facts they are asked about. Pure.

Days, hours and naive moments are local to the outlet. A time window that crosses midnight belongs to the day on
which it began: at 01:30 on Saturday, "Friday, 22:00 to 02:00" holds (worked example 18 of
``bonus-processing.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo

from wallet_server.programs.rule import WEEKDAYS, DateRange, MinorRange, Rule, RuleConditions, TimeWindow
from wallet_server.rules.numbers import shortest
from wallet_server.rules.receipt import Line, MemberFacts, Receipt

WANTED_MAX: Final = 5
"""How many codes of a long list a trace repeats."""
NO_LINE: Final = Line(0, 0, 0)
"""What conditions of the whole receipt are asked with."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A receipt and its member as conditions see them. ``wall`` is the naive local time, ``minute`` that of its day."""

    outlet: str
    zone: ZoneInfo
    moment: datetime
    wall: datetime
    day: date
    minute: int
    total_minor: int
    payment_type: str | None
    facts: MemberFacts


def situation_of(receipt: Receipt, facts: MemberFacts, zone: str) -> Situation:
    """The situation of a receipt at an outlet in this zone."""
    local = receipt.occurred_at.astimezone(ZoneInfo(zone))
    return Situation(
        outlet=receipt.outlet,
        zone=ZoneInfo(zone),
        moment=receipt.occurred_at.astimezone(UTC),
        wall=local.replace(tzinfo=None),
        day=local.date(),
        minute=local.hour * 60 + local.minute,
        total_minor=sum(line.amount_minor for line in receipt.lines),
        payment_type=receipt.payment_type,
        facts=facts,
    )


Holds = Callable[[Situation, Line], bool]
Found = Callable[[Situation, Line], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One condition of a rule. ``wanted`` and what ``found`` returns are JSON, for the trace.

    ``more`` counts the codes that ``wanted`` leaves out; ``of_line`` tells conditions that ask a line from those
    that ask the receipt.
    """

    condition: str
    holds: Holds
    found: Found
    wanted: Any
    more: int = 0
    of_line: bool = False


def checks_of(rule: Rule) -> tuple[Check, ...]:
    """What a rule asks, in the order in which it is asked."""
    checks: list[Check] = []
    if rule.outlets:
        checks.append(_one_of("outlets", rule.outlets, lambda situation, _line: situation.outlet))
    if rule.starts_at is not None:
        checks.append(starts_at(rule.starts_at))
    if rule.ends_at is not None:
        checks.append(ends_at(rule.ends_at))
    return (*checks, *(_MAKERS[name](rule.when) for name in rule.when.given()))


def starts_at(bound: datetime) -> Check:
    """From this moment on."""
    return Check("starts_at", lambda situation, _line: clock(situation, bound) >= bound, _found_wall, bound.isoformat())


def ends_at(bound: datetime) -> Check:
    """Before this moment."""
    return Check("ends_at", lambda situation, _line: clock(situation, bound) < bound, _found_wall, bound.isoformat())


def clock(situation: Situation, bound: datetime) -> datetime:
    """The moment of the receipt as it compares with a bound: local time with one that has no offset."""
    return situation.wall if bound.tzinfo is None else situation.moment


def _found_wall(situation: Situation, _line: Line) -> str:
    return situation.wall.isoformat(timespec="minutes")


def _one_of(condition: str, codes: Sequence[str], found: Callable[[Situation, Line], str | None]) -> Check:
    known = frozenset(codes)
    return Check(condition, lambda situation, line: found(situation, line) in known, found, *_listed(codes))


def _listed(codes: Sequence[str]) -> tuple[list[str], int]:
    return list(codes[:WANTED_MAX]), max(len(codes) - WANTED_MAX, 0)


def _members(when: RuleConditions) -> Check:
    numbers = frozenset(when.members or ())
    # No numbers in the trace: one member's receipt is no place for the cards of others.
    return Check("members", lambda situation, _line: not numbers.isdisjoint(situation.facts.cards), _nothing, None)


def _nothing(_situation: Situation, _line: Line) -> None:
    return None


def _tiers(when: RuleConditions) -> Check:
    return _one_of("tiers", when.tiers or (), lambda situation, _line: situation.facts.tier)


def _segments(when: RuleConditions) -> Check:
    known = frozenset(when.segments or ())
    return Check(
        "segments",
        lambda situation, _line: not known.isdisjoint(situation.facts.segments),
        lambda situation, _line: sorted(known & situation.facts.segments)[:WANTED_MAX],
        *_listed(when.segments or ()),
    )


def _tags(when: RuleConditions) -> Check:
    known = frozenset(when.tags or ())
    return Check(
        "tags",
        lambda situation, _line: not known.isdisjoint(situation.facts.tags),
        # Only those that were asked for: what else staff noted down about a member is not this receipt's business.
        lambda situation, _line: sorted(known & situation.facts.tags)[:WANTED_MAX],
        *_listed(when.tags or ()),
    )


def _tenure(when: RuleConditions) -> Check:
    least = when.tenure_days_min or 0

    def found(situation: Situation, _line: Line) -> int | None:
        joined_at = situation.facts.joined_at
        return None if joined_at is None else (situation.day - joined_at.astimezone(situation.zone).date()).days

    def holds(situation: Situation, line: Line) -> bool:
        days = found(situation, line)
        return days is not None and days >= least

    return Check("tenure_days_min", holds, found, least)


def _birthday(when: RuleConditions) -> Check:
    most = when.birthday_within_days or 0

    def found(situation: Situation, _line: Line) -> int | None:
        birthday = situation.facts.birthday
        return None if birthday is None else days_to_birthday(situation.day, birthday)

    def holds(situation: Situation, line: Line) -> bool:
        days = found(situation, line)
        return days is not None and days <= most

    return Check("birthday_within_days", holds, found, most)


def days_to_birthday(day: date, birthday: date) -> int:
    """Days to the nearest birthday, before or after; one on 29 February is on the 28th in other years."""
    return min(abs((day - _birthday_in(year, birthday)).days) for year in (day.year - 1, day.year, day.year + 1))


def _birthday_in(year: int, birthday: date) -> date:
    try:
        return birthday.replace(year=year)
    except ValueError:
        return date(year, 2, 28)


def _skus(when: RuleConditions) -> Check:
    known = frozenset(when.skus or ())
    return Check("skus", lambda _, line: line.sku in known, _found_sku, *_listed(when.skus or ()), of_line=True)


def _found_sku(_situation: Situation, line: Line) -> str | None:
    return line.sku


def _categories(when: RuleConditions) -> Check:
    known = frozenset(when.categories or ())
    return Check(
        "categories",
        lambda _, line: not known.isdisjoint(line.categories),
        lambda _, line: line.categories[0] if line.categories else None,
        *_listed(when.categories or ()),
        of_line=True,
    )


def _quantity(when: RuleConditions) -> Check:
    wanted = when.quantity_min or 0
    least = int(wanted * 1000)  # three decimals at most: exact
    return Check(
        "quantity_min",
        lambda _, line: line.quantity_thousandths >= least,
        lambda _, line: shortest(Fraction(line.quantity_thousandths, 1000)),
        shortest(Fraction(wanted)),
        of_line=True,
    )


def _unit_price(when: RuleConditions) -> Check:
    assert when.unit_price_minor is not None, "only given conditions are made"
    within, wanted = _range(when.unit_price_minor)
    return Check(
        "unit_price_minor",
        lambda _, line: within(line.unit_price_minor),
        lambda _, line: line.unit_price_minor,
        wanted,
        of_line=True,
    )


def _margin(when: RuleConditions) -> Check:
    assert when.margin_percent is not None, "only given conditions are made"
    limits = when.margin_percent
    least = None if limits.from_ is None else Fraction(limits.from_)
    below = None if limits.to is None else Fraction(limits.to)

    def holds(_situation: Situation, line: Line) -> bool:
        margin = margin_percent(line)
        return margin is not None and (least is None or margin >= least) and (below is None or margin < below)

    def found(_situation: Situation, line: Line) -> str | None:
        margin = margin_percent(line)
        return None if margin is None else shortest(margin)

    bounds = {"from": least, "to": below}
    wanted = {word: shortest(bound) for word, bound in bounds.items() if bound is not None}
    return Check("margin_percent", holds, found, wanted, of_line=True)


def margin_percent(line: Line) -> Fraction | None:
    """The share of the unit price that is above the product's cost; ``None`` without a known cost or a price."""
    if line.cost_minor is None or line.unit_price_minor == 0:
        return None
    return Fraction(100 * (line.unit_price_minor - line.cost_minor), line.unit_price_minor)


def _total(when: RuleConditions) -> Check:
    assert when.receipt_total_minor is not None, "only given conditions are made"
    within, wanted = _range(when.receipt_total_minor)
    return Check(
        "receipt_total_minor",
        lambda situation, _line: within(situation.total_minor),
        lambda situation, _line: situation.total_minor,
        wanted,
    )


def _range(limits: MinorRange) -> tuple[Callable[[int], bool], dict[str, int]]:
    least, below = limits.from_ or 0, limits.to
    wanted = limits.model_dump(by_alias=True, exclude_none=True)
    if below is None:
        return lambda amount: amount >= least, wanted
    return lambda amount: least <= amount < below, wanted


def _nth(when: RuleConditions) -> Check:
    number = when.nth_purchase
    return Check(
        "nth_purchase",
        lambda situation, _line: situation.facts.purchases + 1 == number,
        lambda situation, _line: situation.facts.purchases + 1,
        number,
    )


def _payment(when: RuleConditions) -> Check:
    return _one_of("payment_types", when.payment_types or (), lambda situation, _line: situation.payment_type)


def minutes_of(time: str) -> int:
    """``"16:30"`` as minutes after midnight."""
    return int(time[:2]) * 60 + int(time[3:])


def crosses_midnight(window: TimeWindow | None) -> bool:
    """It ends on the day after the one on which it began, and has a part there."""
    return window is not None and 0 < minutes_of(window.to) < minutes_of(window.from_)


def _day_of(window: TimeWindow | None) -> Callable[[Situation], date]:
    """The day that a receipt belongs to: the day before, in the part of a window that is after midnight."""
    if window is None or not crosses_midnight(window):
        return lambda situation: situation.day
    end = minutes_of(window.to)
    return lambda situation: situation.day - timedelta(days=1) if situation.minute < end else situation.day


def _weekdays(when: RuleConditions) -> Check:
    days, day_of = frozenset(map(WEEKDAYS.index, when.weekdays or ())), _day_of(when.time)
    return Check(
        "weekdays",
        lambda situation, _line: day_of(situation).weekday() in days,
        lambda situation, _line: WEEKDAYS[day_of(situation).weekday()],
        [WEEKDAYS[day] for day in sorted(days)],
    )


def _time(when: RuleConditions) -> Check:
    assert when.time is not None, "only given conditions are made"
    begin, end = minutes_of(when.time.from_), minutes_of(when.time.to)
    if begin < end:

        def holds(situation: Situation, _line: Line) -> bool:
            return begin <= situation.minute < end
    else:

        def holds(situation: Situation, _line: Line) -> bool:
            return situation.minute >= begin or situation.minute < end

    return Check("time", holds, lambda situation, _line: f"{situation.wall:%H:%M}", when.time.model_dump(by_alias=True))


def _dates(when: RuleConditions) -> Check:
    ranges, day_of = tuple(map(_within, when.dates or ())), _day_of(when.time)

    def holds(situation: Situation, _line: Line) -> bool:
        day = day_of(situation)
        return any(within(day) for within in ranges)

    wanted = [part.model_dump(by_alias=True, exclude_none=True) for part in when.dates or ()]
    more = max(len(wanted) - WANTED_MAX, 0)
    return Check("dates", holds, lambda situation, _line: day_of(situation).isoformat(), wanted[:WANTED_MAX], more)


def _within(part: DateRange) -> Callable[[date], bool]:
    if not part.yearly:
        begin, end = date.fromisoformat(part.from_), date.fromisoformat(part.to or part.from_)
        return lambda day: begin <= day <= end
    first, last = month_day(part.from_), month_day(part.to or part.from_)
    if first <= last:
        return lambda day: first <= (day.month, day.day) <= last
    return lambda day: (day.month, day.day) >= first or (day.month, day.day) <= last


def month_day(text: str) -> tuple[int, int]:
    """``"03-08"`` as numbers that compare."""
    return int(text[:2]), int(text[3:])


_MAKERS: Final[dict[str, Callable[[RuleConditions], Check]]] = {
    "members": _members,
    "tiers": _tiers,
    "segments": _segments,
    "tags": _tags,
    "tenure_days_min": _tenure,
    "birthday_within_days": _birthday,
    "skus": _skus,
    "categories": _categories,
    "quantity_min": _quantity,
    "unit_price_minor": _unit_price,
    "margin_percent": _margin,
    "weekdays": _weekdays,
    "time": _time,
    "dates": _dates,
    "receipt_total_minor": _total,
    "nth_purchase": _nth,
    "payment_types": _payment,
}
