"""Two-phase redemption: a hold resolves exactly once, and its points are nobody else's meanwhile."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.ledger.till import Till, assert_sound
from tests.services.purchases.shop import open_shop
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.holds import SECONDS_MAX, find_hold
from wallet_server.ledger.models import Hold, Posting
from wallet_server.ledger.queries import entries
from wallet_server.ledger.returns import TakenBack, take_back
from wallet_server.members.models import Card

LATER = NOW + timedelta(minutes=15)


@pytest.fixture
def till(engine: Engine) -> Till:
    return Till(open_shop(engine))


@pytest.fixture(autouse=True)
def _sound(till: Till):
    yield
    assert_sound(till.shop.engine)


def refused(code: str, call, *arguments, **values) -> DomainError:
    with pytest.raises(DomainError) as refusal:
        call(*arguments, **values)
    assert refusal.value.code == code
    return refusal.value


def test_points_set_aside_cannot_be_spent(till: Till) -> None:
    till.earn(100)
    held = till.hold(70, reference="A-1")
    assert (held.state, held.points, held.balance.spendable, held.balance.held) == ("open", 70, 30, 70)
    assert held.expires_at == LATER
    assert refused("insufficient_points", till.pay, 31).extra["spendable"] == 30
    assert refused("insufficient_points", till.hold, 31).status == 409
    assert till.accounts() == (30, 0, 70, 0)


def test_a_capture_takes_what_it_needs_and_frees_the_rest(till: Till) -> None:
    days = timedelta(days=1)
    till.earn(10, expires_at=NOW + 9 * days)
    till.earn(20, expires_at=NOW + 3 * days)
    till.earn(5)
    hold = till.hold(28)
    assert till.lots() == [(5, 5, 0), (10, 10, 8), (20, 20, 20)]
    done = till.capture(hold.id, 23)
    assert (done.state, done.captured_points, done.balance.spendable, done.balance.held) == ("captured", 23, 12, 0)
    assert till.lots() == [(5, 5, 0), (10, 7, 0), (20, 0, 0)]
    with reading(till.shop.engine, till.shop.program.id) as session:
        rows = [(row.kind, row.account, row.points) for row in entries(session, till.shop.member_id, limit=5)]
    assert rows == [
        ("unhold", "spendable", 5),
        ("unhold", "held", -5),
        ("capture", "held", -23),
        ("hold", "held", 28),
        ("hold", "spendable", -28),
    ]


def test_a_hold_may_be_captured_elsewhere(till: Till) -> None:
    till.earn(10)
    hold = till.hold(10)
    till.capture(hold.id, outlet="B")
    with reading(till.shop.engine, till.shop.program.id) as session:
        rows = session.exec(select(Posting.kind, Posting.outlet_id).where(Posting.reverses_id == hold.id)).all()
        outlets = dict(rows)
    assert outlets == {"hold": till.shop.program.outlet("A").id, "capture": till.shop.program.outlet("B").id}


def test_a_release_gives_everything_back(till: Till) -> None:
    till.earn(10)
    hold = till.hold(10)
    assert till.release(hold.id).balance.spendable == 10
    assert till.lots() == [(10, 10, 0)]


@pytest.mark.parametrize("first", ["capture", "release", "expire"])
@pytest.mark.parametrize("second", ["capture", "release"])
def test_a_hold_resolves_once(till: Till, first: str, second: str) -> None:
    till.earn(10)
    hold = till.hold(10)
    if first == "expire":
        assert till.expire_holds(LATER) == {till.shop.program.id: [till.shop.member_id]}
    else:
        getattr(till, first)(hold.id)
    before = till.accounts()
    code = {"capture": "hold_captured", "release": "hold_released", "expire": "hold_expired"}[first]
    assert refused(code, getattr(till, second), hold.id).status == 409
    assert till.expire_holds(LATER + timedelta(days=1)) == {}
    assert till.accounts() == before


def test_a_capture_after_the_time_is_over_is_refused_before_the_clock_has_come_round(till: Till) -> None:
    till.earn(10)
    hold = till.hold(10)
    assert refused("hold_expired", till.capture, hold.id, now=LATER).extra["expired_at"] == LATER.isoformat()
    refused("hold_expired", till.release, hold.id, now=LATER)
    assert till.accounts() == (0, 0, 10, 0)
    till.expire_holds(LATER)
    assert till.accounts() == (10, 0, 0, 0)


def test_holds_expire_in_portions(till: Till) -> None:
    till.earn(10)
    for _hold in range(5):
        till.hold(2)
    assert till.expire_holds(LATER - timedelta(seconds=1)) == {}
    assert till.expire_holds(LATER, limit=3)
    assert till.accounts() == (6, 0, 4, 0)
    assert till.expire_holds(LATER, limit=3)
    assert till.expire_holds(LATER, limit=3) == {}
    with reading(till.shop.engine, ALL_PROGRAMS) as session:
        rows = session.exec(select(Hold.state, Hold.resolved_by)).all()
    assert rows == [("expired", "system")] * 5


def test_what_is_freed_pays_a_debt_first(till: Till) -> None:
    sale = new_id()
    till.earn(10, sale)
    hold = till.hold(10)
    with transaction(till.shop.engine, till.shop.program.id) as session:
        taken = take_back(
            session,
            till.shop.program,
            till.shop.member_id,
            purchase_id=sale,
            points=4,
            reason="Refund",
            occurred_at=NOW,
            now=NOW,
        )
    assert taken == TakenBack(owed=4)
    assert till.capture(hold.id, 7).balance.spendable == 0
    assert till.accounts() == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"points": 0}, "points"),
        ({"points": -5}, "points"),
        ({"points": 10**15}, "points"),
        ({"points": 1, "seconds": 0}, "expires_in_seconds"),
        ({"points": 1, "seconds": SECONDS_MAX + 1}, "expires_in_seconds"),
        ({"points": 1, "reference": "x" * 121}, "reference"),
        ({"points": 1, "reference": "a\nb"}, "reference"),
    ],
)
def test_a_hold_that_no_till_should_ask_for_is_refused(till: Till, values: dict[str, object], field: str) -> None:
    till.earn(10)
    error = refused("validation", till.hold, **values)
    assert [found["field"] for found in error.extra["errors"]] == [field]
    assert till.accounts() == (10, 0, 0, 0)


@pytest.mark.parametrize("points", [0, -1, 11])
def test_no_more_is_captured_than_was_held(till: Till, points: int) -> None:
    till.earn(100)
    hold = till.hold(10)
    refused("validation", till.capture, hold.id, points)
    assert till.accounts() == (90, 0, 10, 0)


def test_what_is_unknown_is_refused(till: Till) -> None:
    till.earn(10)
    refused("unknown_card", till.hold, 1, card_number="0000000000000000")
    refused("unknown_outlet", till.hold, 1, outlet="Z")
    assert refused("unknown_hold", till.capture, UUID(int=1)).status == 404
    refused("unknown_hold", till.release, UUID(int=1))
    hold = till.hold(1)
    refused("unknown_outlet", till.capture, hold.id, outlet="Z")
    with transaction(till.shop.engine, till.shop.program.id) as session:
        session.exec(select(Card).where(col(Card.number) == till.shop.card)).one().blocked_at = NOW
    refused("card_blocked", till.hold, 1)


def test_a_hold_of_another_program_is_unknown(till: Till) -> None:
    till.earn(10)
    hold = till.hold(10)
    other = open_shop(till.shop.engine, program={**program_file()["program"], "slug": "other"})
    refused("unknown_hold", Till(other).capture, hold.id)
    with reading(till.shop.engine, ALL_PROGRAMS) as session:
        refused("unknown_hold", find_hold, session, other.program, hold.id)


def test_fewer_points_than_the_program_takes_are_refused(engine: Engine, till: Till) -> None:
    strict = Till(open_shop(engine, points={"min_points": 50}, program={**program_file()["program"], "slug": "strict"}))
    strict.earn(100)
    assert refused("redeem_limit_exceeded", strict.hold, 49).extra["min_points"] == 50
    assert strict.hold(50).balance.held == 50
