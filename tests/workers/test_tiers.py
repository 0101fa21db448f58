"""Tiers behind the tills' work: after a new table was published, and when their time has come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from tests.conftest import NOW
from tests.people import add_purchase, publish
from tests.workers.conftest import StoppedClock, Workshop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.members.models import MemberStatistics
from wallet_server.notifications.models import Notification
from wallet_server.tiers import services
from wallet_server.tiers.models import MemberTier
from workers import schedule


def table(purchases: int, *, window: dict[str, Any] | None = None, grace: int = 0) -> dict[str, Any]:
    silver = {"code": "silver", "name": {"en": "Silver"}, "reach": {"any": [{"purchases": purchases}]}}
    base = {"code": "base", "name": {"en": "Member"}}
    return {"window": window or {"kind": "lifetime"}, "levels": [base, {**silver, "grace_days": grace}]}


def republish(workshop: Workshop, **tiers: Any) -> None:
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        publish(session, NOW, tiers=table(**tiers))


def held(workshop: Workshop) -> list[str]:
    with reading(workshop.engine, workshop.program.id) as session:
        return [row.tier for row in session.exec(select(MemberTier).order_by(MemberTier.member_id))]


def test_a_new_table_moves_members_in_parts_and_shows_on_their_cards(
    workshop: Workshop, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = services.review_table
    monkeypatch.setattr("workers.jobs.review_table", lambda *values: review(*values, limit=2))
    members = [workshop.join() for _ in range(5)]
    with transaction(workshop.engine, workshop.program.id) as session:
        for member in members[:3]:
            session.get_one(MemberStatistics, member).purchases = 4
    republish(workshop, purchases=3)
    versions = [workshop.issued(member).version for member in members]
    for _ring in range(8):
        workshop.work()
    assert held(workshop) == ["silver", "silver", "silver", "base", "base"]
    assert [workshop.issued(member).version - version for member, version in zip(members, versions, strict=True)] == [
        1, 1, 1, 0, 0,
    ]  # fmt: skip
    republish(workshop, purchases=9, grace=5)
    for _ring in range(8):
        workshop.work()
    assert held(workshop) == ["silver", "silver", "silver", "base", "base"]
    clock.advance(timedelta(days=5).total_seconds())
    schedule.review_tiers(workshop.context)
    assert held(workshop) == ["base"] * 5
    assert set(workshop.states()) == {"done"}


def test_the_clock_lowers_and_shows_it_on_the_pass(workshop: Workshop, clock: StoppedClock) -> None:
    republish(workshop, purchases=1, window={"kind": "rolling_days", "days": 30})
    ana = workshop.on_phone(workshop.join(), "aa")
    with transaction(workshop.engine, workshop.program.id) as session:
        add_purchase(session, workshop.program, ana, NOW)
    for _ring in range(3):
        workshop.work()
    assert held(workshop) == ["silver"]
    version = workshop.issued(ana).version
    clock.advance(timedelta(days=29).total_seconds())
    schedule.review_tiers(workshop.context)
    assert (held(workshop), workshop.issued(ana).version) == (["silver"], version)
    clock.advance(timedelta(days=1).total_seconds())
    schedule.review_tiers(workshop.context)
    assert (held(workshop), workshop.issued(ana).version) == (["base"], version + 1)


def test_publishing_something_else_looks_at_nobody(workshop: Workshop) -> None:
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        publish(session, NOW, **{"pass": {"stamps": "burgers", "background": "#7a1f3d"}})
    assert [row.topic for row in workshop.rows()] == ["program.published"]


def test_a_phone_tells_of_a_level_that_was_reached_and_not_of_one_that_was_lost(workshop: Workshop) -> None:
    member = workshop.on_phone(workshop.join(language="en"), "aa")
    with transaction(workshop.engine, workshop.program.id) as session:
        session.get_one(MemberStatistics, member).purchases = 4
    for purchases, level in ((3, "silver"), (9, "base")):
        republish(workshop, purchases=purchases)
        for _ring in range(4):
            workshop.work()
        assert held(workshop) == [level]
        with reading(workshop.engine, workshop.program.id) as session:
            [message] = session.exec(select(Notification)).all()
        assert (message.text, message.state) == ("Your level is Silver now.", "shown")
