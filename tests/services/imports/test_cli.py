"""The commands: what they print where, and their exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import CAFE
from wallet_server.cli import cli
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.errors import ConfigurationError, DomainError
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import apply_program


@pytest.fixture
def program_id(sqlite_engine: Engine) -> UUID:
    with transaction(sqlite_engine, ALL_PROGRAMS) as session:
        return apply_program(session, ProgramFile.model_validate(CAFE), now=NOW, actor="test").program_id


@pytest.fixture
def command(sqlite_engine: Engine, tmp_path: Path) -> Callable[..., Result]:
    url = sqlite_engine.url.render_as_string()
    runner = CliRunner(env={"WALLET_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": url, "WALLET_SANDBOX": None})
    return lambda *arguments: runner.invoke(
        cli, ["import", *(str(argument) for argument in arguments)], catch_exceptions=False
    )


def test_a_clean_file_is_summed_up_on_one_line_with_exit_code_0(command, program_id, tmp_path):
    path = tmp_path / "members.csv"
    path.write_text("external_id\np1\np2\n")
    done = command("members", "--program", "cafe-ohrid", path)
    assert done.exit_code == 0
    assert re.fullmatch(
        r"members\.csv: 2 created, 0 already there, 0 refused in \d+\.\d s \([\d,]+ members/s, [\d,]+ rows/s\)\n",
        done.stdout,
    )
    again = command("members", "--program", "cafe-ohrid", path)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "has been imported before (2 created, 0 already there, 0 refused): nothing to do" in again.stdout


def test_refused_rows_are_listed_on_standard_error_with_exit_code_1(command, program_id, tmp_path):
    path = tmp_path / "members.csv"
    path.write_text("external_id,phone\n" + "p1,\n" + "=cmd(),12\n" * 60)
    done = command("members", "--program", "cafe-ohrid", path)
    assert done.exit_code == 1
    assert "1 created, 0 already there, 60 refused" in done.stdout
    lines = done.stderr.splitlines()
    assert lines[0] == "row 3: '=cmd(): validation: phone: is not a number that can be called"
    assert lines[50] == "… these are the first 50"
    assert lines[51] == f"all refused rows are in {path}.errors.csv"
    assert len((tmp_path / "members.csv.errors.csv").read_text().splitlines()) == 61


def test_what_cannot_be_done_at_all_is_one_error(command, program_id, tmp_path):
    path = tmp_path / "members.csv"
    path.write_text("nmae\nAna\n")
    with pytest.raises(DomainError, match="unknown column 'nmae'"):
        command("members", "--program", "cafe-ohrid", path)
    with pytest.raises(DomainError, match="no such program"):
        command("members", "--program", "nowhere", path)
    assert command("members", "--program", "cafe-ohrid", tmp_path / "no.csv").exit_code == 2
    assert command("members", path).exit_code == 2


def test_a_database_of_another_version_is_refused(tmp_path):
    path = tmp_path / "members.csv"
    path.write_text("external_id\np1\n")
    runner = CliRunner(env={"WALLET_DATA_DIR": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path}/new.sqlite"})
    with pytest.raises(ConfigurationError, match="wallet-server migrate"):
        runner.invoke(cli, ["import", "members", "--program", "x", str(path)], catch_exceptions=False)


def test_the_recipe_says_how_to_get_data_that_is_not_installed(command, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DomainError, match="make demo-data"):
        command("grocery-files", tmp_path / "grocery")
