"""``wallet-server up``: from an empty folder to a running group, again in seconds, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.group import children_of, environment, free_port, running_group


def get(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read().decode()


def run_up(data: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wallet_server", "up", *arguments],
        env=environment(data, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def gone(process_ids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{process_id}").exists() for process_id in process_ids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_group_starts_stops_and_starts_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_group(data) as group:
        logins = group.logins
        assert get(f"{group.url}/healthz")[0] == 200
        assert get(f"{group.url}/readyz")[0] == 200
        printed = "\n".join(group.lines)
        for text in (f"{group.url}/panel/", f"{group.url}/join/cafe-ohrid/poster", f"{group.url}/sandbox/phones"):
            assert text in printed
        for email, password, _role in logins["staff"]:
            assert email in printed
            assert password in printed
        status, page = get(f"{group.url}/join/cafe-ohrid/poster")
        assert status == 200
        assert "Cafe Ohrid" in page or "Кафе Охрид" in page

        # A second group on the same data is refused, and the first does not notice.
        refused = run_up(data, "--demo", "--port", str(free_port()))
        assert refused.returncode == 1
        assert "already runs" in refused.stderr

        # A part that is killed comes back.
        children = children_of(group.process.pid)
        [dispatcher] = [pid for pid in children if b"dispatcher" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(dispatcher, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while not any("dispatcher ended" in line for line in group.lines):
            assert time.monotonic() < deadline
            time.sleep(0.05)

        children = children_of(group.process.pid)
        assert len(children) >= 7
        assert group.stop() == 0
        assert gone(children)

    with running_group(data) as group:
        assert group.logins == logins
        verified = group.command("verify", "--json")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        report = json.loads(verified.stdout)
        assert report["violations"] == []
        assert len(report["checks"]) >= 10
        # Killed outright: the children go with it.
        children = children_of(group.process.pid)
        group.process.kill()
        group.process.wait()
        assert gone(children)


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run_up(tmp_path / "data", "--demo", "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"wallet-server: port {port} on 127.0.0.1 cannot be used")
    assert "choose another with --port" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"WALLET_SECRET_KEY": "secret"}, "WALLET_SECRET_KEY is weak"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "the database cannot be used"),
    ],
)
def test_a_start_that_cannot_be_says_why(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    refused = run_up(tmp_path / "data", "--demo", "--port", str(free_port()), **settings)
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "wallet.sqlite").write_bytes(b"this is not a database" * 100)
    refused = run_up(data, "--demo", "--port", str(free_port()))
    assert refused.returncode == 1
    assert "the database cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_parts_alone_need_their_surroundings(tmp_path: Path) -> None:
    for part, sentence in (("worker", "REDIS_URL is not set"), ("web", "run `wallet-server migrate`")):
        refused = subprocess.run(
            [sys.executable, "-m", "wallet_server", part],
            env=environment(tmp_path / "data"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode == 1
        assert sentence in refused.stderr


def test_what_the_server_keeps_is_this_users_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)  # a folder that was there before, open to be read
    subprocess.run(
        [sys.executable, "-m", "wallet_server", "migrate"],
        env=environment(data),
        umask=0o022,
        check=True,
        capture_output=True,
        timeout=60,
    )
    kept = [path for path in data.iterdir() if path.is_file()]
    assert {path.name for path in kept} >= {"wallet.sqlite", "secret-key"}
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in kept} == {path.name: "0o0" for path in kept}
