"""One decision for everything a member may notice: who, when, how often, in which wallet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from wallet_server.notifications.governor import KEPT_FOR_EVENTS, MemberState, Policy, Shown, Verdict, Wish, decide

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SKOPJE = "Europe/Skopje"
IPHONE = MemberState(zone=SKOPJE, consent=True, on_apple=True, fetched_at=NOON)
ANDROID = MemberState(zone=SKOPJE, consent=True, on_google=True)
NIGHT = Policy(quiet_from=time(21), quiet_to=time(9))
PROMOTION, BALANCE, TIER = Wish("promotion"), Wish("balance"), Wish("tier")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def local(hour: int, minute: int = 0, day: int = 23) -> datetime:
    """An hour in Skopje in winter, an hour ahead of UTC."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC) - HOUR


def shown(*ago: timedelta, now: datetime = NOON, **values) -> tuple[Shown, ...]:
    return tuple(Shown(**{"at": now - one, "kind": "promotion", **values}) for one in ago)


def test_without_consent_only_promotions_are_dropped():
    silent = replace(IPHONE, consent=False)
    assert decide(silent, PROMOTION, Policy(), NOON) == Verdict("drop", "no_consent")
    assert decide(silent, Wish("reminder"), Policy(), NOON).action == "show"
    assert decide(silent, TIER, Policy(), NOON).action == "show"


def test_who_has_no_pass_is_told_nothing():
    nobody = replace(IPHONE, on_apple=False)
    assert decide(nobody, TIER, Policy(), NOON) == Verdict("drop", "no_pass")


def test_what_is_no_longer_true_is_dropped():
    assert decide(IPHONE, replace(TIER, expires_at=NOON), Policy(), NOON) == Verdict("drop", "expired")
    assert decide(IPHONE, replace(TIER, expires_at=NOON + MINUTE), Policy(), NOON).action == "show"


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (local(20, 59), None),
        (local(21), local(9, day=24)),
        (local(23, 30), local(9, day=24)),
        (local(0, 10), local(9)),
        (local(8, 59), local(9)),
        (local(9), None),
    ],
)
def test_quiet_hours_go_over_midnight(now, until):
    assert NIGHT.quiet_until(now, SKOPJE) == until


def test_quiet_hours_within_a_day_and_in_the_members_zone():
    siesta = Policy(quiet_from=time(13), quiet_to=time(15))
    assert siesta.quiet_until(local(14), SKOPJE) == local(15)
    assert siesta.quiet_until(local(15), SKOPJE) is None
    assert siesta.quiet_until(local(14), "America/New_York") is None


def test_quiet_hours_end_even_where_clocks_are_turned():
    """On 29 March 2026 there is no half past two in Skopje, on 25 October it is there twice."""
    policy = Policy(quiet_from=time(22), quiet_to=time(2, 30))
    for night in (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)):
        moment, turns = night, 0
        while (until := policy.quiet_until(moment, SKOPJE)) is not None:
            assert moment < until <= moment + 5 * HOUR
            moment, turns = until, turns + 1
        assert 1 <= turns <= 70


def test_in_the_night_a_balance_is_silent_and_the_rest_waits_for_the_morning():
    night, morning = local(22), local(9, day=24)
    assert decide(IPHONE, BALANCE, NIGHT, night) == Verdict("drop", "quiet_hours")
    for kind in ("tier", "challenge", "voucher", "reminder", "promotion"):
        assert decide(IPHONE, Wish(kind), NIGHT, night) == Verdict("defer", "quiet_hours", morning)
    over = Wish("promotion", expires_at=morning)
    assert decide(IPHONE, over, NIGHT, night) == Verdict("drop", "quiet_hours")


def test_promotions_have_a_limit_a_day_and_a_week_and_wait_until_there_is_room():
    policy = Policy(promotions_per_day=1, promotions_per_week=3)
    one = replace(IPHONE, shown=shown(5 * HOUR))
    assert decide(one, PROMOTION, policy, NOON) == Verdict("defer", "day_limit", NOON + 19 * HOUR)
    three = replace(IPHONE, shown=shown(6 * DAY, 4 * DAY, 2 * DAY))
    assert decide(three, PROMOTION, policy, NOON) == Verdict("defer", "week_limit", NOON + DAY)
    assert decide(replace(IPHONE, shown=shown(6 * DAY, 2 * DAY)), PROMOTION, policy, NOON).action == "show"
    # Others are not held back by them, and do not count for them.
    assert decide(three, TIER, policy, NOON).action == "show"
    events = replace(IPHONE, shown=shown(HOUR, 2 * HOUR, kind="tier"))
    assert decide(events, PROMOTION, policy, NOON).action == "show"


def test_a_limit_of_none_lets_no_promotion_through():
    policy = Policy(promotions_per_day=0)
    assert decide(IPHONE, PROMOTION, policy, NOON) == Verdict("defer", "day_limit", NOON + DAY)
    over = replace(PROMOTION, expires_at=NOON + 12 * HOUR)
    assert decide(IPHONE, over, policy, NOON) == Verdict("drop", "day_limit")


def test_an_iphone_speaks_so_often_a_day_but_a_balance_always():
    policy = Policy(messages_per_day=2)
    full = replace(IPHONE, shown=shown(HOUR, 2 * HOUR, kind="tier"))
    assert decide(full, TIER, policy, NOON) == Verdict("show", "apple_limit")
    assert decide(full, BALANCE, policy, NOON) == Verdict("show", speaks=True)
    silent = replace(IPHONE, shown=shown(HOUR, 2 * HOUR, kind="tier", speaks=False))
    assert decide(silent, TIER, policy, NOON) == Verdict("show", speaks=True)


def test_googles_three_notices_are_shared_and_the_last_is_kept_for_what_has_happened():
    used = shown(HOUR, kind="balance", at_google="balance") + shown(2 * HOUR, at_google="notice")
    assert KEPT_FOR_EVENTS == 1
    two = replace(ANDROID, shown=used)
    assert decide(two, PROMOTION, Policy(), NOON) == Verdict("show", "google_limit", at_google="text")
    assert decide(two, BALANCE, Policy(), NOON) == Verdict("show", at_google="balance")
    assert decide(two, replace(BALANCE, says_more=True), Policy(), NOON) == Verdict("show", at_google="notice")
    three = replace(ANDROID, shown=used + shown(3 * HOUR, kind="tier", at_google="notice"))
    assert decide(three, TIER, Policy(), NOON) == Verdict("show", "google_limit", at_google="text")
    assert decide(three, BALANCE, Policy(), NOON) == Verdict("show", "google_limit", at_google="nothing")
    yesterday = replace(ANDROID, shown=shown(DAY, DAY + HOUR, DAY + 2 * HOUR, at_google="notice"))
    assert decide(yesterday, PROMOTION, Policy(), NOON) == Verdict("show", at_google="notice")


def test_what_follows_a_message_before_the_phone_has_it_joins_it():
    told = shown(timedelta(seconds=5), kind="balance")
    unfetched = replace(IPHONE, shown=told, fetched_at=NOON - HOUR)
    assert decide(unfetched, BALANCE, Policy(), NOON).joins
    assert decide(replace(unfetched, fetched_at=None), TIER, Policy(), NOON).joins
    assert not decide(replace(unfetched, fetched_at=NOON), BALANCE, Policy(), NOON).joins
    assert not decide(unfetched, BALANCE, Policy(merge=timedelta(seconds=5)), NOON).joins
    # Google has had it already.
    assert not decide(replace(unfetched, on_google=True), BALANCE, Policy(), NOON).joins


def test_a_promotion_lets_the_phone_have_what_happened_first():
    told = shown(timedelta(seconds=5), kind="balance")
    unfetched = replace(IPHONE, shown=told, fetched_at=None)
    verdict = decide(unfetched, PROMOTION, Policy(), NOON)
    assert verdict == Verdict("defer", "just_told", NOON + timedelta(seconds=15))
    assert decide(replace(unfetched, fetched_at=NOON), PROMOTION, Policy(), NOON).action == "show"
