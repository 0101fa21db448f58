"""Each invariant is tripped by a row that breaks it, and by no other (mutants)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.ledger.invariants import CHECKS as LEDGER_CHECKS
from wallet_server.ledger.invariants import VIOLATIONS_MAX, Violation
from wallet_server.purchases.invariants import CHECKS as PURCHASE_CHECKS


def found_in(session: Session) -> list[Violation]:
    return [violation for check in (*LEDGER_CHECKS, *PURCHASE_CHECKS) for violation in check(session)]


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """Three receipts of one member, the last one paid with points."""
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-1", 500_000, 100_000), purchase(shop.card, "A-2", 70_000))
    shop.record(purchase(shop.card, "A-3", 100_000, redeem_points=50))
    return shop


def corrupt(engine: Engine, *statements: str) -> None:
    """Change rows behind the database's back: without its keys and triggers."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars()
            for name in names.all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        for statement in statements:
            changed = connection.exec_driver_sql(statement).rowcount
            assert changed == 1, f"{statement} changed {changed} rows"
        connection.commit()
    engine.dispose()


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


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_trips_exactly_its_invariants(shop: Shop, mutant: str) -> None:
    statement, expected = MUTANTS[mutant]
    corrupt(shop.engine, statement)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        found = found_in(session)
    assert {violation.check for violation in found} == expected
    assert all(violation.row for violation in found)
    assert all(violation.detail for violation in found)


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
    from wallet_server.db import transaction
    from wallet_server.ledger.models import Posting

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
