"""Real worker, dispatcher and tick processes: killed, stopped, and without what they need."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from tests.workers.conftest import Workshop, make_workshop
from wallet_server.clock import SandboxClock
from wallet_server.context import make_context
from workers.__main__ import main
from workers.queues import queue, ring

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 90
"""For a machine with much else to do; nothing here is about speed."""


def wait_for(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


class SilentServer:
    """Takes connections and never says a word: a push service that hangs."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.calls = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._socket.getsockname()[1]}"

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            self.calls += 1

    def close(self) -> None:
        self._socket.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.close()


@pytest.fixture
def yard(sqlite_engine, settings, valkey, valkey_url, silent) -> Iterator[Workshop]:
    """A workshop that shares its database, clock and Valkey with processes."""
    settings = settings.model_copy(update={"REDIS_URL": valkey_url, "WALLET_APNS_URL": silent.url})
    context = make_context(settings)
    yield make_workshop(context, SandboxClock(context.engine))
    context.engine.dispose()


@pytest.fixture
def start(yard) -> Iterator[Callable[..., subprocess.Popen]]:
    started: list[subprocess.Popen] = []

    def run(*arguments: str, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", *arguments],
            cwd=ROOT,
            env={**os.environ, **yard.context.settings.environment(), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_killed_workers_row_is_taken_over_when_the_lease_lapses(yard, start, silent, valkey):
    """kill -9 in the middle of a push, claimed and not finished (F3)."""
    ana = yard.on_phone(yard.join(), "aa")
    yard.change(ana)
    worker = start("worker", "push")
    ring(queue("push", valkey), [row.id for row in yard.rows()])
    wait_for(lambda: silent.calls, "the worker never pushed")
    worker.send_signal(signal.SIGKILL)
    worker.wait(timeout=PATIENCE_S)
    [row] = yard.rows()
    assert (row.state, row.attempts) == ("leased", 1)
    yard.work()
    assert yard.pushes.batches == [], "the lease was not respected"
    yard.context.clock.advance(timedelta(seconds=31))
    yard.work()
    assert yard.pushes.batches == [["aa"]]
    [row] = yard.rows()
    assert (row.state, row.lapses, row.lease_generation) == ("done", 1, 2)


def test_a_dispatcher_and_a_worker_serve_a_change_and_stop_when_asked(yard, start, silent, valkey):
    dispatcher, worker, tick = start("dispatcher"), start("worker", "push"), start("tick")
    ana = yard.on_phone(yard.join(), "aa")
    yard.change(ana)
    wait_for(lambda: silent.calls, "the change did not reach the push service")
    silent.close()
    assert any("ready for work" in line for line in tick.stderr), "the tick never began"
    for process in (dispatcher, worker, tick):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=PATIENCE_S) for process in (dispatcher, tick)] == [0, 0]
    worker.wait(timeout=PATIENCE_S)
    # What could not be pushed was given back, or is left to the lease: not lost, not done.
    assert [row.state for row in yard.rows()] in (["waiting"], ["leased"])


def test_a_worker_waits_for_valkey_and_works_when_it_comes(yard, start, valkey, valkey_url, tmp_path):
    late = tmp_path / "late.sock"
    worker = start("worker", "push", REDIS_URL=f"unix://{late}?db=0")
    assert worker.stderr is not None
    wait_for(lambda: "valkey does not answer" in worker.stderr.readline(), "it said nothing")
    late.symlink_to(Path(valkey_url.removeprefix("unix://").partition("?")[0]))
    wait_for(lambda: redis.Redis.from_url(valkey_url).smembers("rq:workers"), "the worker never came")


# -- what stops the start: in this process, because a process of its own takes seconds ----------------


@pytest.fixture
def run(settings, sqlite_engine, monkeypatch) -> Callable[..., tuple[int, list[str]]]:
    monkeypatch.setattr("workers.__main__.configure_logging", lambda: None)

    def call(*arguments: str, **environment: str) -> tuple[int, list[str]]:
        for name, value in {**settings.environment(), **environment}.items():
            monkeypatch.setenv(name, value)
        with capture_logs() as logs:
            code = main(arguments)
        return code, [entry["event"] for entry in logs]

    return call


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["worker", "push"], {"REDIS_URL": ""}, "REDIS_URL is not set"),
        (["dispatcher"], {"REDIS_URL": ""}, "REDIS_URL is not set"),
        (["tick"], {"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        (["worker", "push"], {"REDIS_URL": "unix:///none", "WALLET_APNS_URL": "http://127.0.0.1:1"}, "WALLET_APNS_URL"),
    ],
)
def test_a_process_that_cannot_work_says_why_and_ends(run, arguments, environment, said):
    code, [event] = run(*arguments, **environment)
    assert code == 2
    assert said in event


def test_an_empty_database_stops_the_start(run, tmp_path):
    code, [event] = run("tick", DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite")
    assert code == 2
    assert "wallet-server migrate" in event


def test_there_are_two_queues_and_no_third(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("worker", "all")
    assert stop.value.code == 2
    assert "'push'" in capsys.readouterr().err
