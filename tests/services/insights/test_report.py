"""Participation and engagement over time, on both databases, as their definitions say."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tests.conftest import NOW
from tests.people import add_member, add_purchase, publish
from wallet_server.insights.queries import newest_purchase_at, report

HOUR = timedelta(hours=1)


def test_an_empty_program_has_periods_with_zeros(session):
    program = publish(session, NOW)
    found = report(session, program, every="week", now=NOW)
    assert len(found.periods) == 12
    assert [p.running for p in found.periods] == [False] * 11 + [True]
    assert all((p.members, p.purchases, p.participation) == (0, 0, None) for p in found.periods)


def test_figures_of_a_week(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    last_week = NOW - timedelta(days=7)
    old = add_member(session, program, NOW, joined_at=NOW - timedelta(days=400))
    new = add_member(session, program, NOW, joined_at=last_week)
    add_member(session, program, NOW, joined_at=NOW)
    stranger = add_member(session, other, NOW, joined_at=last_week)
    add_purchase(session, other, stranger, last_week)
    for member, total, earned, redeemed in ((old, 1000, 10, 5), (old, 500, 5, 0), (new, 301, 3, 4)):
        add_purchase(
            session, program, member, last_week, total_minor=total, discount_minor=1,
            points_earned=earned, points_redeemed=redeemed,
        )  # fmt: skip
    whole = report(session, program, every="week", now=NOW).newest_whole
    assert (whole.members, whole.new_members, whole.active_members, whole.purchases) == (2, 1, 2, 3)
    assert (whole.spend_minor, whole.points_earned, whole.points_redeemed) == (1798, 18, 9)
    assert (whole.participation, whole.purchases_per_active_member) == (Decimal(1), Decimal("1.5"))
    assert (whole.redemption, whole.spend_per_purchase_minor) == (Decimal("0.5"), 599)


def test_a_period_begins_at_local_midnight(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW, joined_at=NOW - timedelta(days=99))
    midnight = datetime(2026, 10, 31, 23, tzinfo=UTC)  # of 1 November in Skopje
    add_purchase(session, program, member, midnight - timedelta(microseconds=1))
    add_purchase(session, program, member, midnight)
    months = report(session, program, every="month", now=NOW, count=2).periods
    assert [(p.span.first.month, p.purchases) for p in months] == [(10, 1), (11, 1)]


def test_imported_history_counts_its_members_from_their_first_purchase(session):
    program = publish(session, NOW)
    first = NOW - timedelta(days=40)
    member = add_member(session, program, NOW, joined_at=NOW, first_visit_at=first)
    add_purchase(session, program, member, first)
    october, november = report(session, program, every="month", now=NOW, count=2).periods
    assert (october.members, october.new_members, october.participation) == (1, 1, Decimal(1))
    assert (november.members, november.new_members, november.participation) == (1, 0, Decimal(0))


@pytest.mark.parametrize("every", ["week", "month"])
def test_figures_equal_a_naive_recount(session, every):
    program = publish(session, NOW)
    zone = ZoneInfo(program.time_zone)
    rng = random.Random(5)

    def key(moment):
        day = moment.astimezone(zone).date()
        return day - timedelta(days=day.weekday()) if every == "week" else day.replace(day=1)

    joined, bought = [], defaultdict(list)
    for _ in range(25):
        joined_at = NOW - HOUR * rng.randrange(24 * 120)
        member = add_member(session, program, NOW, joined_at=joined_at)
        joined.append(joined_at)
        for _ in range(rng.randrange(6)):
            at = joined_at + (NOW - joined_at) * rng.random()
            add_purchase(session, program, member, at)
            bought[key(at)].append(member)
    found = report(session, program, every=every, now=NOW, count=4).periods
    new = Counter(key(at) for at in joined)
    for period in found:
        assert period.purchases == len(bought[period.span.first])
        assert period.active_members == len(set(bought[period.span.first]))
        assert period.new_members == new[period.span.first]
        assert period.members == sum(at < period.span.end for at in joined)


def test_a_session_of_one_program_sees_the_same(engine):
    from wallet_server.db import ALL_PROGRAMS, reading, transaction

    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        add_purchase(session, program, add_member(session, program, NOW, joined_at=NOW - HOUR), NOW)
        everything = report(session, program, every="week", now=NOW)
    with reading(engine, program.id) as session:
        assert report(session, program, every="week", now=NOW) == everything
    assert everything.current.participation == Decimal(1)


def test_an_earlier_time_is_counted_as_it_was(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW, joined_at=NOW - timedelta(weeks=5))
    add_purchase(session, program, member, NOW - timedelta(weeks=4))
    add_purchase(session, program, member, NOW)
    found = report(session, program, every="week", now=NOW, until=NOW - timedelta(weeks=3), count=2)
    assert [period.purchases for period in found.periods] == [1, 0]
    assert not any(period.running for period in found.periods)
    ahead = report(session, program, every="week", now=NOW, until=NOW + timedelta(weeks=3), count=2)
    assert ahead == report(session, program, every="week", now=NOW, count=2)  # the future has not happened


def test_the_newest_purchase_is_known(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    assert newest_purchase_at(session, program) is None
    for weeks in (3, 1, 2):
        add_member(session, program, NOW, last_visit_at=NOW - timedelta(weeks=weeks))
    add_member(session, other, NOW, last_visit_at=NOW)
    assert newest_purchase_at(session, program) == NOW - timedelta(weeks=1)
