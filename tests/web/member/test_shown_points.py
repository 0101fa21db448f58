"""A debt is the same number on the pass, on the member's page and at the till (``negative_balance``)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import reading
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.queries import card_states
from wallet_server.members.queries import member_by_id
from wallet_server.web.memberships import read_membership


def shown(shop: Shop, now: object = NOW) -> set[int]:
    """The points on each of the member's passes and on the page."""
    with reading(shop.engine, shop.program.id) as session:
        passes = session.exec(select(IssuedPass.id)).all()
        cards = card_states(session, shop.program, passes, now, news=lambda _session, _ids: {})  # type: ignore[arg-type]
        page = read_membership(session, shop.program, member_by_id(session, shop.member_id), now)  # type: ignore[arg-type]
    assert len(cards) == 2
    return {page.points, *(card.spendable for card in cards)}


@pytest.mark.parametrize(("kind", "points"), [("allow", -90), ("forbid", 0)])
def test_a_debt_is_shown_as_the_program_says(sqlite_engine: Engine, kind: str, points: int) -> None:
    shop = open_shop(sqlite_engine, points={"negative_balance": kind, "earn_on_points_part": False})
    [first] = shop.record(purchase(shop.card, "A-1", 1_000_000))
    shop.record(purchase(shop.card, "A-2", 9_000, redeem_points=90))
    shop.refund(first.purchase_id, "R-1")
    assert shown(shop) == {points}


def test_expired_points_are_not_shown_although_the_tick_is_late(sqlite_engine: Engine) -> None:
    shop = open_shop(sqlite_engine, points={"expiry": {"kind": "rolling_days", "days": 1}})
    shop.record(purchase(shop.card, "A-1", 1_000_000))
    assert shown(shop) == {100}
    assert shown(shop, NOW + timedelta(days=3)) == {0}
