"""A second bonus engine, written from bonus-processing.md alone: slow, without an index, with fractions only.

It reads rules as plain dictionaries, as they stand in a program file, and shares no code with the engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Rule = Mapping[str, Any]
FAMILIES = ("customer", "product", "behavior")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass
class Bought:
    quantity: Fraction
    price: int
    sku: str | None
    categories: tuple[str, ...]
    cost: int | None = None


@dataclass
class Ticket:
    outlet: str
    zone: str
    at: datetime
    payment: str | None
    lines: list[Bought]


@dataclass
class Somebody:
    spendable: int
    carried: Fraction
    tier: str
    purchases: int
    joined_at: datetime
    birthday: date | None
    card: str
    segments: frozenset[str]
    tags: frozenset[str] = frozenset()


@dataclass
class Answer:
    discounts: list[int]
    percents: list[Fraction]
    redeem: list[Fraction]
    redeemable: int
    paid: list[int]
    points: list[int]
    of_receipt: int
    carried: Fraction


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def number(value: Any) -> Fraction:
    return Fraction(str(value))


def between(limits: Mapping[str, int], amount: int) -> bool:
    return limits.get("from", 0) <= amount and ("to" not in limits or amount < limits["to"])


def margin_between(limits: Mapping[str, Any], line: Bought) -> bool:
    if line.cost is None or not line.price:
        return False
    margin = (1 - Fraction(line.cost, line.price)) * 100
    return margin >= number(limits.get("from", "-1000000")) and ("to" not in limits or margin < number(limits["to"]))


def holds(rule: Rule, ticket: Ticket, line: Bought | None, member: Somebody) -> bool:
    when = rule.get("when", {})
    local = ticket.at.astimezone(ZoneInfo(ticket.zone))
    clock = local.strftime("%H:%M")
    day = local.date()
    if rule.get("outlets") and ticket.outlet not in rule["outlets"]:
        return False
    for key, good in (("starts_at", lambda now, bound: now >= bound), ("ends_at", lambda now, bound: now < bound)):
        if key in rule:
            bound = datetime.fromisoformat(rule[key])
            now = ticket.at if bound.tzinfo else local.replace(tzinfo=None)
            if not good(now, bound):
                return False
    if "time" in when:
        begin, end = when["time"]["from"], when["time"]["to"]
        if begin < end:
            if not begin <= clock < end:
                return False
        elif clock < end:
            day -= timedelta(days=1)  # the window began the day before
        elif clock < begin:
            return False
    facts = {
        "members": lambda wanted: member.card in wanted,
        "tiers": lambda wanted: member.tier in wanted,
        "segments": lambda wanted: any(code in member.segments for code in wanted),
        "tags": lambda wanted: any(tag in member.tags for tag in wanted),
        "tenure_days_min": lambda wanted: (
            (local.date() - member.joined_at.astimezone(local.tzinfo).date()).days >= wanted
        ),
        "birthday_within_days": lambda wanted: (
            member.birthday is not None
            and any(
                is_birthday(local.date() + timedelta(days=off), member.birthday) for off in range(-wanted, wanted + 1)
            )
        ),
        "skus": lambda wanted: line.sku in wanted,
        "categories": lambda wanted: any(code in wanted for code in line.categories),
        "quantity_min": lambda wanted: line.quantity >= number(wanted),
        "unit_price_minor": lambda wanted: between(wanted, line.price),
        "margin_percent": lambda wanted: margin_between(wanted, line),
        "weekdays": lambda wanted: DAYS[day.weekday()] in wanted,
        "time": lambda _wanted: True,
        "dates": lambda wanted: any(in_dates(part, day) for part in wanted),
        "receipt_total_minor": lambda wanted: between(wanted, sum(half_up(x.quantity * x.price) for x in ticket.lines)),
        "nth_purchase": lambda wanted: member.purchases + 1 == wanted,
        "payment_types": lambda wanted: ticket.payment in wanted,
    }
    return all(facts[name](wanted) for name, wanted in when.items())


def is_birthday(day: date, birthday: date) -> bool:
    leap = day.year % 4 == 0 and (day.year % 100 != 0 or day.year % 400 == 0)
    if (birthday.month, birthday.day) == (2, 29) and not leap:
        return (day.month, day.day) == (2, 28)
    return (day.month, day.day) == (birthday.month, birthday.day)


def in_dates(part: Mapping[str, Any], day: date) -> bool:
    first, last = part["from"], part.get("to", part["from"])
    if not part.get("yearly"):
        return first <= day.isoformat() <= last
    today = day.strftime("%m-%d")
    return first <= today <= last if first <= last else today >= first or today <= last


def winner(candidates: Sequence[tuple[int, Fraction, Rule]]) -> Rule | None:
    best: tuple[int, Fraction, Rule] | None = None
    for candidate in candidates:
        if best is None or candidate[:2] > best[:2]:
            best = candidate
    return best[2] if best else None


def effect(rules: Sequence[Rule], name: str, side: str = "earn") -> list[tuple[Rule, Any]]:
    return [(rule, rule[side][name]) for rule in rules if name in rule.get(side, {})]


def percent_of(rules: Sequence[Rule], base: Fraction) -> Fraction:
    if effect(rules, "none"):
        return Fraction(0)
    result, fixed = base, []
    for family in FAMILIES:
        own = [rule for rule in rules if rule["family"] == family]
        choices = []
        for rule in own:
            for name in ("multiply", "percent", "fixed_percent"):
                if name in rule.get("earn", {}):
                    value = number(rule["earn"][name])
                    coefficient = value if name == "multiply" else value / base
                    choices.append((rule.get("priority", 0), coefficient, rule))
        chosen = winner(choices)
        if chosen is None:
            continue
        result *= next(value for _p, value, rule in choices if rule is chosen)
        if "fixed_percent" in chosen["earn"]:
            fixed.append((chosen.get("priority", 0), number(chosen["earn"]["fixed_percent"]), chosen))
    if fixed:
        result = max(entry[:2] for entry in fixed)[1]
    return min([result, *(number(value) for _rule, value in effect(rules, "max_percent"))])


def discount_of(rules: Sequence[Rule], amount: int) -> int:
    found = [(rule.get("priority", 0), number(value), rule) for rule, value in effect(rules, "discount_percent")]
    chosen = winner(found)
    return half_up(amount * number(chosen["earn"]["discount_percent"]) / 100) if chosen else 0


def shared(total: int, exact: Sequence[Fraction], limits: Sequence[int]) -> list[int]:
    parts = [math.floor(share) for share in exact]
    order = sorted(range(len(parts)), key=lambda i: (-(exact[i] - math.floor(exact[i])), i))
    while sum(parts) < total:
        for i in order:
            if sum(parts) < total and parts[i] < limits[i]:
                parts[i] += 1
    return parts


def quote(
    points: Mapping[str, Any],
    rules: Sequence[Rule],
    ticket: Ticket,
    member: Somebody,
    wanted: int | str,
    outlet_limit: Fraction | None = None,
    validity: Mapping[str, str] | None = None,
) -> Answer:
    brings = pays = True
    for key, text in (validity or {}).items():
        bound = datetime.fromisoformat(text)
        now = ticket.at if bound.tzinfo else ticket.at.astimezone(ZoneInfo(ticket.zone)).replace(tzinfo=None)
        brings = brings and (now >= bound if key == "starts_at" else now < bound or key == "redeem_until")
        pays = pays and (now < bound or key == "starts_at" or (key == "ends_at" and "redeem_until" in (validity or {})))
    if not brings:
        # Of the rules, what limits paying is left.
        rules = [{**rule, "earn": {}} for rule in rules if "redeem" in rule]
    value, base = points["point_value_minor"], number(points["base_percent"])
    by_line = [
        [rule for rule in rules if holds(rule, ticket, line if rule["family"] == "product" else None, member)]
        for line in ticket.lines
    ]
    of_receipt = [rule for rule in rules if rule["family"] != "product" and holds(rule, ticket, None, member)]
    amounts = [half_up(line.quantity * line.price) for line in ticket.lines]
    discounts = [discount_of(found, amount) for found, amount in zip(by_line, amounts, strict=True)]
    amounts = [amount - discount for amount, discount in zip(amounts, discounts, strict=True)]

    redeem = [
        min([number(points["base_redeem_percent"]), *(number(v) for _r, v in effect(found, "max_percent", "redeem"))])
        for found in by_line
    ]
    limits = [math.floor(amount * share / 100) for amount, share in zip(amounts, redeem, strict=True)]
    shares = [number(v) for _r, v in effect(of_receipt, "receipt_max_percent", "redeem")]
    shares += [] if outlet_limit is None else [outlet_limit]
    if not pays:
        redeem = [Fraction(0) for _line in redeem]
        limits = [0 for _line in limits]
    payable = min([sum(limits), *(math.floor(sum(amounts) * share / 100) for share in shares)])
    redeemable = min(payable // value, member.spendable)
    if redeemable < points["min_points"]:
        redeemable = 0
    used = redeemable if wanted == "max" else min(int(wanted), redeemable)
    if used < points["min_points"]:
        used = 0
    weights = [amount * share for amount, share in zip(amounts, redeem, strict=True)]
    money = used * value
    paid = shared(money, [money * weight / sum(weights) if money else Fraction(0) for weight in weights], limits)

    percents = [percent_of(found, base) for found in by_line]
    exact = []
    for line, found, amount, part, percent in zip(ticket.lines, by_line, amounts, paid, percents, strict=True):
        earning = amount if points["earn_on_points_part"] else amount - part
        own = sum(
            (number(v) * line.quantity for rule, v in effect(found, "fixed_points") if rule["family"] == "product"),
            Fraction(0),
        )
        exact.append(Fraction(0) if effect(found, "none") else Fraction(earning) / value * percent / 100 + own)
    for rule in rules:
        if "max_points" in rule.get("earn", {}):
            mine = [i for i, found in enumerate(by_line) if rule in found]
            together = sum((exact[i] for i in mine), Fraction(0))
            if together > rule["earn"]["max_points"]:
                for i in mine:
                    exact[i] = exact[i] * rule["earn"]["max_points"] / together
    carry = points["carry_fraction"]
    total = sum(exact, Fraction(0)) + (member.carried if carry else 0)
    if not brings:
        return Answer(
            discounts=discounts,
            percents=[Fraction(0) for _line in ticket.lines],
            redeem=redeem,
            redeemable=redeemable,
            paid=paid,
            points=[0 for _line in ticket.lines],
            of_receipt=0,
            carried=member.carried,
        )
    earned = {"down": math.floor, "half_up": half_up, "up": math.ceil}[points["rounding"]](total)
    earning_lines = [not effect(found, "none") for found in by_line]
    # "The line earns nothing, and nothing can change that": the remainder neither, if there is another line.
    open_to = [earned if earns or not any(earning_lines) else 0 for earns in earning_lines]
    return Answer(
        discounts=discounts,
        percents=percents,
        redeem=redeem,
        redeemable=redeemable,
        paid=paid,
        points=shared(earned, exact, open_to),
        of_receipt=sum(int(number(v)) for rule, v in effect(of_receipt, "fixed_points") if rule["family"] != "product"),
        carried=max(Fraction(0), total - earned) if carry else Fraction(0),
    )
