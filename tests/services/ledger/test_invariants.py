"""Each invariant is tripped by a row that breaks it, and by no other (mutants)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.ledger.till import Till
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.ledger.adjustments import Adjust, adjust, decide
from wallet_server.ledger.expiry import expire_due
from wallet_server.ledger.invariants import CHECKS as LEDGER_CHECKS
from wallet_server.ledger.invariants import VIOLATIONS_MAX, Violation
from wallet_server.ledger.models import Adjustment, Posting
from wallet_server.ledger.returns import give_back, take_back
from wallet_server.purchases.invariants import CHECKS as PURCHASE_CHECKS
from wallet_server.staff.models import StaffUser
from wallet_server.staff.services import create_staff


def found_in(session: Session) -> list[Violation]:
    return [violation for check in (*LEDGER_CHECKS, *PURCHASE_CHECKS) for violation in check(session)]


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """Three receipts of one member, the last one paid with points."""
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-1", 500_000, 100_000), purchase(shop.card, "A-2", 70_000))
    shop.record(purchase(shop.card, "A-3", 100_000, redeem_points=50))
    return shop


@contextmanager
def defenceless(engine: Engine) -> Iterator[sa.Connection]:
    """A writing transaction without the database's keys and triggers; rolled back unless it is committed."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars()
            for name in names.all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        yield connection
        connection.rollback()
    engine.dispose()


def change(connection: sa.Connection, statement: str) -> None:
    changed = connection.exec_driver_sql(statement).rowcount
    assert changed == 1, f"{statement} changed {changed} rows"


def corrupt(engine: Engine, *statements: str) -> None:
    """Change one row with each statement behind the database's back."""
    with defenceless(engine) as connection:
        for statement in statements:
            change(connection, statement)
        connection.commit()


def tripped(shop: Shop, mutants: Mapping[str, tuple[str, set[str]]]) -> dict[str, set[str]]:
    """The invariants that each mutant trips, each in a transaction that is rolled back."""
    result: dict[str, set[str]] = {}
    for mutant, (statement, _checks) in mutants.items():
        with defenceless(shop.engine) as connection:
            change(connection, statement)
            with Session(connection, info={"scope": ALL_PROGRAMS}) as session:
                found = found_in(session)
        assert all(violation.row and violation.detail for violation in found), mutant
        result[mutant] = {violation.check for violation in found}
    return result


def one(table: str, where: str = "1 = 1", order: str = "id") -> str:
    return f"WHERE id = (SELECT id FROM {table} WHERE {where} ORDER BY {order} LIMIT 1)"


def test_a_sound_ledger_has_no_violation(shop: Shop) -> None:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert found_in(session) == []


MUTANTS = {
    "a balance that the entries do not give": (
        "UPDATE member_balance SET spendable = spendable + 1",
        {"L1", "L5"},
    ),
    "pending points from nowhere": ("UPDATE member_balance SET pending = pending + 1", {"L1", "L5"}),
    "an entry that was changed": (
        f"UPDATE entry SET points = points + 1 {one('entry', 'sequence = 1')}",
        {"L1", "L3", "L5", "L19"},
    ),
    "the program's side of a posting that is gone": (
        f"DELETE FROM entry {one('entry', 'account = ' + repr('issued'))}",
        {"L3", "L9"},
    ),
    "a balance below zero in between": (
        f"UPDATE entry SET balance_after = -1 {one('entry', 'sequence = 1')}",
        {"L2", "L19"},
    ),
    "a balance after an entry that was not": (
        f"UPDATE entry SET balance_after = balance_after + 1 {one('entry', 'sequence = 1')}",
        {"L19"},
    ),
    "a lot that lost a point": (
        f"UPDATE lot SET remaining = remaining - 1 {one('lot', 'remaining > 0')}",
        {"L5", "L6"},
    ),
    "a lot that is not released": (
        f"UPDATE lot SET released = (1 = 0) {one('lot', 'remaining > 0')}",
        {"L5"},
    ),
    "an earning without its lot": (f"DELETE FROM lot {one('lot', 'remaining = points')}", {"L5"}),
    "a redemption that took from no lot": (f"DELETE FROM allocation {one('allocation')}", {"L6"}),
    "a gap in the sequence": ("UPDATE member_balance SET sequence = sequence + 1", {"L18"}),
    "a purchase that earned twice": (
        f"UPDATE posting SET kind = 'earn' {one('posting', 'kind = ' + repr('redeem'))}",
        {"L8"},
    ),
    "a purchase that claims a point more": (
        f"UPDATE purchase SET points_earned = points_earned + 1 {one('purchase')}",
        {"L9", "L19"},
    ),
    "a line paid beyond its amount": (
        "UPDATE purchase_line SET paid_with_points_minor = amount_minor + 1 WHERE paid_with_points_minor > 0",
        {"L9"},
    ),
    "a purchase without a trace": (
        "DELETE FROM purchase_trace WHERE purchase_id IN (SELECT id FROM purchase WHERE receipt_id = 'A-1')",
        {"L9"},
    ),
    "statistics that count a purchase more": (
        "UPDATE member_statistics SET purchases = purchases + 1",
        {"L19"},
    ),
    "statistics with another last visit": (
        "UPDATE member_statistics SET last_visit_at = first_visit_at, first_visit_at = NULL",
        {"L19"},
    ),
}


def test_each_mutant_trips_exactly_its_invariants(shop: Shop) -> None:
    assert tripped(shop, MUTANTS) == {mutant: checks for mutant, (_statement, checks) in MUTANTS.items()}


@pytest.fixture
def busy(engine: Engine) -> Shop:
    """Holds of each kind, a refund that returned, took back and left a debt, an expired lot, points by hand."""
    shop = open_shop(engine, members=2)
    till, sale = Till(shop), new_id()
    later = NOW + timedelta(days=1)
    till.earn(100, expires_at=NOW + timedelta(days=30))
    till.capture(till.hold(50, reference="A-7").id, 40)
    till.release(till.hold(5).id)
    till.hold(12, seconds=3 * 86_400)
    till.earn(20, expires_at=NOW + timedelta(hours=1))
    with transaction(engine, ALL_PROGRAMS) as session:
        expire_due(session, later)
    till.earn(30, sale)
    till.pay(25, sale)
    till.pay(50)
    with transaction(engine, shop.program.id) as session:
        given = {"purchase_id": sale, "reason": "Refund", "occurred_at": later, "now": later}
        give_back(session, shop.program, shop.member_id, points=9, **given)
        take_back(session, shop.program, shop.member_id, points=30, **given)
        for points in (7, 6_000, 9_000):
            command = Adjust(points=points, reason="Broken scanner", member_id=shop.members[1].member_id)
            done = adjust(session, shop.program, command, role="manager", actor="staff:ana@example.com", now=later)
            if points == 6_000:
                decide(
                    session,
                    shop.program,
                    done.adjustment_id,
                    approve=True,
                    role="owner",
                    actor="staff:boro@example.com",
                    now=later,
                )
    return shop


def test_a_busy_ledger_has_no_violation(busy: Shop) -> None:
    with reading(busy.engine, ALL_PROGRAMS) as session:
        assert [violation for check in LEDGER_CHECKS for violation in check(session)] == []


def posting_of(kind: str) -> str:
    return f"posting_id = (SELECT id FROM posting WHERE kind = '{kind}' ORDER BY id LIMIT 1)"


OPEN, WAITING = "state = 'open'", "state = 'waiting'"
NEW_ID = "'01999999999970008000000000000001'"
BUSY_MUTANTS = {
    "an open hold that says it was released": (
        f"UPDATE hold SET state = 'released', resolved_at = created_at {one('hold', OPEN)}",
        {"L10"},
    ),
    "a captured hold that says less was captured": (
        f"UPDATE hold SET captured_points = captured_points - 1 {one('hold', 'captured_points > 0')}",
        {"L10"},
    ),
    "a released hold that says it was captured": (
        "UPDATE hold SET state = 'captured' WHERE state = 'released'",
        {"L10"},
    ),
    "a lot that holds for nobody": ("UPDATE lot SET held = held - 1 WHERE held > 0", {"L5", "L10"}),
    "a hold without its lot": (
        f"DELETE FROM hold_lot WHERE hold_id = (SELECT id FROM hold WHERE {OPEN})",
        {"L10"},
    ),
    "a hold of another member's program": (
        f"UPDATE hold SET program_id = {NEW_ID} {one('hold', 'state = ' + repr('released'))}",
        {"L17"},
    ),
    "a return that gave a point more": (
        f"UPDATE allocation SET points = points - 20 WHERE points < 0 AND {posting_of('return')}",
        {"L5", "L6", "L11"},
    ),
    "a return whose lot got nothing": (
        f"DELETE FROM allocation WHERE points < 0 AND {posting_of('return')}",
        {"L5", "L6"},
    ),
    "a refund that returned more than was paid": (
        f"UPDATE entry SET points = points - 20 WHERE account = 'redeemed' AND {posting_of('return')}",
        {"L3", "L11"},
    ),
    "a refund that took more than was earned": (
        f"UPDATE entry SET points = points + 1 WHERE account = 'issued' AND {posting_of('take_back')}",
        {"L3", "L12"},
    ),
    "points to spend in spite of a debt": (
        "UPDATE member_balance SET spendable = spendable + 1 WHERE owed > 0",
        {"L1", "L5", "L12"},
    ),
    "a debt from nowhere": ("UPDATE member_balance SET owed = owed + 1 WHERE owed > 0", {"L1"}),
    "a debt that was forgiven": (
        f"UPDATE entry SET points = points + 1 WHERE account = 'owed' AND {posting_of('take_back')}",
        {"L1", "L3", "L19"},
    ),
    "a lot that expired before its time": (
        f"UPDATE lot SET expires_at = '2027-06-01 00:00:00' {one('lot', 'points = 20')}",
        {"L13"},
    ),
    "an approval by the same person": (
        "UPDATE adjustment SET decided_by = requested_by WHERE points = 6000",
        {"L21"},
    ),
    "an approval by nobody": ("UPDATE adjustment SET decided_by = '' WHERE points = 6000", {"L21"}),
    "points by hand without a reason": ("UPDATE adjustment SET reason = '' WHERE points = 7", {"L21"}),
    "points by hand without a person": ("UPDATE adjustment SET requested_by = '' WHERE points = 7", {"L21"}),
    "points by hand that are not what was asked": ("UPDATE adjustment SET points = 8 WHERE points = 7", {"L21"}),
    "points by hand that nobody asked for": ("DELETE FROM adjustment WHERE points = 7", {"L21"}),
    "points by hand of a member of another program": (
        f"UPDATE adjustment SET program_id = {NEW_ID} WHERE points = 9000",
        {"L17"},
    ),
}


def test_each_mutant_of_a_busy_ledger_trips_exactly_its_invariants(busy: Shop) -> None:
    assert tripped(busy, BUSY_MUTANTS) == {mutant: checks for mutant, (_statement, checks) in BUSY_MUTANTS.items()}


def test_points_on_ones_own_account_are_found_by_id_and_by_address(busy: Shop) -> None:
    with transaction(busy.engine, busy.program.id) as session:
        mail = "person1@example.com"
        create_staff(session, program_id=busy.program.id, email=mail, role="manager", now=NOW, actor="test")
        staff_id = session.exec(select(StaffUser.id)).one()
    corrupt(
        busy.engine,
        f"UPDATE adjustment SET requested_by = 'staff:{staff_id}' WHERE points = 7",
        "UPDATE adjustment SET decided_by = 'staff:person1@example.com' WHERE points = 6000",
    )
    for scope in (ALL_PROGRAMS, busy.program.id):
        with reading(busy.engine, scope) as session:
            found = [violation for check in LEDGER_CHECKS for violation in check(session)]
            assert [violation.check for violation in found] == ["L21", "L21"]
            asked = session.exec(select(Adjustment.id).where(col(Adjustment.points).in_((7, 6_000)))).all()
            assert {violation.row for violation in found} == {str(row) for row in asked}


def test_a_row_in_another_program_is_found_and_belongs_to_that_program(shop: Shop) -> None:
    section = {**program_file()["program"], "slug": "other"}
    other = open_shop(shop.engine, program=section)
    corrupt(
        shop.engine,
        f"UPDATE lot SET program_id = (SELECT id FROM program WHERE slug = 'other') {one('lot')}",
    )
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert {violation.check for violation in found_in(session)} == {"L17"}
    with reading(shop.engine, other.program.id) as session:
        assert {violation.check for violation in found_in(session)} == {"L17"}
    with reading(shop.engine, shop.program.id) as session:
        assert found_in(session) == []


def test_a_posting_without_entries_is_found(shop: Shop) -> None:
    with transaction(shop.engine, shop.program.id) as session:
        session.add(
            Posting(
                program_id=shop.program.id,
                member_id=shop.member_id,
                kind="earn",
                reason="nothing",
                occurred_at=NOW,
                recorded_at=NOW,
            )
        )
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert {violation.check for violation in found_in(session)} == {"L3"}


def test_a_check_names_a_limited_number_of_rows(engine: Engine) -> None:
    shop = open_shop(engine, members=VIOLATIONS_MAX + 5)
    with engine.connect() as connection:
        connection.execute(sa.text("UPDATE member_balance SET spendable = 1"))
        connection.commit()
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert len(LEDGER_CHECKS[0](session)) == VIOLATIONS_MAX
