"""Steps of a trace as sentences for staff and members, in their language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from wallet_server.i18n import Translator, localized
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.rule import WEEKDAYS


def sentence(step: Mapping[str, Any], reader: Translator, program: ProgramDefinition) -> str:
    """One step of a stored trace as a sentence.

    “Monday 20 did not apply: bought on Tuesday.” Names of tiers, outlets and segments are those that the
    program has now; codes stand for what it no longer has. A step of a kind that this version does not know is
    told in its own words.
    """
    make = _KINDS.get(step.get("kind", ""))
    if make is None:
        return str(step["why"])
    told = make(step, reader, program)
    line = step.get("line")
    return reader.gettext("Line %(line)s: %(sentence)s", line=line, sentence=told) if line else told


def _program(step: Mapping[str, Any], t: Translator, _program: ProgramDefinition) -> str:
    effect = step["effect"]
    if "percent" in effect:
        return t.gettext("Every line earns %(percent)s %%.", percent=_number(t, effect["percent"]))
    return t.gettext("Points may pay up to %(percent)s %% of a line.", percent=_number(t, effect["max_percent"]))


def _of_validity(step: Mapping[str, Any], t: Translator, _program: ProgramDefinition) -> str:
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


def _outlet(step: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> str:
    return t.gettext(
        "At %(outlet)s points may pay up to %(percent)s %% of a receipt.",
        outlet=_outlet_name(step["outlet"], t, program),
        percent=_number(t, step["effect"]["receipt_max_percent"]),
    )


def _rule(step: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> str:
    name = _rule_name(step, t, program)
    reasons = [_reason(compared, t, program) for compared in step["compared"]]
    if not step["matched"]:
        return t.gettext("%(rule)s did not apply: %(reason)s.", rule=name, reason=reasons[0])
    effects = "; ".join(_effects(step, t))
    told = ", ".join(reason for reason in reasons if reason)
    if not told:
        return t.gettext("%(rule)s: %(effect)s.", rule=name, effect=effects)
    return t.gettext("%(rule)s: %(effect)s (%(reason)s).", rule=name, effect=effects, reason=told)


def _rule_name(step: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> str:
    if step["kind"] == "tier":
        return t.gettext("Tier %(tier)s", tier=_tier_name(step["rule"], t, program))
    if step["kind"] == "own":
        return t.gettext("The member's own percent")
    return str(step["rule"])


def _effects(step: Mapping[str, Any], t: Translator) -> list[str]:
    effect = step["effect"]
    percents = ("multiply", "percent", "fixed_percent", "max_percent", "discount_percent")
    told = [_percent_effect(name, _number(t, effect[name]), t) for name in percents if name in effect]
    if "fixed_points" in effect:
        points = _number(t, effect["fixed_points"])
        if step["family"] == "product":
            told.append(t.gettext("%(points)s points on top for each unit", points=points))
        else:
            told.append(t.gettext("%(points)s points on top", points=points))
    if "max_points" in effect:
        told.append(t.gettext("at most %(points)s points", points=_number(t, effect["max_points"])))
    if "none" in effect:
        told.append(t.gettext("earns nothing"))
    limits = effect.get("redeem", {})
    if limits.get("max_percent") == "0":
        told.append(t.gettext("cannot be paid with points"))
    elif "max_percent" in limits:
        percent = _number(t, limits["max_percent"])
        told.append(t.gettext("points pay at most %(percent)s %% of the line", percent=percent))
    if "receipt_max_percent" in limits:
        percent = _number(t, limits["receipt_max_percent"])
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


def _percent(step: Mapping[str, Any], t: Translator, _program: ProgramDefinition) -> str:
    effect = step["effect"]
    percent = _number(t, effect["percent"])
    if "none" in effect:
        told = t.gettext("earns nothing")
    elif "max_percent" in effect:
        told = t.gettext("earns %(percent)s %%, the most that is allowed", percent=percent)
    elif "fixed_percent" in effect:
        told = t.gettext("earns exactly %(percent)s %%", percent=percent)
    elif effect["coefficients"]:
        factors = [
            f"{_number(t, effect['base_percent'])} %",
            *(_number(t, factor) for factor in effect["coefficients"].values()),
        ]
        told = t.gettext("earns %(factors)s = %(percent)s %%", factors=" × ".join(factors), percent=percent)
    else:
        told = t.gettext("earns %(percent)s %%", percent=percent)
    if "discount_percent" in effect:
        off = _number(t, effect["discount_percent"])
        told = t.gettext("costs %(off)s %% less, and then it %(earns)s", off=off, earns=told)
    if step["line"]:
        return t.gettext("%(sentence)s.", sentence=told)
    if step.get("others"):
        return t.gettext("Each other line %(sentence)s.", sentence=told)
    return t.gettext("Each line %(sentence)s.", sentence=told)


def _cap(step: Mapping[str, Any], t: Translator, _program: ProgramDefinition) -> str:
    return t.gettext(
        "%(rule)s: %(before)s points became %(after)s.",
        rule=step["rule"],
        before=_number(t, step["effect"]["exact"]),
        after=_number(t, step["effect"]["max_points"]),
    )


def _rounding(step: Mapping[str, Any], t: Translator, _program: ProgramDefinition) -> str:
    effect = step["effect"]
    exact, points = _number(t, effect["exact"]), t.points(step["points"])
    if effect["carried"] == "0":
        return t.gettext("Rounded: %(exact)s became %(points)s.", exact=exact, points=points)
    return t.gettext(
        "Rounded: %(exact)s became %(points)s; %(carried)s is kept for the next receipt.",
        exact=exact,
        points=points,
        carried=_number(t, effect["carried"]),
    )


_KINDS: Final[Mapping[str, Callable[[Mapping[str, Any], Translator, ProgramDefinition], str]]] = {
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


def _reason(compared: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> str:
    """What was found, and what was wanted where that does not say it; empty where there is nothing to tell."""
    condition, found, held = compared["condition"], compared["found"], compared["held"]
    if condition in {"starts_at", "ends_at"}:
        return "" if held else _validity(compared, t)
    if condition in {"receipt_total_minor", "unit_price_minor", "margin_percent", "quantity_min", "tenure_days_min"}:
        return _amount(compared, t, program)
    make = _REASONS[condition]
    return make(found, held, t, program)


def _members(_found: Any, held: bool, t: Translator, _program: ProgramDefinition) -> str:
    return t.gettext("this member") if held else t.gettext("another member")


def _outlets(found: Any, _held: bool, t: Translator, program: ProgramDefinition) -> str:
    return t.gettext("bought at %(outlet)s", outlet=_outlet_name(found, t, program))


def _tiers(found: Any, _held: bool, t: Translator, program: ProgramDefinition) -> str:
    if found is None:
        return t.gettext("the member has no tier")
    return t.gettext("the tier is %(tier)s", tier=_tier_name(found, t, program))


def _segments(found: Any, held: bool, t: Translator, program: ProgramDefinition) -> str:
    if not held:
        return t.gettext("the member is not in the segment")
    names = {segment.code: segment.name for segment in program.file.segments}
    return t.gettext("in the segment %(segments)s", segments=", ".join(names.get(code, code) for code in found))


def _tags(found: Any, held: bool, t: Translator, _program: ProgramDefinition) -> str:
    if not held:
        return t.gettext("the member does not have the tag")
    return t.gettext("the member has the tag %(tags)s", tags=", ".join(found))


def _birthday(found: Any, _held: bool, t: Translator, _program: ProgramDefinition) -> str:
    if found is None:
        return t.gettext("the birthday is not known")
    if found == 0:
        return t.gettext("it is the birthday")
    return t.ngettext("the birthday is %(num)s day away", "the birthday is %(num)s days away", found)


def _skus(found: Any, held: bool, t: Translator, _program: ProgramDefinition) -> str:
    return t.gettext("product %(product)s", product=found) if found or held else t.gettext("another product")


def _categories(found: Any, held: bool, t: Translator, _program: ProgramDefinition) -> str:
    return t.gettext("category %(category)s", category=found) if found or held else t.gettext("another category")


def _weekdays(found: Any, _held: bool, t: Translator, _program: ProgramDefinition) -> str:
    name = t.locale.days["format"]["wide"][WEEKDAYS.index(found)]
    return t.gettext("bought on %(weekday)s", weekday=name)


def _time(found: Any, _held: bool, t: Translator, _program: ProgramDefinition) -> str:
    return t.gettext("bought at %(time)s", time=found)


def _dates(found: Any, _held: bool, t: Translator, _program: ProgramDefinition) -> str:
    return t.gettext("bought on %(date)s", date=t.date(date.fromisoformat(found)))


def _nth(found: Any, _held: bool, t: Translator, _program: ProgramDefinition) -> str:
    return t.gettext("purchase number %(number)s", number=t.number(found))


def _payment(found: Any, _held: bool, t: Translator, _program: ProgramDefinition) -> str:
    if found is None:
        return t.gettext("the till did not say how it was paid")
    return t.gettext("paid by %(payment)s", payment=found)


_REASONS: Final[Mapping[str, Callable[[Any, bool, Translator, ProgramDefinition], str]]] = {
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


def _validity(compared: Mapping[str, Any], t: Translator) -> str:
    bound = datetime.fromisoformat(compared["wanted"])
    moment = f"{t.date(bound.date())} {bound:%H:%M}"
    if compared["condition"] == "starts_at":
        return t.gettext("it holds from %(moment)s", moment=moment)
    return t.gettext("it ended at %(moment)s", moment=moment)


def _amount(compared: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> str:
    condition, found, wanted = compared["condition"], compared["found"], compared["wanted"]
    if condition == "tenure_days_min":
        told = t.ngettext("a member for %(num)s day", "a member for %(num)s days", max(found or 0, 0))
        wants = t.gettext("at least %(number)s", number=t.number(wanted))
    elif condition == "quantity_min":
        known = t.gettext("another quantity") if found is None else None
        told = known or t.gettext("quantity %(quantity)s", quantity=_number(t, found))
        wants = t.gettext("at least %(number)s", number=_number(t, wanted))
    elif condition == "margin_percent":
        if found is None:
            return t.gettext("the margin is not known")
        told = t.gettext("margin %(percent)s %%", percent=_number(t, found))
        wants = _range({word: f"{_number(t, bound)} %" for word, bound in wanted.items()}, t)
    else:
        told = _money(condition, found, t, program)
        wants = _money_range(wanted, t, program)
    return told if compared["held"] else t.gettext("%(found)s, not %(wanted)s", found=told, wanted=wants)


def _money(condition: str, found: Any, t: Translator, program: ProgramDefinition) -> str:
    if found is None:
        return t.gettext("another price")
    amount = t.money(found, program.currency)
    if condition == "receipt_total_minor":
        return t.gettext("the receipt comes to %(amount)s", amount=amount)
    return t.gettext("price %(amount)s", amount=amount)


def _money_range(wanted: Mapping[str, int], t: Translator, program: ProgramDefinition) -> str:
    return _range({word: t.money(amount, program.currency) for word, amount in wanted.items()}, t)


def _range(bounds: Mapping[str, str], t: Translator) -> str:
    if "to" not in bounds:
        return t.gettext("%(least)s or more", least=bounds["from"])
    if "from" not in bounds:
        return t.gettext("less than %(limit)s", limit=bounds["to"])
    return t.gettext("from %(least)s to less than %(limit)s", least=bounds["from"], limit=bounds["to"])


def _outlet_name(code: str, t: Translator, program: ProgramDefinition) -> str:
    known = program.outlets.get(code) or program.closed_outlets.get(code)
    return code if known is None else localized(known.section.name, t.language, program.languages)


def _tier_name(code: str, t: Translator, program: ProgramDefinition) -> str:
    level = program.level(code)
    return code if level is None else localized(level.name, t.language, program.languages)


def _number(t: Translator, text: str) -> str:
    """An exact number of the trace for a reader; one without an end, such as 10/3, to three decimals."""
    whole, _, parts = text.partition("/")
    return t.number(Decimal(whole) / Decimal(parts) if parts else Decimal(text))
