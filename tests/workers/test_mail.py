"""From a typed address to a mail, through the outbox: once, to the right person, or not at all."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes
from email.policy import default as modern
from uuid import UUID

import pytest
from sqlmodel import select

from tests.workers.conftest import Workshop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.mail.models import Mail
from wallet_server.mail.sender import Outcome, Verdict
from wallet_server.mail.services import DIED, hand_over
from wallet_server.members.identity import Contact, parse_contact
from wallet_server.members.models import Member
from wallet_server.recovery.models import Recovery
from wallet_server.recovery.services import open_link, request

ANA = "ana@example.com"


def ask(workshop: Workshop, contact: str) -> UUID:
    parsed: Contact = parse_contact(contact, "MK")
    with transaction(workshop.engine, workshop.program.id) as session:
        return request(session, workshop.program, parsed, now=workshop.clock.now())


def settle(workshop: Workshop) -> None:
    workshop.work()  # looks up whose contact it is
    workshop.work()  # sends the mail


def mails(workshop: Workshop) -> list[Mail]:
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Mail).order_by(Mail.id)))


def link_of(letter) -> str:
    text = message_from_bytes(letter.content, policy=modern).get_body(("plain",)).get_content()
    return next(line for line in text.splitlines() if "/lost/" in line)


def test_a_member_gets_one_mail_with_a_link_that_opens_the_card(workshop: Workshop) -> None:
    member_id = workshop.join(email=ANA, language="mk")
    recovery_id = ask(workshop, " Ana@Example.com ")
    settle(workshop)
    settle(workshop)
    [letter] = workshop.mails.letters
    assert (letter.sender, letter.recipient) == ("cards@cafe.example", ANA)
    assert message_from_bytes(letter.content, policy=modern)["Content-Language"] == "mk"
    token = link_of(letter).rpartition("/")[2]
    assert token == workshop.context.mint.recovery_token(recovery_id)
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        opened = open_link(session, workshop.context.mint, token, workshop.clock.now())
    assert opened.member.id == member_id
    [mail] = mails(workshop)
    assert (mail.state, mail.attempts, mail.member_id) == ("sent", 1, member_id)
    assert set(workshop.states()) == {"done"}


def test_the_phone_number_brings_a_mail_to_the_address_that_we_have(workshop: Workshop) -> None:
    workshop.join(email=ANA)
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        [phone] = session.exec(select(Member.phone)).all()
    ask(workshop, phone)
    settle(workshop)
    assert [letter.recipient for letter in workshop.mails.letters] == [ANA]


@pytest.mark.parametrize("contact", ["stranger@example.com", "+38970999888", "+38970100001"])
def test_strangers_and_members_without_an_address_leave_no_trace(workshop: Workshop, contact: str) -> None:
    workshop.join()  # +38970100001, no e-mail address
    ask(workshop, contact)
    settle(workshop)
    assert workshop.mails.letters == []
    assert mails(workshop) == []
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        [recovery] = session.exec(select(Recovery)).all()
    assert (recovery.contact, recovery.member_id) == (None, None)


def test_another_programs_member_is_a_stranger(workshop: Workshop) -> None:
    from tests.people import publish

    workshop.join(email=ANA)
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        bakery = publish(session, workshop.clock.now(), slug="bakery")
    with transaction(workshop.engine, bakery.id) as session:
        request(session, bakery, Contact(email=ANA), now=workshop.clock.now())
    settle(workshop)
    assert workshop.mails.letters == []


def test_three_mails_an_hour_are_enough(workshop: Workshop) -> None:
    workshop.join(email=ANA)
    for _ in range(5):
        ask(workshop, ANA)
        settle(workshop)
        workshop.clock.advance(60)
    assert len(workshop.mails.letters) == 3
    workshop.clock.advance(3601)
    ask(workshop, ANA)
    settle(workshop)
    assert len(workshop.mails.letters) == 4


def test_a_mail_server_that_is_down_is_tried_again(workshop: Workshop) -> None:
    workshop.join(email=ANA)
    ask(workshop, ANA)
    workshop.mails.answers = [Outcome(Verdict.LATER, "450 later"), Outcome(Verdict.OURS, "535 who are you")]
    settle(workshop)
    assert (mails(workshop)[0].state, mails(workshop)[0].reason) == ("waiting", "450 later")
    workshop.clock.advance(5)
    workshop.work()
    workshop.clock.advance(10)
    workshop.work()
    [mail] = mails(workshop)
    assert (mail.state, mail.attempts, len(workshop.mails.letters)) == ("sent", 3, 1)


def test_after_fifteen_minutes_it_is_not_tried_any_more(workshop: Workshop) -> None:
    workshop.join(email=ANA)
    ask(workshop, ANA)
    workshop.mails.answers = [Outcome(Verdict.LATER, "450 later")]
    settle(workshop)
    workshop.clock.advance(15 * 60 + 1)
    workshop.work()
    assert (mails(workshop)[0].state, workshop.mails.letters) == ("dropped", [])
    assert set(workshop.states()) == {"done"}


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome(Verdict.REFUSED, "550 nobody"), "refused"),
        (Outcome(Verdict.UNSURE, "the line broke"), "unsure"),
    ],
)
def test_what_is_final_is_not_tried_again(workshop: Workshop, outcome: Outcome, state: str) -> None:
    workshop.join(email=ANA)
    ask(workshop, ANA)
    workshop.mails.answers = [outcome]
    settle(workshop)
    workshop.clock.advance(60)
    workshop.work()
    [mail] = mails(workshop)
    assert (mail.state, mail.reason, len(workshop.mails.noted)) == (state, outcome.reason, 1)
    assert set(workshop.states()) == {"done"}


def test_a_worker_that_dies_at_the_moment_of_handing_over_sends_no_second_mail(workshop: Workshop) -> None:
    workshop.join(email=ANA)
    ask(workshop, ANA)
    workshop.work()
    workshop.mails.answers = [KeyboardInterrupt()]  # as a kill ends the process: nothing is written down after it
    with pytest.raises(KeyboardInterrupt):
        workshop.work()
    assert mails(workshop)[0].state == "handed_over"
    workshop.clock.advance(31)
    workshop.work()
    [mail] = mails(workshop)
    assert (mail.state, mail.reason, len(workshop.mails.noted)) == ("unsure", DIED, 1)


def test_of_two_workers_one_says_the_end_of_the_text(workshop: Workshop) -> None:
    workshop.join(email=ANA)
    ask(workshop, ANA)
    workshop.work()
    [mail] = mails(workshop)
    now = workshop.clock.now()
    answers = []
    for _ in range(2):
        with transaction(workshop.engine, ALL_PROGRAMS) as session:
            answers.append(hand_over(session, mail.id, now))
    assert answers == [True, False]


def test_a_worker_without_a_mail_server_says_so(workshop: Workshop) -> None:
    from dataclasses import replace

    workshop.runtime = replace(workshop.runtime, mail=None)
    workshop.join(email=ANA)
    ask(workshop, ANA)
    settle(workshop)
    [mail] = mails(workshop)
    assert (mail.state, "WALLET_SMTP_URL" in mail.reason) == ("refused", True)


def test_a_link_asked_for_long_ago_sends_nothing(workshop: Workshop) -> None:
    workshop.join(email=ANA)
    ask(workshop, ANA)
    workshop.clock.advance(timedelta(minutes=16).total_seconds())
    settle(workshop)
    assert workshop.mails.letters == []
