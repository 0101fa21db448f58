"""Workers, phones and tills at the same pass at the same time: they wait for each other, and nobody dies of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.conftest import NOW
from tests.people import add_member, publish
from tests.postgres import wait_until_somebody_waits
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, new_id, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.phones import DeadToken, drop_dead_tokens, register_device
from wallet_server.issuance.pushes import lock_passes, tag_passes
from wallet_server.issuance.services import passes_changed
from wallet_server.leaving.services import leave
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.models import Notification
from wallet_server.notifications.settling import Change, settle, wake
from wallet_server.programs.queries import load_program
from wallet_server.purchases import clockwork
from wallet_server.tiers.models import MemberTier
from workers.push import prepare
from workers.schedule import review_tiers

LATER = NOW + timedelta(seconds=9)


@pytest.fixture
def pass_id(postgresql_engine: Engine) -> UUID:
    """A pass that is on one phone, and has changed."""
    with transaction(postgresql_engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        member_id = add_member(session, program, NOW)
        issued = session.exec(select(IssuedPass).where(IssuedPass.member_id == member_id)).one()
        register_device(session, issued, device="phone", push_token="aa", now=NOW)
        passes_changed(session, program, [member_id], NOW)
        return issued.id


def test_a_phone_registers_while_it_is_dropped_and_stays(postgresql_engine: Engine, pass_id: UUID) -> None:
    def drop() -> int:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            return drop_dead_tokens(session, [DeadToken("aa", LATER)], LATER)

    with ThreadPoolExecutor(1) as worker:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            lock_passes(session, [pass_id])
            dropped = worker.submit(drop)
            wait_until_somebody_waits(postgresql_engine)
            issued = session.get_one(IssuedPass, pass_id)
            register_device(session, issued, device="phone", push_token="aa", now=LATER)
        assert dropped.result(30) == 0


def test_two_workers_with_one_pass_both_get_their_tag(postgresql_engine: Engine, pass_id: UUID) -> None:
    def other() -> int:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            return prepare(session, [pass_id], (), NOW).apple[pass_id]

    with ThreadPoolExecutor(1) as worker:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            lock_passes(session, [pass_id])
            version = worker.submit(other)
            wait_until_somebody_waits(postgresql_engine)
            assert tag_passes(session, [pass_id], NOW).tag == NOW.timestamp() * 1000
        assert version.result(30) == 2


def test_locks_are_one_statement_and_none_for_the_only_writer(engine: Engine) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        member_id = add_member(session, program, NOW)
        with heard(session) as said:
            lock_passes(session, [new_id()], of_members={program.id: [member_id]})
            lock_passes(session, [], of_members={program.id: []})
    assert len(said) == (0 if engine.dialect.name == "sqlite" else 1)


Members = dict[UUID, list[UUID]]
"""By program."""


def settles(engine: Engine, members: Members) -> None:
    changes = [Change(program_id, "change:1", {mine[0]: Noticed(points=5)}) for program_id, mine in members.items()]
    with transaction(engine, ALL_PROGRAMS) as session:
        settle(session, changes, LATER)


def settles_one(engine: Engine, members: Members) -> None:
    """One says more; the others of the batch are locked by whoever pushes them."""
    [program_id, other_id] = members
    change = Change(program_id, "change:1", {members[program_id][0]: Noticed(points=5)})
    with transaction(engine, ALL_PROGRAMS) as session:
        pushed = session.exec(select(IssuedPass.id).where(IssuedPass.program_id == other_id)).all()
        settle(session, [change], LATER, pushed=pushed)
        prepare(session, pushed, (), LATER)
        passes_changed(session, load_program(session, program_id=other_id), members[other_id], LATER)


def wakes(engine: Engine, members: Members) -> None:
    for _portion in members:
        with transaction(engine, ALL_PROGRAMS) as session:
            assert wake(session, LATER) == 1


def shows(engine: Engine, members: Members) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        clockwork._show(session, members, LATER, Noticed(balance=True))


def reviews(engine: Engine, _members: Members) -> None:
    context: Any = SimpleNamespace(engine=engine, clock=SimpleNamespace(now=lambda: LATER))
    review_tiers(context)


def deferred(session: Session, program_id: UUID, member_id: UUID) -> None:
    session.add(
        Notification(
            program_id=program_id,
            member_id=member_id,
            origin="change:0",
            kind="balance",
            facts=Noticed(points=5).document(),
            text="",
            state="deferred",
            decided_at=NOW,
            deferred_until=LATER,
        )
    )


@pytest.mark.parametrize("work", [settles, settles_one, wakes, shows, reviews])
def test_passes_of_several_programs_are_locked_in_the_order_of_their_ids(
    postgresql_engine: Engine, work: Callable[[Engine, Members], None]
) -> None:
    """The later program has the older pass: who locks program by program comes from the other side."""
    with transaction(postgresql_engine, ALL_PROGRAMS) as session:
        first, second = (publish(session, NOW, slug=slug) for slug in ("first", "second"))
        low = add_member(session, second, NOW, tier="silver")
        high = add_member(session, first, NOW, tier="silver")
        for program, member in ((first, high), (second, low)):
            session.get_one(MemberTier, member).review_at = LATER
            deferred(session, program.id, member)
        passes = {one.member_id: one for one in session.exec(select(IssuedPass))}
    with ThreadPoolExecutor(1) as worker:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            lock_passes(session, [passes[low].id])
            done = worker.submit(work, postgresql_engine, {first.id: [high], second.id: [low]})
            wait_until_somebody_waits(postgresql_engine)
            lock_passes(session, [passes[high].id])
        done.result(30)
    with transaction(postgresql_engine, ALL_PROGRAMS) as session:
        assert {one.version for one in session.exec(select(IssuedPass))} == {2}


def test_a_member_leaves_while_a_message_is_decided(postgresql_engine: Engine) -> None:
    """Both touch the message and the pass, the message first."""
    with transaction(postgresql_engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        member = add_member(session, program, NOW)
        deferred(session, program.id, member)
        issued = session.exec(select(IssuedPass)).one()

    def go() -> None:
        with transaction(postgresql_engine, program.id) as session:
            leave(session, program, member, actor="test", now=LATER)

    with ThreadPoolExecutor(1) as panel:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            session.exec(select(Notification).with_for_update()).all()
            gone = panel.submit(go)
            wait_until_somebody_waits(postgresql_engine)
            lock_passes(session, [issued.id])
        gone.result(30)
