"""The ground: migrations that match the tables, and sessions that keep programs apart."""

from __future__ import annotations

import contextlib
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from tests.conftest import NOW
from wallet_server import connections, migrations
from wallet_server.db import ALL_PROGRAMS, UnscopedQueryError, new_id, reading, transaction, upsert_rows
from wallet_server.programs.models import Category, Program


def test_the_migrated_schema_is_the_one_of_the_models(engine: Engine) -> None:
    assert migrations.current(engine) == migrations.head()
    assert migrations.differences(engine) == []


def two_programs(engine: Engine) -> tuple[UUID, UUID]:
    with transaction(engine, ALL_PROGRAMS) as session:
        programs = [Program(slug=slug, version=1, created_at=NOW, updated_at=NOW) for slug in ("one", "two")]
        session.add_all(programs)
        session.flush()
        for program in programs:
            session.add(Category(program_id=program.id, code=f"of-{program.slug}", name={"en": "x"}))
    return programs[0].id, programs[1].id


def test_a_scoped_session_sees_and_touches_only_its_program(engine: Engine) -> None:
    one, _two = two_programs(engine)
    with transaction(engine, one) as session:
        assert session.exec(select(Category.code)).all() == ["of-one"]
        in_subquery = select(Program.slug).where(col(Program.id).in_(select(Category.program_id)))
        assert session.exec(in_subquery).all() == ["one"]
        alias = sa.orm.aliased(Category)
        assert session.exec(select(sa.func.count()).select_from(alias)).one() == 1
        session.execute(sa.update(Category).values(code="renamed"))
    with reading(engine, ALL_PROGRAMS) as session:
        assert sorted(session.exec(select(Category.code)).all()) == ["of-two", "renamed"]
    with transaction(engine, one) as session:
        session.execute(sa.delete(Category))
    with reading(engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Category.code)).all() == ["of-two"]


def test_a_session_without_a_program_touches_no_programs_data(engine: Engine) -> None:
    two_programs(engine)
    with reading(engine) as session, pytest.raises(UnscopedQueryError):
        session.exec(select(Category))


def test_a_row_of_another_program_cannot_be_written(engine: Engine) -> None:
    one, two = two_programs(engine)
    row = {"id": new_id(), "program_id": two, "code": "smuggled", "name": {"en": "x"}}
    with pytest.raises(UnscopedQueryError), transaction(engine, one) as session:
        session.execute(sa.insert(Category), [row])
    with pytest.raises(UnscopedQueryError), transaction(engine, one) as session:
        session.add(Category(program_id=two, code="smuggled", name={"en": "x"}))
    with reading(engine, two) as session:
        assert session.exec(select(Category.code)).all() == ["of-two"]


def test_upsert_updates_where_the_key_is_taken(engine: Engine) -> None:
    one, _ = two_programs(engine)
    with transaction(engine, one) as session:
        rows = [
            {"id": new_id(), "program_id": one, "code": code, "name": {"en": "new"}, "parent_code": None}
            for code in ("of-one", "fresh")
        ]
        upsert_rows(session, Category, rows, key=["program_id", "code"], update=["name"])
    with reading(engine, one) as session:
        found = {row.code: row.name for row in session.exec(select(Category))}
    assert found == {"of-one": {"en": "new"}, "fresh": {"en": "new"}}


def test_ids_grow_within_a_process() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {id_.version for id_ in ids} == {7}


def _end_sessions(engine: Engine) -> None:
    """What a restart of PostgreSQL does to the connections that rest in the pool."""
    with contextlib.closing(engine.raw_connection()) as connection:
        mine = connection.cursor().execute("SELECT pg_backend_pid()").fetchone()[0]
    with psycopg.connect(
        engine.url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (mine,))


@pytest.mark.parametrize("rested", [True, False], ids=["rested", "just used"])
def test_a_lost_connection_costs_one_answer_at_most(
    postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch, rested: bool
) -> None:
    engine = postgresql_engine
    engine.dispose()
    monkeypatch.setattr(connections, "UNTRIED_SECONDS_MAX", 0.0 if rested else 3600.0)
    _end_sessions(engine)
    if not rested:
        with pytest.raises(DBAPIError), reading(engine, ALL_PROGRAMS) as session:
            session.execute(sa.text("SELECT 1"))
    with transaction(engine, ALL_PROGRAMS) as session:
        assert session.execute(sa.text("SELECT 1")).scalar_one() == 1
