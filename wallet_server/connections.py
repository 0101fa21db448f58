"""Connections to either database: how many, how long they wait, and what is said to each before it is used."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine

from wallet_server.columns import to_json
from wallet_server.errors import ConfigurationError

LOCK_TIMEOUT_MS: Final = 2_000
STATEMENT_TIMEOUT_MS: Final = 15_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 30_000
SQLITE_BUSY_TIMEOUT_MS: Final = 10_000
POOL_TIMEOUT_SECONDS: Final = 10
UNTRIED_SECONDS_MAX = 1.0
"""How long a connection to PostgreSQL may rest and be used again without being tried first."""
_USED_AT: Final = "used at"


def to_sqlite(url: URL, pool_size: int) -> Engine:
    """An engine for a SQLite file. Raises :class:`ConfigurationError` where its folder cannot be written."""
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("SQLite needs a file: several processes share the database")
    folder = Path(url.database).resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigurationError(f"the database folder {folder} does not exist or cannot be written")
    engine = _pooled(url, pool_size)
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def to_postgresql(url: URL, pool_size: int) -> Engine:
    """An engine for a PostgreSQL database; nothing is asked of the server yet."""
    options = (
        f"-c lock_timeout={LOCK_TIMEOUT_MS} -c statement_timeout={STATEMENT_TIMEOUT_MS}"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC"
    )
    driven = url.set(drivername="postgresql+psycopg")
    engine = _pooled(driven, pool_size, connect_args={"options": options, "connect_timeout": 5})
    event.listen(engine, "checkin", _on_checkin)
    event.listen(engine, "checkout", _on_checkout)
    return engine


def _pooled(url: URL, pool_size: int, **options: Any) -> Engine:
    return sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        json_serializer=to_json,
        hide_parameters=True,
        **options,
    )


def _on_checkin(_connection: Any, record: Any) -> None:
    record.info[_USED_AT] = time.monotonic()


def _on_checkout(connection: Any, record: Any, _proxy: Any) -> None:
    """Try a connection that has rested: the server may have been started anew meanwhile.

    SQLAlchemy's own ping tries each time, which a busy till pays with a round trip for every transaction.
    """
    if time.monotonic() - record.info.get(_USED_AT, 0.0) < UNTRIED_SECONDS_MAX:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise sa.exc.DisconnectionError("the connection was lost while it rested") from error


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver's own guess would be DEFERRED
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={SQLITE_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-32000",
        "temp_store=MEMORY",
        "wal_autocheckpoint=4000",  # 16 MB: an import would else write each page back several times
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_sqlite_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
