"""Points by hand: who may move how many, who has to agree, and what is written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.ledger.till import Till, assert_sound
from tests.services.purchases.shop import open_shop
from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.adjustments import Adjust, Adjusted, adjust, adjustments, decide
from wallet_server.ledger.expiry import end_of_day
from wallet_server.ledger.models import Adjustment, Entry, Lot
from wallet_server.staff.models import AuditRecord
from wallet_server.staff.services import create_staff

LIMITS = {"owner": 100_000, "manager": 1_000, "cashier": 0, "till": 50, "four_eyes_above": 500}


@pytest.fixture
def till(engine: Engine) -> Till:
    expiry = {"kind": "rolling_days", "days": 10}
    return Till(open_shop(engine, members=2, points={"adjustments": LIMITS, "expiry": expiry}))


@pytest.fixture(autouse=True)
def _sound(till: Till):
    yield
    assert_sound(till.shop.engine)


def ask(till: Till, points: int, reason: str = "Broken scanner", **values: Any) -> Adjusted:
    given: dict[str, Any] = {"role": "manager", "actor": "staff:ana@example.com", **values}
    named = {"member_id": till.shop.member_id} if "card_number" not in given else {}
    command = Adjust(points=points, reason=reason, card_number=given.pop("card_number", None), **named)
    with transaction(till.shop.engine, till.shop.program.id) as session:
        return adjust(session, till.shop.program, command, now=NOW, address="10.0.0.7", **given)


def answer(till: Till, adjustment_id: UUID, *, approve: bool = True, **values: Any) -> Adjusted:
    given: dict[str, Any] = {"role": "manager", "actor": "staff:boro@example.com", **values}
    with transaction(till.shop.engine, till.shop.program.id) as session:
        return decide(session, till.shop.program, adjustment_id, approve=approve, now=NOW + timedelta(1), **given)


def refused(code: str, call: Any, *arguments: Any, **values: Any) -> DomainError:
    with pytest.raises(DomainError) as refusal:
        call(*arguments, **values)
    assert refusal.value.code == code
    return refusal.value


def audited(till: Till) -> list[tuple[str, str, int]]:
    with reading(till.shop.engine, till.shop.program.id) as session:
        rows = session.exec(select(AuditRecord).order_by(col(AuditRecord.at), col(AuditRecord.id))).all()
    return [(row.actor, row.action, row.detail["points"]) for row in rows if "adjust" in row.action]


def test_points_are_given_and_taken(till: Till) -> None:
    given = ask(till, 30)
    assert (given.state, given.points, given.balance.spendable) == ("posted", 30, 30)
    assert ask(till, -10, card_number=till.shop.card, role="till", actor="key:ab").balance.spendable == 20
    with reading(till.shop.engine, till.shop.program.id) as session:
        lot = session.exec(select(Lot)).one()
        rows = session.exec(select(Entry.account, Entry.points).order_by(col(Entry.id))).all()
        asked = adjustments(session, till.shop.program)
    assert rows == [("adjusted", -30), ("spendable", 30), ("spendable", -10), ("adjusted", 10)]
    assert lot.expires_at == end_of_day((NOW + timedelta(days=10)).date(), till.shop.program.time_zone)
    assert [(row.points, row.requested_by, row.address, row.decided_by) for row in asked] == [
        (-10, "key:ab", "10.0.0.7", ""),
        (30, "staff:ana@example.com", "10.0.0.7", ""),
    ]
    assert audited(till) == [("staff:ana@example.com", "points.adjusted", 30), ("key:ab", "points.adjusted", -10)]


@pytest.mark.parametrize(
    ("role", "points", "limit"),
    [
        ("manager", 1_001, 1_000),
        ("manager", -1_001, 1_000),
        ("cashier", 1, 0),
        ("till", 51, 50),
        ("owner", 10**6, 10**5),
    ],
)
def test_nobody_moves_more_than_the_role_allows(till: Till, role: str, points: int, limit: int) -> None:
    till.earn(5_000)
    error = refused("adjustment_limit", ask, till, points, role=role)
    assert (error.status, error.extra["limit"]) == (403, limit)
    assert till.accounts() == (5_000, 0, 0, 0)
    assert audited(till) == []


def test_no_more_is_taken_than_is_there(till: Till) -> None:
    till.earn(100)
    till.hold(60)
    assert refused("insufficient_points", ask, till, -41).extra["spendable"] == 40
    assert ask(till, -40).balance.spendable == 0


def test_above_the_limit_a_second_person_decides(till: Till) -> None:
    assert ask(till, 500).state == "posted"
    asked = ask(till, 501)
    assert (asked.state, asked.balance.spendable) == ("waiting", 500)
    assert till.accounts() == (500, 0, 0, 0)
    assert (
        refused("adjustment_same_person", answer, till, asked.adjustment_id, actor="staff:ana@example.com").status
        == 403
    )
    assert refused("adjustment_limit", answer, till, asked.adjustment_id, role="cashier").status == 403
    refused("adjustment_limit", answer, till, asked.adjustment_id, role="till", actor="key:ab")
    done = answer(till, asked.adjustment_id)
    assert (done.state, done.balance.spendable) == ("posted", 1_001)
    again = refused("adjustment_decided", answer, till, asked.adjustment_id, actor="staff:third@example.com")
    assert (again.status, again.extra["state"]) == (409, "posted")
    assert till.accounts() == (1_001, 0, 0, 0)
    assert audited(till)[1:] == [
        ("staff:ana@example.com", "adjustment.requested", 501),
        ("staff:boro@example.com", "adjustment.approved", 501),
    ]


def test_a_refused_adjustment_moves_nothing(till: Till) -> None:
    asked = ask(till, 900)
    assert answer(till, asked.adjustment_id, approve=False).state == "refused"
    assert refused("adjustment_decided", answer, till, asked.adjustment_id).extra["state"] == "refused"
    assert till.accounts() == (0, 0, 0, 0)
    assert audited(till)[-1] == ("staff:boro@example.com", "adjustment.refused", 900)


def test_an_approval_that_finds_too_few_points_goes_on_waiting(till: Till) -> None:
    till.earn(600)
    asked = ask(till, -600)
    till.pay(1)
    refused("insufficient_points", answer, till, asked.adjustment_id)
    with reading(till.shop.engine, till.shop.program.id) as session:
        assert [row.id for row in adjustments(session, till.shop.program, state="waiting")] == [asked.adjustment_id]
    till.earn(1)
    assert answer(till, asked.adjustment_id).balance.spendable == 0


@pytest.mark.parametrize("by_id", [True, False])
def test_nobody_adjusts_their_own_points(till: Till, by_id: bool) -> None:
    engine, program = till.shop.engine, till.shop.program
    with transaction(engine, program.id) as session:
        create_staff(session, program_id=program.id, email="person0@example.com", role="manager", now=NOW, actor="test")
        from wallet_server.staff.models import StaffUser

        staff_id = session.exec(select(StaffUser.id)).one()
    own = f"staff:{staff_id}" if by_id else "staff:person0@example.com"
    assert refused("adjustment_same_person", ask, till, 1, actor=own).status == 403
    asked = ask(till, 600)
    refused("adjustment_same_person", answer, till, asked.adjustment_id, actor=own)
    other = Adjust(points=1, reason="Of a guest", member_id=till.shop.members[1].member_id)
    with transaction(engine, program.id) as session:
        assert adjust(session, program, other, role="manager", actor=own, now=NOW).state == "posted"


@pytest.mark.parametrize(
    ("points", "reason", "field"),
    [
        (0, "Broken", "points"),
        (10**15, "Broken", "points"),
        (1, "", "reason"),
        (1, "x" * 301, "reason"),
        (1, " Broken", "reason"),
        (1, "a\nb c", "reason"),
    ],
)
def test_an_adjustment_needs_points_and_a_reason(till: Till, points: int, reason: str, field: str) -> None:
    error = refused("validation", ask, till, points, reason)
    assert [found["field"] for found in error.extra["errors"]] == [field]


def test_what_is_unknown_is_refused(till: Till) -> None:
    assert refused("unknown_adjustment", answer, till, UUID(int=1)).status == 404
    refused("unknown_card", ask, till, 1, card_number="0000000000000000")
    with transaction(till.shop.engine, till.shop.program.id) as session:
        nobody = Adjust(points=1, reason="Broken", member_id=UUID(int=1))
        refused("unknown_member", adjust, session, till.shop.program, nobody, role="owner", actor="x", now=NOW)


def test_a_page_of_adjustments(till: Till) -> None:
    for points in (1, 2, 600):
        ask(till, points)
    with reading(till.shop.engine, till.shop.program.id) as session:
        assert [row.points for row in adjustments(session, till.shop.program, limit=2)] == [600, 2]
        assert [row.points for row in adjustments(session, till.shop.program, state="posted")] == [2, 1]
        other = till.shop.members[1].member_id
        assert adjustments(session, till.shop.program, member_id=other) == []
        assert session.exec(select(Adjustment.needs_approval).where(Adjustment.points == 600)).one()
