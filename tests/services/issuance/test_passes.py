"""Passes given out, changed, tagged, held by phones and let go again."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from tests.conftest import NOW
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.issuance.announcements import PASSES_PER_ROW_MAX, announce, announce_changes
from wallet_server.issuance.deliveries import record_fetch, record_pushed
from wallet_server.issuance.google_events import google_event, google_object_made, prune_callbacks
from wallet_server.issuance.models import Device, IssuedPass, Registration
from wallet_server.issuance.phones import DeadToken, drop_dead_tokens, register_device, unregister_device
from wallet_server.issuance.pushes import PASS, TAG, tag_passes
from wallet_server.issuance.queries import changed_serials
from wallet_server.issuance.services import WALLETS, passes_changed

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NOW_MS = NOW.timestamp() * 1000


def register(shop, member_id, device="phone", token="aa", now=NOW) -> bool:
    """A phone that has downloaded the pass registers for it, as it does after each installation."""
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        issued = session.get_one(IssuedPass, shop.issued(member_id).id)
        record_fetch(session, issued.id, 1, now)
        return register_device(session, issued, device=device, push_token=token, now=now)


def unregister(shop, member_id, device="phone", now=NOW) -> bool:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        issued = session.get_one(IssuedPass, shop.issued(member_id).id)
        return unregister_device(session, issued, device=device, now=now)


def change(shop, *member_ids, now=NOW, **values) -> None:
    with transaction(shop.engine, shop.program.id) as session:
        passes_changed(session, shop.program, member_ids, now, **values)


def tag(shop, *member_ids, now=NOW) -> int:
    """What the push job does with passes that have changed."""
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        return tag_passes(session, [shop.issued(member_id).id for member_id in member_ids], now).tag


def changed(shop, device="phone", since=None):
    with reading(shop.engine, ALL_PROGRAMS) as session:
        return changed_serials(session, device, since)


def test_who_joins_gets_a_pass_for_each_wallet_that_nobody_holds_yet(shop):
    member_id = shop.join()
    for wallet in ("apple", "google"):
        issued = shop.issued(member_id, wallet)
        assert (issued.version, issued.live, issued.update_tag) == (1, False, 0)
        assert len(issued.serial) == 32
        assert issued.last_modified == NOW.replace(microsecond=0)


def test_a_change_raises_the_version_and_asks_for_a_push_only_of_passes_that_somebody_holds(shop):
    held, loose = shop.join(), shop.join()
    register(shop, held)
    change(shop, held, loose, now=NOW + 10 * SECOND, priority=3)
    assert shop.issued(held).version == shop.issued(loose).version == 2
    [row] = shop.work()
    assert (row.topic, row.queue, row.priority) == ("pass.changed", "push", 3)
    assert row.payload == {"v": 1, "pass_ids": [str(shop.issued(held).id)]}


def test_last_modified_moves_a_whole_second_with_each_change_even_within_one(shop):
    member_id = shop.join(now=NOW + timedelta(milliseconds=250))
    stamps = [shop.issued(member_id).last_modified]
    for _ in range(3):
        change(shop, member_id, now=NOW + timedelta(milliseconds=300))
        stamps.append(shop.issued(member_id).last_modified)
    assert stamps == [NOW + number * SECOND for number in range(4)]
    change(shop, member_id, now=NOW + timedelta(hours=1, milliseconds=999))
    assert shop.issued(member_id).last_modified == NOW + timedelta(hours=1)


def test_so_many_passes_go_into_one_row_of_work(shop):
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        pass_ids = [new_id() for _ in range(2 * PASSES_PER_ROW_MAX + 50)]  # ids are only passed on
        announce(session, shop.program.id, pass_ids, NOW)
    assert [len(row.payload["pass_ids"]) for row in shop.work()] == [500, 500, 50]


def test_a_phone_registers_once_and_brings_a_newer_push_token_later(shop):
    member_id = shop.join()
    assert register(shop, member_id, token="aa")
    assert shop.issued(member_id).live
    assert not register(shop, member_id, token="bb", now=NOW + SECOND)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        device = session.exec(select(Device)).one()
        assert (device.push_token, device.token_at, device.created_at) == ("bb", NOW + SECOND, NOW)
        assert session.exec(select(sa.func.count(col(Registration.id)))).one() == 1


def test_one_phone_with_two_passes_has_one_push_token(shop):
    first, second = shop.join(), shop.join()
    register(shop, first, token="aa")
    register(shop, second, token="bb")
    with reading(shop.engine, ALL_PROGRAMS) as session:
        targets = tag_passes(session, [shop.issued(first).id, shop.issued(second).id], NOW).targets
    assert {target.push_token for target in targets} == {"bb"}
    assert len(targets) == 2


def test_a_pass_that_changed_between_download_and_registration_is_pushed(shop):
    member_id = shop.join()
    change(shop, member_id)
    assert shop.work() == []
    register(shop, member_id)
    assert [row.topic for row in shop.work()] == ["pass.changed"]


def test_a_fresh_pass_is_not_pushed_on_registration(shop):
    member_id = shop.join()
    register(shop, member_id)
    assert shop.work() == []


def test_the_last_phone_to_leave_makes_the_pass_nobodys_and_is_forgotten(shop):
    member_id = shop.join()
    register(shop, member_id, "phone")
    register(shop, member_id, "tablet")
    assert unregister(shop, member_id, "phone")
    assert shop.issued(member_id).live
    assert unregister(shop, member_id, "tablet")
    assert not shop.issued(member_id).live
    assert not unregister(shop, member_id, "tablet")
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Device)).all() == []


def test_each_row_of_work_has_the_notes_of_its_own_members(shop):
    members = [new_id() for _ in range(2 * PASSES_PER_ROW_MAX + 1)]
    passes = {new_id(): member for member in members for _wallet in WALLETS}
    notes = {member: {"points": 5} for member in (members[0], members[-1], new_id())}
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        announce_changes(session, shop.program.id, passes, NOW, priority=0, notes=notes)
    rows = shop.work()
    assert sorted(key for row in rows for key in row.payload["pass_ids"]) == sorted(map(str, passes))
    for row in rows:
        owners = {str(passes[UUID(key)]) for key in row.payload["pass_ids"]}
        expected = {str(member): note for member, note in notes.items() if str(member) in owners}
        assert row.payload.get("notes", {}) == expected
        assert ("change" in row.payload) == bool(expected)
    assert sum("notes" in row.payload for row in rows) == 2


def test_a_phone_hears_of_its_own_changes_since_its_tag(shop):
    mine, also_mine, foreign = shop.join(), shop.join(), shop.join()
    register(shop, mine)
    register(shop, also_mine)
    register(shop, foreign, "other phone")
    everything = changed(shop)
    assert set(everything.serials) == {shop.issued(mine).serial, shop.issued(also_mine).serial}
    assert changed(shop, since=everything.tag) is None
    assert changed(shop, "unknown phone") is None
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        tag_passes(session, [shop.issued(mine).id, shop.issued(foreign).id], NOW)
    news = changed(shop, since=everything.tag)
    assert news.serials == (shop.issued(mine).serial,)
    assert news.tag > everything.tag
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        tag_passes(session, [shop.issued(also_mine).id], NOW)
    assert changed(shop, since=news.tag).serials == (shop.issued(also_mine).serial,)
    assert len(changed(shop, since=everything.tag).serials) == 2


def test_tags_become_visible_in_order_whatever_the_commits_do(shop):
    """Many tag at once; whoever reads the highest tag has seen every smaller one (invariant P1)."""
    members = [shop.join() for _ in range(8)]
    for member_id in members:
        register(shop, member_id)
    pass_ids = [shop.issued(member_id).id for member_id in members]
    barrier = threading.Barrier(5)
    heard: dict[str, int] = {}
    missed: list[str] = []
    stop = threading.Event()

    def tag(index: int) -> None:
        barrier.wait(timeout=10)
        for number in range(10):
            with transaction(shop.engine, ALL_PROGRAMS) as session:
                tag_passes(session, [pass_ids[(index * 2 + number) % 8]], NOW)

    def listen() -> None:
        barrier.wait(timeout=10)
        since = 0
        while not stop.is_set():
            found = changed(shop, since=since)
            if found:
                heard.update(dict.fromkeys(found.serials, found.tag))
                since = found.tag
        if changed(shop, since=since):
            missed.extend(changed(shop, since=since).serials)

    listener = threading.Thread(target=listen)
    taggers = [threading.Thread(target=tag, args=(index,)) for index in range(4)]
    for thread in (listener, *taggers):
        thread.start()
    for thread in taggers:
        thread.join(timeout=60)
    stop.set()
    listener.join(timeout=60)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        tags = dict(session.execute(select(IssuedPass.serial, IssuedPass.update_tag).where(col(IssuedPass.live))).all())
    unheard = {serial for serial, last in tags.items() if heard.get(serial, 0) < last}
    assert unheard == set(missed), "a tagged pass was never listed"
    assert max(tags.values()) == NOW_MS + 39


def test_a_phone_with_a_tag_of_before_a_backup_was_put_back_hears_of_all(shop):
    register(shop, shop.join())
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        tag = tag_passes(session, list(session.exec(select(IssuedPass.id).where(col(IssuedPass.live)))), NOW).tag
    assert changed(shop, since=tag) is None
    found = changed(shop, since=tag + 100)
    assert (len(found.serials), found.tag) == (1, tag)


def test_after_an_older_database_was_put_back_no_change_goes_unheard(shop):
    """Tags of a later time are out by then; who holds one must hear of what changes now (invariant P1)."""
    mine, others = shop.join(), shop.join()
    register(shop, mine)
    tag(shop, mine, now=NOW)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        kept = [(table, session.execute(sa.select(table)).mappings().all()) for table in (PASS, TAG)]
    for minute in range(1, 6):
        seen = tag(shop, mine, now=NOW + minute * MINUTE)
    assert changed(shop).tag == seen
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        for table, rows in kept:
            for row in rows:
                session.execute(sa.update(table).where(table.c.id == row["id"]).values(**row))
    assert changed(shop).tag < seen
    tag(shop, mine, now=NOW + 6 * MINUTE)
    for _ in range(6):
        tag(shop, others, now=NOW + 6 * MINUTE)
    assert changed(shop, since=seen).serials == (shop.issued(mine).serial,)


def test_a_clock_that_was_put_back_takes_no_tag_back(shop):
    member_id = shop.join()
    tags = [tag(shop, member_id, now=now) for now in (NOW, NOW - MINUTE, NOW - MINUTE, NOW + SECOND)]
    assert tags == [NOW_MS, NOW_MS + 1, NOW_MS + 2, NOW_MS + 1000]


def test_gone_phones_are_forgotten_unless_they_came_back_since(shop):
    gone, back = shop.join(), shop.join()
    register(shop, gone, "gone", "aa", now=NOW)
    register(shop, back, "back", "bb", now=NOW + 10 * SECOND)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        moment = NOW + 5 * SECOND
        dead = [DeadToken("aa", moment), DeadToken("bb", moment), DeadToken("nobody's", None)]
        assert drop_dead_tokens(session, dead, NOW) == 1
    assert (shop.issued(gone).live, shop.issued(back).live) == (False, True)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        assert drop_dead_tokens(session, [DeadToken("bb", None)], NOW) == 1
    assert not shop.issued(back).live


def test_older_news_of_fetches_and_pushes_change_nothing(shop):
    member_id = shop.join()
    pass_id = shop.issued(member_id).id
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        record_fetch(session, pass_id, 3, NOW)
        record_fetch(session, pass_id, 2, NOW + SECOND)
        record_pushed(session, {pass_id: 3}, NOW)
        record_pushed(session, {pass_id: 2}, NOW + SECOND)
    issued = shop.issued(member_id)
    assert (issued.fetched_version, issued.fetched_at) == (3, NOW)
    assert (issued.pushed_version, issued.pushed_at) == (3, NOW)


def test_a_card_at_google_is_live_from_its_first_object_and_a_change_meanwhile_is_sent(shop):
    member_id = shop.join()
    pass_id = shop.issued(member_id, "google").id
    change(shop, member_id)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        google_object_made(session, pass_id, 1, NOW)
    assert shop.issued(member_id, "google").live
    assert [row.payload["pass_ids"] for row in shop.work()] == [[str(pass_id)]]


def test_google_says_everything_twice_and_is_heard_once(shop):
    member_id = shop.join()
    issued = shop.issued(member_id, "google")
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        google_object_made(session, issued.id, 1, NOW)
        assert google_event(session, issued.serial, saved=True, nonce="n1", expires_ms=1, now=NOW)
        assert not google_event(session, issued.serial, saved=True, nonce="n1", expires_ms=1, now=NOW + SECOND)
    assert shop.issued(member_id, "google").fetched_at == NOW
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        assert prune_callbacks(session, NOW) == 0
        assert prune_callbacks(session, NOW + SECOND) == 1


def test_a_message_that_google_sends_late_takes_no_newer_one_back(shop):
    member_id = shop.join()
    issued = shop.issued(member_id, "google")
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        google_object_made(session, issued.id, 1, NOW)
        google_event(session, issued.serial, saved=True, nonce="new", expires_ms=2, now=NOW)
        google_event(session, issued.serial, saved=False, nonce="old", expires_ms=1, now=NOW + SECOND)
    assert shop.issued(member_id, "google").removed_at is None
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        google_event(session, issued.serial, saved=False, nonce="newest", expires_ms=3, now=NOW + SECOND)
    assert shop.issued(member_id, "google").removed_at == NOW + SECOND


def test_changes_of_the_same_members_in_any_order_do_not_kill_each_other(shop):
    members = [shop.join() for _ in range(6)]
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def run(index: int) -> None:
        barrier.wait(timeout=10)
        try:
            for _ in range(10):
                change(shop, *(members if index % 2 else reversed(members)))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert {shop.issued(member_id).version for member_id in members} == {41}
