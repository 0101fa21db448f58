"""Points expire once, in time, and never while a hold has set them aside."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.ledger.till import Till, assert_sound
from tests.services.purchases.shop import open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.issuance.models import IssuedPass
from wallet_server.ledger.expiry import NextExpiry, current_balance, end_of_day, expire_due, next_expiry
from wallet_server.ledger.models import Lot
from wallet_server.ledger.queries import entries
from wallet_server.ledger.returns import GivenBack, give_back
from wallet_server.members.models import MemberStatistics
from wallet_server.purchases.clockwork import expire_due_points
from wallet_server.purchases.services import quote_purchase

DAY = timedelta(days=1)
ROLLING = {"expiry": {"kind": "rolling_days", "days": 30}}
IDLE = {"expiry": {"kind": "inactivity_days", "days": 30}}


def till_of(engine: Engine, **points: object) -> Till:
    return Till(open_shop(engine, points=dict(points)))


def expire(till: Till, now: datetime, **limit: int) -> dict[UUID, list[UUID]]:
    with transaction(till.shop.engine, ALL_PROGRAMS) as session:
        return expire_due(session, now, **limit)


def visited(till: Till, at: datetime) -> None:
    with transaction(till.shop.engine, till.shop.program.id) as session:
        session.exec(select(MemberStatistics)).one().last_visit_at = at


def upcoming(till: Till, now: datetime = NOW) -> NextExpiry | None:
    with reading(till.shop.engine, till.shop.program.id) as session:
        return next_expiry(session, till.shop.program, till.shop.member_id, now)


def test_a_purchase_gives_its_lot_the_programs_expiry_and_its_issuer(engine: Engine) -> None:
    till = till_of(engine, **ROLLING)
    till.shop.record(purchase(till.shop.card, "A-1", 1_000_000, outlet="B"))
    with reading(engine, till.shop.program.id) as session:
        lot = session.exec(select(Lot)).one()
    assert lot.expires_at == end_of_day((NOW + 30 * DAY).date(), till.shop.program.time_zone)
    assert lot.outlet_id == till.shop.program.outlet("B").id
    assert upcoming(till) == NextExpiry(100, lot.expires_at, (NOW + 30 * DAY).date())
    assert upcoming(till, lot.expires_at) is None, "what is over is not still to come, booked or not"
    assert expire(till, lot.expires_at - timedelta(seconds=1)) == {}
    assert expire(till, lot.expires_at) == {till.shop.program.id: [till.shop.member_id]}
    assert expire(till, lot.expires_at + DAY) == {}
    assert till.accounts() == (0, 0, 0, 0)
    assert upcoming(till) is None
    assert_sound(engine)


def test_only_what_is_left_expires_as_one_posting(engine: Engine) -> None:
    till = till_of(engine)
    till.earn(10, expires_at=NOW + DAY)
    till.earn(20, expires_at=NOW + 2 * DAY)
    till.earn(5)
    till.pay(4)
    assert expire(till, NOW + 3 * DAY)
    with reading(engine, till.shop.program.id) as session:
        newest = entries(session, till.shop.member_id)[0]
    assert (newest.kind, newest.points, newest.balance_after) == ("expire", -26, 5)
    assert till.lots() == [(5, 5, 0), (10, 0, 0), (20, 0, 0)]
    assert_sound(engine)


def test_held_points_wait_for_their_hold(engine: Engine) -> None:
    till = till_of(engine)
    till.earn(10, expires_at=NOW + DAY)
    first, second = till.hold(4, 2 * 86_400), till.hold(3, 2 * 86_400)
    assert expire(till, NOW + DAY)
    assert till.lots() == [(10, 7, 7)]
    assert expire(till, NOW + DAY) == {}
    till.capture(first.id, now=NOW + DAY)
    till.release(second.id, now=NOW + DAY)
    assert till.accounts() == (3, 0, 0, 0)
    assert expire(till, NOW + DAY)
    assert till.accounts() == (0, 0, 0, 0)
    assert_sound(engine)


def test_lots_expire_in_portions(engine: Engine) -> None:
    till = till_of(engine)
    for _lot in range(5):
        till.earn(1, expires_at=NOW)
    assert expire(till, NOW, limit=3)
    assert till.accounts() == (2, 0, 0, 0)
    assert expire(till, NOW, limit=3)
    assert expire(till, NOW, limit=3) == {}
    assert_sound(engine)


def test_pending_points_expire_after_they_were_released(engine: Engine) -> None:
    till = till_of(engine)
    till.earn(5, pending=True, spendable_at=NOW + 2 * DAY, expires_at=NOW + DAY)
    assert expire(till, NOW + DAY) == {}
    assert till.accounts() == (0, 5, 0, 0)


def test_inactivity_ends_everything_of_a_member(engine: Engine) -> None:
    till = till_of(engine, **IDLE)
    till.shop.record(purchase(till.shop.card, "A-1", 1_000_000))
    end = end_of_day((NOW + 30 * DAY).date(), till.shop.program.time_zone)
    assert upcoming(till) == NextExpiry(100, end, (NOW + 30 * DAY).date())
    assert expire(till, end - timedelta(seconds=1)) == {}
    visited(till, NOW + DAY)
    assert expire(till, end) == {}
    assert upcoming(till) == NextExpiry(100, end + DAY, (NOW + 31 * DAY).date())
    assert expire(till, end + DAY)
    assert till.accounts() == (0, 0, 0, 0)
    assert_sound(engine)


def test_points_given_to_an_inactive_member_have_their_days_too(engine: Engine) -> None:
    till = till_of(engine, **IDLE)
    till.earn(10)
    given = NOW + 60 * DAY
    till.earn(7, now=given)
    assert expire(till, given)
    assert till.accounts() == (7, 0, 0, 0)
    assert upcoming(till) == NextExpiry(
        7, end_of_day((given + 30 * DAY).date(), "Europe/Skopje"), (given + 30 * DAY).date()
    )
    assert expire(till, given + 30 * DAY) == {}
    assert expire(till, given + 31 * DAY)
    assert_sound(engine)


@pytest.mark.parametrize("settings", [{}, ROLLING])
def test_points_without_a_date_stay(engine: Engine, settings: dict[str, object]) -> None:
    till = till_of(engine, **settings)
    till.earn(10)
    assert upcoming(till) is None
    assert expire(till, NOW + 3650 * DAY) == {}


def test_what_inactivity_has_ended_is_returned_for_the_grace(engine: Engine) -> None:
    till, sale = till_of(engine, **IDLE), new_id()
    till.earn(10)
    till.pay(6, sale)
    late = NOW + 60 * DAY
    with transaction(engine, till.shop.program.id) as session:
        given = give_back(
            session,
            till.shop.program,
            till.shop.member_id,
            purchase_id=sale,
            points=6,
            reason="Refund",
            occurred_at=late,
            now=late,
        )
    assert given == GivenBack(reissued=6)
    expire(till, late)
    assert till.accounts() == (6, 0, 0, 0)
    expire(till, late + 8 * DAY)
    assert till.accounts() == (0, 0, 0, 0)
    assert_sound(engine)


def test_the_passes_of_those_who_lost_points_are_marked(engine: Engine) -> None:
    till = till_of(engine)
    till.earn(5, expires_at=NOW)

    def versions() -> list[int]:
        with reading(engine, till.shop.program.id) as session:
            return list(session.exec(select(IssuedPass.version).order_by(col(IssuedPass.id))))

    before = versions()
    with transaction(engine, ALL_PROGRAMS) as session:
        assert expire_due_points(session, NOW) == 1
        assert expire_due_points(session, NOW) == 0
    assert versions() == [version + 1 for version in before]


def test_what_has_expired_is_not_spent_before_the_tick(engine: Engine) -> None:
    """From the end of the day on the points are gone, however late the tick is."""
    till = till_of(engine)
    shop = till.shop
    till.earn(100, expires_at=NOW)
    till.earn(7)
    assert shop.balance().spendable == 107
    with reading(engine, shop.program.id) as session:
        assert current_balance(session, shop.program, shop.member_id, NOW - timedelta(seconds=1)).spendable == 107
        assert current_balance(session, shop.program, shop.member_id, NOW).spendable == 7
        quoted = quote_purchase(session, shop.program, purchase(shop.card, "", 100_000), NOW).quote
        assert quoted.redeemable_points == 7
    with pytest.raises(DomainError) as refused:
        shop.record(purchase(shop.card, "A-1", 100_000, redeem_points=8))
    assert refused.value.code == "insufficient_points"
    with pytest.raises(DomainError) as refused:
        till.hold(8)
    assert refused.value.code == "insufficient_points"
    till.hold(7)
    assert till.accounts() == (0, 0, 7, 0)
    with reading(engine, shop.program.id) as session:
        assert [(row.kind, row.points) for row in entries(session, shop.member_id)][-3:] == [
            ("expire", -100),
            ("earn", 7),
            ("earn", 100),
        ]
    assert expire(till, NOW) == {}
    assert_sound(engine)


def test_who_comes_back_too_late_has_lost_the_points_although_the_tick_is_late(engine: Engine) -> None:
    till = till_of(engine, **IDLE)
    shop = till.shop
    shop.record(purchase(shop.card, "A-1", 1_000_000))
    end = end_of_day((NOW + 30 * DAY).date(), shop.program.time_zone)
    with reading(engine, shop.program.id) as session:
        assert current_balance(session, shop.program, shop.member_id, end - timedelta(seconds=1)).spendable == 100
        assert current_balance(session, shop.program, shop.member_id, end).spendable == 0
    [recorded] = shop.record(purchase(shop.card, "A-2", 100_000, occurred_at=end), now=end)
    assert recorded.balance.spendable == 10
    assert_sound(engine)


def test_an_import_leaves_to_the_tick_what_has_expired(engine: Engine) -> None:
    till = till_of(engine, **ROLLING)
    past = NOW - 60 * DAY
    for number in range(2):
        till.shop.record(purchase(till.shop.card, f"A-{number}", 1_000_000, occurred_at=past), source="import")
    assert till.accounts() == (200, 0, 0, 0)
    assert expire(till, NOW)
    assert till.accounts() == (0, 0, 0, 0)
