"""A group of processes that starts in order, is kept alive, and leaves nothing behind.

``up`` needs what process managers on PyPI do not offer together: one part must be *ready* before the next
starts, a part that dies is started again (with growing pauses), and when the group stops, or is killed
outright, every child goes with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from wallet_server.errors import ConfigurationError

STOP_SECONDS: Final = 15
"""How long a child may take to finish its work after SIGTERM."""
PAUSE_SECONDS_MAX: Final = 15.0
_PR_SET_PDEATHSIG: Final = 1
# Loaded before any fork: between fork and exec nothing may take a lock.
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ask Linux to end this child when the supervisor dies in whatever way (``prctl(2)``)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Part:
    """One process of the group.

    It is ready when ``is_ready`` says so, or when it has printed a line with ``ready_text``, and must be so
    within ``ready_seconds``; a part with neither is ready at once.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] | None = None
    ready_text: str = ""
    ready_seconds: float = 60.0


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[str]
    started_at: float
    deaths: int = 0
    start_again_at: float | None = None
    spoke: threading.Event = field(default_factory=threading.Event)
    """Whether it has printed its ``ready_text``."""

    def is_ready(self) -> bool:
        if self.part.ready_text and not self.spoke.is_set():
            return False
        return self.part.is_ready is None or self.part.is_ready()


class Supervisor:
    """Runs a group of :class:`Part` until it is told to stop."""

    def __init__(self, output: Callable[[str, str], None] | None = None) -> None:
        self._running: list[_Running] = []
        self._output = output or _print_line
        self._stop = threading.Event()

    def request_stop(self, *_signal: object) -> None:
        """Ask :meth:`watch` to return; safe in a signal handler."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()

    def start(self, *parts: Part) -> None:
        """Start parts side by side and wait until each of them is ready.

        Raises :class:`ConfigurationError` if one ends or is not ready in time.
        """
        started = [self._begin(part) for part in parts]
        for running in started:
            self._wait_until_ready(running)

    def _begin(self, part: Part) -> _Running:
        spoke = threading.Event()
        running = _Running(part, self._spawn(part, spoke), time.monotonic(), spoke=spoke)
        self._running.append(running)
        return running

    def _wait_until_ready(self, running: _Running) -> None:
        part = running.part
        deadline = time.monotonic() + part.ready_seconds
        while not self.stopping and not running.is_ready():
            if running.process.poll() is not None:
                raise ConfigurationError(f"{part.name} ended while starting (exit code {running.process.returncode})")
            if time.monotonic() > deadline:
                raise ConfigurationError(f"{part.name} was not ready within {part.ready_seconds:.0f} seconds")
            self._stop.wait(0.05)

    def watch(self) -> None:
        """Keep every part alive until a stop is asked for."""
        while not self._stop.wait(0.2):
            for running in self._running:
                self._revive(running)

    def stop(self) -> None:
        """End the parts in the opposite order of their start; the impatient way after a while."""
        self._stop.set()
        for running in reversed(self._running):
            if running.process.poll() is None:
                running.process.terminate()
                try:
                    running.process.wait(timeout=STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    self._output("group", f"{running.part.name} did not stop in {STOP_SECONDS} s and is killed")
                    _kill_session(running.process)
            # A child may itself have children (web workers): none may outlive it.
            _kill_session(running.process)
        self._running.clear()

    def _revive(self, running: _Running) -> None:
        code = running.process.poll()
        if code is None:
            return
        now = time.monotonic()
        if running.start_again_at is None:
            if now - running.started_at > 60:
                running.deaths = 0
            running.deaths += 1
            pause = min(PAUSE_SECONDS_MAX, 0.5 * 2 ** (running.deaths - 1))
            running.start_again_at = now + pause
            self._output("group", f"{running.part.name} ended with exit code {code}; starts again in {pause:.1f} s")
        elif now >= running.start_again_at:
            _kill_session(running.process)
            running.process = self._spawn(running.part, running.spoke)
            running.started_at, running.start_again_at = now, None

    def _spawn(self, part: Part, spoke: threading.Event) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C on the terminal reaches the supervisor only, which stops in order.
        process = subprocess.Popen(
            list(part.command),
            env={**os.environ, **part.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock
        )
        assert process.stdout is not None
        threading.Thread(target=self._pump, args=(part, process.stdout, spoke), daemon=True).start()
        return process

    def _pump(self, part: Part, stream: IO[str], spoke: threading.Event) -> None:
        with stream:
            for line in stream:
                if part.ready_text and part.ready_text in line and not spoke.is_set():
                    spoke.set()
                else:
                    self._output(part.name, line.rstrip("\n"))


def _kill_session(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _print_line(name: str, line: str) -> None:
    prefix = f"\x1b[36m{name:>10}\x1b[0m " if sys.stdout.isatty() else f"{name:>10} "
    sys.stdout.write(f"{prefix}{line}\n")
    sys.stdout.flush()
