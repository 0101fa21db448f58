"""A new day reaches the cards: a season begins, a month of a challenge is over, and nothing else had happened."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.conftest import NOW
from tests.people import publish
from tests.workers.conftest import StoppedClock, Workshop
from wallet_server.challenges.models import ChallengeProgress
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance import services, turns
from wallet_server.issuance.content import look_of_card
from wallet_server.issuance.queries import card_states
from wallet_server.issuance.turns import DAY_TURNED
from wallet_server.tiers.models import MemberTier
from workers.schedule import turn_days

HOUR = 3600.0
DAY = 24 * HOUR
SEASON = {"dates": [{"from": "11-24", "to": "11-25", "yearly": True}]}


def look(**when: Any) -> dict[str, Any]:
    return {"pass": {"looks": [{"name": "Two days", "when": {**SEASON, **when}, "background": "#16324f"}]}}


@pytest.fixture
def seasonal(workshop: Workshop) -> Workshop:
    """A program with a short season; what its publication asked for is done."""
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        workshop.program = publish(session, NOW, **look())
    settle(workshop)
    return workshop


def settle(workshop: Workshop) -> None:
    turn_days(workshop.context)
    for _ring in range(6):
        workshop.work()


def versions(workshop: Workshop, *members: UUID) -> list[int]:
    return [workshop.issued(member).version for member in members]


def background(workshop: Workshop, member: UUID) -> str:
    with transaction(workshop.engine, workshop.program.id) as session:
        issued = workshop.issued(member)
        [state] = card_states(session, workshop.program, [issued.id], workshop.clock.now(), news=lambda *_: {})
    return look_of_card(workshop.program, state).background


def test_a_season_begins_and_ends_at_local_midnight_on_the_cards_that_somebody_holds(
    seasonal: Workshop, clock: StoppedClock
) -> None:
    held, nobodys = seasonal.on_phone(seasonal.join(), "a1"), seasonal.join()
    saved = seasonal.at_google(seasonal.join())
    start = versions(seasonal, held, nobodys)
    settle(seasonal)
    assert versions(seasonal, held, nobodys) == start
    assert background(seasonal, held) == "#1f3a5f"
    clock.advance(7.4 * HOUR)  # 15:30 UTC is 16:30 in Skopje; this is 23:54 there
    settle(seasonal)
    assert versions(seasonal, held) == start[:1]
    clock.advance(0.2 * HOUR)  # still the 23rd in UTC
    settle(seasonal)
    settle(seasonal)
    assert versions(seasonal, held, nobodys) == [start[0] + 1, start[1]]
    assert background(seasonal, held) == "#16324f"
    assert seasonal.issued(saved, "google").version == 2
    assert [row.queue for row in seasonal.rows() if row.topic == DAY_TURNED] == ["bulk"]
    clock.advance(DAY)
    settle(seasonal)
    assert versions(seasonal, held) == [start[0] + 1], "within the season nothing turns"
    clock.advance(DAY)
    settle(seasonal)
    assert versions(seasonal, held) == [start[0] + 2]
    assert background(seasonal, held) == "#1f3a5f"
    assert set(seasonal.states()) == {"done"}


def test_a_season_of_a_level_leaves_other_levels_alone(workshop: Workshop, clock: StoppedClock) -> None:
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        workshop.program = publish(session, NOW, **look(tiers=["silver"]))
    silver, base = workshop.on_phone(workshop.join(), "s"), workshop.on_phone(workshop.join(), "b")
    with transaction(workshop.engine, workshop.program.id) as session:
        session.get_one(MemberTier, silver).tier = "silver"
    settle(workshop)
    start = versions(workshop, silver, base)
    clock.advance(9 * HOUR)
    settle(workshop)
    assert versions(workshop, silver, base) == [start[0] + 1, start[1]]


def test_a_month_of_a_challenge_that_is_over_shows_on_the_cards_that_had_come_on(
    workshop: Workshop, clock: StoppedClock
) -> None:
    came, idle, before = (workshop.on_phone(workshop.join(), token) for token in ("c", "i", "b"))
    with transaction(workshop.engine, workshop.program.id) as session:
        for member, window, progress in ((came, "2026-11", 2), (idle, "2026-11", 0), (before, "2026-10", 2)):
            session.add(
                ChallengeProgress(
                    program_id=workshop.program.id,
                    member_id=member,
                    challenge="dinner",
                    window=window,
                    progress=progress,
                )
            )
    settle(workshop)
    start = versions(workshop, came, idle, before)
    clock.advance(8 * DAY)
    settle(workshop)
    assert versions(workshop, came, idle, before) == [start[0] + 1, start[1], start[2]]


def test_many_cards_turn_in_parts_each_once(
    seasonal: Workshop, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "REFRESHED_AT_ONCE", 2)
    members = [seasonal.on_phone(seasonal.join(), f"m{number}") for number in range(5)]
    settle(seasonal)
    start = versions(seasonal, *members)
    clock.advance(9 * HOUR)
    settle(seasonal)
    assert versions(seasonal, *members) == [version + 1 for version in start]


def test_programs_are_looked_at_in_parts(
    workshop: Workshop, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PROGRAMS_AT_ONCE", 1)
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        other = publish(session, NOW, slug="other", **look())
    settle(workshop)
    clock.advance(9 * HOUR)
    turn_days(workshop.context)
    assert [row.program_id for row in workshop.rows() if row.topic == DAY_TURNED] == [other.id]
