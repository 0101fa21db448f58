"""Attempts are counted in Valkey; where it does not answer in each process, and that is said."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from limits import parse
from structlog.testing import capture_logs

from wallet_server.web import security
from wallet_server.web.security import RateLimits

LIMIT = parse("2/minute")


@pytest.fixture
def silent_valkey() -> Iterator[tuple[str, socket.socket]]:
    """Something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}", listener


def tries(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_valkey_that_is_down_is_said_once_and_left_alone_for_a_while(
    silent_valkey: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, listener = silent_valkey
    rates = RateLimits(url)
    with capture_logs() as logs:
        allowed = [rates.hit(LIMIT, "join", "1.2.3.4").allowed for _ in range(4)]
    assert allowed == [True, True, False, False]
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "Valkey does not answer" in logs[0]["event"]
    assert tries(listener) > 0
    rates.hit(LIMIT, "join", "1.2.3.4")
    assert tries(listener) == 0
    monkeypatch.setattr(security, "time", Later(security.SHARED_PAUSE_SECONDS))
    with capture_logs() as logs:
        rates.hit(LIMIT, "join", "1.2.3.4")
    assert len(logs) == 1
    assert tries(listener) > 0


class Later:
    """The clock of the module, some seconds on."""

    def __init__(self, seconds: float) -> None:
        self._time, self._seconds = security.time, seconds

    def monotonic(self) -> float:
        return self._time.monotonic() + self._seconds

    def time(self) -> float:
        return self._time.time()


def test_processes_count_together(valkey_url: str, valkey: object) -> None:
    one, other = RateLimits(valkey_url), RateLimits(valkey_url)
    with capture_logs() as logs:
        assert one.hit(LIMIT, "join", "1.2.3.4").remaining == 1
        assert other.hit(LIMIT, "join", "1.2.3.4").remaining == 0
        assert not one.hit(LIMIT, "join", "1.2.3.4").allowed
        assert one.hit(LIMIT, "join", "5.6.7.8").allowed
    assert logs == []
