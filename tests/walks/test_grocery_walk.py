"""The main job on real input: a year of a grocery becomes members, points, challenges and passes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy.engine import Engine

from tests.group import environment, running_group
from tests.walks.grocery_oracle import Oracle, oracle
from wallet_server.cli import cli
from wallet_server.db import create_engine
from wallet_server.imports.completejourney import data_folder, write_files

SMALL = {"households": 60, "months": 2}
SOAK_SECONDS_MAX = 3_600
PHONES_CAUGHT_UP_SECONDS_MAX = 120


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The import files of sixty households and two months."""
    folder = tmp_path_factory.mktemp("grocery")
    write_files(folder, source=data_folder(), **SMALL)
    return folder


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Callable[..., str]:
    """Run ``wallet-server …`` on the test's database."""
    runner = CliRunner(env=environment(tmp_path / "data", DATABASE_URL=database_url))

    def run(*arguments: str | Path) -> str:
        done = runner.invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def prepare(command: Callable[..., str], folder: Path) -> None:
    command("program", "apply", folder / "grocery.yaml")
    command("import", "members", "--program", "grocery", folder / "members.parquet")


def check(engine: Engine, expected: Oracle) -> None:
    """Everything that the oracle knows, and nothing else."""
    with engine.connect() as connection:
        [program_id] = connection.execute(sa.text("SELECT id FROM program WHERE slug = 'grocery'")).one()

        def rows(statement: str) -> list[tuple[object, ...]]:
            return [tuple(row) for row in connection.execute(sa.text(statement), {"program": program_id})]

        balances = rows(
            "SELECT external_id, spendable FROM member JOIN member_balance ON member_id = member.id"
            " WHERE member.program_id = :program"
        )
        assert dict(balances) == expected.points
        entries = rows(
            "SELECT external_id, sum(points) FROM member JOIN entry ON member_id = member.id"
            " WHERE member.program_id = :program AND account = 'spendable' GROUP BY external_id"
        )
        assert dict(entries) == {household: points for household, points in expected.points.items() if points}
        spent = rows(
            "SELECT external_id, sum(total_minor), count(*) FROM purchase JOIN member ON member.id = member_id"
            " WHERE purchase.program_id = :program GROUP BY external_id"
        )
        assert {household: total for household, total, _baskets in spent} == expected.spend_minor
        assert sum(count for _household, _total, count in spent) == expected.baskets
        assert rows("SELECT count(*) FROM purchase_line WHERE program_id = :program") == [(expected.lines,)]
        completed = rows(
            'SELECT external_id, "window", completions FROM challenge_progress JOIN member ON member.id = member_id'
            " WHERE challenge_progress.program_id = :program AND challenge = 'three-visits' AND completions > 0"
        )
        assert {(household, window) for household, window, _count in completed} == expected.visits3
        vouchers = rows(
            "SELECT external_id, origin FROM voucher JOIN member ON member.id = member_id"
            " WHERE voucher.program_id = :program"
        )
        assert sorted(vouchers) == sorted(
            (household, f"challenge:three-visits:{month}:1") for household, month in expected.visits3
        )
        passes = rows("SELECT wallet, count(*) FROM issued_pass WHERE program_id = :program GROUP BY wallet")
        assert dict(passes) == {"apple": len(expected.points), "google": len(expected.points)}


def test_two_months_of_a_grocery_come_to_what_duckdb_says(
    engine: Engine, command: Callable[..., str], small: Path, tmp_path: Path
):
    receipts = ("import", "receipts", "--program", "grocery", small / "receipts.parquet")
    prepare(command, small)
    command(*receipts)
    expected = oracle(**SMALL)
    assert len(expected.points) == 60
    assert expected.visits3
    check(engine, expected)
    assert "nothing to do" in command(*receipts)
    check(engine, expected)
    command("verify", "--program", "grocery")


def test_an_import_that_is_killed_goes_on_where_it_was(
    engine: Engine, command: Callable[..., str], database_url: str, small: Path, tmp_path: Path
):
    prepare(command, small)
    receipts = ("import", "receipts", "--program", "grocery", str(small / "receipts.parquet"))
    environ = environment(tmp_path / "data", DATABASE_URL=database_url)
    process = subprocess.Popen([sys.executable, "-m", "wallet_server", *receipts], env=environ)
    deadline = time.monotonic() + 60
    try:
        while process.poll() is None and time.monotonic() < deadline:
            with engine.connect() as connection:
                if connection.execute(sa.text("SELECT count(*) FROM purchase")).scalar_one() > 0:
                    break
            time.sleep(0.005)
        assert process.poll() is None, "the import was over before it could be killed"
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert "went on behind row" in command(*receipts)
    check(engine, oracle(**SMALL))


def test_the_recipe_says_that_the_data_is_simulated_and_what_to_do_next(command: Callable[..., str], tmp_path: Path):
    told = command("import", "grocery-files", tmp_path / "grocery", "--households", "2", "--months", "1")
    assert "simulated" in told
    assert f"import receipts --program grocery {tmp_path / 'grocery' / 'receipts.parquet'}" in told


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS_MAX)
def test_the_whole_year_beside_a_running_group(tmp_path: Path):
    expected = oracle()
    assert expected.baskets == 155_848
    assert len(expected.points) == 2_469
    whole_job(tmp_path, expected, phones=200)


def whole_job(folder: Path, expected: Oracle, *, phones: int, part: Sequence[str] = ()) -> None:
    """Import beside a running group while phones hold passes; at the end all agree."""
    data, grocery = folder / "data", folder / "grocery"
    with running_group(data) as group:

        def command(*arguments: str | Path) -> str:
            done = group.command(*(str(argument) for argument in arguments), timeout=SOAK_SECONDS_MAX)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        receipts = ("import", "receipts", "--program", "grocery", grocery / "receipts.parquet")
        command("import", "grocery-files", grocery, *part)
        command("program", "apply", grocery / "grocery.yaml")
        command("import", "members", "--program", "grocery", grocery / "members.parquet")
        command("sandbox", "phones", str(phones), "--program", "grocery")
        print(command(*receipts))
        assert "nothing to do" in command(*receipts)
        engine = create_engine(f"sqlite:///{data / 'wallet.sqlite'}")
        check(engine, expected)
        engine.dispose()
        deadline = time.monotonic() + PHONES_CAUGHT_UP_SECONDS_MAX
        while (shown := shown_balances(data)) != (held := ledger_balances(data, shown)):
            late = sum(1 for serial in shown if shown[serial] != held[serial])
            assert time.monotonic() < deadline, f"{late} phones show an old balance"
            time.sleep(1)
        assert len(shown) >= phones
        assert json.loads(command("verify", "--json"))["violations"] == []


def shown_balances(data: Path) -> dict[str, int]:
    """What the phones show, by serial."""
    with closing(sqlite3.connect(f"file:{data / 'sandbox.sqlite'}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT serial, pass_json FROM installed_pass").fetchall()
    return {serial: json.loads(document)["storeCard"]["headerFields"][0]["value"] for serial, document in rows}


def ledger_balances(data: Path, serials: Collection[str]) -> dict[str, int]:
    """What the ledger says of the same passes."""
    with closing(sqlite3.connect(f"file:{data / 'wallet.sqlite'}?mode=ro", uri=True)) as store:
        rows = store.execute(
            "SELECT serial, spendable FROM issued_pass JOIN member_balance USING (member_id) WHERE wallet = 'apple'"
        ).fetchall()
    return {serial: points for serial, points in rows if serial in serials}
