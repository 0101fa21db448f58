"""The database: engine, transactions, column types, and the one mechanism that keeps programs apart.

SQLite (WAL, ``synchronous=FULL``) is the default, PostgreSQL the way to grow; the same code runs on both.

Every table of a program's data is a :class:`ProgramOwned`. A session works for one program
(``transaction(engine, program_id)``): each ORM statement on such a table gets ``program_id = …`` added,
each row written is checked, and a session without a scope may not touch such a table at all. Work that
crosses programs on purpose (workers, migrations, ``verify``) says so with :data:`ALL_PROGRAMS`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.orm import ORMExecuteState, with_loader_criteria
from sqlmodel import Field, Session, SQLModel

from wallet_server import arrays, connections, pipeline
from wallet_server.columns import JSONColumn as JSONColumn  # noqa: PLC0414 - models find all that they need here
from wallet_server.columns import PackedJSON as PackedJSON  # noqa: PLC0414 - the same
from wallet_server.columns import UTCDateTime as UTCDateTime  # noqa: PLC0414 - the same
from wallet_server.columns import partial_index as partial_index  # noqa: PLC0414 - the same
from wallet_server.columns import to_json as to_json  # noqa: PLC0414 - the same
from wallet_server.errors import ConfigurationError

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = SQLModel.metadata

_id_lock = threading.Lock()
_id_last = 0


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then bits that only grow within this process.

    Made here and not by the database, so that rows that point at each other go out in one round trip.
    Ids are sortable by time but guessable in part: never a secret.
    """
    global _id_last  # noqa: PLW0603 - the monotonic counter of RFC 9562, section 6.2, is per process
    with _id_lock:
        now = time.time_ns() // 1_000_000
        # Same millisecond (or a clock set back): continue from the last id, so that order is kept.
        is_later = now > _id_last >> 74
        candidate = _id_last = now << 74 | secrets.randbits(74) if is_later else _id_last + 1 + secrets.randbits(32)
    milliseconds, rest = candidate >> 74, candidate & ((1 << 74) - 1)
    rand_a, rand_b = rest >> 62, rest & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


class ProgramOwned(SQLModel):
    """Mixin of every table whose rows belong to one program."""

    program_id: UUID = Field(foreign_key="program.id", nullable=False)


class ProgramOwnedThrough(ProgramOwned):
    """As :class:`ProgramOwned`, where a composite key to a row of the program says already that there is one.

    For tables that each purchase writes: one more key to the same single row is a tenth of what PostgreSQL spends
    on writing, and all tills at once mark that row as used.
    """

    program_id: UUID = Field(nullable=False)


_PROGRAM_ID = sa.column("program_id", sa.Uuid())


class AllPrograms(Enum):
    """The type of :data:`ALL_PROGRAMS`."""

    ALL = "all"


ALL_PROGRAMS: Final = AllPrograms.ALL
"""The scope of work that crosses programs on purpose."""

Scope = UUID | AllPrograms | None


class UnscopedQueryError(AssertionError):
    """A programmer forgot to say for which program a statement runs."""


@event.listens_for(Session, "do_orm_execute")
def _scope_statement(state: ORMExecuteState) -> None:
    scope: Scope = state.session.info.get("scope")
    if scope is ALL_PROGRAMS:
        return
    # Only the statement's own tables are named here; one that hides in a subquery matches no row.
    if scope is None and any(issubclass(mapper.class_, ProgramOwned) for mapper in state.all_mappers):
        raise UnscopedQueryError(f"no program was named for: {state.statement}")
    if state.is_insert:
        parameters: Any = state.parameters
        rows = parameters if isinstance(parameters, list | tuple) else [parameters] if parameters else []
        if issubclass(state.all_mappers[0].class_, ProgramOwned):
            _assert_scope(scope, (row.get("program_id") for row in rows))
        return
    state.statement = state.statement.options(
        with_loader_criteria(
            ProgramOwned,
            # SQLAlchemy tries the lambda on the mixin itself once, which has no column of its own.
            lambda cls: getattr(cls, "program_id", _PROGRAM_ID) == scope,
            include_aliases=True,
        )
    )


@event.listens_for(Session, "before_flush")
def _scope_flush(session: Session, _context: Any, _instances: Any) -> None:
    scope: Scope = session.info.get("scope")
    if scope is ALL_PROGRAMS:
        return
    owned = [row for row in (*session.new, *session.dirty, *session.deleted) if isinstance(row, ProgramOwned)]
    if owned and scope is None:
        raise UnscopedQueryError(f"no program was named for writing {type(owned[0]).__name__}")
    _assert_scope(scope, (row.program_id for row in owned))


@event.listens_for(Session, "before_commit")
def _send_what_waits(session: Session) -> None:
    if session.info.pop("writes_wait", False):
        pipeline.send(session.connection())


def _assert_scope(scope: Scope, program_ids: Iterable[UUID | None]) -> None:
    for program_id in program_ids:
        if program_id != scope:
            raise UnscopedQueryError(f"a row of program {program_id} was written in the scope of {scope}")


def create_engine(url: str | URL, *, pool_size: int = 5) -> Engine:
    """An engine for a SQLite file or a PostgreSQL database.

    The values of a failed statement (phone numbers, hashes) stay out of its error, which goes to the log.
    Raises :class:`ConfigurationError` for another kind of database or a folder that cannot be written.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return connections.to_sqlite(parsed, pool_size)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        engine = connections.to_postgresql(parsed, pool_size)
        pipeline.listen(engine)
        return engine
    raise ConfigurationError(f"DATABASE_URL: {parsed.get_backend_name()} is not supported; use sqlite or postgresql")


class _WriteLocks(threading.local):
    held: bool = False


_write_locks = _WriteLocks()


@contextmanager
def _fair_write_lock(engine: Engine) -> Iterator[None]:
    """Queue SQLite's writers in the order they come, over all processes.

    SQLite's own busy handler polls, and under load one process can be left without a turn for seconds;
    the kernel wakes the waiters of a file lock in order. PostgreSQL needs none of this.
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    assert not _write_locks.held, "a transaction was opened inside a transaction"
    descriptor = os.open(f"{engine.url.database}-writers", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    _write_locks.held = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        _write_locks.held = False
        os.close(descriptor)


@contextmanager
def transaction(engine: Engine, scope: Scope = None) -> Iterator[Session]:
    """One writing transaction: committed at the end, rolled back if anything is raised.

    ``scope`` is the program it works for, or :data:`ALL_PROGRAMS`. Keep it short and never wait for a
    network inside it.
    """
    with (
        _fair_write_lock(engine),
        Session(engine.execution_options(writes=True), expire_on_commit=False, info={"scope": scope}) as session,
    ):
        yield session
        session.commit()


@contextmanager
def reading(engine: Engine, scope: Scope = None) -> Iterator[Session]:
    """One consistent read; nothing that is done in it is kept."""
    with Session(engine, expire_on_commit=False, autoflush=False, info={"scope": scope}) as session:
        if engine.dialect.name == "postgresql":
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def set_scope(session: Session, scope: Scope) -> None:
    """Name the program of a session that began before the program was known (an API key's, a pass's)."""
    session.info["scope"] = scope


@contextmanager
def scoped(session: Session, program_id: UUID) -> Iterator[None]:
    """Narrow a session over all programs to one for a while: a sku means something else in each."""
    before: Scope = session.info.get("scope")
    assert before in (ALL_PROGRAMS, program_id), "the session works for another program"
    set_scope(session, program_id)
    try:
        yield
    finally:
        set_scope(session, before)


def among(session: Session, column: Any, values: Iterable[Any]) -> sa.ColumnElement[bool]:
    """``column IN (values)``, said on PostgreSQL so that the statement has one text for any number of values."""
    wanted = list(values)
    if session.get_bind().dialect.name == "sqlite":
        return sa.ColumnElement.in_(column, wanted)
    return column == sa.any_(sa.literal(wanted, postgresql.ARRAY(column.type)))  # type: ignore[no-any-return]


def table_of(model: type[SQLModel]) -> sa.Table:
    """The table of a model, for statements past the ORM: those name their program themselves."""
    table: sa.Table = model.__table__  # type: ignore[attr-defined]
    return table


def insert_rows(session: Session, model: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows in one statement; every row names the same columns, and all that have no default.

    Past the ORM, whose bulk insert costs more per row than the database, but not past the scope.
    """
    if not rows:
        return
    table, names, connection = _ready_to_write(session, model, rows)
    if connection.dialect.name == "postgresql":
        statement = arrays.insert_statement(table, names)
        pipeline.later(connection, statement.text, statement.parameters(rows, to_json))
    else:
        connection.execute(sa.insert(table), list(rows))


def insert_free_rows(
    session: Session, model: type[SQLModel], rows: Sequence[Mapping[str, Any]], *, key: Sequence[str]
) -> list[UUID]:
    """Insert those rows whose ``key`` is not taken; the ids of the rows that were inserted."""
    if not rows:
        return []
    table, names, connection = _ready_to_write(session, model, rows)
    if connection.dialect.name == "postgresql":
        statement = arrays.insert_statement(table, names, tuple(key), returning="id")
        [inserted] = pipeline.ask(connection, [(statement.text, statement.parameters(rows, to_json))])
        return [row_id for (row_id,) in inserted]
    free = sqlite.insert(table).on_conflict_do_nothing(index_elements=list(key)).returning(table.c.id)
    return list(connection.execute(free, list(rows)).scalars())


def upsert_rows(
    session: Session,
    model: type[SQLModel],
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    update: Sequence[str],
) -> None:
    """Insert many rows in one statement; where ``key`` is taken, set ``update`` to the new values.

    No two rows have the same key.
    """
    if not rows:
        return
    table, names, connection = _ready_to_write(session, model, rows)
    if connection.dialect.name == "postgresql":
        statement = arrays.insert_statement(table, names, tuple(key), tuple(update))
        pipeline.later(connection, statement.text, statement.parameters(rows, to_json))
        return
    upsert = sqlite.insert(table)
    upsert = upsert.on_conflict_do_update(
        index_elements=list(key), set_={name: upsert.excluded[name] for name in update}
    )
    connection.execute(upsert, list(rows))


def update_rows(
    session: Session, model: type[SQLModel], rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], add: bool = False
) -> None:
    """Update many rows in one statement, each by its ``key``: its other values are what the row gets.

    With ``add`` they are numbers that are added to what the row has.
    """
    if not rows:
        return
    table, names, connection = _ready_to_write(session, model, rows)
    update = tuple(name for name in names if name not in key)
    if connection.dialect.name == "postgresql":
        statement = arrays.update_statement(table, tuple(key), update, add=add)
        pipeline.later(connection, statement.text, statement.parameters(rows, to_json))
        return
    same = (table.c[name] == sa.bindparam(f"key_{name}", type_=table.c[name].type) for name in key)
    given = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in update}
    values = {name: table.c[name] + value for name, value in given.items()} if add else given
    connection.execute(
        sa.update(table).where(*same).values(values),
        [{f"key_{name}" if name in key else f"new_{name}": value for name, value in row.items()} for row in rows],
    )


def _ready_to_write(
    session: Session, model: type[SQLModel], rows: Sequence[Mapping[str, Any]]
) -> tuple[sa.Table, tuple[str, ...], sa.Connection]:
    scope: Scope = session.info.get("scope")
    if issubclass(model, ProgramOwned) and scope is not ALL_PROGRAMS:
        _assert_scope(scope, (row.get("program_id") for row in rows))
    names = rows[0].keys()
    assert all(row.keys() == names for row in rows), f"rows of {model.__name__} with different columns"
    session.flush()
    session.info["writes_wait"] = True
    return model.__table__, tuple(names), session.connection()  # type: ignore[attr-defined]


ANALYSIS_ROWS_MAX: Final = 1_000


def refresh_planner_statistics(engine: Engine) -> None:
    """Let the database count its rows, so that it chooses indexes by facts. Due after loading much.

    Without it SQLite takes any index that begins with an equal column for as good as another, and walks
    through all purchases of the program for those of one member. Looks at some rows of each index only:
    0.03 s with 150,000 purchases; connections that are open already go on with what they knew. PostgreSQL leaves
    empty tables out: once told that one is empty it reads it whole for each foreign key, however it grows.
    """
    with transaction(engine) as session:
        connection = session.connection()
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA analysis_limit={ANALYSIS_ROWS_MAX}")
            connection.exec_driver_sql("ANALYZE")
            return
        for table in connection.exec_driver_sql(_FILLED_TABLES).scalars().all():
            connection.exec_driver_sql(f"ANALYZE {table}")


_FILLED_TABLES: Final = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND pg_relation_size(oid) > 0
"""


def is_locked(error: sa.exc.DBAPIError) -> bool:
    """Whether the database only asks to come back later (lock or statement time-out, busy, deadlock)."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state in {"55P03", "57014", "40001", "40P01"}
    return "locked" in str(error.orig) or "busy" in str(error.orig)
