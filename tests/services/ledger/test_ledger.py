"""Double entry, lots and balances."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.invariants import CHECKS
from wallet_server.ledger.models import Allocation, Entry, Lot
from wallet_server.ledger.postings import Balance, Movement, OpenLot, earn, redeem, spending_order, take
from wallet_server.ledger.queries import balance, entries
from wallet_server.ledger.services import lock_balances, post, release_pending


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return open_shop(engine, members=2)


def move(shop: Shop, *movements: Movement) -> Balance:
    with transaction(shop.engine, shop.program.id) as session:
        return post(session, shop.program.id, movements, NOW)[shop.member_id]


def lots(shop: Shop) -> list[tuple[int, int]]:
    with reading(shop.engine, shop.program.id) as session:
        return list(session.exec(select(Lot.points, Lot.remaining).order_by(col(Lot.points))))


def gain(shop: Shop, points: int, **values: object) -> Movement:
    return earn(shop.member_id, points, **{"reason": "gift", "occurred_at": NOW, **values})  # type: ignore[arg-type]


def pay(shop: Shop, points: int) -> Movement:
    return redeem(shop.member_id, points, reason="paid", occurred_at=NOW)


def test_points_are_taken_from_the_lot_that_expires_first(shop: Shop) -> None:
    move(
        shop,
        gain(shop, 1),
        gain(shop, 20, expires_at=NOW + timedelta(days=30)),
        gain(shop, 300, expires_at=NOW + timedelta(days=10)),
    )
    assert move(shop, pay(shop, 310)).spendable == 11
    assert lots(shop) == [(1, 1), (20, 10), (300, 0)]
    assert move(shop, pay(shop, 11)).spendable == 0
    assert lots(shop) == [(1, 0), (20, 0), (300, 0)]


def test_lots_of_one_expiry_are_taken_in_the_order_of_their_ids() -> None:
    old, new = OpenLot(UUID(int=1), 5, NOW), OpenLot(UUID(int=2), 5, NOW)
    never = OpenLot(UUID(int=0), 5, None)
    assert spending_order([never, new, old]) == [old, new, never]
    assert take([never, new, old], 7) == ((old.id, 5), (new.id, 2))


def test_what_is_held_or_pending_is_not_taken() -> None:
    held, pending = OpenLot(UUID(int=1), 5, NOW, held=3), OpenLot(UUID(int=2), 5, NOW, released=False)
    assert take([held, pending, OpenLot(UUID(int=3), 5, None)], 4) == ((held.id, 2), (UUID(int=3), 2))
    with pytest.raises(AssertionError):
        take([held, pending], 3)


def test_more_than_the_balance_is_refused_and_nothing_is_written(shop: Shop) -> None:
    move(shop, gain(shop, 5))
    with pytest.raises(DomainError) as refusal:
        move(shop, gain(shop, 1), pay(shop, 7))
    assert (refusal.value.code, refusal.value.status) == ("insufficient_points", 409)
    with reading(shop.engine, shop.program.id) as session:
        assert len(entries(session, shop.member_id)) == 1
        assert balance(session, shop.member_id).spendable == 5


def test_earned_and_spent_in_one_batch(shop: Shop) -> None:
    after = move(shop, gain(shop, 5), pay(shop, 3), gain(shop, 2), pay(shop, 4))
    assert (after.spendable, after.sequence) == (0, 4)
    with reading(shop.engine, shop.program.id) as session:
        rows = entries(session, shop.member_id)
        assert [(row.sequence, row.balance_after) for row in rows] == [(4, 0), (3, 4), (2, 2), (1, 5)]
        assert sorted(session.exec(select(Allocation.points)).all()) == [2, 2, 3]


def test_a_page_of_entries_goes_on_where_the_last_one_ended(shop: Shop) -> None:
    move(shop, *(gain(shop, number) for number in range(1, 6)))
    with reading(shop.engine, shop.program.id) as session:
        first = entries(session, shop.member_id, limit=2)
        second = entries(session, shop.member_id, before_sequence=first[-1].sequence, limit=2)
        rest = entries(session, shop.member_id, before_sequence=second[-1].sequence)
    assert [row.points for row in (*first, *second, *rest)] == [5, 4, 3, 2, 1]


def test_only_what_is_due_is_released_and_only_once(shop: Shop) -> None:
    move(
        shop,
        gain(shop, 10, pending=True, spendable_at=NOW + timedelta(days=1)),
        gain(shop, 20, pending=True, spendable_at=NOW + timedelta(days=2)),
    )
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        assert release_pending(session, NOW) == {}
        due = NOW + timedelta(days=1)
        assert release_pending(session, due) == {shop.program.id: [shop.member_id]}
        assert release_pending(session, due) == {}
    assert (shop.balance().spendable, shop.balance().pending) == (10, 20)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [found for check in CHECKS for found in check(session)] == []


def test_pending_points_are_released_in_portions(shop: Shop) -> None:
    move(shop, *(gain(shop, 1, pending=True, spendable_at=NOW) for _each in range(5)))
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        assert release_pending(session, NOW, limit=3)
    assert (shop.balance().spendable, shop.balance().pending) == (3, 2)


def test_locked_balances_are_those_of_the_members(shop: Shop) -> None:
    ids = [member.member_id for member in shop.members]
    move(shop, gain(shop, 5))
    with transaction(shop.engine, shop.program.id) as session:
        locked = lock_balances(session, ids)
    assert {member_id: found.spendable for member_id, found in locked.items()} == {ids[0]: 5, ids[1]: 0}


def test_a_session_of_another_program_sees_no_balance(shop: Shop) -> None:
    move(shop, gain(shop, 5))
    with transaction(shop.engine, UUID(int=7)) as session:
        assert lock_balances(session, [shop.member_id]) == {}
        assert balance(session, shop.member_id) == Balance()


@pytest.mark.parametrize(
    "entries_",
    [(("issued", -5), ("spendable", 4)), (("issued", 0), ("spendable", 0)), (("elsewhere", -5), ("spendable", 5)), ()],
)
def test_a_movement_that_does_not_add_up_is_a_bug(shop: Shop, entries_: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(AssertionError):
        Movement(shop.member_id, "earn", "x", NOW, entries_)


def test_earned_points_without_a_lot_are_a_bug(shop: Shop) -> None:
    with pytest.raises(AssertionError):
        Movement(shop.member_id, "earn", "x", NOW, (("issued", -5), ("spendable", 5)))


def test_the_program_side_of_every_posting_is_kept(shop: Shop) -> None:
    move(shop, gain(shop, 5), pay(shop, 2))
    with reading(shop.engine, shop.program.id) as session:
        rows = session.exec(select(Entry.account, Entry.points)).all()
    assert sorted(rows) == [("issued", -5), ("redeemed", 2), ("spendable", -2), ("spendable", 5)]
