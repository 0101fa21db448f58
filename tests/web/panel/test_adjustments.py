"""Points by hand: asked for on a member's page with a limit by role, decided by a second person."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.test import TestResponse

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, enrol_member, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.ledger.adjustments import Adjust, adjust
from wallet_server.ledger.models import Adjustment
from wallet_server.ledger.queries import balance
from wallet_server.members.services import Enrolled
from wallet_server.staff.models import AuditRecord

BASE = "/panel/programs/cafe-ohrid"
LIST = f"{BASE}/adjustments"
HTMX = {"HX-Request": "true"}
KEY = "0" * 32


@pytest.fixture
def owner(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("owner@cafe.example")


@pytest.fixture
def cashier(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("cashier@cafe.example")


def page_of(member: Enrolled) -> str:
    return f"{BASE}/members/{member.member_id}"


def ask(
    client: FlaskClient, member: Enrolled, points: str, reason: str = "A cold coffee", way: str = "give", key: str = ""
) -> TestResponse:
    values = {"points": points, "reason": reason, "way": way, "key": key or uuid4().hex}
    return submit(client, f"{page_of(member)}/adjust", values, page=page_of(member), follow_redirects=True)


def spendable(server: ServerContext, member: Enrolled) -> int:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return balance(session, member.member_id).spendable


def asked_for(server: ServerContext) -> list[Adjustment]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Adjustment)))


def decide(client: FlaskClient, row: Adjustment, decision: str) -> TestResponse:
    return submit(client, f"{LIST}/{row.id}", {"decision": decision}, page=LIST, follow_redirects=True)


def words(response: TestResponse) -> str:
    return " ".join(text_of(response).split())


def test_points_are_given_and_taken_with_a_reason(
    manager: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    answer = ask(manager, member, "1 500", "An apology for a cold coffee")
    assert "Given: 1,500 points." in words(answer)
    assert "An apology for a cold coffee" in words(answer)
    assert spendable(server, member) == 1500
    assert "Taken: 200 points." in words(ask(manager, member, "200", "Given twice", way="take"))
    assert spendable(server, member) == 1300
    assert "Given twice Correction −200 1,300" in words(manager.get(page_of(member)))


def test_a_form_that_is_sent_twice_counts_once(manager: FlaskClient, server: ServerContext, member: Enrolled) -> None:
    assert ask(manager, member, "5", key=KEY).status_code == 200
    assert ask(manager, member, "5", key=KEY).status_code == 200
    assert spendable(server, member) == 5
    assert ask(manager, member, "6", key=KEY).status_code == 422
    assert spendable(server, member) == 5


def test_much_waits_for_a_second_person(
    manager: FlaskClient, owner: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    assert "It waits for a second manager or the owner." in words(ask(manager, member, "6000", "Lost cards"))
    assert spendable(server, member) == 0
    page = words(owner.get(LIST))
    assert "+6,000 Ana Petrovska Lost cards manager@cafe.example" in page
    assert "Adjustments 1 1 waits" in page
    (row,) = asked_for(server)
    assert "You asked for this" in words(manager.get(LIST))
    assert decide(manager, row, "approve").status_code == 403
    assert spendable(server, member) == 0
    assert "Approved" in words(decide(owner, row, "approve"))
    assert spendable(server, member) == 6000
    assert "Approved by owner@cafe.example" in words(owner.get(LIST, query_string={"state": "posted"}))
    assert "1 waits" not in words(owner.get(LIST))
    again = decide(owner, row, "approve")
    assert (again.status_code, spendable(server, member)) == (409, 6000)
    assert "Somebody has decided this already." in words(again)
    with reading(server.engine, ALL_PROGRAMS) as session:
        actions = [record.action for record in session.exec(select(AuditRecord))]
    assert {"adjustment.requested", "adjustment.approved"} <= set(actions)


def test_a_refused_one_moves_nothing(
    manager: FlaskClient, owner: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    ask(manager, member, "7000")
    assert "Waits for a second person" in words(owner.get(page_of(member)))
    (row,) = asked_for(server)
    assert "No points have moved." in words(decide(owner, row, "refuse"))
    assert spendable(server, member) == 0
    assert "Refused by owner@cafe.example" in words(owner.get(LIST, query_string={"state": "refused"}))


@pytest.mark.parametrize(
    ("points", "reason", "way", "sentence"),
    [
        ("", "A reason", "give", "Enter a whole number of points above zero."),
        ("0", "A reason", "give", "Enter a whole number of points above zero."),
        ("1.5", "A reason", "give", "Enter a whole number of points above zero."),
        ("-5", "A reason", "give", "Enter a whole number of points above zero."),
        ("many", "A reason", "give", "Enter a whole number of points above zero."),
        ("5", "", "give", "Give a reason of 3 to 300 characters"),
        ("5", "x" * 350, "give", "Give a reason of 3 to 300 characters"),
        ("5", "A reason", "take", "The member does not have that many points."),
        ("10001", "A reason", "give", "Your role may move at most 10,000 points at once."),
    ],
)
def test_what_cannot_be_is_refused_and_kept_in_the_form(
    manager: FlaskClient, server: ServerContext, member: Enrolled, points: str, reason: str, way: str, sentence: str
) -> None:
    answer = ask(manager, member, points, reason, way, key=KEY)
    assert answer.status_code in (403, 409, 422)
    assert sentence in words(answer)
    body = answer.get_data(as_text=True)
    assert f'name="points" inputmode="numeric" maxlength="12" required value="{points}"' in body
    assert f'name="key" value="{KEY}"' not in body
    assert asked_for(server) == []


def test_a_cashier_has_no_form_and_may_not(cashier: FlaskClient, server: ServerContext, member: Enrolled) -> None:
    assert "Give or take points" not in words(cashier.get(page_of(member)))
    proof = csrf_of(cashier, f"{BASE}/members/new")
    values = {"csrf_token": proof, "points": "5", "reason": "For me", "key": KEY}
    answer = cashier.post(f"{page_of(member)}/adjust", data=values)
    assert answer.status_code == 403
    assert asked_for(server) == []
    assert cashier.get(LIST).status_code == 403


def test_nobody_changes_their_own_points(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    own = enrol_member(server, cast.cafe, clock, email="manager@cafe.example", name="The manager")
    answer = ask(manager, own, "5")
    assert answer.status_code == 403
    assert "Nobody changes their own points" in words(answer)
    assert spendable(server, own) == 0


def test_the_list_is_paged_and_comes_as_a_fragment(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    assert "Nothing waits for approval" in words(manager.get(LIST))
    assert "No adjustments yet" in words(manager.get(LIST, query_string={"state": "posted"}, headers=HTMX))
    with transaction(server.engine, cast.cafe.id) as session:
        for number in range(51):
            now = clock.now() + timedelta(seconds=number)
            command = Adjust(1, f"Number {number}", member_id=member.member_id)
            adjust(session, cast.cafe, command, role="manager", actor="staff:manager@cafe.example", now=now)
    first = manager.get(LIST, query_string={"state": "posted"}, headers=HTMX)
    assert "<html" not in first.get_data(as_text=True)
    assert first.get_data(as_text=True).count("adjust-row") == 50
    following = re.search(r'href="([^"]+page=2)"', first.get_data(as_text=True))
    assert following is not None
    second = manager.get(following.group(1).replace("&amp;", "&")).get_data(as_text=True)
    assert "Number 0" in second
    assert second.count("adjust-row") == 1


def test_addresses_that_mean_nothing(
    manager: FlaskClient, sign_in: SignIn, client: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    ask(manager, member, "6000")
    (row,) = asked_for(server)
    assert submit(manager, f"{LIST}/{uuid4()}", {"decision": "approve"}, page=LIST).status_code == 404
    assert submit(manager, f"{LIST}/{row.id}", {"decision": "perhaps"}, page=LIST).status_code == 400
    assert manager.get(f"{LIST}/{row.id}").status_code == 405
    assert client.get(LIST).status_code == 303
    stranger = sign_in("owner@bakery.example")
    own = "/panel/programs/bakery/adjustments"
    assert stranger.get(LIST).status_code == 404
    assert submit(stranger, f"{own}/{row.id}", {"decision": "approve"}, page="/panel/account").status_code == 404
    assert spendable(server, member) == 0


@pytest.mark.parametrize("language", ["ru", "mk"])
def test_the_page_speaks(manager: FlaskClient, member: Enrolled, language: str) -> None:
    assert manager.get(LIST, query_string={"lang": language}).status_code == 200
