"""Rows that go into PostgreSQL as arrays come out as they were, and as SQLite gives them."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.conftest import NOW
from wallet_server.db import (
    ALL_PROGRAMS,
    UnscopedQueryError,
    insert_free_rows,
    insert_rows,
    new_id,
    transaction,
    update_rows,
    upsert_rows,
)
from wallet_server.programs.models import Product, Program
from wallet_server.staff.models import AuditRecord

NASTY = ("", "NULL", "null", '"', "\\", "{a,b}", " a , b ", "'; --", "%s %(x)s", "\n\t\r", "Ќе №1", "\U0001f370", "{}")


def _program(session: Session) -> Program:
    program = Program(slug="p", version=1, created_at=NOW, updated_at=NOW)
    session.add(program)
    session.flush()
    return program


def _record(program: Program, text: str, **values: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "program_id": program.id,
        "actor": "test",
        "action": "x",
        "subject": text,
        "detail": {"text": text, "list": [1, None, {"a": text}]},
        "at": NOW,
        **values,
    }


def test_texts_and_json_come_back_as_they_were(session: Session) -> None:
    program = _program(session)
    insert_rows(session, AuditRecord, [_record(program, text) for text in NASTY])
    found = session.exec(select(AuditRecord).order_by(AuditRecord.id)).all()  # type: ignore[arg-type]
    assert [row.subject for row in found] == list(NASTY)
    assert [row.detail for row in found] == [{"text": text, "list": [1, None, {"a": text}]} for text in NASTY]


def test_moments_keep_their_instant_and_microseconds(session: Session) -> None:
    program = _program(session)
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    insert_rows(session, AuditRecord, [_record(program, "x", at=moment)])
    assert session.exec(select(AuditRecord.at)).one() == moment.astimezone(UTC)


def test_a_moment_without_zone_is_refused(session: Session) -> None:
    program = _program(session)
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - what must not happen
    with pytest.raises((AssertionError, sa.exc.StatementError)):
        insert_rows(session, AuditRecord, [_record(program, "x", at=naive)])
    session.rollback()


def test_a_text_that_is_too_long_is_never_cut(engine: Engine) -> None:
    """PostgreSQL refuses it; SQLite knows no lengths and keeps it whole."""
    refused = pytest.raises(sa.exc.DataError) if engine.dialect.name == "postgresql" else nullcontext()
    with refused, transaction(engine, ALL_PROGRAMS) as session:
        insert_rows(session, AuditRecord, [_record(_program(session), "x" * 10_000, action="y" * 10_000)])
        assert session.exec(select(AuditRecord.action)).one() == "y" * 10_000


def test_what_a_row_leaves_out_gets_the_models_default(session: Session) -> None:
    program = _program(session)
    row = _record(program, "x")
    del row["subject"], row["detail"]
    insert_rows(session, AuditRecord, [row])
    found = session.exec(select(AuditRecord)).one()
    assert (found.subject, found.detail) == ("", {})


def test_a_key_that_is_taken_is_changed_left_or_updated(session: Session) -> None:
    program = _program(session)

    def product(sku: str, price: int | None) -> dict[str, Any]:
        return {"id": new_id(), "program_id": program.id, "sku": sku, "name": {}, "price_minor": price}

    key = ["program_id", "sku"]
    upsert_rows(session, Product, [product("a", 1), product("b", 2)], key=key, update=["price_minor"])
    upsert_rows(session, Product, [product("b", 3), product("c", None)], key=key, update=["price_minor"])
    free = [product("c", 9), product("d", 4)]
    assert insert_free_rows(session, Product, free, key=key) == [free[1]["id"]]
    update_rows(
        session, Product, [{"program_id": program.id, "sku": sku, "price_minor": 7} for sku in ("a", "x")], key=key
    )
    found = dict(session.exec(select(Product.sku, Product.price_minor)).all())
    assert found == {"a": 7, "b": 3, "c": None, "d": 4}


def test_rows_of_another_program_are_refused(engine: Engine) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = _program(session)
    row = {"program_id": program.id, "sku": "a", "price_minor": 1}
    with pytest.raises(UnscopedQueryError), transaction(engine, new_id()) as session:
        update_rows(session, Product, [row], key=["program_id", "sku"])
    with pytest.raises(UnscopedQueryError), transaction(engine, new_id()) as session:
        upsert_rows(session, Product, [{"id": new_id(), **row}], key=["sku"], update=["price_minor"])


def test_a_write_is_there_for_whatever_comes_next(engine: Engine) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = _program(session)
        insert_rows(session, AuditRecord, [_record(program, "first")])
        assert session.connection().execute(sa.text("SELECT subject FROM audit_record")).scalar_one() == "first"
        insert_rows(session, AuditRecord, [_record(program, "second")])
    with transaction(engine, ALL_PROGRAMS) as session:
        assert session.execute(sa.text("SELECT count(*) FROM audit_record")).scalar_one() == 2
        insert_rows(session, AuditRecord, [_record(program, "undone")])
        session.rollback()
        assert session.execute(sa.text("SELECT count(*) FROM audit_record")).scalar_one() == 2
        nested = session.begin_nested()
        insert_rows(session, AuditRecord, [_record(program, "undone")])
        nested.rollback()
        nested = session.begin_nested()
        insert_rows(session, AuditRecord, [_record(program, "kept")])
        nested.commit()
    with transaction(engine, ALL_PROGRAMS) as session:
        found = session.execute(sa.text("SELECT subject FROM audit_record ORDER BY id")).scalars().all()
        assert found == ["first", "second", "kept"]


def test_a_write_that_is_refused_undoes_all_and_tells_no_values(engine: Engine) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = _program(session)
    row = _record(program, "secret")

    def write() -> None:
        with transaction(engine, ALL_PROGRAMS) as session:
            for record in (_record(program, "fine"), row, row, _record(program, "fine")):
                insert_rows(session, AuditRecord, [record])

    with pytest.raises(sa.exc.IntegrityError) as refused:
        write()
    assert "secret" not in str(refused.value)
    with transaction(engine, ALL_PROGRAMS) as session:
        assert session.exec(select(AuditRecord)).all() == []
