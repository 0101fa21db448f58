"""A published program reaches the cards that are on phones: their look and texts are part of it."""

from __future__ import annotations

import pytest

from tests.conftest import NOW
from tests.people import publish
from tests.workers.conftest import Workshop
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance import services

NEW_LOOK = {"pass": {"stamps": "burgers", "background": "#7a1f3d"}}


def republish(workshop: Workshop) -> None:
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        publish(session, NOW, **NEW_LOOK)


def test_a_new_look_is_pushed_to_those_who_hold_the_card(workshop: Workshop) -> None:
    held, saved, nobodys = workshop.join(), workshop.join(), workshop.join()
    workshop.on_phone(held, "a1")
    workshop.at_google(saved)
    before = workshop.issued(held).version
    republish(workshop)
    workshop.work()
    workshop.work()
    assert workshop.pushes.tokens == ["a1"]
    assert [serial for serial, _version, _points in workshop.cards.cards] == [workshop.issued(saved, "google").serial]
    assert workshop.issued(held).version == before + 1
    assert workshop.issued(nobodys).version == 1
    assert set(workshop.states()) == {"done"}


def test_many_cards_are_refreshed_in_parts_each_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "REFRESHED_AT_ONCE", 2)
    members = [workshop.on_phone(workshop.join(), f"b{number}") for number in range(5)]
    versions = [workshop.issued(member).version for member in members]
    republish(workshop)
    for _ring in range(6):
        workshop.work()
    assert [workshop.issued(member).version for member in members] == [version + 1 for version in versions]
    assert sorted(workshop.pushes.tokens) == [f"b{number}" for number in range(5)]
    assert set(workshop.states()) == {"done"}


def test_publishing_what_is_in_force_moves_nothing(workshop: Workshop) -> None:
    member = workshop.on_phone(workshop.join(), "c1")
    republish(workshop)
    workshop.work()
    workshop.work()
    version = workshop.issued(member).version
    republish(workshop)
    workshop.work()
    assert workshop.issued(member).version == version
