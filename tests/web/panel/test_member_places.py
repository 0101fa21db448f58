"""A member's page says at which outlets the card suggests itself, and why there."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlmodel import col

from tests.people import add_purchase, publish
from tests.unit.test_places import street
from tests.web.conftest import Cast
from tests.web.helpers import StoppedClock, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.models import MemberStatistics
from wallet_server.members.services import Enrolled

HEADING = "Where the card suggests itself, and why"


def words(client: FlaskClient, member: Enrolled) -> str:
    return " ".join(text_of(client.get(f"/panel/programs/cafe-ohrid/members/{member.member_id}")).split())


def test_the_page_names_the_places_of_the_card(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        publish(session, clock.now(), outlets=street(3), challenges=[])
    assert f"{HEADING} Shop 0, Shop 1, Shop 2 The card has room for all outlets." in words(manager, member)
    more = street(40, S39={"promoted": True}, S20={"beacons": [{"uuid": "5af6a2b7-8b8e-4b1e-9d53-0b7a4f1f2f10"}]})
    with transaction(server.engine, ALL_PROGRAMS) as session:
        program = publish(session, clock.now(), outlets=more, challenges=[])
        for days in (3, 1):
            add_purchase(session, program, member.member_id, clock.now() - timedelta(days=days), outlet="S20")
        session.get_one(MemberStatistics, member.member_id).last_visit_at = clock.now() - timedelta(days=1)
    text = words(manager, member)
    first = f"{HEADING} Shop 20 (beacon) 2 visits, the last on Nov 22, 2026 Shop 39 The program promotes it. Shop 1"
    assert first in text
    assert "Shop 21, Shop 22, Shop 23, Shop 24 Near an outlet where the member goes." in text
    with transaction(server.engine, ALL_PROGRAMS) as session:
        mine = col(IssuedPass.member_id) == member.member_id
        session.execute(sa.update(IssuedPass).where(mine).values(voided_at=clock.now()))
    assert HEADING not in words(manager, member), "a card that is over suggests itself nowhere"


def test_a_program_without_places_says_nothing_of_them(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    nowhere = [{"code": "A", "name": "A"}]
    with transaction(server.engine, ALL_PROGRAMS) as session:
        publish(session, clock.now(), outlets=nowhere, challenges=[], rules=[])
    assert HEADING not in words(manager, member)
