"""Rows for PostgreSQL as one array a column: the fastest way in that is still plain SQL.

A statement for thousands of rows has the text, and so the plan, of one for a single row; and an array written here
costs a tenth of one that the driver puts together value by value. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from wallet_server.columns import PackedJSON, packed

Row = Mapping[str, Any]
ToJson = Callable[[Any], str]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _moment(value: datetime) -> str:
    assert value.tzinfo is not None, "a naive datetime was about to be stored"
    return f'"{value.isoformat()}"'


_TYPES: Final[tuple[tuple[type[sa.types.TypeEngine[Any]], str, Callable[[Any], str]], ...]] = (
    (sa.Uuid, "uuid", lambda value: f"{value.int:032x}"),
    (sa.Boolean, "boolean", lambda value: "t" if value else "f"),
    (sa.BigInteger, "bigint", str),
    (sa.Integer, "integer", str),
    (sa.Float, "double precision", repr),
    (sa.DateTime, "timestamptz", _moment),
    (sa.Date, "date", date.isoformat),
    # Not varchar(n): a cast to it cuts off what is too long, an assignment refuses it.
    (sa.String, "text", _quoted),
)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    is_json: bool
    literal: Callable[[Any], str]
    default: Callable[[], Any] | None


def _column(column: sa.Column[Any]) -> _Column:
    if isinstance(column.type, PackedJSON):
        return _Column(column.name, "bytea", False, lambda value: f'"\\\\x{packed(value).hex()}"', _default(column))
    default = _default(column)
    if isinstance(_plain(column.type), sa.JSON):
        return _Column(column.name, "text", True, _quoted, default)
    name, literal = _type(column.type)
    return _Column(column.name, name, False, literal, default)


def _plain(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    return kind.impl_instance if isinstance(kind, sa.types.TypeDecorator) else kind


def _type(kind: sa.types.TypeEngine[Any]) -> tuple[str, Callable[[Any], str]]:
    plain = _plain(kind)
    return next((name, literal) for known, name, literal in _TYPES if isinstance(plain, known))


def writer(kind: sa.types.TypeEngine[Any]) -> Callable[[Iterable[Any]], str]:
    """What writes values of this type as an array."""
    _name, literal = _type(kind)
    return lambda values: _written(values, literal)


def _default(column: sa.Column[Any]) -> Callable[[], Any] | None:
    """What the model puts into a column that a row does not name; the database's own defaults are its own matter."""
    default = column.default
    if isinstance(default, sa.ColumnDefault) and default.is_scalar:
        return lambda: default.arg
    if isinstance(default, sa.ColumnDefault) and default.is_callable:
        return lambda: default.arg(None)
    assert default is None, f"{column} has a default that only the database knows"
    return None


@dataclass(frozen=True, slots=True)
class _Statement:
    text: str
    columns: tuple[_Column, ...]

    def parameters(self, rows: Sequence[Row], to_json: ToJson) -> tuple[str, ...]:
        return tuple(_array(column, rows, to_json) for column in self.columns)


def _array(column: _Column, rows: Sequence[Row], to_json: ToJson) -> str:
    """``{…}``: how PostgreSQL writes an array (manual, "Array Input and Output Syntax")."""
    name, literal = column.name, column.literal
    values: Iterable[Any]
    if column.default is not None and name not in rows[0]:
        values = [column.default() for _row in rows]
    else:
        values = [row[name] for row in rows]
    if column.is_json:
        return "{" + ",".join([_quoted(to_json(value)) for value in values]) + "}"
    return _written(values, literal)


def _written(values: Iterable[Any], literal: Callable[[Any], str]) -> str:
    return "{" + ",".join(["NULL" if value is None else literal(value) for value in values]) + "}"


def _source(columns: Sequence[_Column]) -> str:
    selected = ", ".join(f'"{column.name}"::jsonb' if column.is_json else f'"{column.name}"' for column in columns)
    arrays = ", ".join(f"%s::{column.type}[]" for column in columns)
    names = ", ".join(f'"{column.name}"' for column in columns)
    return f"SELECT {selected} FROM unnest({arrays}) AS given({names})"  # noqa: S608 - names of our own tables


@lru_cache(maxsize=256)
def insert_statement(
    table: sa.Table,
    names: tuple[str, ...],
    key: tuple[str, ...] = (),
    update: tuple[str, ...] = (),
    returning: str | None = None,
) -> _Statement:
    """``INSERT … SELECT … FROM unnest(…)``; with a ``key``, a row that is there gets ``update``, or is left alone."""
    columns = tuple(_column(column) for column in table.columns if column.name in names or _default(column) is not None)
    assert set(names) <= {column.name for column in columns}, f"{table.name} has no such column"
    into = ", ".join(f'"{column.name}"' for column in columns)
    text = f'INSERT INTO "{table.name}" ({into}) {_source(columns)}'
    if key:
        taken = ", ".join(f'"{name}"' for name in key)
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in update)
        text += f" ON CONFLICT ({taken}) DO " + (f"UPDATE SET {changes}" if update else "NOTHING")
    return _Statement(text if returning is None else f'{text} RETURNING "{returning}"', columns)


@lru_cache(maxsize=64)
def update_statement(
    table: sa.Table, key: tuple[str, ...], update: tuple[str, ...], *, add: bool = False
) -> _Statement:
    """``UPDATE … FROM unnest(…)``: each row by its key; with ``add`` the numbers are added to those of the row."""
    columns = tuple(_column(table.columns[name]) for name in (*key, *update))
    assert not any(column.is_json for column in columns), "JSON is not updated in bulk"
    old = {name: f'"{table.name}"."{name}" + ' if add else "" for name in update}
    changes = ", ".join(f'"{name}" = {old[name]}given."{name}"' for name in update)
    same = " AND ".join(f'"{table.name}"."{name}" = given."{name}"' for name in key)
    text = f'UPDATE "{table.name}" SET {changes} FROM ({_source(columns)}) AS given WHERE {same}'  # noqa: S608 - as above
    return _Statement(text, columns)
