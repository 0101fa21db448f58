"""What a refund does to points: lots get back what they gave, and what was earned is taken back."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.ledger.expiry import end_of_day
from wallet_server.ledger.invariants import CHECKS
from wallet_server.ledger.models import Lot, Posting
from wallet_server.ledger.postings import Balance, Movement, earn, lose, redeem
from wallet_server.ledger.queries import entries
from wallet_server.ledger.returns import GivenBack, TakenBack, give_back, take_back
from wallet_server.ledger.services import post, release_pending

SALE, OTHER = new_id(), new_id()


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return open_shop(engine, points={"refund_grace_days": 7})


@pytest.fixture(autouse=True)
def _sound(shop: Shop):
    yield
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [found for check in CHECKS for found in check(session)] == []


def move(shop: Shop, *movements: Movement) -> Balance:
    with transaction(shop.engine, shop.program.id) as session:
        return post(session, shop.program.id, movements, NOW)[shop.member_id]


def gain(shop: Shop, points: int, purchase_id: UUID | None = SALE, **values: object) -> Movement:
    given = {"reason": "sale", "occurred_at": NOW, "purchase_id": purchase_id, **values}
    return earn(shop.member_id, points, **given)  # type: ignore[arg-type]


def pay(shop: Shop, points: int, purchase_id: UUID | None = SALE) -> Movement:
    return redeem(shop.member_id, points, reason="paid", occurred_at=NOW, purchase_id=purchase_id)


def taken(shop: Shop, points: int, purchase_id: UUID = SALE, now: datetime = NOW) -> TakenBack:
    with transaction(shop.engine, shop.program.id) as session:
        return take_back(
            session,
            shop.program,
            shop.member_id,
            purchase_id=purchase_id,
            points=points,
            reason="Refund R-1",
            occurred_at=now,
            now=now,
        )


def given(shop: Shop, points: int, now: datetime = NOW) -> GivenBack:
    with transaction(shop.engine, shop.program.id) as session:
        return give_back(
            session,
            shop.program,
            shop.member_id,
            purchase_id=SALE,
            points=points,
            reason="Refund R-1",
            occurred_at=now,
            now=now,
        )


def lots(shop: Shop) -> list[tuple[int, int]]:
    with reading(shop.engine, shop.program.id) as session:
        return list(session.exec(select(Lot.points, Lot.remaining).order_by(col(Lot.points))))


def accounts(shop: Shop) -> tuple[int, int, int, int]:
    now = shop.balance()
    return now.spendable, now.pending, now.held, now.owed


def test_own_earnings_go_first_pending_before_spendable(shop: Shop) -> None:
    soon = NOW + timedelta(days=1)
    move(shop, gain(shop, 100, None, expires_at=soon), gain(shop, 20), gain(shop, 5, pending=True, spendable_at=soon))
    assert taken(shop, 12) == TakenBack(pending=5, spendable=7)
    assert lots(shop) == [(5, 0), (20, 13), (100, 100)]
    assert taken(shop, 13) == TakenBack(spendable=13)
    assert lots(shop) == [(5, 0), (20, 0), (100, 100)]
    assert accounts(shop) == (100, 0, 0, 0)


def test_other_lots_give_the_earliest_expiry_first_and_the_rest_is_owed(shop: Shop) -> None:
    days = timedelta(days=1)
    move(
        shop,
        gain(shop, 8, None, expires_at=NOW + 9 * days),
        gain(shop, 30, None, expires_at=NOW + 3 * days),
        gain(shop, 20, expires_at=NOW + 2 * days),
        pay(shop, 42, OTHER),
    )
    assert lots(shop) == [(8, 8), (20, 0), (30, 8)]
    assert taken(shop, 7) == TakenBack(spendable=7)
    assert lots(shop) == [(8, 8), (20, 0), (30, 1)]
    assert taken(shop, 13) == TakenBack(spendable=9, owed=4)
    assert accounts(shop) == (0, 0, 0, 4)


def test_pending_points_of_other_purchases_stay(shop: Shop) -> None:
    move(shop, gain(shop, 4), pay(shop, 4, None))
    move(shop, gain(shop, 10, OTHER, pending=True, spendable_at=NOW + timedelta(days=1)))
    assert taken(shop, 4) == TakenBack(owed=4)
    assert accounts(shop) == (0, 10, 0, 4)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        release_pending(session, NOW + timedelta(days=1))
    assert accounts(shop) == (6, 0, 0, 0)


def test_a_pending_lot_that_was_taken_back_whole_holds_up_no_other(shop: Shop) -> None:
    soon = NOW + timedelta(days=1)
    move(shop, gain(shop, 5, pending=True, spendable_at=soon))
    move(shop, gain(shop, 7, OTHER, pending=True, spendable_at=soon))
    assert taken(shop, 5) == TakenBack(pending=5)
    for _ in range(2):
        with transaction(shop.engine, ALL_PROGRAMS) as session:
            release_pending(session, soon)
    assert accounts(shop) == (7, 0, 0, 0)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [found for check in CHECKS for found in check(session)] == []
        assert session.exec(select(Lot.id).where(~col(Lot.released))).all() == []


def test_a_debt_is_paid_by_what_is_earned_next(shop: Shop) -> None:
    move(shop, gain(shop, 10), pay(shop, 10, None))
    taken(shop, 10)
    assert move(shop, gain(shop, 4, OTHER)).owed == 6
    assert accounts(shop) == (0, 0, 0, 6)
    assert move(shop, gain(shop, 9, None)).spendable == 3
    with reading(shop.engine, shop.program.id) as session:
        rows = [(row.kind, row.account, row.points, row.balance_after) for row in entries(session, shop.member_id)]
    assert rows[::-1][2:] == [
        ("take_back", "owed", -10, 10),
        ("earn", "spendable", 4, 4),
        ("debt", "spendable", -4, 0),
        ("debt", "owed", 4, 6),
        ("earn", "spendable", 9, 9),
        ("debt", "spendable", -6, 3),
        ("debt", "owed", 6, 0),
    ]


def test_a_debt_is_paid_within_a_batch(shop: Shop) -> None:
    move(shop, gain(shop, 3), pay(shop, 3, None))
    taken(shop, 3)
    assert move(shop, gain(shop, 5, OTHER), pay(shop, 2, OTHER)) == shop.balance()
    assert accounts(shop) == (0, 0, 0, 0)


def test_earnings_that_expired_are_not_lost_twice(shop: Shop) -> None:
    move(shop, gain(shop, 10), gain(shop, 50, None), pay(shop, 4, OTHER))
    with reading(shop.engine, shop.program.id) as session:
        own = session.exec(select(Lot.id).where(Lot.points == 10)).one()
    move(shop, lose(shop.member_id, ((own, 6),), kind="expire", reason="Points expired", occurred_at=NOW))
    assert accounts(shop) == (50, 0, 0, 0)
    assert taken(shop, 5) == TakenBack(expired=5)
    assert taken(shop, 5) == TakenBack(expired=1, spendable=4)
    assert accounts(shop) == (46, 0, 0, 0)


def test_the_posting_names_what_it_takes_back(shop: Shop) -> None:
    first = move(shop, gain(shop, 10), pay(shop, 5, SALE))
    assert first.spendable == 5
    taken(shop, 10)
    given(shop, 5)
    with reading(shop.engine, shop.program.id) as session:
        postings = {row.kind: row for row in session.exec(select(Posting)).all()}
    assert postings["take_back"].reverses_id == postings["earn"].id
    assert postings["return"].reverses_id == postings["redeem"].id
    assert postings["return"].purchase_id == SALE


def test_returned_points_go_back_to_their_lots_in_the_order_they_came(shop: Shop) -> None:
    move(
        shop,
        gain(shop, 10, None, expires_at=NOW + timedelta(days=5)),
        gain(shop, 20, None, expires_at=NOW + timedelta(days=9)),
        pay(shop, 25),
    )
    assert lots(shop) == [(10, 0), (20, 5)]
    assert given(shop, 4) == GivenBack(restored=4)
    assert lots(shop) == [(10, 4), (20, 5)]
    assert given(shop, 21) == GivenBack(restored=21)
    assert lots(shop) == [(10, 10), (20, 20)]
    assert shop.balance().spendable == 30


def test_a_lot_that_has_expired_comes_anew_for_the_grace(shop: Shop) -> None:
    issuer = shop.program.outlet("B").id
    move(
        shop,
        gain(shop, 10, None, expires_at=NOW + timedelta(days=5), outlet_id=issuer),
        gain(shop, 20, None, expires_at=NOW + timedelta(days=9)),
        pay(shop, 25),
    )
    late = NOW + timedelta(days=6)
    assert given(shop, 3, late) == GivenBack(reissued=3)
    assert given(shop, 10, late) == GivenBack(restored=3, reissued=7)
    with reading(shop.engine, shop.program.id) as session:
        new = session.exec(select(Lot).where(col(Lot.points).in_((3, 7)))).all()
    zone = shop.program.time_zone
    assert {lot.expires_at for lot in new} == {end_of_day((late + timedelta(days=7)).date(), zone)}
    assert {lot.outlet_id for lot in new} == {issuer}
    assert lots(shop) == [(3, 3), (7, 7), (10, 0), (20, 8)]


def test_returned_points_pay_a_debt(shop: Shop) -> None:
    move(shop, gain(shop, 6, None), gain(shop, 4, OTHER), pay(shop, 10))
    taken(shop, 4, OTHER)
    assert accounts(shop) == (0, 0, 0, 4)
    assert given(shop, 10) == GivenBack(restored=10)
    assert accounts(shop) == (6, 0, 0, 0)
    assert lots(shop) == [(4, 4), (6, 2)]


def test_more_than_was_paid_is_a_bug(shop: Shop) -> None:
    move(shop, gain(shop, 10, None), pay(shop, 5))
    given(shop, 3)
    with pytest.raises(AssertionError):
        given(shop, 3)
    with pytest.raises(AssertionError):
        taken(shop, -1)


def test_nothing_to_return_writes_nothing(shop: Shop) -> None:
    assert (taken(shop, 0), given(shop, 0)) == (TakenBack(), GivenBack())
    with reading(shop.engine, shop.program.id) as session:
        assert session.exec(select(sa.func.count()).select_from(Posting)).one() == 0
