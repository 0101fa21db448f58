"""A tier for some days as the reward of a challenge."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import open_shop, purchase
from tests.services.tiers.test_tiers import held, levels, steps, tick
from wallet_server.programs.file import ProgramFile

TRY_OUT = {
    "code": "try-out",
    "name": {"en": "Try the top"},
    "metric": "purchases",
    "target": 2,
    "repeat": "once",
    "reward": {"tier": {"code": "level2", "days": 14}},
}
TABLE = levels(None, {"any": [{"purchases": 3}]}, {"any": [{"purchases": 99}]}, grace=5)


def test_a_challenge_gives_a_tier_for_some_days(engine: Engine) -> None:
    shop = open_shop(engine, tiers=TABLE, challenges=[TRY_OUT], **{"pass": {}})
    [first, second] = shop.record(purchase(shop.card, "1"), purchase(shop.card, "2"))
    assert (first.rewards, second.tier) == ((), "level2")
    [won] = second.rewards
    until = NOW + timedelta(days=14)
    assert (won.kind, won.tier, won.tier_until) == ("tier", "level2", until)
    [third] = shop.record(purchase(shop.card, "3"))
    assert third.tier == "level2"
    tick(shop, until - timedelta(seconds=1))
    assert held(shop).tier == "level2"
    tick(shop, until)
    assert steps(shop) == [("level0", "level2", "granted"), ("level2", "level1", "ended")]


def test_a_reward_of_a_level_that_is_not_there_is_refused() -> None:
    challenge = {**TRY_OUT, "reward": {"tier": {"code": "gold", "days": 14}}}
    with pytest.raises(ValidationError, match="'gold' is not defined in this file"):
        ProgramFile.model_validate(program_file(challenges=[challenge], **{"pass": {}}))
