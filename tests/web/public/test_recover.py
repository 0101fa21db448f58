"""A lost card: the same answer for everybody, a link that works once, and what a thief of links cannot do."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from zipfile import ZipFile

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlmodel import select

from tests.statements import heard
from tests.web.conftest import Cast
from tests.web.helpers import StoppedClock, csrf_of, enrol_member, submit, text_of
from wallet_server.app import create_app
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.services import passes_changed
from wallet_server.mail.models import Mail
from wallet_server.members.models import Card
from wallet_server.members.queries import member_by_id
from wallet_server.members.services import Enrolled
from wallet_server.recovery.cards import replace_card
from wallet_server.recovery.models import Recovery
from wallet_server.recovery.services import look_up
from wallet_server.verification import CHECKS

RECOVER = "/recover/cafe-ohrid"
ANA = "ana@example.com"


@pytest.fixture
def settings(settings):
    return settings.model_copy(
        update={"WALLET_SMTP_URL": "smtp://127.0.0.1:2525", "WALLET_MAIL_FROM": "cards@cafe.example"}
    )


@pytest.fixture
def ana(server: ServerContext, cast: Cast, clock: StoppedClock) -> Enrolled:
    return enrol_member(server, cast.cafe, clock, phone="+38970123456", email=ANA, name="Ana", language="mk")


def recoveries(server: ServerContext) -> list[Recovery]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Recovery).order_by(Recovery.id)))


def link_for(client: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, contact: str = ANA) -> str:
    """Ask on the page, let a worker look it up, and return the address that the mail would name."""
    assert submit(client, RECOVER, {"contact": contact}).status_code == 303
    recovery = recoveries(server)[-1]
    with transaction(server.engine, cast.cafe.id) as session:
        look_up(session, cast.cafe, recovery.id, clock.now())
    return f"/lost/{server.mint.recovery_token(recovery.id)}"


def test_the_whole_way_back(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    link = link_for(client, server, cast, clock)
    for _ in range(3):  # mail programs look at links before people do
        opened = client.get(link)
        assert opened.status_code == 200
    assert opened.headers["Referrer-Policy"] == "no-referrer"
    assert server.mint.page_token(ana.member_id) not in opened.get_data(as_text=True)
    answer = submit(client, link, {})
    assert (answer.status_code, answer.location) == (303, f"/m/{server.mint.page_token(ana.member_id)}/welcome")
    welcome = client.get(answer.location).get_data(as_text=True)
    assert f"/passes/{server.mint.page_token(ana.member_id)}.pkpass" in welcome
    assert client.get_cookie("member-cafe-ohrid") is not None
    assert client.get(link).status_code == 410


def test_the_same_pass_comes_back(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    first = client.get(f"/passes/{server.mint.page_token(ana.member_id)}.pkpass").data
    welcome = submit(client, link_for(client, server, cast, clock), {}).location
    again = re.search(r'(/passes/[^"]+\.pkpass)"', client.get(welcome).get_data(as_text=True))[1]
    assert client.get(again).data == first


def test_members_and_strangers_get_the_same_answer_from_the_same_statements(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled
) -> None:
    said: list[list[str]] = []
    csrf = csrf_of(client, RECOVER)
    answers = []
    for contact in (ANA, "stranger@example.com", "+38970123456", "+38970999888"):
        with heard(server.engine) as asked:
            answer = client.post(RECOVER, data={"csrf_token": csrf, "contact": contact})
        said.append([statement.text for statement in asked])
        answers.append((answer.status_code, answer.location, dict(answer.headers) | {"Date": ""}))
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert said[0] == said[1] == said[2] == said[3]
    assert not any("FROM member" in statement for statement in said[0])
    assert "on its way" in text_of(client.get(answers[0][1]))


def test_a_used_link_ends_the_others(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    first = link_for(client, server, cast, clock)
    clock.advance(timedelta(minutes=1))
    second = link_for(client, server, cast, clock)
    assert submit(client, second, {}).status_code == 303
    assert client.get(first).status_code == 410


def test_who_asks_twice_within_a_minute_is_sent_one_mail(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    """The second click of a double click is answered as the first, and sends no second mail."""

    def sent() -> list[bool]:
        with reading(server.engine, ALL_PROGRAMS) as session:
            mails = {mail.subject_id for mail in session.exec(select(Mail)).all()}
        return [recovery.id in mails for recovery in recoveries(server)]

    link = link_for(client, server, cast, clock)
    clock.advance(timedelta(seconds=59))
    link_for(client, server, cast, clock, "+38970123456")
    assert sent() == [True, False]
    clock.advance(timedelta(seconds=1))
    link_for(client, server, cast, clock)
    assert sent() == [True, False, True], "a minute after the one that was sent, he means it"
    assert submit(client, link, {}).status_code == 303
    link_for(client, server, cast, clock)
    assert sent() == [True, False, True, True], "no link is open any more"


def test_who_clicks_twice_comes_to_the_card_and_nobody_else_does(
    app: Flask, client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    link = link_for(client, server, cast, clock)
    csrf, other = csrf_of(client, link), app.test_client()
    others = csrf_of(other, link)
    answers = [client.post(link, data={"csrf_token": csrf}) for _ in range(2)]
    assert {(answer.status_code, answer.location) for answer in answers} == {
        (303, f"/m/{server.mint.page_token(ana.member_id)}/welcome")
    }
    assert other.post(link, data={"csrf_token": others}).status_code == 410
    assert client.post(link, data={"csrf_token": csrf, "phone": "stolen"}).status_code == 410, "it was not done"
    clock.advance(timedelta(minutes=1))
    assert client.post(link, data={"csrf_token": csrf}).status_code == 303
    clock.advance(timedelta(seconds=1))
    assert client.post(link, data={"csrf_token": csrf}).status_code == 410


def test_a_second_click_does_not_follow_a_card_that_was_replaced_in_between(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    """Whoever came by the link before may not be the member: the till has just shut him out."""
    link = link_for(client, server, cast, clock)
    csrf = csrf_of(client, link)
    assert client.post(link, data={"csrf_token": csrf}).status_code == 303
    with transaction(server.engine, cast.cafe.id) as session:
        member = member_by_id(session, ana.member_id)
        replace_card(session, cast.cafe, member, actor="staff:a@example.com", now=clock.now())
    assert client.post(link, data={"csrf_token": csrf}).status_code == 410


def test_who_clicks_twice_for_a_new_card_gets_one(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    link = link_for(client, server, cast, clock)
    form = {"csrf_token": csrf_of(client, link), "phone": "stolen"}
    answers = [client.post(link, data=form).location for _ in range(2)]
    assert answers == [f"/m/{server.mint.page_token(ana.member_id, 1)}/welcome"] * 2
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert len(session.exec(select(Card).where(Card.member_id == ana.member_id)).all()) == 2


def test_a_link_is_good_for_fifteen_minutes(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    link = link_for(client, server, cast, clock)
    csrf = csrf_of(client, link)
    clock.advance(timedelta(minutes=15))
    assert client.get(link).status_code == 200
    clock.advance(timedelta(seconds=1))
    assert client.get(link).status_code == 410
    assert client.post(link, data={"csrf_token": csrf}).status_code == 410


@pytest.mark.parametrize("token", ["x", "A" * 43, "é" * 20, "a" * 5000, "%00"])
def test_links_that_nobody_was_sent(client: FlaskClient, cast: Cast, token: str) -> None:
    assert client.get(f"/lost/{token}").status_code in (404, 410)


def test_the_link_of_a_stranger_opens_nothing(
    client: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    link = link_for(client, server, cast, clock, "stranger@example.com")
    assert client.get(link).status_code == 410


def test_a_page_token_is_no_link(client: FlaskClient, server: ServerContext, ana: Enrolled) -> None:
    assert client.get(f"/lost/{server.mint.page_token(ana.member_id)}").status_code == 410


def test_a_form_without_proof_uses_nothing_up(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    link = link_for(client, server, cast, clock)
    assert client.post(link).status_code == 403
    assert client.post(RECOVER, data={"contact": ANA}).status_code == 403
    assert client.get(link).status_code == 200
    assert len(recoveries(server)) == 1


@pytest.mark.parametrize("contact", ["", "12", "ana@", "<script>alert(1)</script>", "9" * 400])
def test_a_bad_contact_comes_back_with_its_error(
    client: FlaskClient, server: ServerContext, cast: Cast, contact: str
) -> None:
    answer = submit(client, RECOVER, {"contact": contact})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.get_data(as_text=True)
    assert "<script>alert" not in answer.get_data(as_text=True)
    assert recoveries(server) == []


def test_too_many_wishes_for_one_contact_have_to_wait(client: FlaskClient, server: ServerContext, cast: Cast) -> None:
    csrf = csrf_of(client, RECOVER)
    wishes = ["070 123 456", "+38970123456", "070123456"] * 2
    answers = [client.post(RECOVER, data={"csrf_token": csrf, "contact": wish}).status_code for wish in wishes]
    assert answers == [303] * 5 + [429]
    assert len(recoveries(server)) == 5


def test_too_many_wishes_from_one_address_have_to_wait(client: FlaskClient, server: ServerContext, cast: Cast) -> None:
    csrf = csrf_of(client, RECOVER)
    answers = [
        client.post(RECOVER, data={"csrf_token": csrf, "contact": f"p{number}@example.com"}) for number in range(11)
    ]
    assert [answer.status_code for answer in answers] == [303] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_an_unknown_program(client: FlaskClient, cast: Cast) -> None:
    assert client.get("/recover/nowhere").status_code == 404
    assert client.get("/recover/nowhere/sent").status_code == 404
    assert client.put(RECOVER).status_code == 405


@pytest.fixture
def without_mail(app, settings, server: ServerContext) -> FlaskClient:
    none = settings.model_copy(update={"WALLET_SMTP_URL": "", "WALLET_MAIL_FROM": ""})
    other = create_app(none, replace(server, settings=none))
    other.testing = True
    return other.test_client()


def test_without_a_mail_server_the_page_sends_people_to_the_till(
    client: FlaskClient, without_mail: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    page = without_mail.get(RECOVER)
    assert "Ask at the till" in text_of(page)
    assert "<form" not in page.get_data(as_text=True)
    csrf = csrf_of(without_mail, "/join/cafe-ohrid")
    assert without_mail.post(RECOVER, data={"csrf_token": csrf, "contact": ANA}).status_code == 200
    assert recoveries(server) == []
    enrol_member(server, cast.cafe, clock, phone="+38970123456")
    again = submit(without_mail, "/join/cafe-ohrid", {"contact": "+38970123456"})
    assert again.location == f"{RECOVER}?joining=yes"
    assert "We have made no new card." in text_of(without_mail.get(again.location))
    assert recoveries(server) == []


def test_whoever_joins_again_on_another_phone_is_sent_the_card(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    assert f'href="{RECOVER}"' in client.get("/join/cafe-ohrid").get_data(as_text=True)
    answer = submit(client, "/join/cafe-ohrid", {"contact": "+38970123456"})
    assert (answer.status_code, answer.location) == (303, f"{RECOVER}/sent?joining=yes")
    assert client.get_cookie("member-cafe-ohrid") is None
    text = text_of(client.get(answer.location))
    assert "There is one card for each number and address." in text
    assert "If we know your e-mail address" in text, "whose contact it is, is said by mail only"
    [recovery] = recoveries(server)
    with transaction(server.engine, cast.cafe.id) as session:
        look_up(session, cast.cafe, recovery.id, clock.now())
    link = f"/lost/{server.mint.recovery_token(recovery.id)}"
    assert submit(client, link, {}).location == f"/m/{server.mint.page_token(ana.member_id)}/welcome"


def test_joining_by_mail_says_the_same_to_somebody_new_and_to_a_member(
    client: FlaskClient, app: Flask, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    heard_by = []
    for contact in ("new@example.com", ANA):
        browser = app.test_client()
        answer = submit(browser, "/join/cafe-ohrid", {"contact": contact})
        page = browser.get(answer.location).get_data(as_text=True)
        cookies = sorted(line.split("=")[0] for line in answer.headers.getlist("Set-Cookie"))
        heard_by.append((answer.status_code, answer.location, sorted(answer.headers.keys()), cookies, page))
        assert browser.get_cookie("member-cafe-ohrid") is None
    assert heard_by[0] == heard_by[1]
    new, hers = recoveries(server)
    assert (new.contact, hers.contact) == ("new@example.com", ANA)
    with transaction(server.engine, cast.cafe.id) as session:
        look_up(session, cast.cafe, new.id, clock.now())
    welcome = submit(client, f"/lost/{server.mint.recovery_token(new.id)}", {}).location
    assert welcome.endswith("/welcome")
    assert str(server.mint.page_token(ana.member_id)) not in welcome
    assert client.get(welcome).status_code == 200
    # A browser that knows the card is led there at once, and a phone number is answered at once as ever.
    assert submit(client, "/join/cafe-ohrid", {"contact": "new@example.com"}).location == welcome
    assert submit(app.test_client(), "/join/cafe-ohrid", {"contact": "+38970999888"}).location.endswith("/welcome")


def test_joining_again_and_again_writes_no_more_mails_than_asking_for_the_card(
    client: FlaskClient, server: ServerContext, ana: Enrolled, cast: Cast
) -> None:
    csrf = csrf_of(client, "/join/cafe-ohrid")
    wish = {"csrf_token": csrf, "contact": "+38970123456"}
    answers = [client.post("/join/cafe-ohrid", data=wish).status_code for _ in range(6)]
    assert answers == [303] * 5 + [429]
    assert len(recoveries(server)) == 5


def test_a_stolen_phone_is_shut_out(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    old_page = f"/m/{server.mint.page_token(ana.member_id)}"
    other_link = link_for(client, server, cast, clock)
    clock.advance(timedelta(minutes=1))
    welcome = submit(client, link_for(client, server, cast, clock), {"phone": "stolen"}).location
    assert client.get(old_page).status_code == 404
    assert client.get(other_link).status_code == 410
    assert welcome == f"/m/{server.mint.page_token(ana.member_id, 1)}/welcome"
    with reading(server.engine, ALL_PROGRAMS) as session:
        cards = session.exec(select(Card).where(Card.member_id == ana.member_id).order_by(Card.created_at)).all()
        passes = session.exec(select(IssuedPass).where(IssuedPass.member_id == ana.member_id)).all()
    old, new = cards
    assert (old.number, old.blocked_at, new.blocked_at) == (ana.card_number, clock.now(), None)
    assert new.number != old.number
    assert {(issued.card_id, issued.voided_at is None) for issued in passes} == {(old.id, False), (new.id, True)}
    assert new.number in client.get(welcome.removesuffix("/welcome")).get_data(as_text=True)
    assert_invariants(server)


def test_the_pass_on_a_stolen_phone_does_not_learn_the_new_address(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    with reading(server.engine, ALL_PROGRAMS) as session:
        stolen = session.exec(
            select(IssuedPass).where(IssuedPass.member_id == ana.member_id, IssuedPass.wallet == "apple")
        ).one()
    clock.advance(timedelta(minutes=1))
    submit(client, link_for(client, server, cast, clock), {"phone": "stolen"})
    answer = client.get(
        f"/apple/v1/passes/{server.wallets.signer.pass_type_id}/{stolen.serial}",
        headers={"Authorization": f"ApplePass {server.mint.authentication_token(stolen.id)}"},
    )
    document = ZipFile(BytesIO(answer.data)).read("pass.json").decode()
    assert '"voided":true' in document.replace(" ", "")
    assert "/m/" not in document
    assert "Ana" not in document


def test_a_change_does_not_touch_void_passes(
    client: FlaskClient, server: ServerContext, cast: Cast, ana: Enrolled, clock: StoppedClock
) -> None:
    submit(client, link_for(client, server, cast, clock), {"phone": "stolen"})
    with transaction(server.engine, cast.cafe.id) as session:
        passes_changed(session, cast.cafe, [ana.member_id], clock.now())
    with reading(server.engine, ALL_PROGRAMS) as session:
        passes = session.exec(select(IssuedPass).where(IssuedPass.member_id == ana.member_id)).all()
    assert [issued.version for issued in passes] == [2, 2, 2, 2]  # voided once; new ones changed once


def assert_invariants(server: ServerContext) -> None:
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert [found for check in CHECKS for found in check(session)] == []
