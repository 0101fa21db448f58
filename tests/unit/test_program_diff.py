"""Differences between program files, in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.factories import CAFE, edited
from wallet_server.programs.diff import changes
from wallet_server.programs.file import ProgramFile

SEGMENT = {"code": "s", "name": "S", "when": {"tiers": ["silver"]}}


def cafe(path: str = "", value: Any = None) -> ProgramFile:
    """The café, with the value at a path (``challenges.0.target``) set, or taken out where it is None."""
    return ProgramFile.model_validate(edited({**CAFE, "segments": [SEGMENT]}, path, value))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("program.points.base_percent", "2.5", "program: points.base_percent 1 → 2.5"),
        ("program.name.en", "Cafe", "program: name.en Cafe Ohrid → Cafe"),
        ("program.languages", ["en", "mk"], "program: languages mk, en, ru → en, mk"),
        ("program.country", None, "program: country MK → none"),
        ("program.points.expiry", {"kind": "rolling_days", "days": 365},
         "program: points.expiry none → rolling_days, days 365"),
        ("program.points.pending_days", 14, "program: points.pending_days 0 → 14"),
        ("program.points.earn_on_points_part", True, "program: points.earn_on_points_part no → yes"),
        ("program.points.adjustments", {"manager": 5}, "program: points.adjustments.manager 10000 → 5"),
        ("program.points.zeroing", [{"name": "Year", "month": 12, "day": 31, "carry_over": {"max_points": 100}}],
         "zeroing Year added: month 12, day 31, carry_over max_points 100"),
        ("program.validity", {"ends_at": "2027-01-01T00:00:00"},
         "program: validity none → ends_at 2027-01-01T00:00:00"),
        ("outlets.2", {"code": "C", "name": "C"}, "outlet C added"),
        ("outlets.2", {"code": "C", "name": "C", "partner": {"company": "Books Ltd", "settlement_percent": 90}},
         "outlet C added: partner company Books Ltd, settlement_percent 90"),
        ("outlets.0.partner", {"company": "Books Ltd", "settlement_percent": "79.5"},
         "outlet A: partner none → company Books Ltd, settlement_percent 79.5"),
        ("outlets.1", None, "outlet B closed"),
        ("outlets.0.receipt_max_percent", 50, "outlet A: receipt_max_percent none → 50"),
        ("outlets.0.latitude", "41.12", "outlet A: latitude 41.11 → 41.12"),
        ("catalog.categories.3", {"code": "tea", "parent": "drinks"}, "category tea added"),
        ("catalog.products.0.price_minor", 1, "product cappuccino: price_minor 30000 → 1"),
        ("catalog.products.2", None, "product dinner removed"),
        ("tiers.levels.1.reach", {"any": [{"purchases": 3}]},
         "tier silver: reach any spend_minor 1000000; purchases 10 → any purchases 3"),
        ("tiers.levels.2", {"code": "gold", "name": "G", "reach": {"all": [{"purchases": 30}]}, "earn": {"percent": 5}},
         "tier gold added: reach all purchases 30, earn percent 5"),
        ("challenges.0.target", 4, "challenge dinner: target 3 → 4"),
        ("challenges.0.filter", {"outlets": ["A"]}, "challenge dinner: filter.outlets none → A"),
        ("challenges.0.reward", {"points": 5},
         "challenge dinner: reward voucher free_product, sku dinner, valid_days 30 → points 5"),
        ("challenges.0", None, "challenge dinner removed"),
        ("segments.0.when", {}, "segment s: when.tiers silver → none"),
        ("segments.0", None, "segment s left the file; its saved segment stays"),
        ("pass.background", "#000000", "pass: background #1f3a5f → #000000"),
        ("notifications", {"quiet_hours": {"from": "21:00", "to": "09:00"}},
         "notifications: quiet_hours none → from 21:00 to 09:00"),
        ("notifications", {"promotions_per_week": 3}, "notifications: promotions_per_week none → 3"),
    ],
)  # fmt: skip
def test_each_change_is_said_and_nothing_else(path: str, value: Any, said: str) -> None:
    found = changes(cafe(), cafe(path, value))
    assert found == (said,)
    assert changes(cafe(path, value), cafe(path, value)) == ()
    assert changes(cafe(path, value), cafe()) != ()


RULE: dict[str, Any] = {
    "name": "Happy hour",
    "family": "behavior",
    "when": {
        "time": {"from": "16:00", "to": "18:00"},
        "weekdays": ["mon", "tue"],
        "dates": [{"from": "03-08", "yearly": True}, {"from": "2026-12-20", "to": "2026-12-31"}],
        "receipt_total_minor": {"from": 200000},
    },
    "earn": {"multiply": 3},
}


def with_rules(*rules: dict[str, Any]) -> ProgramFile:
    return ProgramFile.model_validate({**CAFE, "rules": list(rules)})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("when.time.to", "19:00", "when.time from 16:00 to 18:00 → from 16:00 to 19:00"),
        ("when.weekdays", ["mon"], "when.weekdays mon, tue → mon"),
        ("when.dates", [{"from": "03-08", "yearly": True}],
         "when.dates from 03-08 each year; from 2026-12-20 to 2026-12-31 → from 03-08 each year"),
        ("when.receipt_total_minor", {"from": 300000, "to": 400000},
         "when.receipt_total_minor.from 200000 → 300000"),
        ("when.nth_purchase", 5, "when.nth_purchase none → 5"),
        ("earn", {"fixed_points": 10}, "earn multiply 3 → fixed_points 10"),
        ("redeem", {"receipt_max_percent": 50}, "redeem none → receipt_max_percent 50"),
        ("outlets", ["A"], "outlets none → A"),
        ("priority", 5, "priority 0 → 5"),
        ("ends_at", "2027-01-01T00:00:00", "ends_at none → 2027-01-01T00:00:00"),
    ],
)  # fmt: skip
def test_each_part_of_a_rule_is_said(path: str, value: Any, said: str) -> None:
    found = changes(with_rules(RULE), with_rules(edited(RULE, path, value)))
    assert found[0] == f"rule Happy hour: {said}"


def test_a_new_rule_says_what_it_does() -> None:
    assert changes(with_rules(), with_rules(RULE)) == (
        (
            "rule Happy hour added: behavior rule, when weekdays mon, tue, time from 16:00 to 18:00, dates from 03-08 "
            "each year; from 2026-12-20 to 2026-12-31, receipt_total_minor from 200000: earn multiply 3"
        ),
    )
    always = {"name": "All", "family": "customer", "earn": {"percent": 5}, "redeem": {"max_percent": 50}, "priority": 2}
    assert changes(with_rules(), with_rules({**always, "outlets": ["B"]})) == (
        "rule All added: customer rule, when outlets B: earn percent 5, redeem max_percent 50, priority 2",
    )
    assert changes(with_rules(), with_rules(always))[0].startswith("rule All added: customer rule, always: earn")
    assert changes(with_rules(RULE), with_rules()) == ("rule Happy hour removed",)


def test_of_a_long_list_only_what_came_and_went_is_said() -> None:
    def cards(*numbers: int) -> ProgramFile:
        names = [str(number) for number in numbers]
        return with_rules({"name": "R", "family": "customer", "when": {"members": names}, "earn": {"multiply": 2}})

    many = range(100)
    assert changes(cards(*many), cards(*many, 200)) == ("rule R: when.members with 200",)
    assert changes(cards(*many), cards(*many[2:], 200, 201)) == ("rule R: when.members with 200, 201; without 0, 1",)
    [said] = changes(cards(*many), cards(*many[1:], many[0]))
    assert said.startswith("rule R: when.members 0, 1, 2"), "another order is another file"


def test_zeroing_is_said_by_name() -> None:
    def zeroing(*rules: dict[str, Any]) -> ProgramFile:
        points = {**CAFE["program"]["points"], "zeroing": list(rules)}
        return ProgramFile.model_validate({**CAFE, "program": {**CAFE["program"], "points": points}})

    year, month = {"name": "Year", "month": 12, "day": 31}, {"name": "Month", "day": 1, "inactive_days": 90}
    assert changes(zeroing(year, month), zeroing({**year, "day": 30})) == (
        "zeroing Year: day 31 → 30",
        "zeroing Month removed",
    )
    assert changes(zeroing(year), zeroing({**year, "carry_over": {"percent": 50}})) == (
        "zeroing Year: carry_over none → percent 50",
    )


def test_the_order_of_tiers_means_something_that_of_products_does_not() -> None:
    content = copy.deepcopy(dict(CAFE))
    content["catalog"]["products"].reverse()
    assert changes(ProgramFile.model_validate(CAFE), ProgramFile.model_validate(content)) == ()
    content["challenges"].reverse()
    assert changes(ProgramFile.model_validate(CAFE), ProgramFile.model_validate(content)) == (
        "challenges: order dinner, burgers → burgers, dinner",
    )


def test_an_outlet_that_was_closed_is_opened_again() -> None:
    without = cafe("outlets.1")
    assert changes(without, cafe(), closed={"B"}) == ("outlet B opened again",)
    assert changes(without, cafe(), closed={"Z"}) == ("outlet B added",)
    partner = cafe("outlets.1.partner", {"company": "Books Ltd", "settlement_percent": 90})
    assert changes(without, partner, closed={"B"}) == (
        "outlet B opened again: partner company Books Ltd, settlement_percent 90",
    )


def test_many_products_are_counted() -> None:
    content = copy.deepcopy(dict(CAFE))
    content["catalog"]["products"][0]["price_minor"] = 1
    content["catalog"]["products"] += [{"sku": f"p{number}"} for number in range(25)]
    assert changes(ProgramFile.model_validate(CAFE), ProgramFile.model_validate(content)) == (
        "products: 25 added, 1 changed",
    )


def test_a_long_value_is_cut() -> None:
    [said] = changes(cafe(), cafe("program.name.en", "x" * 400))
    assert len(said) < 280
