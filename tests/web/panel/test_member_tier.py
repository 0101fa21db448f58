"""Staff give a member a tier until a day, keep the one held until one, and end the promise."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.test import TestResponse

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import reading
from wallet_server.ledger.expiry import end_of_day
from wallet_server.members.services import Enrolled
from wallet_server.staff.models import AuditRecord
from wallet_server.tiers.models import MemberTier

BASE = "/panel/programs/cafe-ohrid"


def post(client: FlaskClient, member: Enrolled, **values: Any) -> TestResponse:
    page = f"{BASE}/members/{member.member_id}"
    return submit(client, f"{page}/tier", values, page=page, follow_redirects=True)


def held(server: ServerContext, cast: Cast, member: Enrolled) -> MemberTier:
    with reading(server.engine, cast.cafe.id) as session:
        return session.exec(select(MemberTier).where(MemberTier.member_id == member.member_id)).one()


def audited(server: ServerContext, cast: Cast) -> list[str]:
    with reading(server.engine, cast.cafe.id) as session:
        found = session.exec(select(AuditRecord.action)).all()
    return [action for action in found if action.startswith("member.tier")]


def test_a_tier_is_given_kept_longer_and_let_go(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    year = clock.now().year + 1
    page = post(manager, member, tier="silver", last_day=f"{year}-03-31")
    assert page.status_code == 200
    assert "The tier is promised until" in text_of(page)
    row = held(server, cast, member)
    day = clock.now().date().replace(year=year, month=3, day=31)
    assert (row.tier, row.protected_until) == ("silver", end_of_day(day, cast.cafe.time_zone))
    post(manager, member, tier="silver", last_day=f"{year}-04-30")
    assert held(server, cast, member).protected_until == end_of_day(day.replace(month=4, day=30), cast.cafe.time_zone)
    page = post(manager, member, action="end")
    assert "The tier is promised until" not in text_of(page)
    assert held(server, cast, member).protected_until == clock.now(), "the clock looks next"
    assert audited(server, cast) == ["member.tier_promised", "member.tier_promised", "member.tier_promise_ended"]


@pytest.mark.parametrize(
    ("tier", "day", "sentence"),
    [
        ("silver", "2001-01-01", "Choose a day from today on"),
        ("silver", "0001-01-01", "Choose a day from today on"),
        ("silver", "yesterday", "Choose a day from today on"),
        ("platinum", "2027-03-31", "Choose the tier."),
        ("", "2027-03-31", "Choose the tier."),
    ],
)
def test_what_cannot_be_is_refused_and_typed_again_by_nobody(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, tier: str, day: str, sentence: str
) -> None:
    before = held(server, cast, member).model_dump()
    page = post(manager, member, tier=tier, last_day=day)
    assert page.status_code == 422
    assert sentence in text_of(page)
    assert held(server, cast, member).model_dump() == before
    assert audited(server, cast) == []


def test_a_lower_tier_than_the_one_held_gives_nothing(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    until = f"{clock.now().year + 1}-03-31"
    post(manager, member, tier="silver", last_day=until)
    page = post(manager, member, tier="base", last_day=until)
    assert page.status_code == 422
    assert "The member holds a higher tier than this." in text_of(page)
    assert held(server, cast, member).tier == "silver"


def test_a_cashier_neither_sees_the_form_nor_may_use_it(sign_in: SignIn, cast: Cast, member: Enrolled) -> None:
    cashier = sign_in("cashier@cafe.example")
    page = f"{BASE}/members/{member.member_id}"
    assert "Give or keep a tier" not in text_of(cashier.get(page))
    values = {"tier": "silver", "last_day": "2027-03-31"}
    assert submit(cashier, f"{page}/tier", values, page=page).status_code == 403
