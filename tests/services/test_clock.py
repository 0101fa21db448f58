"""The business clock of the sandbox: shared by processes, forward only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.engine import Engine

from wallet_server.clock import SandboxClock
from wallet_server.errors import DomainError


def test_advancing_is_seen_by_another_process(engine: Engine) -> None:
    mine, other = SandboxClock(engine), SandboxClock(engine)
    mine.advance(timedelta(days=3))
    assert abs(other.now() - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=1)


def test_advances_add_up(engine: Engine) -> None:
    clock = SandboxClock(engine)
    clock.advance(timedelta(days=1))
    assert abs(clock.advance(timedelta(hours=1)) - datetime.now(UTC) - timedelta(hours=25)) < timedelta(minutes=1)


def test_setting_a_time_moves_there(engine: Engine) -> None:
    clock = SandboxClock(engine)
    moment = datetime.now(UTC) + timedelta(days=400)
    clock.set(moment)
    assert abs(SandboxClock(engine).now() - moment) < timedelta(minutes=1)


def test_the_clock_never_runs_backwards(engine: Engine) -> None:
    clock = SandboxClock(engine)
    clock.advance(timedelta(days=1))
    for move in (lambda: clock.advance(timedelta(seconds=-1)), lambda: clock.set(datetime.now(UTC))):
        with pytest.raises(DomainError) as refused:
            move()
        assert refused.value.code == "clock_backwards"
    assert clock.now() > datetime.now(UTC) + timedelta(hours=23)
