"""Who would move under another table: counted without changing anything, and then it happens so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from tests.services.tiers.test_tiers import levels, open_table, review_all, tick
from wallet_server.db import reading, transaction
from wallet_server.programs.tiers import Tiers
from wallet_server.tiers.models import MemberTier
from wallet_server.tiers.preview import Move, Preview, preview
from wallet_server.tiers.queries import members_by_tier
from wallet_server.tiers.services import protect_tier


def looked(shop: Shop, table: dict[str, Any], limit: int = 100) -> Preview:
    with reading(shop.engine, shop.program.id) as session:
        return preview(session, shop.program, Tiers.model_validate(table), NOW, limit=limit)


def busy_shop(engine: Engine) -> Shop:
    """Members with 0, 1, 2 and 3 purchases; two make level1."""
    shop = open_shop(engine, members=4, tiers=levels(None, {"any": [{"purchases": 2}]}))
    for number, member in enumerate(shop.members):
        if number:
            shop.record(*(purchase(member.card_number, f"{number}-{item}") for item in range(number)))
    return shop


def test_up_down_and_the_same_with_examples(engine: Engine) -> None:
    shop = busy_shop(engine)
    ids = [member.member_id for member in shop.members]
    with transaction(engine, shop.program.id) as session:
        protect_tier(session, shop.program, ids[2], until=NOW + timedelta(days=9), actor="a", now=NOW)
    table = levels(None, {"any": [{"purchases": 3}]}, {"any": [{"purchases": 3}]}, grace=5)
    found = looked(shop, table)
    assert (found.up, found.down, found.same, found.members, found.whole) == (1, 1, 2, 4, True)
    assert found.moves == (
        Move("level1", "level2", rises=True, members=1, protected=0, examples=(ids[3],)),
        Move("level1", "level0", rises=False, members=1, protected=1, examples=(ids[2],)),
    )
    with reading(engine, shop.program.id) as session:
        assert members_by_tier(session, shop.program) == {"level0": 2, "level1": 2}
    changed = open_table(shop, table)
    review_all(changed, NOW)
    tick(changed, NOW + timedelta(days=10))
    with reading(engine, shop.program.id) as session:
        assert members_by_tier(session, changed.program) == {"level0": 3, "level2": 1}


def test_a_level_that_would_be_gone_is_left_up_or_down(engine: Engine) -> None:
    shop = busy_shop(engine)
    found = looked(shop, {"levels": [levels(None)["levels"][0]]})
    assert (found.up, found.down, found.same) == (0, 2, 2)
    assert [(move.from_tier, move.to_tier) for move in found.moves] == [("level1", "level0")]
    assert looked(shop, {"levels": []}) == Preview(0, 0, 0, (), 0, whole=True)


def test_members_without_a_tier_would_get_one(engine: Engine) -> None:
    shop = open_shop(engine, members=2, tiers={"levels": []})
    found = looked(shop, levels(None))
    assert [(move.from_tier, move.to_tier, move.members, move.rises) for move in found.moves] == [
        (None, "level0", 2, True)
    ]
    review_all(open_table(shop, levels(None)), NOW)
    with reading(engine, shop.program.id) as session:
        rows = session.exec(select(MemberTier)).all()
    assert [row.tier for row in rows] == ["level0", "level0"]


def test_a_look_at_some_of_many_says_so(engine: Engine) -> None:
    shop = busy_shop(engine)
    found = looked(shop, levels(None, {"any": [{"purchases": 3}]}), limit=2)
    assert (found.members, found.whole, found.down) == (2, False, 1)
