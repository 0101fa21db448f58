"""Steps of a trace as sentences for staff and members, in their language. Pure.

Members hear less than staff: a rule that staff made for certain people (cards, segments, tags) has no name for them,
and what a product costs the shop is nobody's business at the counter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from wallet_server.i18n import Translator
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.rule import WEEKDAYS
from wallet_server.rules.words import (
    NO_NAMES,
    Names,
    effect_words,
    exact_number,
    listed,
    outlet_name,
    range_words,
    tier_name,
)

PRIVATE: Final = frozenset({"members", "segments", "tags"})
"""Conditions that pick people out: neither they nor the name of a rule that has one is told to members."""
SECRET: Final = PRIVATE | {"margin_percent"}
"""Conditions whose values members do not hear."""


@dataclass(frozen=True)
class Listener:
    """Who hears a sentence: a language, the program as it is now, names of what it sells, staff or a member."""

    t: Translator
    program: ProgramDefinition
    names: Names = NO_NAMES
    is_member: bool = False


def said(step: Mapping[str, Any], listener: Listener) -> str:
    """One step of a stored trace as a sentence.

    “Monday 20 did not apply: bought on Tuesday.” Names of tiers, outlets and segments are those that the
    program has now; codes stand for what it no longer has. A step of a kind that this version does not know is
    told in its own words.
    """
    make = _KINDS.get(step.get("kind", ""))
    return str(step["why"]) if make is None else make(step, listener)


def _program(step: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    effect = step["effect"]
    if "percent" in effect:
        return t.gettext("Every line earns %(percent)s %%.", percent=exact_number(effect["percent"], t))
    return t.gettext("Points may pay up to %(percent)s %% of a line.", percent=exact_number(effect["max_percent"], t))


def _of_validity(step: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    effect = step["effect"]
    if "starts_at" in effect:
        return t.gettext("The program begins on %(moment)s: nothing is earned yet.", moment=_moment(effect, t))
    if "redeem_until" in effect:
        return t.gettext("The program ended; points could pay until %(moment)s.", moment=_moment(effect, t))
    return t.gettext("The program ended at %(moment)s: nothing is earned any more.", moment=_moment(effect, t))


def _moment(effect: Mapping[str, str], t: Translator) -> str:
    [text] = effect.values()
    bound = datetime.fromisoformat(text)
    return f"{t.date(bound.date())} {bound:%H:%M}"


def _outlet(step: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    return t.gettext(
        "At %(outlet)s points may pay up to %(percent)s %% of a receipt.",
        outlet=outlet_name(step["outlet"], t, to.program),
        percent=exact_number(step["effect"]["receipt_max_percent"], t),
    )


def _rule(step: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    name = _rule_name(step, to)
    told = [_reason(compared, to) for compared in step["compared"]]
    if not step["matched"]:
        return t.gettext("%(rule)s did not apply: %(reason)s.", rule=name, reason=told[0])
    effects = "; ".join(effect_words(step["effect"], step["family"], t))
    reasons = ", ".join(reason for reason in told if reason)
    if not reasons:
        return t.gettext("%(rule)s: %(effect)s.", rule=name, effect=effects)
    return t.gettext("%(rule)s: %(effect)s (%(reason)s).", rule=name, effect=effects, reason=reasons)


def _rule_name(step: Mapping[str, Any], to: Listener) -> str:
    if step["kind"] == "tier":
        return to.t.gettext("Tier %(tier)s", tier=tier_name(step["rule"], to.t, to.program))
    if step["kind"] == "own":
        return to.t.gettext("Your own percent") if to.is_member else to.t.gettext("The member's own percent")
    if to.is_member and is_private(step, to.program):
        return to.t.gettext("Just for you")
    return str(step["rule"])


def is_private(step: Mapping[str, Any], program: ProgramDefinition) -> bool:
    """Whether a step is about a rule that picks people out, as the step shows it or as the program has it now.

    A rule that missed shows the one condition that failed, so its others are looked up; one that the program no
    longer has may have had any.
    """
    if step["kind"] == "tier":
        return False
    if not PRIVATE.isdisjoint(compared["condition"] for compared in step.get("compared", ())):
        return True
    if step["matched"] and "compared" in step:
        return False
    rule = program.rule(step["rule"])
    return rule is None or not PRIVATE.isdisjoint(rule.when.given())


def _percent(step: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    effect = step["effect"]
    percent = exact_number(effect["percent"], t)
    if "none" in effect:
        told = t.gettext("earns nothing")
    elif "max_percent" in effect:
        told = t.gettext("earns %(percent)s %%, the most that is allowed", percent=percent)
    elif "fixed_percent" in effect:
        told = t.gettext("earns exactly %(percent)s %%", percent=percent)
    elif effect["coefficients"]:
        factors = [
            f"{exact_number(effect['base_percent'], t)} %",
            *(exact_number(factor, t) for factor in effect["coefficients"].values()),
        ]
        told = t.gettext("earns %(factors)s = %(percent)s %%", factors=" × ".join(factors), percent=percent)
    else:
        told = t.gettext("earns %(percent)s %%", percent=percent)
    if "discount_percent" in effect:
        off = exact_number(effect["discount_percent"], t)
        told = t.gettext("costs %(off)s %% less, and then it %(earns)s", off=off, earns=told)
    if step["line"]:
        return t.gettext("%(sentence)s.", sentence=told)
    if step.get("others"):
        return t.gettext("Each other line %(sentence)s.", sentence=told)
    return t.gettext("Each line %(sentence)s.", sentence=told)


def _cap(step: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    return t.gettext(
        "%(rule)s: %(before)s points became %(after)s.",
        rule=_rule_name(step, to),
        before=exact_number(step["effect"]["exact"], t),
        after=exact_number(step["effect"]["max_points"], t),
    )


def _rounding(step: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    effect = step["effect"]
    exact, points = exact_number(effect["exact"], t), t.points(step["points"])
    if effect["exact"] == str(step["points"]):
        return t.gettext("Together: %(points)s.", points=points)
    if effect["carried"] == "0":
        return t.gettext("Rounded: %(exact)s became %(points)s.", exact=exact, points=points)
    return t.gettext(
        "Rounded: %(exact)s became %(points)s; %(carried)s is kept for the next receipt.",
        exact=exact,
        points=points,
        carried=exact_number(effect["carried"], t),
    )


_KINDS: Final[Mapping[str, Callable[[Mapping[str, Any], Listener], str]]] = {
    "program": _program,
    "validity": _of_validity,
    "outlet": _outlet,
    "rule": _rule,
    "tier": _rule,
    "own": _rule,
    "percent": _percent,
    "cap": _cap,
    "rounding": _rounding,
}


def _reason(compared: Mapping[str, Any], to: Listener) -> str:
    """What was found, and what was wanted where that does not say it; empty where there is nothing to tell."""
    condition, held = compared["condition"], compared["held"]
    if to.is_member and condition in SECRET:
        return ""
    if condition in {"starts_at", "ends_at"}:
        return "" if held else _validity(compared, to.t)
    if condition in _AMOUNTS:
        return _amount(compared, to)
    told = _FOUND[condition](compared["found"], held, to)
    wanted = _WANTED.get(condition)
    if held or wanted is None:
        return told
    wants = listed([*wanted(compared["wanted"], to), *_more(compared, to.t)], to.t)
    return to.t.gettext("%(found)s, not %(wanted)s", found=told, wanted=wants)


def _more(compared: Mapping[str, Any], t: Translator) -> list[str]:
    """How many codes of a long list the trace leaves out."""
    return [t.ngettext("%(num)s more", "%(num)s more", compared["more"])] if "more" in compared else []


def _members(_found: Any, held: bool, to: Listener) -> str:
    return to.t.gettext("this member") if held else to.t.gettext("another member")


def _outlets(found: Any, _held: bool, to: Listener) -> str:
    return to.t.gettext("bought at %(outlet)s", outlet=outlet_name(found, to.t, to.program))


def _tiers(found: Any, _held: bool, to: Listener) -> str:
    if found is None:
        return to.t.gettext("the member has no tier")
    return to.t.gettext("the tier is %(tier)s", tier=tier_name(found, to.t, to.program))


def _segments(found: Any, held: bool, to: Listener) -> str:
    if not held:
        return to.t.gettext("the member is not in the segment")
    return to.t.gettext("in the segment %(segments)s", segments=", ".join(_segment_names(found, to)))


def _segment_names(codes: Any, to: Listener) -> list[str]:
    names = {segment.code: segment.name for segment in to.program.file.segments}
    return [names.get(code, code) for code in codes]


def _tags(found: Any, held: bool, to: Listener) -> str:
    if not held:
        return to.t.gettext("the member does not have the tag")
    return to.t.gettext("the member has the tag %(tags)s", tags=", ".join(found))


def _birthday(found: Any, _held: bool, to: Listener) -> str:
    if found is None:
        return to.t.gettext("the birthday is not known")
    if found == 0:
        return to.t.gettext("it is the birthday")
    return to.t.ngettext("the birthday is %(num)s day away", "the birthday is %(num)s days away", found)


def _skus(found: Any, held: bool, to: Listener) -> str:
    if not found and not held:
        return to.t.gettext("another product")
    return to.t.gettext("product %(product)s", product=to.names.product(found, to.t))


def _categories(found: Any, held: bool, to: Listener) -> str:
    if not found and not held:
        return to.t.gettext("another category")
    return to.t.gettext("category %(category)s", category=to.names.category(found, to.t))


def _weekdays(found: Any, _held: bool, to: Listener) -> str:
    name = to.t.locale.days["format"]["wide"][WEEKDAYS.index(found)]
    return to.t.gettext("bought on %(weekday)s", weekday=name)


def _time(found: Any, _held: bool, to: Listener) -> str:
    return to.t.gettext("bought at %(time)s", time=found)


def _dates(found: Any, _held: bool, to: Listener) -> str:
    return to.t.gettext("bought on %(date)s", date=to.t.date(date.fromisoformat(found)))


def _nth(found: Any, _held: bool, to: Listener) -> str:
    return to.t.gettext("purchase number %(number)s", number=to.t.number(found))


def _payment(found: Any, _held: bool, to: Listener) -> str:
    if found is None:
        return to.t.gettext("the till did not say how it was paid")
    return to.t.gettext("paid by %(payment)s", payment=found)


_FOUND: Final[Mapping[str, Callable[[Any, bool, Listener], str]]] = {
    "members": _members,
    "outlets": _outlets,
    "tiers": _tiers,
    "segments": _segments,
    "tags": _tags,
    "birthday_within_days": _birthday,
    "skus": _skus,
    "categories": _categories,
    "weekdays": _weekdays,
    "time": _time,
    "dates": _dates,
    "nth_purchase": _nth,
    "payment_types": _payment,
}
_WANTED: Final[Mapping[str, Callable[[Any, Listener], list[str]]]] = {
    "outlets": lambda wanted, to: [outlet_name(code, to.t, to.program) for code in wanted],
    "tiers": lambda wanted, to: [tier_name(code, to.t, to.program) for code in wanted],
    "skus": lambda wanted, to: [to.names.product(code, to.t) for code in wanted],
    "categories": lambda wanted, to: [to.names.category(code, to.t) for code in wanted],
    "time": lambda wanted, _to: [f"{wanted['from']}–{wanted['to']}"],
    "nth_purchase": lambda wanted, to: [to.t.number(wanted)],
    "payment_types": lambda wanted, _to: list(wanted),
}
"""What was wanted, where the name of the rule and what was found do not make it plain."""
_AMOUNTS: Final = {"receipt_total_minor", "unit_price_minor", "margin_percent", "quantity_min", "tenure_days_min"}


def _validity(compared: Mapping[str, Any], t: Translator) -> str:
    bound = datetime.fromisoformat(compared["wanted"])
    moment = f"{t.date(bound.date())} {bound:%H:%M}"
    if compared["condition"] == "starts_at":
        return t.gettext("it holds from %(moment)s", moment=moment)
    return t.gettext("it ended at %(moment)s", moment=moment)


def _amount(compared: Mapping[str, Any], to: Listener) -> str:
    t = to.t
    condition, found, wanted = compared["condition"], compared["found"], compared["wanted"]
    if condition == "tenure_days_min":
        told = t.ngettext("a member for %(num)s day", "a member for %(num)s days", max(found or 0, 0))
        wants = t.gettext("at least %(number)s", number=t.number(wanted))
    elif condition == "quantity_min":
        known = t.gettext("another quantity") if found is None else None
        told = known or t.gettext("quantity %(quantity)s", quantity=exact_number(found, t))
        wants = t.gettext("at least %(number)s", number=exact_number(wanted, t))
    elif condition == "margin_percent":
        if found is None:
            return t.gettext("the margin is not known")
        told = t.gettext("margin %(percent)s %%", percent=exact_number(found, t))
        wants = range_words({word: f"{exact_number(bound, t)} %" for word, bound in wanted.items()}, t)
    else:
        told = _money(condition, found, t, to.program)
        wants = _money_range(wanted, t, to.program)
    return told if compared["held"] else t.gettext("%(found)s, not %(wanted)s", found=told, wanted=wants)


def _money(condition: str, found: Any, t: Translator, program: ProgramDefinition) -> str:
    if found is None:
        return t.gettext("another price")
    amount = t.money(found, program.currency)
    if condition == "receipt_total_minor":
        return t.gettext("the receipt comes to %(amount)s", amount=amount)
    return t.gettext("price %(amount)s", amount=amount)


def _money_range(wanted: Mapping[str, int], t: Translator, program: ProgramDefinition) -> str:
    return range_words({word: t.money(amount, program.currency) for word, amount in wanted.items()}, t)
