"""Signing in and out, sessions, one's own password and language."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import PASSWORD, StoppedClock, submit, text_of

LOGIN = "/panel/login"
OWNER = {"email": "owner@cafe.example", "password": PASSWORD}
MEMBERS = "/panel/programs/cafe-ohrid/members"


def test_signing_in_leads_to_the_members(client: FlaskClient, cast: Cast) -> None:
    answer = submit(client, LOGIN, OWNER)
    assert (answer.status_code, answer.location) == (303, "/panel/")
    cookie = next(line for line in answer.headers.getlist("Set-Cookie") if line.startswith("staff="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert client.get("/panel/").location == MEMBERS
    assert client.get(MEMBERS).status_code == 200
    assert client.get(LOGIN).status_code == 303


def test_one_goes_where_one_wanted(client: FlaskClient, cast: Cast) -> None:
    wanted = client.get(f"{MEMBERS}?q=ana")
    assert wanted.status_code == 303
    assert submit(client, wanted.location, OWNER).location == f"{MEMBERS}?q=ana"


@pytest.mark.parametrize(
    "target", ["https://evil.example/panel/", "//evil.example", "/panel/..//evil.example", "/panel/\\evil", "/m/x"]
)
def test_but_never_elsewhere(client: FlaskClient, cast: Cast, target: str) -> None:
    answer = submit(client, LOGIN, OWNER, query_string={"next": target}, page=LOGIN)
    assert answer.location == "/panel/"


@pytest.mark.parametrize(
    ("email", "password"),
    [("owner@cafe.example", "wrong password"), ("nobody@cafe.example", PASSWORD), ("", ""), ("x" * 5000, "y" * 5000)],
)
def test_a_wrong_login_says_the_same_whoever_it_is(client: FlaskClient, cast: Cast, email: str, password: str) -> None:
    answer = submit(client, LOGIN, {"email": email, "password": password})
    assert answer.status_code == 401
    assert "The e-mail address or the password is wrong." in text_of(answer)
    assert client.get(MEMBERS).status_code == 303


def test_after_ten_wrong_tries_one_has_to_wait(client: FlaskClient, cast: Cast, clock: StoppedClock) -> None:
    for _ in range(10):
        assert submit(client, LOGIN, {**OWNER, "password": "wrong password"}).status_code == 401
    throttled = submit(client, LOGIN, OWNER)
    assert throttled.status_code == 429
    assert int(throttled.headers["Retry-After"]) > 0
    clock.advance(timedelta(minutes=16))
    assert submit(client, LOGIN, OWNER).status_code == 303


def test_signing_out_ends_the_session_and_not_only_the_cookie(app: Flask, client: FlaskClient, cast: Cast) -> None:
    submit(client, LOGIN, OWNER)
    stolen = client.get_cookie("staff")
    assert stolen is not None
    answer = submit(client, "/panel/logout", {}, page=MEMBERS)
    assert answer.status_code == 303
    assert client.get_cookie("staff") is None
    thief = app.test_client()
    thief.set_cookie("staff", stolen.value)
    assert thief.get(MEMBERS).status_code == 303


@pytest.mark.parametrize("token", ["", "forged", "A" * 43, "A" * 3000, "😀"])
def test_a_forged_session_is_none(client: FlaskClient, cast: Cast, token: str) -> None:
    client.set_cookie("staff", token)
    assert client.get(MEMBERS).status_code == 303


def test_a_session_ends_when_nobody_uses_it(sign_in: SignIn, cast: Cast, clock: StoppedClock) -> None:
    client = sign_in("owner@cafe.example")
    for _ in range(3):
        clock.advance(timedelta(hours=11))
        assert client.get(MEMBERS).status_code == 200
    clock.advance(timedelta(hours=12, minutes=1))
    assert client.get(MEMBERS).status_code == 303


def test_a_session_ends_after_a_week(sign_in: SignIn, cast: Cast, clock: StoppedClock) -> None:
    client = sign_in("owner@cafe.example")
    for _ in range(16):
        clock.advance(timedelta(hours=10))
        assert client.get(MEMBERS).status_code == 200
    clock.advance(timedelta(hours=10))
    assert client.get(MEMBERS).status_code == 303


def test_htmx_is_sent_to_the_login_page_as_a_whole(client: FlaskClient, cast: Cast) -> None:
    answer = client.get(MEMBERS, headers={"HX-Request": "true", "HX-Current-URL": f"http://localhost{MEMBERS}"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == f"/panel/login?next={MEMBERS}"


def test_a_new_password_ends_the_other_sessions(sign_in: SignIn, client: FlaskClient, cast: Cast) -> None:
    here, elsewhere = sign_in("owner@cafe.example"), sign_in("owner@cafe.example")
    new = {"old_password": PASSWORD, "new_password": "a better sentence than before"}
    answer = submit(here, "/panel/account/password", new, page="/panel/account")
    assert answer.status_code == 303
    assert here.get(MEMBERS).status_code == 200
    assert elsewhere.get(MEMBERS).status_code == 303
    assert submit(client, LOGIN, OWNER).status_code == 401
    assert submit(client, LOGIN, {**OWNER, "password": new["new_password"]}).status_code == 303


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wrong password", "a better sentence", "The old password is wrong."),
        (PASSWORD, "short", "needs at least 10 characters"),
        (PASSWORD, "aaaaaaaaaaaaaaaa", "must not be easy to guess"),
    ],
)
def test_a_bad_new_password_changes_nothing(
    sign_in: SignIn, client: FlaskClient, cast: Cast, old: str, new: str, said: str
) -> None:
    here = sign_in("owner@cafe.example")
    form = {"old_password": old, "new_password": new}
    answer = submit(here, "/panel/account/password", form, page="/panel/account")
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert submit(client, LOGIN, OWNER).status_code == 303


def test_ones_language_follows_one_to_another_browser(sign_in: SignIn, client: FlaskClient, cast: Cast) -> None:
    submit(sign_in("owner@cafe.example"), "/panel/account/language", {"language": "mk"}, page="/panel/account")
    assert '<html lang="en"' in client.get(LOGIN).get_data(as_text=True)
    submit(client, LOGIN, OWNER)
    assert '<html lang="mk"' in client.get(MEMBERS).get_data(as_text=True)


def test_a_language_that_we_do_not_speak_is_refused(sign_in: SignIn, cast: Cast) -> None:
    answer = submit(sign_in("owner@cafe.example"), "/panel/account/language", {"language": "xx"}, page="/panel/account")
    assert answer.status_code == 422


def test_nothing_is_signed_in_or_out_without_proof(client: FlaskClient, sign_in: SignIn, cast: Cast) -> None:
    assert client.post(LOGIN, data=OWNER).status_code == 403
    owner = sign_in("owner@cafe.example")
    assert owner.post("/panel/logout").status_code == 403
    assert owner.get(MEMBERS).status_code == 200
