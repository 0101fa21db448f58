"""Storms of 64 tills, some rounds of each; ``wallet-server bench ledger`` plays a thousand."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Engine

from tests.benchmarks.storms import storm
from wallet_server.db import create_engine

ROUNDS = 20


def test_no_point_is_spent_twice_and_no_key_works_twice(database_url: str, tmp_path: Path) -> None:
    engine: Engine = create_engine(database_url, pool_size=8)
    try:
        assert storm(engine, ROUNDS) == {"double_spends": 0, "same_keys": 0}
    finally:
        engine.dispose()
