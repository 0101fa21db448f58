"""A whole ``wallet-server up`` for stories: real processes, real sockets, its own data folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wallet_server import migrations
from wallet_server.db import create_engine

READY = "Wallet Server is ready"
START_SECONDS_MAX = 120
WAIT_S_MAX = 60
"""How long a story waits for what the workers do."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], why: str = "it never happened") -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def children_of(process_id: int) -> list[int]:
    """Process ids of all descendants that live."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if fields[0] != "Z":
                parents[int(stat.parent.name)] = int(fields[1])
    found: list[int] = []
    wanted = [process_id]
    while wanted:
        parent = wanted.pop()
        direct = [child for child, its_parent in parents.items() if its_parent == parent]
        found += direct
        wanted += direct
    return found


@dataclass
class Group:
    """A running group and what it printed."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    environment: dict[str, str]
    lines: list[str] = field(default_factory=list)

    @property
    def logins(self) -> dict[str, Any]:
        """The demo's logins and till key."""
        stored: dict[str, Any] = json.loads((self.data / "demo-logins.json").read_text(encoding="utf-8"))
        return stored

    def command(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``wallet-server …`` beside the group, on its data."""
        return subprocess.run(
            [sys.executable, "-m", "wallet_server", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not any(READY in line for line in self.lines):
            assert self.process.poll() is None, "\n".join(self.lines)
            assert time.monotonic() < deadline, "\n".join(self.lines)
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def environment(data: Path, **settings: str) -> dict[str, str]:
    """The environment of a group: nothing of ours leaks in from outside."""
    names = ("WALLET_", "DATABASE_URL", "REDIS_URL")
    base = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return {**base, "WALLET_DATA_DIR": str(data), **settings}


def run_python(code: str, data: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a few lines in a process of their own, with a server's settings and an empty database in ``data``."""
    engine = create_engine(f"sqlite:///{data / 'wallet.sqlite'}")
    migrations.upgrade(engine)
    engine.dispose()
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(data, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def running_group(data: Path, *arguments: str, port: int | None = None, **settings: str) -> Iterator[Group]:
    """Start ``wallet-server up --demo`` and stop it at the end, whatever happens."""
    port = port or free_port()
    environ = environment(data, **settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "wallet_server", "up", "--demo", "--port", str(port), *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    group = Group(process, address, data, {**environ, "WALLET_SANDBOX": "1", "WALLET_PUBLIC_URL": address})
    assert process.stdout is not None
    stream = process.stdout

    def read() -> None:
        for line in stream:
            group.lines.append(line.rstrip("\n"))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        group.wait_until_ready()
        yield group
    finally:
        if process.poll() is None:
            group.stop()
        reader.join(timeout=10)
        stream.close()
