"""The ear of tests that count statements hears the same on both databases."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import publish
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, insert_rows, new_id, transaction, update_rows
from wallet_server.programs.models import Product
from wallet_server.programs.queries import categories_asked
from wallet_server.reads import ask, one_round


def work(session: Session, program_id: UUID) -> None:
    """Each way in which something is said: the ORM's, a round of reads, writes that wait."""
    teas = [
        {"id": new_id(), "program_id": program_id, "sku": f"tea-{number}", "name": {"en": "Tea"}} for number in range(9)
    ]
    insert_rows(session, Product, teas)
    session.exec(select(Product).where(col(Product.sku) == "tea-1")).one()
    prices = [{"program_id": program_id, "sku": tea["sku"], "price_minor": 5} for tea in teas]
    update_rows(session, Product, prices, key=["program_id", "sku"])
    with one_round(session) as ask_for:
        ask_for(categories_asked(program_id, ["tea-1"]))
        ask_for(categories_asked(program_id, ["tea-2", "burger"]))
    session.connection().execute(sa.text("SELECT 1"))


VERBS = ["INSERT", "SELECT", "UPDATE", "SELECT", "SELECT", "SELECT"]


@pytest.mark.parametrize("of", ["engine", "session"])
def test_every_way_is_heard_once_and_in_order(engine: Engine, of: str) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        with heard(engine if of == "engine" else session) as said:
            work(session, program.id)
        assert [statement.verb for statement in said] == VERBS
        assert "tea-1" in str(said[1].values)
        ask(session, categories_asked(program.id, ["tea-1"]))
        session.connection().execute(sa.text("SELECT 1"))
    assert len(said) == len(VERBS)


def test_a_transaction_of_its_own_counts_no_more(engine: Engine) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
    with heard(engine) as said, transaction(engine, program.id) as session:
        work(session, program.id)
    assert [statement.verb for statement in said] == VERBS
