"""States of passes, lags and their percentiles, and when the alarm goes on and off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from tests.conftest import NOW
from wallet_server.issuance.delivery import (
    LAG_BOUNDS_S,
    STALE_AFTER,
    Asked,
    Lags,
    PassState,
    judge_fetching,
    judge_refusals,
    lag_bucket,
    state_of,
    watched_hours,
)

LONG_AGO = NOW - STALE_AFTER - timedelta(seconds=1)


@dataclass
class Facts:
    wallet: str = "apple"
    version: int = 5
    live: bool = True
    pushed_version: int = 5
    fetched_version: int = 5
    unfetched_since: datetime | None = None
    removed_at: datetime | None = None
    voided_at: datetime | None = None
    push_error: str | None = None


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Facts(), PassState.CURRENT),
        (Facts(live=False), PassState.NEW),
        (Facts(live=False, removed_at=NOW), PassState.REMOVED),
        (Facts(voided_at=NOW, removed_at=NOW), PassState.VOIDED),
        (Facts(pushed_version=4, fetched_version=4), PassState.QUEUED),
        (Facts(pushed_version=4, fetched_version=5), PassState.CURRENT),
        (Facts(pushed_version=4, fetched_version=4, push_error="503"), PassState.FAILED),
        (Facts(fetched_version=4, unfetched_since=NOW), PassState.ACCEPTED),
        (Facts(fetched_version=4, unfetched_since=LONG_AGO), PassState.STALE),
        (Facts(pushed_version=4, fetched_version=3, unfetched_since=LONG_AGO), PassState.STALE),
        (Facts("google", fetched_version=0), PassState.CURRENT),
        (Facts("google", pushed_version=4, fetched_version=0), PassState.QUEUED),
        (Facts("google", removed_at=NOW), PassState.REMOVED),
    ],
)
def test_a_pass_is_in_one_state(facts: Facts, state: PassState) -> None:
    assert state_of(facts, NOW) is state


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-3, 0), (0, 0), (1, 0), (1.001, 1), (60, LAG_BOUNDS_S.index(60)), (8 * 86_400, len(LAG_BOUNDS_S))],
)
def test_lags_fall_into_buckets(seconds: float, bucket: int) -> None:
    assert lag_bucket(timedelta(seconds=seconds)) == bucket


def lags(*seconds: float) -> Lags:
    buckets: dict[int, int] = {}
    for second in seconds:
        buckets[lag_bucket(timedelta(seconds=second))] = buckets.get(lag_bucket(timedelta(seconds=second)), 0) + 1
    return Lags(buckets)


def test_percentiles_are_within_the_bucket_of_the_true_ones() -> None:
    found = lags(*([2.5] * 50), *([40] * 45), *([3000] * 5))
    assert found.count == 100
    assert found.percentile(0.5) == timedelta(seconds=3)
    assert found.percentile(0.95) == timedelta(seconds=45)
    assert timedelta(seconds=1800) < (found.percentile(0.99) or timedelta()) <= timedelta(seconds=3600)
    assert found.within(3_600) == 100
    assert found.within(60) == 95


def test_no_lags_have_no_percentile_and_endless_ones_end_at_the_last_bound() -> None:
    assert Lags({}).percentile(0.5) is None
    assert lags(30 * 86_400).percentile(0.5) == timedelta(days=7)


USUAL = Asked(400, 360)


@pytest.mark.parametrize(
    ("recent", "usual", "was_on", "is_on"),
    [
        (Asked(100, 88), USUAL, False, False),
        (Asked(100, 20), USUAL, False, True),
        (Asked(100, 50), USUAL, False, False),  # lower than usual, not half of it
        (Asked(49, 0), USUAL, False, False),  # the night, or a small shop
        (Asked(0, 0), USUAL, False, False),
        (Asked(0, 0), USUAL, True, True),  # nobody was asked: no news
        (Asked(100, 50), USUAL, True, True),
        (Asked(100, 80), USUAL, True, False),
        (Asked(100, 5), Asked(), False, True),  # no history: the floor
        (Asked(100, 35), Asked(), False, False),
        (Asked(60, 0), Asked(400, 20), False, False),  # who seldom fetches has not stopped
    ],
)
def test_the_alarm_compares_with_the_usual(recent: Asked, usual: Asked, was_on: bool, is_on: bool) -> None:
    assert judge_fetching(recent, usual, was_on=was_on).alarm is is_on


def test_an_alarm_says_both_shares_where_they_are_known() -> None:
    judgement = judge_fetching(Asked(100, 20), USUAL, was_on=False)
    assert (judgement.share, judgement.usual) == (0.2, 0.9)
    assert judge_fetching(Asked(10, 2), Asked(), was_on=False).share is None


@pytest.mark.parametrize(
    ("passes", "was_on", "is_on"),
    [
        ({"failed": 20, "current": 100}, False, True),
        ({"failed": 19, "current": 100}, False, False),
        ({"failed": 12, "current": 100}, True, True),
        ({"failed": 9, "current": 100}, True, False),
        ({"failed": 50, "current": 10_000}, False, False),
    ],
)
def test_many_refusals_are_an_alarm(passes: dict[str, int], was_on: bool, is_on: bool) -> None:
    assert judge_refusals({PassState(name): number for name, number in passes.items()}, was_on=was_on) is is_on


def test_only_hours_count_that_every_phone_has_had_time_for() -> None:
    recent, usual = watched_hours(NOW)  # 15:30
    assert max(recent) == NOW.replace(hour=13, minute=0)
    assert len(recent) == 6
    assert len(usual) == 24
    assert {hour.weekday() for hour in usual} == {NOW.weekday()}
