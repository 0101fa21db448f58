"""Google's 20 calls a second are shared by processes that know nothing of each other but the database."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from sqlmodel import Session

from passes.google.client import REQUESTS_PER_SECOND_MAX, GoogleProblem, GoogleWalletError
from wallet_server.issuance.models import GooglePace
from wallet_server.issuance.pace import SharedPace

SECOND = 1_000_000
NOW = 1_795_000_000 * SECOND
TURN = SECOND // 20

# Its own clock stands still, so that both processes ask for the same moment.
OTHER_PROCESS = """
import json, sys
from wallet_server.db import create_engine
from wallet_server.issuance.pace import SharedPace
url, now, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
engine = create_engine(url)
pace = SharedPace(engine, "3388")
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([pace.reserve(now) for _ in range(count)]))
engine.dispose()
"""


@pytest.fixture
def pace(engine) -> SharedPace:
    return SharedPace(engine, "3388")


def test_two_processes_never_begin_more_than_twenty_calls_in_any_second(engine):
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", OTHER_PROCESS, url, str(NOW), "40"]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _process in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    turns = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    together = sorted(turns[0] + turns[1])
    assert together == [NOW + number * TURN for number in range(80)], "a turn was given twice, or left out"
    for start in together:
        assert sum(start <= turn < start + SECOND for turn in together) <= REQUESTS_PER_SECOND_MAX


def test_idleness_saves_nothing_up(pace):
    assert pace.reserve(NOW) == NOW
    later = NOW + 3600 * SECOND
    assert [pace.reserve(later) for _ in range(3)] == [later, later + TURN, later + 2 * TURN]


def test_each_issuer_has_its_own_pace(engine, pace):
    assert pace.reserve(NOW) == NOW
    assert SharedPace(engine, "3399").reserve(NOW) == NOW


def test_whoever_would_wait_too_long_is_told_and_takes_no_turn(pace):
    for _ in range(101):
        last = pace.reserve(NOW)
    assert last == NOW + 5 * SECOND
    with pytest.raises(GoogleWalletError) as caught:
        pace.reserve(NOW)
    assert (caught.value.problem, caught.value.reason) == (GoogleProblem.RETRY_LATER, "pace")
    assert pace.reserve(NOW + SECOND) == last + TURN


def test_a_row_of_a_clock_gone_astray_stops_nobody(engine, pace):
    with Session(engine) as session:
        session.add(GooglePace(issuer_id="3388", free_at=NOW + 365 * 86_400 * SECOND))
        session.commit()
    assert [pace.reserve(NOW), pace.reserve(NOW)] == [NOW, NOW + TURN]


def test_the_caller_sleeps_until_its_turn(engine):
    naps: list[float] = []
    pace = SharedPace(engine, "3388", clock=lambda: NOW / SECOND, sleep=naps.append)
    for _ in range(3):
        pace.take()
    assert naps == pytest.approx([0.05, 0.1])
