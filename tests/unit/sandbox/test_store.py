from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest

from wallet_server.errors import NotFoundError
from wallet_server.sandbox.store import EVENTS_MAX, Store

NOW = datetime(2026, 11, 23, 16, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "sandbox.sqlite")
    yield store
    store.close()


@pytest.fixture
def phone(store):
    return store.add_phone(name="Ana", language="mk", time_zone="Europe/Skopje", now=NOW)


def test_a_push_that_comes_while_another_is_worked_off_is_not_forgotten(store, phone):
    store.store_push(phone.id, "pass.a")
    (count,) = store.stored_pushes(phone.id).values()
    store.store_push(phone.id, "pass.a")
    store.forget_push(phone.id, "pass.a", count)
    assert store.stored_pushes(phone.id) == {"pass.a": 2}
    store.forget_push(phone.id, "pass.a", 2)
    assert store.stored_pushes(phone.id) == {}


def test_only_phones_within_reach_are_woken_after_a_start(store, phone):
    away = store.add_phone(name="Marko", language="en", time_zone="UTC", now=NOW)
    store.change_phone(away.id, airplane=1)
    for each in (phone, away):
        store.store_push(each.id, "pass.a")
    assert store.phones_with_pushes() == [phone.id]


def test_the_diary_forgets_its_oldest_lines(store, phone):
    for number in range(EVENTS_MAX + 50):
        store.log(phone.id, "set", NOW, number=number)
    events = store.events(phone.id, limit=1000)
    assert EVENTS_MAX <= len(events) < EVENTS_MAX + 10
    assert events[0].details == {"number": EVENTS_MAX + 49}


def test_a_removed_phone_leaves_a_dead_token_and_nothing_else(store, phone):
    store.log(phone.id, "added", NOW)
    store.remove_phone(phone, NOW)
    with pytest.raises(NotFoundError):
        store.phone(phone.id)
    assert store.token_state(phone.push_token).gone_at == NOW
    assert store.events(phone.id) == []


def test_a_failed_transaction_changes_nothing(store, phone):
    def half_way():
        with store.transaction():
            store.change_phone(phone.id, name="Eve")
            raise LookupError

    with pytest.raises(LookupError):
        half_way()
    assert store.phone(phone.id).name == "Ana"


def test_a_file_of_another_version_is_replaced(tmp_path):
    path = tmp_path / "sandbox.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE phone (old)")
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = Store(path)
    assert store.count_phones() == 0
    store.close()


def test_phones_come_in_pages(store):
    ids = [store.add_phone(name=str(n), language="en", time_zone="UTC", now=NOW).id for n in range(5)]
    first = store.phones(limit=3)
    assert [phone.id for phone in (*first, *store.phones(after=first[-1].id, limit=3))] == ids
