"""Tiers: reached at once, never lost."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.factories import CAFE
from tests.services.purchases.shop import open_shop, purchase
from wallet_server.db import reading, transaction
from wallet_server.programs.tiers import TierLevel
from wallet_server.tiers.levels import Standing, reached
from wallet_server.tiers.models import MemberTier
from wallet_server.tiers.queries import standings, tiers
from wallet_server.tiers.services import reconsider


def levels(*reaches: dict[str, Any] | None) -> list[TierLevel]:
    return [
        TierLevel.model_validate({"code": f"level{number}", "name": "x", **({"reach": reach} if reach else {})})
        for number, reach in enumerate(reaches)
    ]


@pytest.mark.parametrize(
    ("spend", "purchases", "tier"),
    [(0, 0, "level0"), (999, 9, "level0"), (1000, 0, "level1"), (0, 10, "level1"), (5000, 10, "level2")],
)
def test_any_or_all_of_the_thresholds(spend: int, purchases: int, tier: str) -> None:
    table = levels(
        None,
        {"any": [{"spend_minor": 1000}, {"purchases": 10}]},
        {"all": [{"spend_minor": 5000}, {"purchases": 10}]},
    )
    assert reached(table, Standing(spend_minor=spend, purchases=purchases)) == tier


def test_a_higher_level_is_reached_past_a_lower_one_that_is_not() -> None:
    table = levels(None, {"any": [{"purchases": 100}]}, {"any": [{"spend_minor": 1}]})
    assert reached(table, Standing(spend_minor=1)) == "level2"


def test_a_tier_once_held_stays() -> None:
    table = levels(None, {"any": [{"purchases": 10}]}, {"any": [{"purchases": 20}]})
    assert reached(table, Standing(tier="level1", purchases=0)) == "level1"
    assert reached(table, Standing(tier="level1", purchases=20)) == "level2"


def test_a_tier_that_the_program_has_no_more_is_left() -> None:
    table = levels(None, {"any": [{"purchases": 10}]})
    assert reached(table, Standing(tier="gone", purchases=3)) == "level0"
    assert reached(table, Standing(tier="gone", purchases=10)) == "level1"


def test_a_program_without_tiers_gives_none() -> None:
    assert reached([], Standing(purchases=5)) is None


def test_members_are_reconsidered_from_their_statistics(engine: Engine) -> None:
    shop = open_shop(engine, members=2)
    shop.record(purchase(shop.card, "A-1", 1_000_000))
    ids = [member.member_id for member in shop.members]
    with reading(engine, shop.program.id) as session:
        assert tiers(session, ids) == {ids[0]: "silver", ids[1]: "base"}
        assert standings(session, ids)[ids[0]].spend_minor == 1_000_000
    with transaction(engine, shop.program.id) as session:
        for row in session.exec(select(MemberTier)):
            row.tier = "base"
            session.add(row)
        session.flush()
        assert reconsider(session, shop.program, ids, NOW) == {ids[0]: "silver", ids[1]: "base"}
    with reading(engine, shop.program.id) as session:
        assert tiers(session, ids) == {ids[0]: "silver", ids[1]: "base"}


def test_a_program_without_tiers_has_members_without(engine: Engine) -> None:
    shop = open_shop(engine, tiers={"levels": []})
    [done] = shop.record(purchase(shop.card, "A-1"))
    assert done.tier is None
    with reading(engine, shop.program.id) as session:
        assert session.exec(select(MemberTier)).all() == []


def test_the_cafe_has_the_tiers_that_these_tests_are_about() -> None:
    assert [level["code"] for level in CAFE["tiers"]["levels"]] == ["base", "silver"]
