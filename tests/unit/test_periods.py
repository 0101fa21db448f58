"""Weeks and months of a program's zone."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import NOW
from wallet_server.insights.periods import Period, Report, Span, share, spans


def test_weeks_begin_on_monday_at_local_midnight():
    weeks = spans("week", "Europe/Skopje", NOW, 5)
    assert [week.first for week in weeks] == [date(2026, 10, 26) + timedelta(days=7 * n) for n in range(5)]
    assert weeks[-1] == Span(
        date(2026, 11, 23),
        date(2026, 11, 29),
        datetime(2026, 11, 22, 23, tzinfo=UTC),
        datetime(2026, 11, 29, 23, tzinfo=UTC),
    )


def test_a_week_with_a_clock_change_is_an_hour_longer():
    before, changed = spans("week", "Europe/Skopje", datetime(2026, 10, 21, tzinfo=UTC), 2)
    assert changed.end - changed.start == timedelta(days=7, hours=1)
    assert before.end - before.start == timedelta(days=7)


def test_months_cross_the_year():
    months = spans("month", "America/New_York", datetime(2026, 2, 1, 4, 59, tzinfo=UTC), 3)
    assert [(month.first, month.last) for month in months] == [
        (date(2025, 11, 1), date(2025, 11, 30)),
        (date(2025, 12, 1), date(2025, 12, 31)),
        (date(2026, 1, 1), date(2026, 1, 31)),  # in New York it is still January
    ]


@given(
    every=st.sampled_from(["week", "month"]),
    zone=st.sampled_from(["UTC", "Europe/Skopje", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]),
    now=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    count=st.integers(1, 40),
)
def test_periods_touch_and_the_last_one_holds_now(every, zone, now, count):
    found = spans(every, zone, now, count)
    assert len(found) == count
    assert found[-1].start <= now < found[-1].end
    for earlier, later in itertools.pairwise(found):
        assert earlier.end == later.start
        assert earlier.last + timedelta(days=1) == later.first


def period(**values: int | bool) -> Period:
    span = spans("week", "UTC", NOW, 1)[0]
    zeros = dict.fromkeys(("members", "new_members", "active_members", "purchases", "spend_minor"), 0)
    return Period(**{"span": span, "running": False, **zeros, "points_earned": 0, "points_redeemed": 0, **values})


def test_shares_are_exact_decimals_and_nothing_of_nothing_is_unknown():
    assert share(1, 3) == Decimal("0.3333")
    assert share(1, 0) is None
    full = period(members=8, active_members=2, purchases=5, spend_minor=1001, points_earned=10, points_redeemed=4)
    assert (full.participation, full.purchases_per_active_member) == (Decimal("0.25"), Decimal("2.5"))
    assert (full.redemption, full.spend_per_purchase_minor) == (Decimal("0.4"), 200)
    empty = period()
    assert empty.participation is empty.redemption is empty.spend_per_purchase_minor is None


def test_headlines_quote_the_newest_whole_period():
    old, running = period(purchases=1), period(purchases=2, running=True)
    assert Report("week", (old, running)).newest_whole is old
    assert Report("week", (running,)).newest_whole is None
    assert Report("week", (old, running)).current is running


@pytest.mark.parametrize("count", [0, 121])
def test_the_number_of_periods_has_a_limit(count):
    with pytest.raises(AssertionError):
        spans("week", "UTC", NOW, count)
