"""Workers, phones and tills at the same pass at the same time: they wait for each other, and nobody dies of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.people import add_member, publish
from tests.postgres import wait_until_somebody_waits
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.phones import DeadToken, drop_dead_tokens, register_device
from wallet_server.issuance.pushes import assign_tags, lock_passes
from wallet_server.issuance.services import passes_changed
from workers.push import prepare

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
            return prepare(session, [pass_id], ()).apple[pass_id]

    with ThreadPoolExecutor(1) as worker:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            lock_passes(session, [pass_id])
            version = worker.submit(other)
            wait_until_somebody_waits(postgresql_engine)
            assert assign_tags(session, [pass_id]) == 1
        assert version.result(30) == 2
