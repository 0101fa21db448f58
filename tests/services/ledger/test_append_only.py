"""The database itself refuses to change what was booked (invariant L4)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Engine

from tests.services.purchases.shop import open_shop, purchase
from wallet_server import migrations

CHANGES = {
    "posting": "UPDATE posting SET reason = 'another'",
    "entry": "UPDATE entry SET points = points + 1",
    "allocation": "UPDATE allocation SET points = points + 1",
}


@pytest.mark.parametrize("table", CHANGES)
def test_booked_rows_can_neither_be_changed_nor_deleted(engine: Engine, table: str) -> None:
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-1", 1_000_000), purchase(shop.card, "A-2", redeem_points=5))
    statements = [CHANGES[table], f"DELETE FROM {table}"]
    if engine.dialect.name == "postgresql":
        statements.append(f"TRUNCATE {table} CASCADE")
    for statement in statements:
        with engine.connect() as connection, pytest.raises(sa.exc.DatabaseError, match="append-only"):
            connection.exec_driver_sql(statement)


def test_the_migration_can_be_taken_back(engine: Engine) -> None:
    command.downgrade(migrations.config(engine), "0001")
    assert migrations.current(engine) == "0001"
    with engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM entry")
    migrations.upgrade(engine)
    assert migrations.current(engine) == migrations.head()
