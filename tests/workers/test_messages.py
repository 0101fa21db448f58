"""From a change that is worth a word to what each wallet is told: once, also when workers die in between."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlmodel import col, select

from tests.conftest import NOW
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.google import GoogleTroubleError
from wallet_server.issuance.google_events import google_event
from wallet_server.issuance.voiding import void_passes
from wallet_server.notifications import at_google
from wallet_server.notifications.facts import Noticed, Win
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import said_to
from wallet_server.notifications.services import Wanted, ask, tell
from wallet_server.outbox.services import LEASE


def noticed(workshop, **members: Noticed) -> None:
    with transaction(workshop.engine, workshop.program.id) as session:
        tell(session, workshop.program, {UUID(key): said for key, said in members.items()}, workshop.clock.now())


def happens(workshop, member: UUID, *, points: int = 0, **values) -> None:
    noticed(workshop, **{str(member): Noticed(points=points, **values)})


def messages(workshop) -> list[Notification]:
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Notification).order_by(col(Notification.id))))


def test_a_phone_is_rung_after_the_words_were_found(workshop):
    member = workshop.on_phone(workshop.join(language="en"), "aa")
    before = workshop.issued(member).version
    happens(workshop, member, points=5)
    workshop.pushes.meanwhile = lambda: said.append(_said(workshop, member))
    said: list[str] = []
    workshop.work()
    assert said == ["+5 points, 0 in all."]
    assert workshop.pushes.tokens == ["aa"]
    issued = workshop.issued(member)
    assert (issued.version, issued.pushed_version) == (before + 2, before + 2)
    assert workshop.states() == ["done"]


def _said(workshop, member) -> str:
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        return said_to(session, [member])[member].latest


def test_a_row_that_is_done_a_second_time_says_nothing_new(workshop):
    member = workshop.on_phone(workshop.join(), "aa")
    happens(workshop, member, points=5)
    workshop.pushes.meanwhile = lambda: (_ for _ in ()).throw(OSError("the worker dies"))
    workshop.work()
    version = workshop.issued(member).version
    workshop.clock.advance(60)
    workshop.work()
    assert workshop.states() == ["done"]
    assert (workshop.issued(member).version, len(messages(workshop))) == (version, 1)


def test_google_announces_a_balance_and_is_told_everything_else(workshop):
    member = workshop.at_google(workshop.join(language="en"))
    happens(workshop, member, points=5)
    workshop.work()
    assert (workshop.cards.announced, workshop.cards.messages) == ([0], [])
    happens(workshop, member, points=5, wins=(Win("dinner"),))
    workshop.clock.advance(60)
    workshop.work()
    [message] = workshop.cards.messages
    assert (message.notify, message.may_be_there) == (True, False)
    assert message.text.startswith("+5 points, 0 in all. ")
    assert workshop.cards.announced == [0]
    workshop.change(member)
    workshop.work()
    assert len(workshop.cards.messages) == 1, "told once"
    assert all(row.google_told_at is not None for row in messages(workshop))


@pytest.mark.parametrize("way", ["message", "balance"])
def test_a_card_that_was_voided_meanwhile_is_told_nothing(workshop, way):
    """What waits while Google is down is the member's, who does not hold this card any more."""
    member = workshop.at_google(workshop.join())
    workshop.cards.trouble = GoogleTroubleError("503", ours=False)
    happens(workshop, member, points=5, wins=(Win("dinner"),) if way == "message" else ())
    workshop.work()
    with transaction(workshop.engine, workshop.program.id) as session:
        void_passes(session, workshop.program, [workshop.issued(member, "google").card_id], workshop.clock.now())
    workshop.cards.trouble = None
    workshop.clock.advance(60)
    workshop.work()
    issued = workshop.issued(member, "google")
    assert workshop.cards.cards == [(issued.serial, issued.version, 0)]
    assert (workshop.cards.messages, workshop.cards.announced) == ([], [])
    assert all(row.google_told_at is None for row in messages(workshop))


def test_the_fourth_notice_of_a_day_is_silent(workshop):
    member = workshop.at_google(workshop.join())
    for hour in range(5):
        happens(workshop, member, wins=(Win(f"c{hour}"),))
        workshop.work()
        workshop.clock.advance(3600)
    assert [message.notify for message in workshop.cards.messages] == [True, True, True, False, False]


def test_a_notice_that_google_refuses_is_known_to_be_silent(workshop):
    """Others may have used the card's notices up, such as Google's own tools."""
    member = workshop.at_google(workshop.join())
    happens(workshop, member, wins=(Win("dinner"),))
    workshop.cards.silent = True
    workshop.work()
    [row] = messages(workshop)
    assert (row.at_google, row.reason) == ("text", "google_limit")


def test_a_message_that_may_have_arrived_is_looked_for(workshop):
    member = workshop.at_google(workshop.join())
    happens(workshop, member, wins=(Win("dinner"),))
    workshop.cards.trouble = GoogleTroubleError("503", ours=False)
    workshop.work()
    assert workshop.states() == ["waiting"]
    workshop.cards.trouble = None
    workshop.clock.advance(600)
    workshop.work()
    [message] = workshop.cards.messages
    assert message.may_be_there
    assert workshop.states() == ["done"]


def test_a_message_that_another_worker_tells_is_left_to_it(workshop):
    member = workshop.at_google(workshop.join())
    happens(workshop, member, wins=(Win("dinner"),))
    real = at_google.take

    def elsewhere(session, member_ids, now):
        real(session, member_ids, now)
        return real(session, member_ids, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_google, "take", elsewhere)
        workshop.work()
    assert (workshop.cards.cards, workshop.states()) == ([], ["waiting"])
    # The other one has died: its lease is over.
    workshop.clock.advance(LEASE.total_seconds() + 1)
    workshop.work()
    [message] = workshop.cards.messages
    assert message.may_be_there
    assert workshop.states() == ["done"]


def test_of_many_messages_that_waited_the_newest_are_told_and_the_others_never(workshop):
    member = workshop.at_google(workshop.join())
    workshop.cards.trouble = GoogleTroubleError("503", ours=False)
    for place in range(at_google.MESSAGES_MAX + 1):
        happens(workshop, member, wins=(Win(f"c{place}"),))
        workshop.work()
        workshop.clock.advance(60)
    workshop.cards.trouble = None
    for _ in range(2):
        workshop.work()
        workshop.change(member)
        workshop.clock.advance(3600)
    newest = [f"m{row.id.hex}" for row in messages(workshop)][1:]
    assert [message.id for message in workshop.cards.messages] == newest


def test_who_has_deleted_the_card_at_google_is_told_nothing(workshop):
    member = workshop.at_google(workshop.join())
    serial = workshop.issued(member, "google").serial
    for nonce, saved in (("a", False), ("b", True)):
        with transaction(workshop.engine, ALL_PROGRAMS) as session:
            google_event(session, serial, saved=saved, nonce=nonce, expires_ms=0, now=NOW)
        happens(workshop, member, wins=(Win(nonce),))
        workshop.work()
        workshop.clock.advance(60)
    assert [(row.state, row.reason) for row in messages(workshop)] == [("suppressed", "no_pass"), ("shown", "")]
    assert len(workshop.cards.messages) == 1


def test_a_campaign_goes_to_google_as_a_message(workshop):
    member = workshop.at_google(workshop.join(marketing=True))
    with transaction(workshop.engine, workshop.program.id) as session:
        ask(session, workshop.program, [Wanted(member, "campaign:1", "Two for one")], NOW)
    workshop.work()
    assert [(message.text, message.notify) for message in workshop.cards.messages] == [("Two for one", True)]
    workshop.clock.advance(timedelta(days=2).total_seconds())
    workshop.change(member)
    workshop.work()
    assert len(workshop.cards.messages) == 1
