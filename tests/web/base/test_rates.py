"""Attempts are counted in Valkey; where it does not answer in each process, and that is said."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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
        return self._time.time() + self._seconds


def test_processes_count_together(valkey_url: str, valkey: object) -> None:
    one, other = RateLimits(valkey_url), RateLimits(valkey_url)
    with capture_logs() as logs:
        assert one.hit(LIMIT, "join", "1.2.3.4").remaining == 1
        assert other.hit(LIMIT, "join", "1.2.3.4").remaining == 0
        assert not one.hit(LIMIT, "join", "1.2.3.4").allowed
        assert one.hit(LIMIT, "join", "5.6.7.8").allowed
    assert logs == []


def test_a_large_limit_is_asked_for_in_parts_and_no_number_is_given_twice(
    valkey_url: str, valkey: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = parse("600/minute")
    at_once = 600 // security.TAKEN_PARTS
    processes = [RateLimits(valkey_url) for _ in range(2)]
    asked = []
    for rates in processes:
        shared = rates._shared
        assert shared is not None
        monkeypatch.setattr(shared, "incr", lambda *values, incr=shared.incr: asked.append(values) or incr(*values))
    with ThreadPoolExecutor(8) as pool:
        hits = list(pool.map(lambda number: processes[number % 2].hit(limit, "till", "key"), range(700)))
    assert sum(hit.allowed for hit in hits) == 600
    left = [hit.remaining for hit in hits if hit.allowed]
    assert sorted(left) == list(range(600))
    assert len(asked) <= 700 / at_once + 8, "at most each thread once too often"


def test_a_new_window_begins_with_new_numbers(valkey_url: str, valkey: object, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, rates = parse("6000/minute"), RateLimits(valkey_url)
    assert rates.hit(limit, "till", "key").remaining == 5_999
    assert rates.hit(limit, "till", "key").reset_s in (59, 60)  # a number that was taken with the first
    shared = rates._shared
    assert shared is not None
    shared.clear(limit.key_for("till", "key"))
    monkeypatch.setattr(security, "time", Later(61))
    assert rates.hit(limit, "till", "key").remaining == 5_999
