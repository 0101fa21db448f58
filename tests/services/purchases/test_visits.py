"""Visits without money: what they count for, and what they do not."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import VISITS, assert_sound, open_shop, purchase, statistics
from tests.services.purchases.test_concurrency import TILLS, at_once
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.issuance.models import IssuedPass
from wallet_server.ledger.models import Posting
from wallet_server.members.models import Card
from wallet_server.purchases.models import Purchase, Visit
from wallet_server.purchases.visits import Visited

DAY = timedelta(days=1)
NO_STAMPS: dict[str, Any] = {"pass": {}}
OTHERS = [
    {**VISITS, "code": metric.replace("_", "-"), "metric": metric, "target": 1}
    for metric in ("purchases", "spend_minor", "quantity")
]


def test_a_visit_counts_for_visits_and_for_nothing_else(engine: Engine) -> None:
    shop = open_shop(engine, challenges=[VISITS, *OTHERS], **NO_STAMPS)
    first = shop.visit("V-1", occurred_at=NOW - DAY)
    assert [state.progress for state in first.challenges] == [1, 0, 0, 0]
    assert (first.rewards, first.tier) == ((), "base")
    second = shop.visit("V-2")
    assert [(won.challenge, won.points) for won in second.rewards] == [("two", 40)]
    assert second.balance.spendable == 40
    found = statistics(shop)
    assert (found.visits, found.purchases, found.spend_minor, found.points_earned) == (2, 0, 0, 0)
    assert (found.first_visit_at, found.last_visit_at) == (NOW - DAY, NOW)
    with reading(engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Purchase)).all() == []
        assert session.exec(select(Posting.purchase_id)).all() == [None]
        assert {row.version for row in session.exec(select(IssuedPass))} == {3}
        kept = session.exec(select(Visit).where(Visit.visit_id == "V-1")).one()
        assert (str(kept.business_date), kept.recorded_by) == ("2026-11-22", "key:test")
    assert_sound(shop)


def test_a_visit_reaches_a_tier_that_asks_for_visits(engine: Engine) -> None:
    tiers = {"levels": [program_file()["tiers"]["levels"][0], {**SILVER, "reach": {"any": [{"visits": 2}]}}]}
    shop = open_shop(engine, tiers=tiers)
    [done] = shop.record(purchase(shop.card, "A-1"))
    assert (done.tier, shop.visit("V-1").tier) == ("base", "silver")
    assert_sound(shop)
    assert shop.refund(done.purchase_id, "R-1").tier == "base"
    assert_sound(shop)


SILVER = program_file()["tiers"]["levels"][1]


def test_a_temporary_tier_ends_with_the_visit_that_was_no_purchase(engine: Engine) -> None:
    challenge = {**VISITS, "reward": {"tier": {"code": "silver", "days": 30}}}
    shop = open_shop(engine, challenges=[challenge], **NO_STAMPS)
    [done] = shop.record(purchase(shop.card, "A-1", 100))
    shop.visit("V-1")
    refund = shop.refund(done.purchase_id, "R-1")
    assert (refund.tier, refund.trace["effects"]["tiers_ended"]) == ("base", ["silver"])
    assert_sound(shop)


def test_sixteen_tills_send_one_visit(engine: Engine) -> None:
    shop = open_shop(engine)
    results = at_once([partial(shop.visit, "V-1")] * TILLS)
    [first] = [result for result in results if isinstance(result, Visited)]
    refused = [result for result in results if isinstance(result, DomainError)]
    assert {(error.code, error.status, error.extra["visit"]) for error in refused} == {
        ("duplicate_visit", 409, str(first.id))
    }
    assert shop.visit("V-1", outlet="B").id != first.id
    assert statistics(shop).visits == 2
    assert_sound(shop)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"visit_id": ""}, "validation"),
        ({"visit_id": "V", "occurred_at": NOW + timedelta(minutes=11)}, "validation"),
        ({"visit_id": "V", "occurred_at": NOW - 31 * DAY}, "validation"),
        ({"visit_id": "V", "outlet": "Z"}, "unknown_outlet"),
    ],
)
def test_a_refused_visit_leaves_no_trace(engine: Engine, values: dict[str, Any], code: str) -> None:
    shop = open_shop(engine)
    with pytest.raises(DomainError) as refusal:
        shop.visit(**values)
    assert refusal.value.code == code
    assert statistics(shop).visits == 0


def test_a_blocked_card_visits_nobody(engine: Engine) -> None:
    shop = open_shop(engine)
    with transaction(engine, shop.program.id) as session:
        session.exec(select(Card)).one().blocked_at = NOW
    with pytest.raises(DomainError) as refusal:
        shop.visit("V-1")
    assert refusal.value.code == "card_blocked"
