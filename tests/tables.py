"""What the database holds, in short: so that a test can say that a call changed nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Engine


def digest_of_tables(engine: Engine, *, but: Collection[str] = ()) -> dict[str, tuple[int, str]]:
    """Of each table the number of rows and a hash of all they say, as the database itself has them."""
    found: dict[str, tuple[int, str]] = {}
    with engine.connect() as connection:
        for name in sorted(set(sa.inspect(connection).get_table_names()) - set(but)):
            rows = sorted(
                repr(tuple(row)) for row in connection.execute(sa.select(sa.text("*")).select_from(sa.table(name)))
            )
            found[name] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
    return found
