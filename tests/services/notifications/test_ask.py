"""The governor shows a message to those who agreed and hold a pass, once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlmodel import col, select

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.models import MemberStatistics
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import newest
from wallet_server.notifications.services import Decision, Wanted, ask
from wallet_server.outbox.models import OutboxRow

ORIGIN = "campaign:1"


def wanted(member, text="Hello", origin=ORIGIN):
    return Wanted(member, origin, text)


def version(session, member):
    session.expire_all()
    return session.exec(select(IssuedPass.version).where(IssuedPass.member_id == member)).one()


def test_consent_and_a_pass_are_needed(session):
    program = publish(session, NOW)
    ready = add_member(session, program, NOW)
    silent = add_member(session, program, NOW, marketing=False)
    passless = add_member(session, program, NOW, live=False)
    neither = add_member(session, program, NOW, marketing=False, live=False)
    everybody = [ready, silent, passless, neither]
    decided = ask(session, program, [wanted(member) for member in everybody], NOW)
    assert decided == {
        ready: Decision("shown"),
        silent: Decision("suppressed", "no_consent"),
        passless: Decision("suppressed", "no_pass"),
        neither: Decision("suppressed", "no_consent"),
    }
    assert [version(session, member) for member in everybody] == [2, 1, 1, 1]
    assert newest(session, everybody) == {ready: "Hello"}
    rows = session.exec(select(Notification).where(col(Notification.member_id) == ready)).all()
    assert [(row.state, row.reason, row.shown_at, row.origin) for row in rows] == [("shown", "", NOW, ORIGIN)]


def test_a_voided_pass_is_no_pass(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    session.exec(select(IssuedPass).where(IssuedPass.member_id == member)).one().voided_at = NOW
    session.flush()
    assert ask(session, program, [wanted(member)], NOW)[member] == Decision("suppressed", "no_pass")


def test_the_push_comes_after_those_of_purchases(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    ask(session, program, [wanted(member)], NOW)
    [row] = session.exec(select(OutboxRow)).all()
    assert (row.topic, row.queue, row.priority) == ("pass.changed", "push", 10)


def test_a_message_is_decided_once(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    silent = add_member(session, program, NOW, marketing=False)
    ask(session, program, [wanted(member), wanted(silent)], NOW)
    session.get(MemberStatistics, silent).marketing = True  # consent given later does not send old messages
    session.flush()
    again = ask(session, program, [wanted(member, "Changed"), wanted(silent)], NOW + timedelta(hours=1))
    assert again == {member: Decision("shown", "already"), silent: Decision("suppressed", "already")}
    assert version(session, member) == 2
    assert newest(session, [member, silent]) == {member: "Hello"}
    assert ask(session, program, [wanted(silent, origin="campaign:2")], NOW)[silent] == Decision("shown")


def test_the_newest_shown_message_is_the_news(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    for hour, origin in ((2, "campaign:2"), (1, "campaign:1")):
        ask(session, program, [wanted(member, origin, origin)], NOW + timedelta(hours=hour))
    session.get(MemberStatistics, member).marketing = False
    session.flush()
    ask(session, program, [wanted(member, "never", "campaign:3")], NOW + timedelta(hours=3))
    assert newest(session, [member]) == {member: "campaign:2"}
    assert newest(session, []) == {}


def test_a_member_of_another_program_is_nobody_here(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    stranger = add_member(session, other, NOW)
    with pytest.raises(Exception, match=r"(?i)foreign key"), session.begin_nested():
        ask(session, program, [wanted(stranger)], NOW)
    assert newest(session, [stranger]) == {}


def test_nothing_wanted_is_nothing_done(session):
    program = publish(session, NOW)
    assert ask(session, program, [], NOW) == {}
    member = new_id()
    with pytest.raises(AssertionError, match="one message per member"):
        ask(session, program, [wanted(member), wanted(member, "again", "campaign:2")], NOW)


def test_two_workers_at_once_show_it_once(engine):
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        members = [add_member(session, program, NOW) for _ in range(20)]
    outcomes: list[Decision] = []
    start = threading.Barrier(4)

    def worker() -> None:
        start.wait(timeout=20)
        with transaction(engine, program.id) as session:
            outcomes.extend(ask(session, program, [wanted(member) for member in members], NOW).values())

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert outcomes.count(Decision("shown")) == 20
    assert outcomes.count(Decision("shown", "already")) == 60
    with reading(engine, program.id) as session:
        assert [version(session, member) for member in members] == [2] * 20
