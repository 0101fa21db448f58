"""An offer that has ended is on no card any more, though nothing else has happened to the member."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlmodel import col, select

from tests.conftest import NOW
from tests.people import add_member, publish
from tests.workers.conftest import StoppedClock, Workshop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.content import Said
from wallet_server.issuance.deliveries import record_fetch
from wallet_server.notifications import at_google
from wallet_server.notifications.ending import end_messages
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import said_to
from wallet_server.notifications.services import Wanted, ask, tell
from workers.schedule import end_due_messages

HOUR = timedelta(hours=1)
ENDS = NOW + 2 * HOUR


def offer(workshop: Workshop, member: UUID, text: str = "20 % today", origin: str = "campaign:1", **values) -> str:
    wanted = Wanted(member, origin, text, kind="reminder", **{"ends_at": ENDS, **values})
    with transaction(workshop.engine, workshop.program.id) as session:
        return ask(session, workshop.program, [wanted], workshop.clock.now())[member].state


def said(workshop: Workshop, member: UUID) -> Said:
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        return said_to(session, [member]).get(member, Said())


def fetched(workshop: Workshop, member: UUID) -> None:
    issued = workshop.issued(member)
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        record_fetch(session, issued.id, issued.version, workshop.clock.now())


def rows(workshop: Workshop) -> list[tuple[str, bool]]:
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        found = session.exec(select(Notification).order_by(col(Notification.id)))
        return [(row.origin, row.ended_at is not None) for row in found]


def test_an_offer_leaves_the_cards_of_both_wallets_at_its_end_once(workshop: Workshop, clock: StoppedClock) -> None:
    member = workshop.at_google(workshop.on_phone(workshop.join(), "a1"))
    assert offer(workshop, member) == "shown"
    workshop.work()
    pushed, put = len(workshop.pushes.tokens), len(workshop.cards.cards)
    start = workshop.issued(member).version, workshop.issued(member, "google").version
    clock.moment = ENDS - timedelta(seconds=1)
    end_due_messages(workshop.context)
    assert said(workshop, member) == Said(news="20 % today", speaks="news")
    clock.moment = ENDS
    for _tick in range(3):
        end_due_messages(workshop.context)
        workshop.work()
    assert said(workshop, member) == Said()
    assert (workshop.issued(member).version, workshop.issued(member, "google").version) == (start[0] + 1, start[1] + 1)
    assert workshop.pushes.tokens[pushed:] == ["a1"]
    assert len(workshop.cards.cards) == put + 1
    assert [message.ends_at for message in workshop.cards.messages] == [ENDS], "Google hides it by itself, too"


def test_older_news_does_not_come_back_and_newer_stays(workshop: Workshop, clock: StoppedClock) -> None:
    member = workshop.on_phone(workshop.join(), "a1")
    offer(workshop, member, "Come again", "reminder:1", ends_at=None)
    fetched(workshop, member)
    clock.advance(60)
    offer(workshop, member)
    fetched(workshop, member)
    clock.moment = ENDS
    end_due_messages(workshop.context)
    assert said(workshop, member).news == ""
    other = workshop.on_phone(workshop.join(), "b1")
    offer(workshop, other, ends_at=ENDS + HOUR, origin="campaign:2")
    fetched(workshop, other)
    clock.advance(60)
    offer(workshop, other, "Come again", "reminder:2", ends_at=None)
    version = workshop.issued(other).version
    clock.moment = ENDS + HOUR
    end_due_messages(workshop.context)
    assert said(workshop, other).news == "Come again"
    assert workshop.issued(other).version == version, "nothing on the card has changed"
    assert rows(workshop)[-2:] == [("campaign:2", True), ("reminder:2", False)]


def test_an_event_right_after_an_offer_with_an_end_does_not_take_it_over(
    workshop: Workshop, clock: StoppedClock
) -> None:
    member = workshop.on_phone(workshop.join(language="en"), "a1")
    offer(workshop, member)
    clock.advance(2)
    with transaction(workshop.engine, workshop.program.id) as session:
        tell(session, workshop.program, {member: Noticed(points=5)}, clock.now())
    workshop.work()
    assert said(workshop, member) == Said(news="20 % today", latest="+5 points, 0 in all.", speaks="latest")
    clock.moment = ENDS
    end_due_messages(workshop.context)
    assert said(workshop, member) == Said(latest="+5 points, 0 in all.", speaks="latest")


def test_google_is_told_no_offer_that_has_ended(workshop: Workshop, clock: StoppedClock) -> None:
    member = workshop.at_google(workshop.join())
    offer(workshop, member)
    clock.moment = ENDS
    with transaction(workshop.engine, workshop.program.id) as session:
        assert at_google.take(session, [member], clock.now()).due == {}
    workshop.work()
    assert workshop.cards.messages == []


def test_many_end_in_portions_program_by_program(
    workshop: Workshop, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end_messages, "__kwdefaults__", {"limit": 2})
    members = [workshop.on_phone(workshop.join(), f"m{number}") for number in range(3)]
    for member in members:
        offer(workshop, member)
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        other = publish(session, NOW, slug="other")
        guest = add_member(session, other, NOW)
        session.info["scope"] = other.id
        ask(session, other, [Wanted(guest, "campaign:1", "Hi", kind="reminder", ends_at=ENDS)], NOW)
    start = [workshop.issued(member).version for member in (*members, guest)]
    clock.moment = ENDS
    portions = []
    while True:
        with transaction(workshop.engine, ALL_PROGRAMS) as session:
            portions.append(end_messages(session, clock.now()))
        if not portions[-1]:
            break
    assert sorted(portions) == [0, 1, 1, 2]
    assert [workshop.issued(member).version for member in (*members, guest)] == [one + 1 for one in start]
