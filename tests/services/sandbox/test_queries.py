from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.db import set_scope
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.phones import register_device
from wallet_server.sandbox.queries import members_without_phone


@pytest.fixture
def program(session):
    return publish(session, NOW)


def test_members_whose_pass_no_phone_is_registered_for(session, program):
    late = add_member(session, program, NOW, live=False, joined_at=NOW, language="ru")
    early = add_member(session, program, NOW, live=False, joined_at=NOW - timedelta(days=9))
    holder = add_member(session, program, NOW, live=True, joined_at=NOW - timedelta(days=5))
    voided = add_member(session, program, NOW, live=False)
    elsewhere = publish(session, NOW, slug="other")
    add_member(session, elsewhere, NOW, live=False)
    session.flush()
    passes = {row.member_id: row for row in session.exec(select(IssuedPass).where(IssuedPass.wallet == "apple"))}
    passes[voided].voided_at = NOW
    session.flush()
    register_device(session, passes[holder], device="d" * 32, push_token="a" * 64, now=NOW)

    set_scope(session, program.id)
    found = members_without_phone(session, 10)
    assert [(row.member_id, row.language) for row in found] == [(early, "mk"), (late, "ru")]
    assert [row.member_id for row in members_without_phone(session, 1)] == [early]
