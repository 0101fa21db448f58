"""Random programs, members and receipts: the engine says what the naive one of naive.py says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import CAFE
from tests.unit.rules import naive
from tests.unit.rules.programs import definition
from wallet_server.rules.engine import Line, MemberFacts, Receipt, quote

CARDS = ("1111", "2222")
ZONES = {"A": "Europe/Skopje", "B": "America/New_York"}
CATEGORIES = {"coffee": ("coffee", "drinks"), "drinks": ("drinks",), "cake": ("cake", "food"), "new": ("new",)}
START = datetime(2026, 11, 22, tzinfo=UTC)
DAY = st.dates(date(2026, 11, 20), date(2026, 12, 4)).map(date.isoformat)
YEAR_DAY = st.sampled_from(["02-28", "02-29", "03-01", "03-08", "11-24", "11-30", "12-01", "12-31", "01-01"])
CLOCK = st.sampled_from(["00:00", "02:00", "11:30", "12:00", "16:00", "18:00", "22:00", "23:59"])
PERCENT = st.sampled_from(["0", "0.5", "1", "2", "3", "5", "7.25", "20", "100"])
AMOUNT = st.sampled_from([0, 1, 999, 1000, 5000, 20_000])


def subset(values: Any) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(list(values)), min_size=1, max_size=3, unique=True)


def limits(amounts: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    both = st.tuples(amounts, amounts).filter(lambda pair: pair[0] < pair[1])
    return (
        amounts.map(lambda amount: {"from": amount})
        | amounts.filter(bool).map(lambda amount: {"to": amount})
        | both.map(lambda pair: {"from": pair[0], "to": pair[1]})
    )


ONCE = st.tuples(DAY, DAY).map(lambda days: {"from": min(days), "to": max(days)})
YEARLY = st.tuples(YEAR_DAY, YEAR_DAY).map(lambda days: {"from": days[0], "to": days[1], "yearly": True})
CONDITIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "customer": {
        "members": subset(CARDS),
        "tiers": subset(["base", "silver"]),
        "segments": subset(["quiet", "loyal"]),
        "tags": subset(["vip", "press"]),
        "tenure_days_min": st.sampled_from([1, 2, 30]),
        "birthday_within_days": st.sampled_from([0, 1, 7]),
    },
    "product": {
        "skus": subset(["a", "b", "c"]),
        "categories": subset(["coffee", "drinks", "food", "cake", "new"]),
        "quantity_min": st.sampled_from(["0.5", "1", "2", "2.001"]),
        "unit_price_minor": limits(AMOUNT),
        "margin_percent": st.sampled_from(
            [{"from": "40"}, {"to": "40"}, {"from": "-50", "to": "0"}, {"from": "0", "to": "33.4"}]
        ),
    },
    "behavior": {
        "weekdays": subset(naive.DAYS),
        "time": st.tuples(CLOCK, CLOCK)
        .filter(lambda pair: pair[0] != pair[1])
        .map(lambda pair: {"from": pair[0], "to": pair[1]}),
        "dates": st.lists(ONCE, min_size=1, max_size=2)
        | st.lists(YEARLY, min_size=1, max_size=2)
        | st.tuples(ONCE, YEARLY).map(list),
        "receipt_total_minor": limits(AMOUNT),
        "nth_purchase": st.sampled_from([1, 2, 3]),
        "payment_types": subset(["card", "cash"]),
    },
}
EARN = (
    st.sampled_from(["multiply", "percent", "fixed_percent", "max_percent"]).flatmap(
        lambda name: PERCENT.map(lambda value: {name: value})
    )
    | st.sampled_from([1, 5, 30]).map(lambda n: {"fixed_points": n})
    | st.sampled_from([0, 1, 7, 40]).map(lambda n: {"max_points": n})
    | st.just({"none": True})
    | st.sampled_from(["2.5", "10", "33.3"]).map(lambda value: {"discount_percent": value})
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    family = draw(st.sampled_from(naive.FAMILIES))
    # Few conditions, so that rules of a family often meet.
    count = draw(st.sampled_from([0, 0, 1, 1, 2]))
    offered = {**CONDITIONS[family]}
    if family == "product":
        # It may also say for whom and when.
        offered |= CONDITIONS["customer"] | CONDITIONS["behavior"]
    names = draw(st.permutations(list(offered)))[:count]
    rule: dict[str, Any] = {
        "family": family,
        "when": {name: draw(offered[name]) for name in names},
        "priority": draw(st.sampled_from([0, 0, 0, 1, -1])),
    }
    if draw(st.integers(0, 3)) == 0:
        rule["outlets"] = draw(subset(ZONES))
    if draw(st.integers(0, 3)) == 0:
        bounds = sorted(draw(st.lists(DAY, min_size=2, max_size=2, unique=True)))
        offset = draw(st.sampled_from(["", "+01:00"]))
        keys = draw(st.sampled_from([("starts_at",), ("ends_at",), ("starts_at", "ends_at")]))
        given_ = {"starts_at": bounds[0], "ends_at": bounds[1]}
        rule.update({key: f"{given_[key]}T00:00:00{offset}" for key in keys})
    what = draw(st.sampled_from(["earn", "earn", "earn", "redeem", "both"]))
    if what != "redeem":
        rule["earn"] = draw(EARN)
        if family == "product" and "fixed_points" in rule["earn"] and draw(st.booleans()):
            rule["earn"] = {"fixed_points": "0.5"}
    if what != "earn":
        limit = draw(st.sampled_from(["max_percent", "receipt_max_percent"])) if family == "behavior" else "max_percent"
        rule["redeem"] = {limit: draw(st.sampled_from(["0", "12.5", "30", "50", "99.5"]))}
    return rule


@st.composite
def validities(draw: st.DrawFn) -> dict[str, str]:
    days = sorted(draw(st.lists(DAY, min_size=3, max_size=3, unique=True)))
    offset = draw(st.sampled_from(["", "+01:00"]))
    every = dict(zip(("starts_at", "ends_at", "redeem_until"), days, strict=True))
    names = draw(
        st.sampled_from([("starts_at",), ("ends_at",), ("ends_at", "redeem_until"), ("starts_at", "ends_at"), every])
    )
    return {name: f"{every[name]}T12:00:00{offset}" for name in names}


LINE = st.builds(
    naive.Bought,
    quantity=st.sampled_from(["1", "1", "2", "0.5", "2.001", "1.333"]).map(Fraction),
    price=AMOUNT | st.integers(0, 100_000),
    sku=st.sampled_from([None, "a", "b", "c"]),
    categories=st.sampled_from([(), *CATEGORIES.values()]),
    cost=st.sampled_from([None, None, 0, 600, 3000, 5000, 7500]),
)
MOMENT = st.integers(0, 11 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes)) | st.sampled_from(
    # Around local midnights and the ends of windows, in Skopje and in New York, and around leap days.
    [
        datetime(2026, 11, 27, 23, 0, tzinfo=UTC),
        datetime(2026, 11, 28, 1, 0, tzinfo=UTC),
        datetime(2026, 11, 30, 23, 30, tzinfo=UTC),
        datetime(2026, 12, 31, 22, 59, tzinfo=UTC),
        datetime(2027, 1, 1, 0, 30, tzinfo=UTC),
        datetime(2027, 3, 1, 0, 30, tzinfo=UTC),
        datetime(2028, 2, 29, 12, 0, tzinfo=UTC),
    ]
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    written=st.lists(rules(), max_size=8),
    lines=st.lists(LINE, min_size=1, max_size=5),
    outlet=st.sampled_from(list(ZONES)),
    at=MOMENT,
    payment=st.sampled_from([None, "card", "cash"]),
    member=st.builds(
        naive.Somebody,
        spendable=st.integers(0, 3000),
        carried=st.fractions(min_value=0, max_value=Fraction(99, 100), max_denominator=1000),
        tier=st.sampled_from(["base", "silver"]),
        purchases=st.integers(0, 2),
        joined_at=st.integers(-40 * 24, 20 * 24).map(lambda hours: START + timedelta(hours=hours)),
        birthday=st.none() | st.sampled_from([date(2000, 2, 29), date(1990, 11, 24), date(1990, 12, 31)]),
        card=st.sampled_from(CARDS),
        segments=st.frozensets(st.sampled_from(["quiet", "loyal"])),
        tags=st.frozensets(st.sampled_from(["vip", "press", "other"])),
    ),
    points=st.fixed_dictionaries(
        {
            "base_percent": st.sampled_from(["1", "3", "0.7", "100"]),
            "base_redeem_percent": st.sampled_from(["100", "50"]),
            "point_value_minor": st.sampled_from([1, 7, 100]),
            "rounding": st.sampled_from(["down", "half_up", "up"]),
            "carry_fraction": st.booleans(),
            "earn_on_points_part": st.booleans(),
            "min_points": st.sampled_from([0, 0, 5]),
        }
    ),
    tier_effects=st.none() | EARN.filter(lambda earn: "fixed_points" not in earn),
    outlet_limit=st.none() | st.sampled_from(["40", "80"]),
    wanted=st.just("max") | st.integers(0, 3000),
    validity=st.none() | validities(),
)
def test_the_engine_says_what_the_page_says(
    written, lines, outlet, at, payment, member, points, tier_effects, outlet_limit, wanted, validity
) -> None:
    named = [{"name": f"rule {place}", **rule} for place, rule in enumerate(written)]
    silver = {"code": "silver", "name": "Silver", "reach": {"any": [{"purchases": 9}]}}
    program = definition(
        points,
        rules=named,
        program={**CAFE["program"], "points": points, **({"validity": validity} if validity else {})},
        outlets=[
            {
                "code": code,
                "name": code,
                "time_zone": zone,
                **({"receipt_max_percent": outlet_limit} if outlet_limit else {}),
            }
            for code, zone in ZONES.items()
        ],
        tiers={
            "levels": [{"code": "base", "name": "B"}, {**silver, **({"earn": tier_effects} if tier_effects else {})}]
        },
        segments=[{"code": code, "name": code, "when": {}} for code in ("quiet", "loyal")],
    )
    ticket = naive.Ticket(outlet, ZONES[outlet], at, payment, lines)
    of_tier = {"family": "customer", "when": {"tiers": ["silver"]}, "earn": tier_effects}
    expected = naive.quote(
        points,
        [*named, *([of_tier] if tier_effects else [])],
        ticket,
        member,
        wanted,
        None if outlet_limit is None else Fraction(outlet_limit),
        validity,
    )
    receipt = Receipt(
        outlet,
        # A till may send any offset.
        at if payment is None else at.astimezone(timezone(timedelta(hours=-9))),
        tuple(
            Line(place, int(line.quantity * 1000), line.price, line.sku, line.categories, line.cost)
            for place, line in enumerate(lines, start=1)
        ),
        payment,
    )
    facts = MemberFacts(
        UUID(int=1),
        member.spendable,
        member.carried,
        member.tier,
        member.purchases,
        member.joined_at,
        member.birthday,
        frozenset({member.card}),
        member.segments,
        member.tags,
    )
    points_wanted = wanted if wanted == "max" else min(wanted, expected.redeemable)
    if points_wanted != "max" and points_wanted < points["min_points"]:
        points_wanted = 0
    made = quote(program, receipt, facts, points_wanted)

    assert [line.discount_minor for line in made.lines] == expected.discounts
    assert [line.earn_percent for line in made.lines] == expected.percents
    assert [line.redeem_percent for line in made.lines] == expected.redeem
    assert made.redeemable_points == expected.redeemable
    assert [line.paid_with_points_minor for line in made.lines] == expected.paid
    assert [line.points_earned for line in made.lines] == expected.points
    assert made.receipt_points == expected.of_receipt
    assert made.points_earned == sum(expected.points) + expected.of_receipt
    assert made.carried == expected.carried
    assert made.money_due_minor == made.total_minor - made.discount_minor - sum(expected.paid)
    running = all(step["kind"] != "validity" for step in made.trace)
    assert (made.carried, made.points_earned) == (member.carried, 0) or running
    # The trace names exactly the rules that hold, each once for the receipt or for its line.
    told = {(step["rule"], step["line"]) for step in made.trace if step["kind"] == "rule" and step["matched"]}
    assert told == {
        (rule["name"], place if rule["family"] == "product" else None)
        for rule in named
        for place, line in enumerate(lines, start=1)
        if naive.holds(rule, ticket, line, member)
        and (running or ("redeem" in rule and any(step["rule"] == "base_redeem_percent" for step in made.trace)))
    }
