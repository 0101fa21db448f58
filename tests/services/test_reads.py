"""Reads that are asked together: one statement text, one round trip, in their order, on both databases."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from tests.conftest import NOW
from tests.factories import CAFE
from wallet_server import pipeline
from wallet_server.db import ALL_PROGRAMS, UTCDateTime, insert_rows, new_id, reading, transaction
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.models import Product
from wallet_server.programs.queries import categories_asked
from wallet_server.programs.services import apply_program
from wallet_server.reads import Asked, Read, ask, kept_uuid, known, one_round, say

PRODUCT: sa.Table = Product.__table__  # type: ignore[attr-defined]
OUTBOX: sa.Table = OutboxRow.__table__  # type: ignore[attr-defined]
BY_SKU = Read(
    lambda one_of: sa.select(PRODUCT.c.sku, PRODUCT.c.id).where(one_of(PRODUCT.c.id, "ids")).order_by(PRODUCT.c.sku)
)
TOLD = Read(
    lambda one_of: sa.select(OUTBOX.c.topic, OUTBOX.c.payload, OUTBOX.c.not_before).where(
        OUTBOX.c.not_before <= sa.bindparam("now", type_=UTCDateTime()), one_of(OUTBOX.c.topic, "topics")
    )
)
PRICE: sa.BindParameter[int] = sa.bindparam("price", type_=sa.BigInteger())
PRICED = Read(lambda one_of: sa.update(PRODUCT).where(one_of(PRODUCT.c.sku, "skus")).values(price_minor=PRICE))
AT_PRICE = Read(lambda _one_of: sa.select(PRODUCT.c.sku).where(PRODUCT.c.price_minor == PRICE).order_by(PRODUCT.c.sku))


@pytest.fixture
def cafe(engine: Engine) -> UUID:
    with transaction(engine, ALL_PROGRAMS) as session:
        return apply_program(session, ProgramFile.model_validate(CAFE), now=NOW, actor="cli").program_id


@contextmanager
def rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many statements each round trip to PostgreSQL carried."""
    counted: list[int] = []
    sent = pipeline.ask

    def count(connection: sa.Connection, questions: list[tuple[str, object]]) -> list[list[tuple[object, ...]]]:
        counted.append(len(questions))
        return sent(connection, questions)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "ask", count)
        yield counted


def test_values_come_back_as_columns_keep_them(engine: Engine, cafe: UUID) -> None:
    row = {
        "topic": "test.told",
        "queue": "bulk",
        "program_id": cafe,
        "payload": {"v": 1, "word": "чай"},
        "not_before": NOW + timedelta(microseconds=7),
        "priority": 0,
        "created_at": NOW,
    }
    with transaction(engine, ALL_PROGRAMS) as session:
        insert_rows(session, OutboxRow, [row])
        found = ask(session, Asked(TOLD, {"now": NOW + timedelta(seconds=1), "topics": ["test.told", "x"]}, list))
    assert found == [(row["topic"], row["payload"], row["not_before"])]
    told_at = found[0][2]
    assert isinstance(told_at, datetime)
    assert told_at.tzinfo is UTC


def test_one_text_serves_any_number_of_values(engine: Engine, cafe: UUID) -> None:
    with reading(engine, cafe) as session:
        ids = list(session.scalars(sa.select(PRODUCT.c.id).where(PRODUCT.c.program_id == cafe).order_by(PRODUCT.c.sku)))
        assert len(ids) > 1
        for count in (0, 1, len(ids)):
            rows = ask(session, Asked(BY_SKU, {"ids": ids[:count]}, list))
            assert [product_id for _sku, product_id in rows] == ids[:count]
        assert BY_SKU.words(engine.dialect) is BY_SKU.words(engine.dialect)


def test_a_round_is_one_trip_behind_the_writes_that_wait(
    engine: Engine, cafe: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    tea = {"id": new_id(), "program_id": cafe, "sku": "tea", "name": {"en": "Tea"}}
    with rounds(monkeypatch) as counted, transaction(engine, cafe) as session:
        insert_rows(session, Product, [tea])
        with one_round(session) as ask_for:
            categories = ask_for(categories_asked(cafe, ["burger", "tea"]))
            again = ask_for(Asked(BY_SKU, {"ids": [tea["id"]]}, list))
            nothing = ask_for(known("no read"))
        assert categories.value == {"burger": "food", "tea": None}
        assert again.value == [("tea", tea["id"])]
        assert nothing.value == "no read"
    if engine.dialect.name == "postgresql":
        assert counted == [2]


def test_a_failing_round_raises_what_sqlalchemy_would_without_values(engine: Engine, cafe: UUID) -> None:
    tea = {"id": new_id(), "program_id": cafe, "sku": "burger", "name": {"en": "Twin"}}

    def fail() -> None:
        with transaction(engine, cafe) as session:
            insert_rows(session, Product, [tea])
            ask(session, categories_asked(cafe, ["burger"]))

    with pytest.raises(DBAPIError) as failed:
        fail()
    assert "Twin" not in str(failed.value.statement)
    assert not isinstance(failed.value, psycopg.Error)
    with reading(engine, cafe) as session:
        assert ask(session, categories_asked(cafe, ["burger"])) == {"burger": "food"}


def test_a_value_that_was_not_asked_for_is_refused(engine: Engine, cafe: UUID) -> None:
    with reading(engine, cafe) as session, pytest.raises(AssertionError, match="nobody"):
        ask(session, Asked(BY_SKU, {"nobody": 1}, list))


def test_an_id_reads_as_the_class_reads_it() -> None:
    known_id = new_id()
    for digits in (known_id.hex, str(known_id)):
        read = kept_uuid(digits)
        assert read == known_id
        assert (hash(read), str(read), read.is_safe) == (hash(known_id), str(known_id), known_id.is_safe)
        assert pickle.loads(pickle.dumps(read)) == known_id
    with pytest.raises(ValueError, match="invalid literal"):
        kept_uuid("no id")


def test_a_change_without_an_answer_is_seen_by_what_is_asked_next_and_kept(engine: Engine, cafe: UUID) -> None:
    odd = ['{"a", NULL}', "\\back\\slash", "чай, 'зелёный'", "NULL"]
    teas = [{"id": new_id(), "program_id": cafe, "sku": sku, "name": {"en": "Tea"}} for sku in (*odd, "plain")]
    at_price = Asked(AT_PRICE, {"price": 7}, lambda rows: [sku for (sku,) in rows])
    with transaction(engine, cafe) as session:
        insert_rows(session, Product, teas)
        say(session, PRICED, {"skus": odd, "price": 9})
        say(session, PRICED, {"skus": odd, "price": 7})
        assert sorted(ask(session, at_price)) == sorted(odd)
        say(session, PRICED, {"skus": ["plain"], "price": 7})
    with reading(engine, cafe) as session:
        assert sorted(ask(session, at_price)) == sorted([*odd, "plain"])
