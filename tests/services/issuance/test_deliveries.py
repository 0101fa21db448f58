"""What became of passes: behind since when, asked, fetched, gone; and the hours that count it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.issuance.test_passes import change, register, unregister
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.deliveries import (
    COUNTED_AFTER,
    count_fetches,
    record_fetch,
    record_pushed,
    record_refused,
    uncounted_fetches,
)
from wallet_server.issuance.delivery import LAG_BOUNDS_S
from wallet_server.issuance.google_events import google_event, google_object_made
from wallet_server.issuance.models import DeliveryHour, DeliveryMark
from wallet_server.issuance.phones import DeadToken, drop_dead_tokens


def at(seconds: float):
    return NOW + timedelta(seconds=seconds)


def push(shop, member_id, when, wallet="apple") -> None:
    issued = shop.issued(member_id, wallet)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_pushed(session, {issued.id: issued.version}, when)


def fetch(shop, member_id, when, version=None) -> None:
    issued = shop.issued(member_id)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_fetch(session, issued.id, version or issued.version, when)


def count(shop, when) -> bool:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        found = uncounted_fetches(session, when + COUNTED_AFTER)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        return count_fetches(session, found)


def hours(shop) -> dict[tuple[str, str, int], tuple[int, int]]:
    """By wallet, step and upper end of the lag: updates, and their lags in milliseconds."""
    with reading(shop.engine, ALL_PROGRAMS) as session:
        rows = session.exec(select(DeliveryHour)).all()
    return {(row.wallet, row.step, LAG_BOUNDS_S[row.lag_bucket]): (row.updates, row.lag_ms) for row in rows}


@pytest.fixture
def member_id(shop):
    """A member whose phone holds the pass, and whose fetches are counted from now on."""
    joined = shop.join()
    register(shop, joined)
    count(shop, NOW)
    return joined


def test_an_update_goes_from_behind_to_asked_to_fetched(shop, member_id):
    change(shop, member_id, now=at(10))
    assert (shop.issued(member_id).behind_since, shop.issued(member_id).unfetched_since) == (at(10), None)
    push(shop, member_id, at(12))
    issued = shop.issued(member_id)
    assert (issued.behind_since, issued.unfetched_since) == (at(10), at(12))
    fetch(shop, member_id, at(14))
    issued = shop.issued(member_id)
    assert (issued.behind_since, issued.unfetched_since, issued.delivered_change_at) == (None, None, at(10))
    assert count(shop, at(20))
    assert hours(shop) == {("apple", "accepted", 2): (1, 2_000), ("apple", "fetched", 5): (1, 4_000)}


def test_changes_that_pile_up_are_one_update_that_began_with_the_first(shop, member_id):
    for second in (10, 100, 200):
        change(shop, member_id, now=at(second))
        push(shop, member_id, at(second + 1))
    issued = shop.issued(member_id)
    assert (issued.behind_since, issued.unfetched_since) == (at(10), at(11))
    fetch(shop, member_id, at(210))
    count(shop, at(210))
    assert hours(shop) == {("apple", "accepted", 1): (1, 1_000), ("apple", "fetched", 300): (1, 200_000)}


def test_passes_of_several_versions_are_recorded_together_and_never_backwards(shop):
    fast, slow = shop.join(), shop.join()
    for joined in (fast, slow):
        register(shop, joined)
    for changes in (fast, fast, slow):
        change(shop, changes, now=at(1))
    versions = {shop.issued(joined).id: shop.issued(joined).version for joined in (fast, slow)}
    assert sorted(versions.values()) == [2, 3]
    with transaction(shop.engine, ALL_PROGRAMS) as session, heard(shop.engine) as said:
        record_pushed(session, versions, at(2))
    assert [one.verb for one in said].count("UPDATE") == 1, said
    assert [shop.issued(joined).pushed_version for joined in (fast, slow)] == [3, 2]
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_pushed(session, {shop.issued(fast).id: 2, shop.issued(slow).id: 1}, at(3))
    for joined, version in ((fast, 3), (slow, 2)):
        issued = shop.issued(joined)
        assert (issued.pushed_version, issued.pushed_at) == (version, at(2)), "an older push ends late"
    assert hours(shop) == {("apple", "accepted", 1): (2, 2_000)}


def test_a_phone_may_fetch_before_the_answer_of_the_push_service_is_written(shop, member_id):
    change(shop, member_id, now=at(10))
    fetch(shop, member_id, at(11))
    push(shop, member_id, at(12))
    push(shop, member_id, at(13))
    assert shop.issued(member_id).unfetched_since is None
    count(shop, at(20))
    assert hours(shop) == {("apple", "accepted", 2): (1, 2_000), ("apple", "fetched", 1): (1, 1_000)}


def test_what_changes_while_a_phone_fetches_is_an_update_of_its_own(shop):
    member_id = shop.join()
    register(shop, member_id)
    change(shop, member_id, now=at(10))
    push(shop, member_id, at(11))
    change(shop, member_id, now=at(12))
    push(shop, member_id, at(13))
    fetch(shop, member_id, at(14), version=2)
    issued = shop.issued(member_id)
    assert (issued.behind_since, issued.unfetched_since, issued.delivered_change_at) == (at(12), at(13), at(10))


def test_a_second_phone_that_fetches_the_same_changes_nothing(shop):
    member_id = shop.join()
    register(shop, member_id)
    change(shop, member_id, now=at(10))
    fetch(shop, member_id, at(11))
    fetch(shop, member_id, at(500))
    issued = shop.issued(member_id)
    assert (issued.fetched_at, issued.delivered_change_at) == (at(11), at(10))


def test_a_card_that_nobody_holds_is_never_behind(shop):
    member_id = shop.join()
    change(shop, member_id, now=at(10))
    assert shop.issued(member_id).behind_since is None
    register(shop, member_id, now=at(900))
    assert shop.issued(member_id).behind_since == at(900)
    count(shop, at(0))
    fetch(shop, member_id, at(902))
    count(shop, at(902))
    assert hours(shop) == {("apple", "fetched", 2): (1, 2_000)}


def test_at_google_an_update_ends_when_google_has_taken_it(shop):
    member_id = shop.join()
    issued = shop.issued(member_id, "google")
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        google_object_made(session, issued.id, 1, NOW)
    assert hours(shop) == {}, "the first object is no update"
    change(shop, member_id, now=at(10))
    assert shop.issued(member_id, "google").behind_since == at(10)
    push(shop, member_id, at(17), "google")
    issued = shop.issued(member_id, "google")
    assert (issued.behind_since, issued.unfetched_since) == (None, None)
    assert hours(shop) == {("google", "accepted", 8): (1, 7_000)}


def test_an_update_counts_under_the_hour_of_its_change(shop, member_id):
    change(shop, member_id, now=at(10))
    push(shop, member_id, at(12))
    fetch(shop, member_id, NOW + timedelta(hours=5))
    count(shop, NOW + timedelta(hours=5))
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert set(session.exec(select(DeliveryHour.hour))) == {NOW.replace(minute=0)}


def test_two_ticks_count_a_fetch_once(shop):
    member_id = shop.join()
    register(shop, member_id)
    assert not count(shop, NOW), "the first look only remembers where it began"
    change(shop, member_id, now=at(10))
    fetch(shop, member_id, at(11))
    with reading(shop.engine, ALL_PROGRAMS) as session:
        one = uncounted_fetches(session, at(20))
        other = uncounted_fetches(session, at(21))
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        assert count_fetches(session, one)
        assert not count_fetches(session, other)
    count(shop, at(21))
    assert hours(shop) == {("apple", "fetched", 1): (1, 1_000)}


def test_a_fetch_is_counted_by_the_tick_after_the_moment_it_was_committed(shop, member_id):
    """Nothing is counted that is younger than a lock may have been waited for."""
    change(shop, member_id, now=at(10))
    fetch(shop, member_id, at(11))
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert uncounted_fetches(session, at(12)).fetched == []
        [found] = uncounted_fetches(session, at(11) + COUNTED_AFTER).fetched
    assert (found.member_id, found.fetched_at) == (member_id, at(11))


def test_a_deleted_card_and_an_unreachable_phone_are_told_apart_and_forgiven(shop):
    deleted, dead = shop.join(), shop.join()
    for member_id, token in ((deleted, "aa"), (dead, "bb")):
        register(shop, member_id, f"phone {token}", token)
        change(shop, member_id, now=at(5))
        push(shop, member_id, at(6))
    unregister(shop, deleted, "phone aa", now=at(10))
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        drop_dead_tokens(session, [DeadToken("bb", None)], at(20))
    for member_id, when, why in ((deleted, at(10), "deleted"), (dead, at(20), "unreachable")):
        issued = shop.issued(member_id)
        assert (issued.live, issued.removed_at, issued.removed_why) == (False, when, why)
        assert (issued.behind_since, issued.unfetched_since) == (None, None)
    register(shop, dead, "phone cc", "cc", now=at(30))
    issued = shop.issued(dead)
    assert (issued.live, issued.removed_at, issued.removed_why, issued.installed_at) == (True, None, None, NOW)


def test_what_google_says_of_saving_and_deleting_is_kept(shop):
    member_id = shop.join()
    issued = shop.issued(member_id, "google")
    for number, saved in enumerate((True, False, True, False)):
        with transaction(shop.engine, ALL_PROGRAMS) as session:
            google_event(session, issued.serial, saved=saved, nonce=f"n{number}", expires_ms=number, now=at(number))
    found = shop.issued(member_id, "google")
    assert (found.installed_at, found.removed_at, found.removed_why) == (at(0), at(3), "deleted")


def test_a_refusal_stays_with_the_pass_until_it_is_taken(shop):
    member_id = shop.join()
    register(shop, member_id)
    change(shop, member_id, now=at(5))
    issued = shop.issued(member_id)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_refused(session, {issued.id: "403 InvalidProviderToken " + "x" * 300})
    assert len(shop.issued(member_id).push_error) == 200
    push(shop, member_id, at(6))
    assert shop.issued(member_id).push_error is None
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_refused(session, {issued.id: "late news"})
    assert shop.issued(member_id).push_error is None


def test_a_fetch_is_one_statement(shop):
    member_id = shop.join()
    issued = shop.issued(member_id)
    with heard(shop.engine) as said, transaction(shop.engine, ALL_PROGRAMS) as session:
        record_fetch(session, issued.id, 1, NOW)
    assert len(said) == 1


def test_the_mark_is_one_row_however_many_look_first(shop):
    for _ in range(2):
        count(shop, NOW)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert session.scalar(sa.select(sa.func.count(col(DeliveryMark.id)))) == 1
