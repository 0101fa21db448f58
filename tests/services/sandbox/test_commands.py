"""``wallet-server sandbox …``."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from wallet_server.cli import cli
from wallet_server.clock import SandboxClock
from wallet_server.errors import ConfigurationError
from wallet_server.sandbox.setup import STATE_FILE


@pytest.fixture
def run(settings, sqlite_engine, monkeypatch):
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(cli, ["sandbox", *arguments])


def test_the_clock_moves_forward_only(run, sqlite_engine):
    assert run("clock", "advance", "3d").exit_code == 0
    ahead = SandboxClock(sqlite_engine).now() - datetime.now(UTC)
    assert abs(ahead - timedelta(days=3)) < timedelta(minutes=1)
    answer = run("clock", "set", "2096-12-24T18:00+01:00")
    assert "2096-12-24 17:00:00 UTC" in answer.output
    back = run("clock", "set", "2026-01-01T00:00Z")
    assert back.exception.code == "clock_backwards"
    assert SandboxClock(sqlite_engine).now().year == 2096


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("clock", "advance", "soon"), "90m, 12h, 3d or 2w"),
        (("clock", "set", "tomorrow"), "is not a time"),
        (("phones", "0"), "1<=x<="),
    ],
)
def test_bad_arguments(run, arguments, complaint):
    answer = run(*arguments)
    assert (answer.exit_code, complaint in answer.output) == (2, True)


@pytest.mark.parametrize("arguments", [("clock", "advance", "1d"), ("phones", "3")])
def test_a_real_server_refuses(run, monkeypatch, arguments):
    monkeypatch.delenv("WALLET_SANDBOX")
    error = run(*arguments).exception
    assert isinstance(error, ConfigurationError)
    assert "WALLET_SANDBOX=1 is not set" in str(error)


def test_phones_need_the_simulator(run):
    assert run("phones", "3").exception.code == "sandbox_down"


def test_phones_need_a_program(run, sandbox, settings):
    (settings.WALLET_DATA_DIR / STATE_FILE).write_text(json.dumps(asdict(sandbox.state)))
    assert "there is none" in str(run("phones", "3").exception)
    assert run("phones", "3", "--program", "nowhere").exception.code == "unknown_program"
