"""Differences between program files, in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.factories import CAFE
from wallet_server.programs.diff import changes
from wallet_server.programs.file import ProgramFile

SEGMENT = {"code": "s", "name": "S", "when": {"tiers": ["silver"]}}


def cafe(path: str = "", value: Any = None) -> ProgramFile:
    """The café, with the value at a path (``challenges.0.target``) set, or taken out where it is None."""
    content: Any = copy.deepcopy({**CAFE, "segments": [SEGMENT]})
    if path:
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        target = content
        for step in steps:
            target = target[step]
        if value is None:
            del target[last]
        elif isinstance(target, list) and last == len(target):
            target.append(value)
        else:
            target[last] = value
    return ProgramFile.model_validate(content)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("program.points.base_percent", "2.5", "program: points.base_percent 1 → 2.5"),
        ("program.name.en", "Cafe", "program: name.en Cafe Ohrid → Cafe"),
        ("program.languages", ["en", "mk"], "program: languages mk, en, ru → en, mk"),
        ("program.country", None, "program: country MK → none"),
        ("outlets.2", {"code": "C", "name": "C"}, "outlet C added"),
        ("outlets.1", None, "outlet B closed"),
        ("outlets.0.receipt_max_percent", 50, "outlet A: receipt_max_percent none → 50"),
        ("outlets.0.latitude", "41.12", "outlet A: latitude 41.11 → 41.12"),
        ("catalog.categories.3", {"code": "tea", "parent": "drinks"}, "category tea added"),
        ("catalog.products.0.price_minor", 1, "product cappuccino: price_minor 30000 → 1"),
        ("catalog.products.2", None, "product dinner removed"),
        ("tiers.levels.1.reach", {"any": [{"purchases": 3}]},
         'tier silver: reach.any [{"spend_minor":1000000},{"purchases":10}] → [{"purchases":3}]'),
        ("tiers.levels.2", {"code": "gold", "name": "G", "reach": {"all": [{"purchases": 30}]}}, "tier gold added"),
        ("challenges.0.target", 4, "challenge dinner: target 3 → 4"),
        ("challenges.0.filter", {"outlets": ["A"]}, "challenge dinner: filter.outlets none → A"),
        ("challenges.0.reward", {"points": 5},
         'challenge dinner: reward.voucher {"kind":"free_product","sku":"dinner","valid_days":30} → none'),
        ("challenges.0", None, "challenge dinner removed"),
        ("segments.0.when", {}, "segment s: when.tiers silver → none"),
        ("segments.0", None, "segment s left the file; its saved segment stays"),
        ("pass.background", "#000000", "pass: background #1f3a5f → #000000"),
    ],
)  # fmt: skip
def test_each_change_is_said_and_nothing_else(path: str, value: Any, said: str) -> None:
    found = changes(cafe(), cafe(path, value))
    assert found[0] == said
    assert len(found) == (2 if "reward" in path else 1)
    assert changes(cafe(path, value), cafe(path, value)) == ()
    assert changes(cafe(path, value), cafe()) != ()


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


def test_many_products_are_counted() -> None:
    content = copy.deepcopy(dict(CAFE))
    content["catalog"]["products"][0]["price_minor"] = 1
    content["catalog"]["products"] += [{"sku": f"p{number}"} for number in range(25)]
    assert changes(ProgramFile.model_validate(CAFE), ProgramFile.model_validate(content)) == (
        "products: 25 added, 1 changed",
    )


def test_a_long_value_is_cut() -> None:
    [said] = changes(cafe(), cafe("program.name.en", "x" * 400))
    assert len(said) < 140
