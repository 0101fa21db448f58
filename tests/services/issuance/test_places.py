"""Which outlets a member's card names, as it is read from the database."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from tests.statements import heard
from tests.unit.test_places import street
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.content import CardState
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.places import chosen_places
from wallet_server.issuance.queries import card_states
from wallet_server.members.services import Enrol, enrol

SILENCE = {"challenges": [], "pass": {}}


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return open_shop(engine, members=2, outlets=street(40), **SILENCE)


def card(shop: Shop, member_id: UUID | None = None) -> CardState:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        which = select(IssuedPass.id).where(
            col(IssuedPass.member_id) == (member_id or shop.member_id), IssuedPass.wallet == "apple"
        )
        [state] = card_states(session, shop.program, session.exec(which).all(), NOW, news=lambda _session, _ids: {})
    return state


def places(shop: Shop, member_id: UUID | None = None) -> list[str]:
    return [outlet.code for outlet in chosen_places(shop.program, card(shop, member_id).visits).outlets]


def test_a_purchase_far_away_brings_its_outlet_and_its_neighbours_in_its_own_version(shop: Shop) -> None:
    before = card(shop)
    assert places(shop) == [f"S{n}" for n in range(10)]
    shop.record(purchase(shop.card, "1", outlet="S30"))
    assert places(shop) == ["S25", *(f"S{n}" for n in range(26, 35))]
    assert card(shop).version == before.version + 1
    other = shop.members[1].member_id
    assert (places(shop, other), card(shop, other).version) == ([f"S{n}" for n in range(10)], before.version)


def test_visits_without_money_count_and_refunds_do_not(shop: Shop) -> None:
    [bought] = shop.record(purchase(shop.card, "1", outlet="S30"))
    shop.visit("v1", outlet="S10", occurred_at=NOW - timedelta(hours=1))
    assert {(item.outlet, item.visits) for item in card(shop).visits} == {("S30", 1), ("S10", 1)}
    shop.refund(bought.purchase_id, "R1", outlet="S30")
    assert [(item.outlet, item.visits) for item in card(shop).visits] == [("S10", 1)]
    assert "S30" not in places(shop)


def test_the_year_before_the_newest_visit_counts_whatever_the_date_is(shop: Shop) -> None:
    for receipt, outlet, days in (("1", "S5", 800), ("2", "S20", 401), ("3", "S30", 399), ("4", "S31", 35)):
        moment = NOW - timedelta(days=days)
        shop.record(purchase(shop.card, receipt, outlet=outlet, occurred_at=moment), source="import")
    assert {item.outlet for item in card(shop).visits} == {"S30", "S31"}


def test_who_was_nowhere_yet_begins_where_they_joined(shop: Shop) -> None:
    with transaction(shop.engine, shop.program.id) as session:
        command = Enrol(email="new@example.com", channel="poster", outlet="S20")
        joined = enrol(session, shop.program, command, now=NOW, actor="member").member_id
    assert places(shop, joined) == [f"S{n}" for n in range(15, 25)]


def test_a_small_program_asks_for_no_visits(engine: Engine) -> None:
    shop = open_shop(engine, outlets=street(10), **SILENCE)
    shop.record(purchase(shop.card, "1", outlet="S3"))
    with heard(engine) as said:
        assert card(shop).visits == ()
    assert not [statement for statement in said if "purchase" in statement.text]


def test_a_card_is_read_by_its_member_and_not_through_all_receipts_of_the_program(sqlite_engine: Engine) -> None:
    shop = open_shop(sqlite_engine, outlets=street(40), **SILENCE)
    with heard(sqlite_engine) as said:
        card(shop)
    with sqlite_engine.connect() as connection:
        plans = [
            str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all())
            for text, values in said
            if "count(*)" in text
        ]
    assert len(plans) == 2
    assert all("_member_id_occurred_at (member_id=? AND occurred_at>?)" in plan for plan in plans), plans
