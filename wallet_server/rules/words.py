"""A rule of a program file in words: what it does, and when it holds. Pure.

Short parts without grammar between them ("points × 2", "Coffee", "on Monday", "16:00–18:00"), because parts that
are put together into one sentence read wrong in at least one language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from wallet_server.i18n import LocalizedText, Translator, gettext_noop, localized
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.rule import LEAP_YEAR, WEEKDAYS, DateRange, Earn, Family, Redeem, Rule
from wallet_server.rules.numbers import shortest

NAMED_MAX: Final = 5
"""How many codes of a long list are named; the others are counted."""
FAMILY_NAMES: Final[Mapping[Family, str]] = {
    "customer": gettext_noop("Who buys"),
    "product": gettext_noop("What is bought"),
    "behavior": gettext_noop("When and how"),
}
State = Literal["running", "later", "over"]


@dataclass(frozen=True)
class Names:
    """Names of products and categories by their code, as far as they are known; a code stands for itself."""

    products: Mapping[str, LocalizedText] = field(default_factory=dict)
    categories: Mapping[str, LocalizedText] = field(default_factory=dict)

    def product(self, sku: str, t: Translator) -> str:
        """The product for a reader."""
        return localized(self.products.get(sku, {}), t.language) or sku

    def category(self, code: str, t: Translator) -> str:
        """The category for a reader."""
        return localized(self.categories.get(code, {}), t.language) or code


NO_NAMES: Final = Names()


def effects_of(earn: Earn | None, redeem: Redeem | None, family: Family, t: Translator) -> list[str]:
    """What a rule does, a part for each effect."""
    effect: dict[str, Any] = {} if earn is None else _given(earn)
    if redeem is not None:
        effect["redeem"] = _given(redeem)
    return effect_words(effect, family, t)


def _given(part: Earn | Redeem) -> dict[str, Any]:
    values = {name: value for name, value in part if value is not None}
    return {name: value if isinstance(value, bool) else shortest(Fraction(value)) for name, value in values.items()}


def effect_words(effect: Mapping[str, Any], family: str, t: Translator) -> list[str]:
    """The same for effects as a trace keeps them: exact numbers as text, the limit of paying under ``redeem``."""
    percents = ("multiply", "percent", "fixed_percent", "max_percent", "discount_percent")
    told = [_percent_effect(name, exact_number(effect[name], t), t) for name in percents if name in effect]
    if "fixed_points" in effect:
        points = exact_number(effect["fixed_points"], t)
        if family == "product":
            told.append(t.gettext("%(points)s points on top for each unit", points=points))
        else:
            told.append(t.gettext("%(points)s points on top", points=points))
    if "max_points" in effect:
        told.append(t.gettext("at most %(points)s points", points=exact_number(effect["max_points"], t)))
    if "none" in effect:
        told.append(t.gettext("earns nothing"))
    limits = effect.get("redeem", {})
    if limits.get("max_percent") == "0":
        told.append(t.gettext("cannot be paid with points"))
    elif "max_percent" in limits:
        percent = exact_number(limits["max_percent"], t)
        told.append(t.gettext("points pay at most %(percent)s %% of the line", percent=percent))
    if "receipt_max_percent" in limits:
        percent = exact_number(limits["receipt_max_percent"], t)
        told.append(t.gettext("points pay at most %(percent)s %% of the receipt", percent=percent))
    return told


def _percent_effect(name: str, number: str, t: Translator) -> str:
    if name == "multiply":
        return t.gettext("points × %(number)s", number=number)
    if name == "percent":
        return t.gettext("%(percent)s %% of the price in points", percent=number)
    if name == "fixed_percent":
        return t.gettext("exactly %(percent)s %% in points", percent=number)
    if name == "max_percent":
        return t.gettext("at most %(percent)s %% in points", percent=number)
    return t.gettext("%(percent)s %% off the price", percent=number)


def conditions_of(rule: Rule, t: Translator, program: ProgramDefinition, names: Names = NO_NAMES) -> list[str]:
    """When a rule holds, a part for each condition; empty for one that always does. Without outlets and validity."""
    return [_CONDITIONS[name](getattr(rule.when, name), t, program, names) for name in rule.when.given()]


def outlets_of(rule: Rule, t: Translator, program: ProgramDefinition) -> str:
    """Where a rule holds; empty for the whole network."""
    return listed((outlet_name(code, t, program) for code in rule.outlets), t)


def validity_of(rule: Rule, t: Translator) -> str:
    """From when until when a rule holds, in the outlet's time; empty for ever."""
    begin = None if rule.starts_at is None else moment_words(rule.starts_at, t)
    end = None if rule.ends_at is None else moment_words(rule.ends_at, t)
    if begin and end:
        return f"{begin} – {end}"
    if begin:
        return t.gettext("from %(moment)s", moment=begin)
    return t.gettext("until %(moment)s", moment=end) if end else ""


def state_of(rule: Rule, now: datetime, zone: str) -> State:
    """Whether a rule's validity has begun and ended; ``now`` is aware, ``zone`` that of the program."""
    wall = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)

    def passed(bound: datetime) -> bool:
        return bound <= (wall if bound.tzinfo is None else now)

    if rule.ends_at is not None and passed(rule.ends_at):
        return "over"
    return "running" if rule.starts_at is None or passed(rule.starts_at) else "later"


def _members(numbers: list[str], t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    if len(numbers) > 3:
        return t.ngettext("%(num)s named card", "%(num)s named cards", len(numbers))
    return t.gettext("card %(numbers)s", numbers=listed(numbers, t))


def _tiers(codes: list[str], t: Translator, program: ProgramDefinition, _names: Names) -> str:
    return t.gettext("tier %(tiers)s", tiers=listed((tier_name(code, t, program) for code in codes), t))


def _segments(codes: list[str], t: Translator, program: ProgramDefinition, _names: Names) -> str:
    known = {segment.code: segment.name for segment in program.file.segments}
    return t.gettext("in the segment %(segments)s", segments=listed((known.get(code, code) for code in codes), t))


def _tags(codes: list[str], t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    return t.gettext("with the tag %(tags)s", tags=listed(codes, t))


def _tenure(days: int, t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    return t.ngettext("a member for %(num)s day or longer", "a member for %(num)s days or longer", days)


def _birthday(days: int, t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    if days == 0:
        return t.gettext("on the birthday")
    return t.ngettext("up to %(num)s day around the birthday", "up to %(num)s days around the birthday", days)


def _skus(codes: list[str], t: Translator, _program: ProgramDefinition, names: Names) -> str:
    return listed((names.product(code, t) for code in codes), t)


def _categories(codes: list[str], t: Translator, _program: ProgramDefinition, names: Names) -> str:
    return t.gettext("category %(category)s", category=listed((names.category(code, t) for code in codes), t))


def _quantity(least: Decimal, t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    return t.gettext("quantity %(number)s or more", number=t.number(least))


def _price(limits: Any, t: Translator, program: ProgramDefinition, _names: Names) -> str:
    return t.gettext("price %(amount)s", amount=_money_range(limits, t, program))


def _margin(limits: Any, t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    given = limits.model_dump(by_alias=True, exclude_none=True)
    bounds = {word: f"{t.number(bound)} %" for word, bound in given.items()}
    return t.gettext("margin %(range)s", range=range_words(bounds, t))


def _weekdays(days: list[str], t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    style = "wide" if len(days) == 1 else "abbreviated"
    ordered = sorted({WEEKDAYS.index(day) for day in days})
    return ", ".join(t.locale.days["stand-alone"][style][day] for day in ordered)


def _time(window: Any, _t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    return f"{window.from_}–{window.to}"


def _dates(parts: list[DateRange], t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    return listed((days_words(part, t) for part in parts), t)


def _total(limits: Any, t: Translator, program: ProgramDefinition, _names: Names) -> str:
    return t.gettext("receipt of %(range)s", range=_money_range(limits, t, program))


def _nth(number: int, t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    return t.gettext("purchase number %(number)s", number=t.number(number))


def _payment(types: list[str], t: Translator, _program: ProgramDefinition, _names: Names) -> str:
    return t.gettext("paid by %(payment)s", payment=listed(types, t))


_CONDITIONS: Final[Mapping[str, Callable[[Any, Translator, ProgramDefinition, Names], str]]] = {
    "members": _members,
    "tiers": _tiers,
    "segments": _segments,
    "tags": _tags,
    "tenure_days_min": _tenure,
    "birthday_within_days": _birthday,
    "skus": _skus,
    "categories": _categories,
    "quantity_min": _quantity,
    "unit_price_minor": _price,
    "margin_percent": _margin,
    "weekdays": _weekdays,
    "time": _time,
    "dates": _dates,
    "receipt_total_minor": _total,
    "nth_purchase": _nth,
    "payment_types": _payment,
}


def _money_range(limits: Any, t: Translator, program: ProgramDefinition) -> str:
    bounds = limits.model_dump(by_alias=True, exclude_none=True)
    return range_words({word: t.money(amount, program.currency) for word, amount in bounds.items()}, t)


def range_words(bounds: Mapping[str, str], t: Translator) -> str:
    """``from`` inclusive, ``to`` exclusive; one of them may be missing."""
    if "to" not in bounds:
        return t.gettext("%(least)s or more", least=bounds["from"])
    if "from" not in bounds:
        return t.gettext("less than %(limit)s", limit=bounds["to"])
    return t.gettext("from %(least)s to less than %(limit)s", least=bounds["from"], limit=bounds["to"])


def days_words(part: DateRange, t: Translator) -> str:
    """A day or several, once or every year."""
    if not part.yearly:
        first, last = (t.date(date.fromisoformat(day)) for day in (part.from_, part.to or part.from_))
        return first if first == last else f"{first} – {last}"
    first, last = (_month_day(day, t) for day in (part.from_, part.to or part.from_))
    return t.gettext("%(days)s every year", days=first if first == last else f"{first} – {last}")


def _month_day(text: str, t: Translator) -> str:
    return t.month_day(date(LEAP_YEAR, int(text[:2]), int(text[3:])))


def moment_words(moment: datetime, t: Translator) -> str:
    """A bound of a validity as it is written in the file: local to the outlet, or with its own offset."""
    return f"{t.date(moment.date())} {moment:%H:%M}{'' if moment.tzinfo is None else f' (UTC{moment:%z})'}"


def listed(texts: Iterable[str], t: Translator) -> str:
    """``A, B or C``; of a long list the first ones and how many more."""
    every = list(texts)
    if len(every) > NAMED_MAX:
        more = t.ngettext("%(num)s more", "%(num)s more", len(every) - NAMED_MAX)
        return t.gettext("%(names)s or %(last)s", names=", ".join(every[:NAMED_MAX]), last=more)
    if len(every) < 2:
        return "".join(every)
    return t.gettext("%(names)s or %(last)s", names=", ".join(every[:-1]), last=every[-1])


def outlet_name(code: str, t: Translator, program: ProgramDefinition) -> str:
    """An outlet for a reader; closed ones too."""
    known = program.outlets.get(code) or program.closed_outlets.get(code)
    return code if known is None else localized(known.section.name, t.language, program.languages)


def tier_name(code: str, t: Translator, program: ProgramDefinition) -> str:
    """A tier for a reader; the code of one that only history knows."""
    level = program.level(code)
    return code if level is None else localized(level.name, t.language, program.languages)


def exact_number(text: str, t: Translator) -> str:
    """An exact number of a trace for a reader; one without an end, such as 10/3, to three decimals."""
    whole, _, parts = text.partition("/")
    return t.number(Decimal(whole) / Decimal(parts) if parts else Decimal(text))


def mentioned(rules: Iterable[Rule]) -> tuple[set[str], set[str]]:
    """Skus and categories that the words of these rules name."""
    skus: set[str] = set()
    categories: set[str] = set()
    for rule in rules:
        skus.update((rule.when.skus or ())[:NAMED_MAX])
        categories.update((rule.when.categories or ())[:NAMED_MAX])
    return skus, categories
