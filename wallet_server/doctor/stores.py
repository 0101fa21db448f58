"""The database, and the work that waits in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, func, select

from wallet_server import migrations
from wallet_server.clock import SandboxClock
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.doctor.findings import Finding, Presence, broken, good, note
from wallet_server.errors import ConfigurationError
from wallet_server.outbox.models import OutboxRow
from wallet_server.settings import Settings

WORK_WAITS_MAX: Final = timedelta(minutes=2)
HEARTBEAT_AGE_MAX: Final = timedelta(minutes=2)
FAILED_WITHIN: Final = timedelta(days=1)
SETTING_SQL: Final = "SELECT current_setting(:name)"
DAMAGE_CHECK_BYTES_MAX: Final = 500 * 1024 * 1024
"""Larger SQLite files are not read whole: that would take minutes."""


def database_findings(settings: Settings, engine: Engine) -> list[Finding]:
    """Whether the database can be used, is of this version, and keeps what it has confirmed."""
    try:
        at, head = migrations.current(engine), migrations.head()
        if at is None:
            return [broken("database", "It has no tables yet.", "Run `wallet-server migrate`.")]
        if at != head:
            migrations.require_head(engine)
        with engine.connect() as connection:
            kind = engine.dialect.name
            durability = _postgresql(connection) if kind == "postgresql" else _sqlite(connection, engine)
            return [*durability, *_private(settings)] or [good("database", f"{_name(engine)} is at {head}.")]
    except ConfigurationError as error:
        cure = "Run `wallet-server migrate` (of this version or a newer one)."
        if isinstance(error, migrations.UnusableDatabaseError):
            cure = "See that DATABASE_URL is right and the database runs."
        return [broken("database", f"{_sentence(error)}", cure)]
    except sa.exc.DBAPIError as error:
        return [broken("database", f"It gives up: {error.orig}.", "Restore it from the last backup.")]


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _name(engine: Engine) -> str:
    if engine.dialect.name == "sqlite":
        return f"SQLite ({engine.url.database})"
    return f"PostgreSQL ({engine.url.host or 'local'}/{engine.url.database})"


def _postgresql(connection: sa.Connection) -> list[Finding]:
    def value(name: str) -> str:
        return str(connection.execute(sa.text(SETTING_SQL), {"name": name}).scalar_one())

    found = []
    if value("fsync") == "off":
        found.append(
            broken(
                "database",
                "PostgreSQL runs with fsync=off: a power cut can destroy every balance.",
                "Set fsync = on in postgresql.conf and restart PostgreSQL.",
            )
        )
    if value("synchronous_commit") == "off":
        found.append(
            broken(
                "database",
                "PostgreSQL confirms before it has written: a crash loses receipts that tills believe kept.",
                "Set synchronous_commit = on.",
            )
        )
    if value("full_page_writes") == "off":
        found.append(
            note(
                "database",
                "PostgreSQL runs with full_page_writes=off: a power cut can leave torn pages.",
                "Set full_page_writes = on, unless the file system never tears pages.",
            )
        )
    return found


def _sqlite(connection: sa.Connection, engine: Engine) -> list[Finding]:
    found = []
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if journal != "wal":
        found.append(
            broken(
                "database",
                f"SQLite cannot keep a write-ahead log here (journal {journal}): network file systems have none.",
                "Put WALLET_DATA_DIR on a disk of this machine.",
            )
        )
    if Path(engine.url.database or "").stat().st_size <= DAMAGE_CHECK_BYTES_MAX:
        answer = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        if answer != "ok":
            found.append(
                broken(
                    "database", f"The SQLite file is damaged: {answer}.", "Stop the server and restore the last backup."
                )
            )
    return found


def _private(settings: Settings) -> Iterator[Finding]:
    for name in ("wallet.sqlite", "secret-key"):
        path = settings.WALLET_DATA_DIR / name
        if path.exists() and path.stat().st_mode & 0o077:
            yield note("database", f"Others on this machine can read {path.resolve()}.", f"Run chmod 600 {path}.")


def work_findings(settings: Settings, engine: Engine | None, presence: Presence, now: datetime) -> list[Finding]:
    """Whether somebody rings the workers, and somebody works."""
    if presence.queue_problem:
        return [
            broken(
                "workers",
                f"Valkey does not answer: {presence.queue_problem}.",
                "Start it, or see that REDIS_URL is right; the work waits in the database meanwhile.",
            )
        ]
    found = list(_workers(presence, now))
    if engine is not None:
        with reading(engine, ALL_PROGRAMS) as session:
            business_now = SandboxClock(engine).now() if settings.WALLET_SANDBOX else now
            found += _waiting_work(session, presence, business_now)
    return found or [good("workers", "They are there, and no work waits.")]


def _workers(presence: Presence, now: datetime) -> Iterator[Finding]:
    if presence.running is False and not presence.heartbeats:
        yield note("workers", "The server does not run.", "Start it: `wallet-server up`.")
        return
    for queue, beats in presence.heartbeats.items():
        if not beats:
            yield broken("workers", f"Nobody works on the queue {queue}.", f"Start `wallet-server worker {queue}`.")
        elif now - max(beats) > HEARTBEAT_AGE_MAX:
            yield broken(
                "workers",
                f"The workers of the queue {queue} were last heard at {max(beats):%Y-%m-%d %H:%M} UTC.",
                f"Restart `wallet-server worker {queue}`, and read its log.",
            )


def _waiting_work(session: Session, presence: Presence, now: datetime) -> Iterator[Finding]:
    late = select(func.count(), func.min(OutboxRow.not_before)).where(
        OutboxRow.state == "waiting", OutboxRow.not_before < now - WORK_WAITS_MAX
    )
    count, since = session.exec(late).one()
    if count:
        start = "Start it: `wallet-server up`." if presence.running is False else ""
        yield broken(
            "workers",
            f"{count} pieces of work wait since {since:%Y-%m-%d %H:%M} UTC: phones do not hear of changes.",
            start or "Start `wallet-server dispatcher` and the workers, or restart the server.",
        )
    failed = select(func.count()).where(OutboxRow.state == "failed", col(OutboxRow.finished_at) > now - FAILED_WITHIN)
    if given_up := session.exec(failed).one():
        yield note(
            "workers",
            f"{given_up} pieces of work were given up within a day.",
            "Look for the reason in the log of the workers, and in the column outbox.error.",
        )
