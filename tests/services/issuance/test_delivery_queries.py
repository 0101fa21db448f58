"""The truth about passes as the panel and the metrics read it."""

from __future__ import annotations

import functools
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.issuance.test_deliveries import at, count, fetch, push
from tests.services.issuance.test_passes import change, register, unregister
from tests.statements import plan_of
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance import invariants, watch
from wallet_server.issuance.deliveries import Counts, add_counts, record_refused, uncounted_fetches
from wallet_server.issuance.delivery import Asked, PassState, state_of, watched_hours
from wallet_server.issuance.delivery_queries import (
    counted,
    numbered,
    passes_in_state,
    phones,
    recent_and_usual,
    refusals,
    state_sql,
    stock,
    stories,
    together,
    updates_by_day,
    watch_of,
)
from wallet_server.issuance.models import DeliveryHour, IssuedPass
from wallet_server.issuance.watch import prune_hours, take_stock, watched

LATER = NOW + timedelta(hours=30)


@pytest.fixture
def crowd(shop):
    """One member in each state, by its name; all of Apple's wallet but ``google``."""
    made = {}
    for state in PassState:
        member_id = made[state.value] = shop.join()
        if state is not PassState.NEW:
            register(shop, member_id, f"phone of {state}", state.value.encode().hex())
    for name in ("failed", "stale", "queued", "accepted"):
        change(shop, made[name], now=at(10))
    push(shop, made["stale"], at(11))
    push(shop, made["accepted"], LATER - timedelta(hours=1))
    unregister(shop, made["removed"], "phone of removed", now=at(20))
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_refused(session, {shop.issued(made["failed"]).id: "403 BadCertificate"})
        session.get_one(IssuedPass, shop.issued(made["voided"]).id).voided_at = at(30)
    return made


def test_the_database_tells_states_as_we_do(shop, crowd):
    with reading(shop.engine, ALL_PROGRAMS) as session:
        rows = session.execute(sa.select(IssuedPass, state_sql(LATER)).order_by(col(IssuedPass.id))).all()
        assert [numbered(state) for _, state in rows] == [state_of(issued, LATER) for issued, _ in rows]
    found = {issued.member_id: numbered(state) for issued, state in rows if issued.wallet == "apple"}
    assert {name: found[member_id] for name, member_id in crowd.items()} == {name: name for name in crowd}


def test_the_stock_counts_each_pass_once_and_says_what_refuses(shop, crowd):
    with reading(shop.engine, shop.program.id) as session:
        found = stock(session, LATER)[shop.program.id]
        assert phones(session, shop.program).phones == phones(session, shop.program).cards == 6
    assert found.passes["apple"] == dict.fromkeys(PassState, 1)
    assert found.passes["google"] == {PassState.NEW: len(PassState)}
    [refusal] = found.refusals
    look(shop, LATER)
    with reading(shop.engine, shop.program.id) as session:
        kept = counted(session, shop.program, LATER + timedelta(seconds=50))
    assert (kept.stock.passes, kept.stock.refusals, kept.at) == (found.passes, found.refusals, LATER)
    assert (refusal.wallet, refusal.reason, refusal.passes) == ("apple", "403 BadCertificate", 1)


def test_each_state_has_its_list_with_the_members(shop, crowd):
    with reading(shop.engine, shop.program.id) as session:
        for state in PassState:
            [line] = passes_in_state(session, shop.program, state, "apple", LATER)
            assert line.member.id == crowd[state.value]
        assert passes_in_state(session, shop.program, PassState.STALE, "google", LATER) == []
        stale = passes_in_state(session, shop.program, PassState.STALE, "apple", LATER, stale_after=timedelta(hours=48))
        assert stale == []
        everybody = passes_in_state(session, shop.program, PassState.NEW, "google", LATER, limit=3)
        rest = passes_in_state(
            session, shop.program, PassState.NEW, "google", LATER, after=(None, everybody[-1].issued.id)
        )
    assert len({line.member.id for line in (*everybody, *rest)}) == len(PassState)


def test_days_are_those_of_the_program_and_none_is_left_out(shop):
    member_id = shop.join()
    register(shop, member_id)
    count(shop, NOW)
    midnight = NOW.replace(hour=23, minute=0)  # in Skopje
    for change_at in (midnight - timedelta(minutes=1), midnight + timedelta(minutes=1)):
        change(shop, member_id, now=change_at)
        push(shop, member_id, change_at + timedelta(seconds=1))
        fetch(shop, member_id, change_at + timedelta(seconds=4))
        count(shop, change_at + timedelta(seconds=4))
    with reading(shop.engine, shop.program.id) as session:
        days = updates_by_day(session, shop.program, midnight + timedelta(hours=1), 5)
    assert [day.updates["apple"].fetched.count for day in days] == [1, 1, 0, 0, 0]
    assert days[0].updates["apple"].share == 1.0
    assert days[4].updates["apple"].share is None
    assert together(days, "apple").fetched.percentile(1) == timedelta(seconds=5)


def test_a_pass_tells_its_story_newest_first(shop, crowd):
    with reading(shop.engine, shop.program.id) as session:
        [apple, google] = stories(session, crowd["failed"], LATER)
        [removed, _] = stories(session, crowd["removed"], LATER)
    assert (apple.state, apple.phones, google.state) == (PassState.FAILED, 1, PassState.NEW)
    told = [(happening.what, happening.detail) for happening in apple.happenings]
    assert ("refused", "403 BadCertificate") in told
    assert [what for what, _ in told][-1] in ("given_out", "installed", "fetched")
    assert removed.happenings[0].what == "removed_deleted"


def fill(shop, asked_and_prompt: dict[str, tuple[int, int]], now) -> None:
    """Updates in the hours that the alarm looks at: ``recent``, and ``usual`` in each of the four weeks."""
    recent, usual = watched_hours(now)
    counts = Counts.none()
    for hours, name in ((recent[:1], "recent"), (usual[::6], "usual")):
        asked, prompt = asked_and_prompt[name]
        for hour in hours:
            for number in range(asked):
                counts.add(shop.program.id, "apple", "accepted", changed_at=hour, now=hour)
                late = timedelta(seconds=4) if number < prompt else timedelta(hours=20)
                counts.add(shop.program.id, "apple", "fetched", changed_at=hour, now=hour + late)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        add_counts(session, counts)


def look(shop, now):
    with reading(shop.engine, ALL_PROGRAMS) as session:
        found = watch.look(session, now)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        return take_stock(session, found, now)


def test_the_alarm_begins_once_and_ends_once(shop):
    shop.join()
    fill(shop, {"recent": (60, 6), "usual": (60, 54)}, LATER)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert recent_and_usual(session, shop.program.id, LATER) == (Asked(60, 6), Asked(240, 216))
    [alarm] = look(shop, LATER)
    assert (alarm.kind, alarm.on, alarm.share, alarm.usual) == ("unfetched", True, 0.1, 0.9)
    assert look(shop, LATER + timedelta(minutes=1)) == []
    with reading(shop.engine, shop.program.id) as session:
        assert watch_of(session, shop.program.id).unfetched_alarm_since == LATER
    night = LATER + timedelta(hours=9)
    assert look(shop, night) == [], "nobody was asked: nothing is known to be better"
    good = LATER + timedelta(hours=24)
    fill(shop, {"recent": (60, 57), "usual": (0, 0)}, good)
    [alarm] = look(shop, good)
    assert (alarm.kind, alarm.on) == ("unfetched", False)


def test_many_refused_passes_are_an_alarm_that_names_the_reason(shop):
    members = [shop.join() for _ in range(20)]
    for number, member_id in enumerate(members):
        register(shop, member_id, f"phone {number}", f"{number:04x}")
    change(shop, *members, now=at(5))
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_refused(session, {shop.issued(member_id).id: "403 BadCertificate" for member_id in members})
    [alarm] = look(shop, at(60))
    assert (alarm.kind, alarm.on, alarm.refused, alarm.reason) == ("refused", True, 20, "403 BadCertificate")
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert watched(session).alarms == {"unfetched": 0, "refused": 1}
        assert watched(session).passes["apple", "failed"] == 20


def test_pruned_hours_stay_in_the_sums(shop):
    fill(shop, {"recent": (10, 10), "usual": (20, 15)}, LATER)
    shop.join()
    look(shop, LATER)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        before = watched(session)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        assert prune_hours(session, LATER - timedelta(days=10)) > 0
        assert prune_hours(session, LATER - timedelta(days=10)) == 0
    look(shop, LATER + timedelta(minutes=1))
    with reading(shop.engine, ALL_PROGRAMS) as session:
        after = watched(session)
        oldest = session.scalars(select(sa.func.min(DeliveryHour.hour))).one()
    assert after.totals == before.totals
    assert after.totals["apple", "accepted"].buckets[0] == 90
    assert oldest > LATER - timedelta(days=10)


def test_what_was_never_asked_or_changed_breaks_an_invariant(shop, crowd):
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert invariants.waits_have_their_reason(session) == []
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        issued = session.get_one(IssuedPass, shop.issued(crowd["current"]).id)
        issued.unfetched_since = NOW
    with reading(shop.engine, ALL_PROGRAMS) as session:
        [found] = invariants.waits_have_their_reason(session)
    assert str(shop.issued(crowd["current"]).id) in str(found)


def test_those_who_owe_a_fetch_the_longest_come_first_page_by_page(shop):
    members = [shop.join() for _ in range(5)]
    for number, member_id in enumerate(members):
        register(shop, member_id, f"phone {number}", f"{number:04x}")
    change(shop, *members, now=at(1))
    for number, member_id in enumerate(reversed(members)):
        push(shop, member_id, at(10 + number // 2))  # two of them at the same moment
    ask = functools.partial(passes_in_state, program=shop.program, state=PassState.STALE, wallet="apple", now=LATER)
    with reading(shop.engine, shop.program.id) as session:
        whole = ask(session)
        pages, after = [], None
        while page := ask(session, after=after, limit=2):
            pages += page
            after = (page[-1].issued.unfetched_since, page[-1].issued.id)
    assert [line.issued.id for line in pages] == [line.issued.id for line in whole]
    assert [line.issued.unfetched_since for line in whole] == [at(10), at(10), at(11), at(11), at(12)]


def test_the_database_goes_by_the_small_indexes(shop, crowd):
    count(shop, NOW)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert "ix_issued_pass_fetched_at" in plan_of(session, lambda: uncounted_fetches(session, LATER))
    with reading(shop.engine, shop.program.id) as session:
        assert "ix_issued_pass_refused" in plan_of(session, lambda: refusals(session))
        if shop.engine.dialect.name == "postgresql":
            return  # which goes by the number of rows, and takes any index for so few
        for state, index in (
            (PassState.STALE, "ix_issued_pass_unfetched"),
            (PassState.ACCEPTED, "ix_issued_pass_unfetched"),
            (PassState.FAILED, "ix_issued_pass_refused"),
        ):
            asked = functools.partial(passes_in_state, session, shop.program, state, "apple", LATER)
            assert index in plan_of(session, asked), state
