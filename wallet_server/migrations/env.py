"""How Alembic reaches our database; run by Alembic only."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlmodel.sql.sqltypes import AutoString

from wallet_server.db import PackedJSON, UTCDateTime, create_engine
from wallet_server.models import metadata
from wallet_server.settings import load_settings


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write column types that need no import of ours, so that old migrations stay valid for ever."""
    if kind != "type":
        return False
    if isinstance(item, AutoString):
        return f"sa.String(length={item.length})" if item.length else "sa.String()"
    if isinstance(item, PackedJSON):
        return "sa.LargeBinary()"
    if isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, sa.JSON):
        return "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')"
    return False


engine = context.config.attributes.get("engine") or create_engine(load_settings().database_url)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=engine.dialect.name == "sqlite",
        render_item=render_item,
        compare_type=True,
        transaction_per_migration=True,
    )
    if engine.dialect.name == "postgresql":
        # A migration must never queue up all tills behind itself (4 s), but may itself take long.
        connection.exec_driver_sql("SET lock_timeout = '4s'")
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.commit()
    with context.begin_transaction():
        context.run_migrations()
    if connection.in_transaction():
        connection.commit()
