"""What is said to the database, whichever way it goes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from wallet_server import pipeline


class Statement(NamedTuple):
    """A statement with its values, as the driver takes them."""

    text: str
    values: Any

    @property
    def verb(self) -> str:
        """``SELECT``, ``INSERT`` …"""
        return self.text.split(maxsplit=1)[0].upper()


@contextmanager
def heard(database: Engine | Session) -> Iterator[list[Statement]]:
    """All that is said within the block, in its order; rows that go in one statement count once.

    SQLAlchemy tells its listeners nothing of the reads and writes that PostgreSQL is sent together
    (:mod:`wallet_server.pipeline`), so those are heard there: a write when it is made, not when it goes. The BEGIN
    that SQLite needs in words is left out, so that the same work is as many statements on both.
    """
    said: list[Statement] = []

    def executed(_connection: Any, _cursor: Any, text: str, values: Any, *_rest: Any) -> None:
        if not text.startswith("BEGIN"):
            said.append(Statement(text, values))

    if isinstance(database, Session):
        database.flush()
        listened: Engine | sa.Connection = database.connection()
    else:
        listened = database
    ask, later = pipeline.ask, pipeline.later

    def asked(connection: sa.Connection, questions: Sequence[tuple[str, Any]]) -> list[list[tuple[Any, ...]]]:
        said.extend(Statement(*question) for question in questions)
        return ask(connection, questions)

    def written(connection: sa.Connection, text: str, values: tuple[Any, ...]) -> None:
        said.append(Statement(text, values))
        later(connection, text, values)

    sa.event.listen(listened, "before_cursor_execute", executed)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pipeline, "ask", asked)
            patched.setattr(pipeline, "later", written)
            yield said
    finally:
        sa.event.remove(listened, "before_cursor_execute", executed)


def plans_of(session: Session, ask: Callable[[], object]) -> list[str]:
    """How the database would answer each question that ``ask`` puts to it, told not to read whole tables."""
    connection = session.connection()
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    with heard(session) as said:
        ask()
    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
    return [
        "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {one.text}", one.values))
        for one in said
    ]


def plan_of(session: Session, ask: Callable[[], object]) -> str:
    """:func:`plans_of`, of the last question."""
    return plans_of(session, ask)[-1]
