"""Which level is reached: any or all of the thresholds, and what is never taken by a purchase."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import NOW
from tests.unit.rules.programs import definition
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.levels import Standing, decide, falls_on, reached
from wallet_server.tiers.table import Counts, tier_table

TODAY = date(2026, 11, 23)


def program(*reaches: dict[str, Any] | None, window: dict[str, Any] | None = None) -> ProgramDefinition:
    levels = [
        {"code": f"level{number}", "name": "x", **({"reach": reach} if reach else {})}
        for number, reach in enumerate(reaches)
    ]
    return definition(tiers={"window": window or {"kind": "lifetime"}, "levels": levels})


@pytest.mark.parametrize(
    ("spend", "purchases", "level"),
    [(0, 0, 0), (999, 9, 0), (1000, 0, 1), (0, 10, 1), (5000, 10, 2)],
)
def test_any_or_all_of_the_thresholds(spend: int, purchases: int, level: int) -> None:
    table = tier_table(
        program(
            None,
            {"any": [{"spend_minor": 1000}, {"purchases": 10}]},
            {"all": [{"spend_minor": 5000}, {"purchases": 10}]},
        )
    )
    assert reached(table, Standing(spend_minor=spend, purchases=purchases), TODAY) == level


def test_a_higher_level_is_reached_past_a_lower_one_that_is_not() -> None:
    table = tier_table(program(None, {"any": [{"purchases": 100}]}, {"any": [{"spend_minor": 1}]}))
    assert reached(table, Standing(spend_minor=1), TODAY) == 2


@pytest.mark.parametrize(
    ("goal", "standing"),
    [
        ({"visits": 3}, Standing(visits=3)),
        ({"points_earned": 3}, Standing(points_earned=3)),
        ({"tenure_days": 3}, Standing(joined_at=datetime(2026, 11, 20, 22, 59, tzinfo=UTC))),
        ({"bought": {"quantity": 3, "skus": ["x"]}}, Standing(counts=(Counts(bought=(3000,)),))),
    ],
)
def test_each_kind_of_threshold(goal: dict[str, Any], standing: Standing) -> None:
    assert reached(tier_table(program(None, {"any": [goal]})), standing, TODAY) == 1
    [(kind, wanted)] = goal.items()
    more = {**wanted, "quantity": 4} if kind == "bought" else wanted + 1
    assert reached(tier_table(program(None, {"any": [{kind: more}]})), standing, TODAY) == 0


def test_a_program_without_tiers_gives_none() -> None:
    table = tier_table(definition(tiers={"levels": []}))
    assert decide(table, Standing(purchases=5), NOW, "time").tier is None


def test_a_purchase_meets_a_level_of_a_newer_version_and_leaves_it_to_the_clock() -> None:
    made = program(None, {"any": [{"purchases": 1}]})
    standing = Standing(tier="platinum")
    after = standing.after_purchase(made, now=NOW, occurred_at=NOW, business_date=TODAY, spend_minor=1, points_earned=0)
    assert after.tier == "platinum"
    decision = decide(tier_table(made), after, NOW, "event")
    assert (decision.tier, decision.reason, decision.review_at) == ("platinum", None, NOW)
    assert decide(tier_table(made), after, NOW, "time").tier == "level1"


def test_products_are_counted_once_for_equal_sets_and_with_sub_categories() -> None:
    made = program(
        None,
        {"any": [{"bought": {"quantity": 1, "categories": ["drinks"]}}]},
        {"any": [{"bought": {"quantity": 5, "categories": ["drinks"]}}]},
        {"any": [{"bought": {"quantity": 5, "skus": ["burger"]}}]},
    )
    table = tier_table(made)
    assert len(table.sets) == 2
    assert table.bought([("tea", "coffee", 1500), ("burger", "food", 500), (None, None, 9)]) == (1500, 500)


def test_the_day_on_which_a_rolling_level_falls() -> None:
    made = program(None, {"any": [{"purchases": 2}]}, window={"kind": "rolling_days", "days": 30})
    table = tier_table(made)
    days = {TODAY - timedelta(days=10): Counts(1, 1, 1), TODAY - timedelta(days=4): Counts(1, 2, 2)}
    standing = Standing(tier="level1", counts=(Counts(2, 3, 3),))
    assert falls_on(table, standing, days, TODAY, 1) == TODAY + timedelta(days=26)
    assert falls_on(table, standing, days, TODAY, 0) is None


def test_levels_by_age_alone_never_fall() -> None:
    made = program(None, {"any": [{"tenure_days": 5}]}, window={"kind": "calendar_year"})
    standing = Standing(tier="level1", joined_at=NOW - timedelta(days=9), counts=(Counts(), Counts()))
    assert falls_on(tier_table(made), standing, {}, TODAY, 1) is None


def test_a_table_is_made_once() -> None:
    made = program(None, {"any": [{"purchases": 1}]})
    assert tier_table(made) is tier_table(made)
