"""The supervisor: order, revival, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from wallet_server.errors import ConfigurationError
from wallet_server.supervisor import Part, Supervisor

SAYS_WHO_IT_IS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def is_alive(process_id: int) -> bool:
    stat = Path(f"/proc/{process_id}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def lines() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def supervisor(lines):
    supervisor = Supervisor(output=lambda name, line: lines.append((name, line)))
    yield supervisor
    supervisor.stop()


def test_the_next_part_starts_when_the_one_before_is_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    first = f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    supervisor.start(Part("first", python(first), is_ready=flag.exists))
    assert flag.exists()


def test_parts_start_side_by_side_and_say_when_they_are_ready(supervisor: Supervisor, lines) -> None:
    code = "import time; time.sleep({}); print('ready now', flush=True); print('more', flush=True); time.sleep(60)"
    started = time.monotonic()
    supervisor.start(*(Part(f"part-{n}", python(code.format(0.5)), ready_text="ready now") for n in range(3)))
    assert time.monotonic() - started >= 0.5
    wait_until(lambda: sorted(lines) == [(f"part-{n}", "more") for n in range(3)])


def test_a_part_that_dies_while_starting_stops_the_start(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigurationError, match=r"web ended while starting \(exit code 3\)"):
        supervisor.start(Part("web", python("raise SystemExit(3)"), is_ready=lambda: False))


def test_a_part_that_never_gets_ready_stops_the_start(supervisor: Supervisor) -> None:
    part = Part("web", python("import time; time.sleep(60)"), is_ready=lambda: False, ready_seconds=0.2)
    with pytest.raises(ConfigurationError, match="web was not ready within"):
        supervisor.start(part)


def test_a_part_that_dies_is_started_again_and_its_lines_are_named(supervisor: Supervisor, lines) -> None:
    supervisor.start(Part("part", python(SAYS_WHO_IT_IS)))
    wait_until(lambda: len(lines) == 1)
    os.kill(int(lines[0][1]), signal.SIGKILL)
    # Started from the main thread, as in `up`: a child is tied to the life of the thread that made it.
    threading.Timer(2.0, supervisor.request_stop).start()
    supervisor.watch()
    first, second = [line for name, line in lines if name == "part"]
    assert first != second
    assert any(name == "group" and "exit code -9" in line for name, line in lines)


def test_stopping_ends_children_of_children_too(supervisor: Supervisor, lines) -> None:
    code = """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, flush=True)
        time.sleep(60)
    """
    supervisor.start(Part("part", python(code)))
    wait_until(lambda: bool(lines))
    grandchild = int(lines[0][1])
    assert is_alive(grandchild)
    supervisor.stop()
    wait_until(lambda: not is_alive(grandchild))


def test_a_killed_supervisor_takes_its_parts_along() -> None:
    code = f"""
        import sys, time
        from wallet_server.supervisor import Part, Supervisor
        supervisor = Supervisor(output=lambda _name, line: print(line, flush=True))
        supervisor.start(Part("part", [sys.executable, "-c", {SAYS_WHO_IT_IS!r}]))
        time.sleep(60)
    """
    group = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)
    assert group.stdout is not None
    part = int(group.stdout.readline())
    assert is_alive(part)
    group.kill()
    group.wait()
    group.stdout.close()
    wait_until(lambda: not is_alive(part))
