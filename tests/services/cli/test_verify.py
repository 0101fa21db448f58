"""``wallet-server verify``: what a person and a program read of an invariant that is broken."""

from __future__ import annotations

import io
import json

import pytest
import sqlalchemy as sa

from tests.services.ledger.test_invariants import corrupt
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server import cli
from wallet_server.cli.database import ROWS_SHOWN_MAX
from wallet_server.verification import CHECKS


@pytest.fixture
def shop(sqlite_engine, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("DATABASE_URL", sqlite_engine.url.render_as_string())
    monkeypatch.setenv("WALLET_DATA_DIR", str(tmp_path / "data"))
    shop = open_shop(sqlite_engine)
    shop.record(purchase(shop.card, "A-1", 100_000))
    return shop


def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["wallet-server", "verify", *options])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().out


def test_a_row_that_breaks_an_invariant_is_named_below_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = verify(monkeypatch, capsys)
    assert code == 0
    assert said.count("  holds  ") == len(CHECKS)
    assert f"{len(CHECKS)} invariants checked, 0 violations" in said

    corrupt(shop.engine, "UPDATE member_balance SET spendable = spendable + 7")
    code, said = verify(monkeypatch, capsys, "--program", "cafe-ohrid")
    assert code == 1
    lines = said.splitlines()
    sums, lots = (
        next(place for place, line in enumerate(lines) if line.startswith(f"  broken {name} "))
        for name in ("balances_are_sums_of_entries", "lots_hold_what_balances_say")
    )
    assert lines[sums + 1].strip() == f"{shop.member_id}: spendable 17, entries 10"
    assert lines[lots + 1].strip().startswith(f"{shop.member_id}: balance 17, released lots 10")
    assert said.count("  holds  ") == len(CHECKS) - 2
    assert "2 violations" in lines[-1]

    code, said = verify(monkeypatch, capsys, "--json")
    assert code == 1
    report = json.loads(said)
    assert {(found["check"], found["name"], found["row"]) for found in report["violations"]} == {
        ("L1", "balances_are_sums_of_entries", str(shop.member_id)),
        ("L5", "lots_hold_what_balances_say", str(shop.member_id)),
    }
    assert {found["name"] for found in report["violations"]} <= {check["name"] for check in report["checks"]}


def test_of_many_rows_the_first_are_named_and_the_others_counted(
    sqlite_engine, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_engine.url.render_as_string())
    monkeypatch.setenv("WALLET_DATA_DIR", str(tmp_path / "data"))
    shop = open_shop(sqlite_engine, members=30)
    with shop.engine.begin() as connection:
        connection.execute(sa.text("UPDATE member_balance SET pending = pending + 1"))
    _code, said = verify(monkeypatch, capsys)
    lines = said.splitlines()
    place = next(at for at, line in enumerate(lines) if line.startswith("  broken balances_are_sums_of_entries "))
    assert lines[place + 1 + ROWS_SHOWN_MAX].strip() == f"… and {30 - ROWS_SHOWN_MAX} more"
