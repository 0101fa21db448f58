"""Reads that every till asks: put into words once for each kind of database, and asked together.

SQLAlchemy takes longer to build, look up and wrap such a statement than the database to answer it, and PostgreSQL
to answer ten of them one after the other longer than in one round trip. So a room that is read in a hurry says its
statement once, as a :class:`Read`, and hands out what is asked of it, as an :class:`Asked`; whoever wants several
answers asks in one :func:`one_round`::

    with one_round(session) as ask:
        cards = ask(cards_asked(program.id, numbers))
        products = ask(categories_asked(program.id, skus))
    cards.value

The statements are told in the order of asking, each sees what the ones before it have waited for, a lock included.
They are Core and go past the session's scope: each names its program itself, or rows by ids that were looked up in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID, SafeUUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Engine
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session

from wallet_server import arrays, pipeline
from wallet_server.columns import UTCDateTime, to_json

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Rows = Sequence[tuple[Any, ...]]
_Convert = Callable[[Any], Any] | None


class OneOf(Protocol):
    """``column IN (values)`` for a list of values that is given under a name; one text for any number of them."""

    def __call__(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]: ...


class _JsonList(TypeDecorator[Any]):
    """A list as SQLite's ``json_each`` reads it, its values as the column keeps them."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        convert = _writer(self.item, dialect)
        return to_json([convert(one) if convert else one for one in value])


def _one_of_postgresql(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(column.type)))


def _one_of_sqlite(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    given = sa.func.json_each(sa.bindparam(name, type_=_JsonList(column.type))).table_valued("value")
    return column.in_(sa.select(given.c.value))


_ONE_OF: Final[Mapping[str, OneOf]] = {"postgresql": _one_of_postgresql, "sqlite": _one_of_sqlite}


def _writer(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> _Convert:
    if isinstance(kind, postgresql.ARRAY):
        return arrays.writer(kind.item_type)
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reader(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> _Convert:
    if dialect.name == "sqlite" and isinstance(kind, sa.Uuid):
        return _uuid
    if dialect.name == "sqlite" and isinstance(kind, UTCDateTime):
        return _moment
    return kind.dialect_impl(dialect).result_processor(dialect, None)


_UNKNOWN: Final = SafeUUID.unknown  # by its name an enumeration looks for it in Python


def kept_uuid(digits: str) -> UUID:
    """``UUID(digits)`` of 32 hexadecimal digits that we wrote ourselves, hyphens or not, in a quarter of the time.

    Made as the class makes a pickled one, past the looks for braces, prefixes and other ways to say it.
    """
    made = object.__new__(UUID)
    object.__setattr__(made, "int", int(digits.replace("-", ""), 16))
    object.__setattr__(made, "is_safe", _UNKNOWN)
    return made


def _uuid(kept: str | None) -> UUID | None:
    return None if kept is None else kept_uuid(kept)


def _moment(kept: str | None) -> datetime | None:
    return None if kept is None else datetime.fromisoformat(kept).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Words:
    """A statement as a driver takes it. ``order`` names its values where the driver counts them."""

    text: str
    given: Mapping[str, Any]
    order: Sequence[str] | None
    writers: Mapping[str, _Convert]
    readers: Sequence[tuple[int, Callable[[Any], Any]]]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        assert values.keys() <= self.given.keys(), f"{values.keys() - self.given.keys()} is not asked for"
        said = {
            name: value if (write := self.writers[name]) is None else write(value)
            for name, value in {**self.given, **values}.items()
        }
        return said if self.order is None else tuple(said[name] for name in self.order)

    def rows(self, found: Rows) -> Rows:
        if not self.readers or not found:
            return found
        columns: list[Iterable[Any]] = list(zip(*found, strict=True))
        for place, convert in self.readers:
            columns[place] = map(convert, columns[place])
        return list(zip(*columns, strict=True))


class Read:
    """A statement that is said often; ``build`` makes it with the database's own way of saying *one of these*.

    Its values are ``bindparam`` with a name and a type. It may also be an ``UPDATE``, with an answer or without.
    """

    def __init__(self, build: Callable[[OneOf], sa.Select[Any] | sa.Update | sa.sql.dml.ReturningUpdate[Any]]) -> None:
        self._build = build
        self._words: dict[str, _Words] = {}

    def words(self, dialect: sa.Dialect) -> _Words:
        if dialect.name not in self._words:
            self._words[dialect.name] = self._put(dialect)
        return self._words[dialect.name]

    def _put(self, dialect: sa.Dialect) -> _Words:
        statement = self._build(_ONE_OF[dialect.name])
        said = statement.compile(dialect=dialect)
        assert isinstance(said, sa.sql.compiler.SQLCompiler)
        columns = statement.exported_columns
        readers = [_reader(column.type, dialect) for column in columns]
        return _Words(
            str(said),
            dict(said.construct_params(_check=False)),
            said.positiontup,
            {name: _writer(value.type, dialect) for name, value in said.binds.items()},
            [(place, read) for place, read in enumerate(readers) if read is not None],
        )


@dataclass(frozen=True, slots=True)
class Asked(Generic[T_co]):
    """A read with its values; ``answer`` makes of the rows what the caller wants. Without a read it is known."""

    read: Read | None
    values: Mapping[str, Any]
    answer: Callable[[Rows], T_co]


def known(value: T) -> Asked[T]:
    """An answer for which nothing has to be read."""
    return Asked(None, {}, lambda _rows: value)


class Answer(Generic[T_co]):
    """What was asked; ``value`` is there after the round."""

    __slots__ = ("asked", "value")

    def __init__(self, asked: Asked[T_co]) -> None:
        self.asked = asked
        self.value: T_co


class _Ask(Protocol):
    def __call__(self, asked: Asked[T]) -> Answer[T]: ...


@contextmanager
def one_round(session: Session) -> Iterator[_Ask]:
    """Ask several things at once; their answers are there at the end of the block.

    Raises SQLAlchemy's errors of the statements, and of writes that waited before them.
    """
    answers: list[Answer[Any]] = []

    def ask(asked: Asked[T]) -> Answer[T]:
        answer = Answer(asked)
        answers.append(answer)
        return answer

    yield ask
    _answer(session, answers)


def ask(session: Session, asked: Asked[T]) -> T:
    """One answer."""
    answer = Answer(asked)
    _answer(session, [answer])
    return answer.value


def say(session: Session, read: Read, values: Mapping[str, Any]) -> None:
    """Say an ``UPDATE`` that has no answer; to PostgreSQL it goes with what is asked next, or before the commit."""
    session.flush()
    connection = session.connection()
    words = read.words(connection.dialect)
    parameters = words.parameters(values)
    if connection.dialect.name == "postgresql":
        session.info["writes_wait"] = True
        pipeline.later(connection, words.text, parameters)
    else:
        connection.exec_driver_sql(words.text, parameters)


def ask_alone(engine: Engine, asked: Asked[T]) -> T:
    """One answer without a session, in no transaction but the statement's own."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        answer = Answer(asked)
        _tell(connection, [answer])
        return answer.value


def _answer(session: Session, answers: Sequence[Answer[Any]]) -> None:
    session.flush()
    _tell(session.connection(), answers)


def _tell(connection: sa.Connection, answers: Sequence[Answer[Any]]) -> None:
    told = [(answer, read.words(connection.dialect)) for answer in answers if (read := answer.asked.read) is not None]
    said = [(words.text, words.parameters(answer.asked.values)) for answer, words in told]
    found: Sequence[Rows]
    if connection.dialect.name == "postgresql":
        found = pipeline.ask(connection, said) if said else ()
    else:
        found = [_rows(connection.exec_driver_sql(text, parameters)) for text, parameters in said]
    rows = {id(answer): words.rows(part) for (answer, words), part in zip(told, found, strict=True)}
    for answer in answers:
        answer.value = answer.asked.answer(rows.get(id(answer), ()))


def _rows(result: sa.CursorResult[Any]) -> Rows:
    """As the driver has them: SQLAlchemy would wrap each, and nobody here calls its columns by name."""
    assert result.cursor is not None, "a statement without an answer was asked"
    rows: Rows = result.cursor.fetchall()
    result.close()
    return rows
