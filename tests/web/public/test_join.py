"""Joining: works · known person · bad input · forged form · too often · other ways in."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.web.conftest import Cast
from tests.web.helpers import StoppedClock, csrf_of, enrol_member, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.members.models import Consent, Member
from wallet_server.members.services import Enrolled

JOIN = "/join/cafe-ohrid"


def members(server: ServerContext) -> list[Member]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Member)).all())


def test_joining_with_a_phone_number(client: FlaskClient, server: ServerContext, cast: Cast) -> None:
    answer = submit(client, f"{JOIN}/poster", {"contact": "070 123 456", "marketing": "yes"})
    assert answer.status_code == 303
    [member] = members(server)
    assert (member.phone, member.channel, member.program_id) == ("+38970123456", "poster", cast.cafe.id)
    token = server.mint.page_token(member.id)
    assert answer.location == f"/m/{token}/welcome"
    welcome = client.get(answer.location)
    assert welcome.status_code == 200
    assert f"/passes/{token}.pkpass" in welcome.get_data(as_text=True)


def test_joining_with_an_e_mail_address_in_ones_language(
    client: FlaskClient, server: ServerContext, cast: Cast
) -> None:
    answer = submit(client, f"{JOIN}?with=email&lang=ru", {"contact": "Ana@Example.com"})
    assert answer.status_code == 303
    [member] = members(server)
    assert (member.email, member.language, member.channel) == ("ana@example.com", "ru", "web")


@pytest.mark.parametrize(("ticked", "granted"), [({"marketing": "yes"}, True), ({}, False)])
def test_the_consent_is_what_was_ticked(
    client: FlaskClient, server: ServerContext, cast: Cast, ticked: dict[str, str], granted: bool
) -> None:
    assert "checked" not in client.get(JOIN).get_data(as_text=True)
    submit(client, JOIN, {"contact": "070123456", **ticked})
    with reading(server.engine, ALL_PROGRAMS) as session:
        answers = session.exec(select(Consent).where(Consent.kind == "marketing")).all()
    assert [answer.granted for answer in answers] == [granted]


def test_a_stranger_who_types_a_members_number_sees_no_card(
    client: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    answer = submit(client, JOIN, {"contact": "+38970123456"})
    assert (answer.status_code, answer.location) == (303, "/recover/cafe-ohrid?joining=yes")
    assert server.mint.page_token(member.member_id) not in answer.get_data(as_text=True)
    assert "member-" not in "".join(answer.headers.getlist("Set-Cookie"))
    assert len(members(server)) == 1


def test_the_same_browser_finds_its_membership_again(client: FlaskClient, server: ServerContext, cast: Cast) -> None:
    first = submit(client, JOIN, {"contact": "070123456"})
    assert "Open your card" in text_of(client.get(JOIN))
    second = submit(client, JOIN, {"contact": "070123456"})
    assert second.location == first.location
    assert len(members(server)) == 1


def test_a_double_click_opens_the_new_card_twice_and_only_for_a_moment(
    client: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    form = {"contact": "070123456", "csrf_token": csrf_of(client, JOIN)}

    def press() -> str:
        client.delete_cookie("member-cafe-ohrid")  # the second click goes out before the first answer is there
        return client.post(JOIN, data=form).location

    first = press()
    assert first.startswith("/m/")
    assert press() == first
    assert len(members(server)) == 1
    clock.advance(timedelta(minutes=2))
    assert press() == "/recover/cafe-ohrid?joining=yes"


def test_another_persons_cookie_opens_nothing(client: FlaskClient, member: Enrolled) -> None:
    client.set_cookie("member-cafe-ohrid", "AaIALv_geZ-2rIXbNPruYYZ7xeHBtnqPCtWX-b_Ga80")
    assert "Open your card" not in text_of(client.get(JOIN))
    assert submit(client, JOIN, {"contact": "+38970123456"}).location == "/recover/cafe-ohrid?joining=yes"


@pytest.mark.parametrize("contact", ["", "12", "not a number", "070 123", "<script>alert(1)</script>", "9" * 400])
def test_a_bad_number_comes_back_with_its_error(
    client: FlaskClient, server: ServerContext, cast: Cast, contact: str
) -> None:
    answer = submit(client, JOIN, {"contact": contact, "marketing": "yes"})
    body = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in body
    assert "<script>alert" not in body
    assert re.search(r'name="marketing"[^>]* checked', body)
    assert members(server) == []


def test_a_bad_e_mail_address_is_named_as_one(client: FlaskClient, cast: Cast) -> None:
    assert "not a complete e-mail address" in text_of(submit(client, JOIN, {"contact": "ana@"}))


def test_a_form_without_proof_changes_nothing(client: FlaskClient, server: ServerContext, cast: Cast) -> None:
    answer = client.post(JOIN, data={"contact": "070123456"})
    assert answer.status_code == 403
    assert "This form has expired" in text_of(answer)
    assert members(server) == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
)
def test_another_site_cannot_send_the_form(
    client: FlaskClient, server: ServerContext, cast: Cast, headers: dict[str, str]
) -> None:
    answer = submit(client, JOIN, {"contact": "070123456"}, headers=headers)
    assert answer.status_code == 403
    assert members(server) == []


def test_our_own_origin_may(client: FlaskClient, server: ServerContext, cast: Cast) -> None:
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert submit(client, JOIN, {"contact": "070123456"}, headers=headers).status_code == 303


def test_too_many_attempts_have_to_wait(client: FlaskClient, server: ServerContext, cast: Cast) -> None:
    proof = csrf_of(client, JOIN)
    answers = [client.post(JOIN, data={"csrf_token": proof, "contact": "12"}).status_code for _ in range(31)]
    assert answers[:30] == [422] * 30
    assert answers[30] == 429
    last = client.post(JOIN, data={"csrf_token": proof, "contact": "070123456"})
    assert int(last.headers["Retry-After"]) > 0
    assert members(server) == []


@pytest.mark.parametrize("path", ["/join/nowhere", "/join/cafe-ohrid/Bad Channel", "/join/cafe-ohrid/" + "x" * 80])
def test_addresses_that_lead_nowhere(client: FlaskClient, cast: Cast, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_friends_link_keeps_its_code(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled
) -> None:
    [friend] = members(server)
    answer = client.get(f"/r/{friend.referral_code}")
    assert answer.status_code == 303
    assert answer.location == f"/join/cafe-ohrid/referral?referral={friend.referral_code}"
    assert "A friend has invited you" in text_of(client.get(answer.location))
    assert (
        submit(client, answer.location, {"contact": "070222333", "referral": friend.referral_code}).status_code == 303
    )
    joined = next(person for person in members(server) if person.id != friend.id)
    assert (joined.referred_by_id, joined.channel) == (friend.id, "referral")


def test_an_unknown_friend_is_nobody(client: FlaskClient, cast: Cast) -> None:
    assert client.get("/r/ABCDEFGHJK").status_code == 404
    assert client.get("/r/..%2F..").status_code == 404


def test_an_outlet_of_the_poster_is_kept_and_an_unknown_one_forgotten(
    client: FlaskClient, server: ServerContext, cast: Cast
) -> None:
    submit(client, f"{JOIN}/poster?outlet=B", {"contact": "070111222", "outlet": "B"})
    submit(client, f"{JOIN}/poster?outlet=Z", {"contact": "070111333", "outlet": "Z"})
    assert {person.outlet_id for person in members(server)} == {cast.cafe.outlet("B").id, None}


def test_one_program_does_not_know_the_others_members(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    assert submit(client, "/join/bakery", {"contact": "+38970123456"}).status_code == 303
    assert {person.program_id for person in members(server)} == {cast.cafe.id, cast.bakery.id}
    enrol_member(server, cast.bakery, clock, phone="+38970123456")
    assert len(members(server)) == 2


def test_the_brand_is_a_style_sheet(client: FlaskClient, cast: Cast) -> None:
    answer = client.get("/brand/cafe-ohrid.css")
    assert answer.mimetype == "text/css"
    assert "--brand: #1f3a5f" in answer.get_data(as_text=True)
    assert '[data-tier="silver"]' in answer.get_data(as_text=True)
    assert client.get("/brand/nowhere.css").status_code == 404


def test_the_landing_page_names_no_program(client: FlaskClient, cast: Cast) -> None:
    text = client.get("/").get_data(as_text=True)
    assert "Ohrid" not in text
    assert "cafe-ohrid" not in text
