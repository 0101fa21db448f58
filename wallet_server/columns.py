"""What tables are made of: moments, JSON that the database reads or only keeps, indexes of some of the rows."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite keeps it without a zone, so it is put back on reading."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "a naive datetime was about to be stored"
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JSONColumn: Final = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
"""JSON text on SQLite, JSONB on PostgreSQL."""


def _json_default(value: Any) -> Any:
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} is not JSON")


_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=_json_default)


def to_json(value: Any) -> str:
    """Compact JSON with stable key order; decimals, ids and times become strings."""
    try:
        return orjson.dumps(value, default=_json_default, option=_OPTIONS).decode()
    except TypeError:
        # Whole numbers of more than 64 bits, keys that are no text: what orjson refuses the library may know.
        return _JSON.encode(value)


class PackedJSON(TypeDecorator[Any]):
    """JSON that is only ever read whole, compressed: a trace of seven thousand characters becomes about one.

    Measured on a purchase: PostgreSQL spends a third of its time on taking such a document apart for JSONB, and
    SQLite writes it to the disk twice.
    """

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: sa.Dialect) -> bytes | None:
        return None if value is None else packed(value)

    def process_result_value(self, value: bytes | None, _dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(zlib.decompress(value))


def packed(value: Any) -> bytes:
    """The bytes that :class:`PackedJSON` keeps."""
    return zlib.compress(to_json(value).encode(), level=1)


def partial_index(name: str, *columns: str, where: str) -> sa.Index:
    """An index of those rows only for which ``where``, in SQL that both databases read alike, holds."""
    return sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
