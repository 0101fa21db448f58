"""Writes that wait for the next statement, and then go to PostgreSQL together with it, in one round trip.

A purchase writes a dozen tables without asking anything in between, and each answer that is waited for costs more
than the writing. The order of all statements stays what it was: whatever else is said on the connection comes after
the writes that wait, and before a commit :func:`send` is called. What the database has against a row is heard a
little later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

_WAITING: Final = "writes that wait"
WAITING_MAX: Final = 50


def listen(engine: Engine) -> None:
    """Make an engine on PostgreSQL keep the promise of this module."""
    event.listen(engine, "before_cursor_execute", lambda connection, *_arguments: send(connection))
    event.listen(engine, "commit", _assert_sent)
    for undone in ("begin", "rollback", "rollback_savepoint"):
        event.listen(engine, undone, lambda connection, *_arguments: _forget(connection))


def later(connection: sa.Connection, text: str, parameters: tuple[Any, ...]) -> None:
    """Say this after all that was said, and before whatever is said next."""
    waiting = connection.info.setdefault(_WAITING, [])
    waiting.append((text, parameters))
    if len(waiting) >= WAITING_MAX:
        send(connection)


def send(connection: sa.Connection) -> None:
    """Send what waits. Raises SQLAlchemy's errors, without the values of the statement."""
    if connection.info.get(_WAITING):
        ask(connection, ())


def ask(connection: sa.Connection, questions: Sequence[tuple[str, Any]]) -> list[list[tuple[Any, ...]]]:
    """Send what waits and then these statements, all in one round trip; the rows of each.

    Raises SQLAlchemy's errors, without the values of the statement.
    """
    waiting = connection.info.pop(_WAITING, [])
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection), "only PostgreSQL has writes that wait"
    try:
        if not waiting and len(questions) == 1:
            [(text, parameters)] = questions  # alone it is one round trip anyhow
            return [driver.cursor().execute(text, parameters, prepare=True).fetchall()]
        with driver.pipeline(), driver.cursor() as writer:
            for text, parameters in waiting:
                writer.execute(text, parameters, prepare=True)
            readers = [driver.cursor().execute(text, parameters, prepare=True) for text, parameters in questions]
        return [reader.fetchall() for reader in readers]
    except psycopg.Error as error:
        raise sa.exc.DBAPIError.instance(
            "; ".join(text for text, _parameters in (*waiting, *questions)),
            None,
            error,
            psycopg.Error,
            hide_parameters=True,
            dialect=connection.dialect,
        ) from error


def _assert_sent(connection: sa.Connection) -> None:
    # Too late to send: SQLAlchemy takes an error in here for a commit that was done.
    assert not connection.info.get(_WAITING), "a commit came before the writes that wait"


def _forget(connection: sa.Connection) -> None:
    if not connection.invalidated:  # else what waited is gone with it
        connection.info.pop(_WAITING, None)
