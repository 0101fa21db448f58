"""The page on which a member leaves: works · unsure · forged · wrong address · what is there afterwards."""

from __future__ import annotations

import json
from datetime import timedelta
from zipfile import ZipFile

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, enrol_member, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.ledger.postings import earn
from wallet_server.ledger.services import post
from wallet_server.members.models import Member
from wallet_server.members.services import Enrolled


@pytest.fixture
def address(server: ServerContext, member: Enrolled) -> str:
    return f"/m/{server.mint.page_token(member.member_id)}"


def ana(server: ServerContext, member: Enrolled) -> Member:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return session.get_one(Member, member.member_id)


def test_the_page_says_what_is_lost_before(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, address: str, clock: StoppedClock
) -> None:
    with transaction(server.engine, cast.cafe.id) as session:
        gift = earn(member.member_id, 1250, reason="Gift", occurred_at=clock.now(), kind="reward")
        late = earn(member.member_id, 50, reason="Gift", occurred_at=clock.now(), kind="reward", pending=True)
        post(session, cast.cafe.id, [gift, late], clock.now())
    assert f'href="{address}/leave"' in client.get(address).get_data(as_text=True)
    page = client.get(f"{address}/leave")
    assert page.status_code == 200
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "You lose 1,300 points, worth" in text_of(page)


def test_leaving(client: FlaskClient, server: ServerContext, member: Enrolled, address: str) -> None:
    client.set_cookie("member-cafe-ohrid", address.removeprefix("/m/"))
    assert "Open your card" in text_of(client.get("/join/cafe-ohrid"))
    answer = submit(client, f"{address}/leave", {"sure": "yes"})
    assert (answer.status_code, answer.location) == (303, "/left/cafe-ohrid")
    assert "Your data are deleted" in text_of(client.get(answer.location))
    assert (ana(server, member).phone, ana(server, member).name) == (None, "")
    for path in (address, f"{address}/leave", f"{address}/welcome", f"/passes/{address[3:]}.pkpass"):
        assert client.get(path).status_code == 404, path
    assert client.get_cookie("member-cafe-ohrid") is None
    assert submit(client, "/join/cafe-ohrid", {"contact": "+38970123456"}).location.endswith("/welcome")


def test_without_the_tick_nothing_happens(
    client: FlaskClient, server: ServerContext, member: Enrolled, address: str
) -> None:
    answer = submit(client, f"{address}/leave", {})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.get_data(as_text=True)
    assert ana(server, member).left_at is None


def test_a_form_without_proof_changes_nothing(
    client: FlaskClient, server: ServerContext, member: Enrolled, address: str
) -> None:
    assert client.post(f"{address}/leave", data={"sure": "yes"}).status_code == 403
    forged = submit(client, f"{address}/leave", {"sure": "yes"}, headers={"Origin": "https://evil.example"})
    assert forged.status_code == 403
    assert ana(server, member).left_at is None


@pytest.mark.parametrize("token", ["x", "A" * 43, "a" * 5000])
def test_wrong_addresses_lead_nowhere(client: FlaskClient, cast: Cast, member: Enrolled, token: str) -> None:
    csrf = csrf_of(client, "/join/cafe-ohrid")
    assert client.get(f"/m/{token}/leave").status_code == 404
    assert client.post(f"/m/{token}/leave", data={"csrf_token": csrf, "sure": "yes"}).status_code == 404
    assert client.get("/left/nowhere").status_code == 404


def test_wrong_methods(client: FlaskClient, address: str) -> None:
    assert client.put(f"{address}/leave").status_code == 405
    assert client.delete("/left/cafe-ohrid").status_code == 405


def test_leaving_twice_at_once_leaves_once(
    client: FlaskClient, server: ServerContext, member: Enrolled, address: str
) -> None:
    csrf = csrf_of(client, f"{address}/leave")
    form = {"csrf_token": csrf, "sure": "yes"}
    assert [client.post(f"{address}/leave", data=form).status_code for _ in range(2)] == [303, 404]


def test_only_this_program_is_left(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, address: str, clock: StoppedClock
) -> None:
    there = enrol_member(server, cast.bakery, clock, phone="+38970123456")
    submit(client, f"{address}/leave", {"sure": "yes"})
    assert client.get(f"/m/{server.mint.page_token(there.member_id)}").status_code == 200


def test_the_phone_may_still_fetch_the_void_pass_and_learns_nothing(
    client: FlaskClient, server: ServerContext, member: Enrolled, address: str, clock: StoppedClock, tmp_path
) -> None:
    with reading(server.engine, ALL_PROGRAMS) as session:
        issued = session.exec(
            select(IssuedPass).where(IssuedPass.member_id == member.member_id, IssuedPass.wallet == "apple")
        ).one()
    headers = {"Authorization": f"ApplePass {server.mint.authentication_token(issued.id)}"}
    pass_type = server.wallets.signer.pass_type_id
    clock.advance(timedelta(minutes=1))
    submit(client, f"{address}/leave", {"sure": "yes"})
    answer = client.get(f"/apple/v1/passes/{pass_type}/{issued.serial}", headers=headers)
    assert answer.status_code == 200
    (tmp_path / "void.pkpass").write_bytes(answer.data)
    with ZipFile(tmp_path / "void.pkpass") as archive:
        document = json.loads(archive.read("pass.json"))
    assert document["voided"] is True
    text = json.dumps(document, ensure_ascii=False)
    for secret in ("Ana Petrovska", "/m/", member.card_number):
        assert secret not in text


def test_taking_ones_data_along(client: FlaskClient, server: ServerContext, member: Enrolled, address: str) -> None:
    assert f'href="{address}/data.json"' in client.get(address).get_data(as_text=True)
    answer = client.get(f"{address}/data.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="cafe-ohrid.json"'
    assert (answer.headers["Referrer-Policy"], answer.headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert answer.json["member"]["phone"] == "+38970123456"
    assert address[3:] not in answer.get_data(as_text=True)
    assert client.get("/m/nobody/data.json").status_code == 404
    assert client.post(f"{address}/data.json").status_code in (403, 405)
    for _ in range(20):
        last = client.get(f"{address}/data.json").status_code
    assert last == 429


def test_the_panel_shows_a_member_who_has_left(
    client: FlaskClient, server: ServerContext, member: Enrolled, address: str, sign_in: SignIn
) -> None:
    submit(client, f"{address}/leave", {"sure": "yes"})
    owner = sign_in("owner@cafe.example")
    page = owner.get(f"/panel/programs/cafe-ohrid/members/{member.member_id}")
    assert page.status_code == 200
    assert "This member has left the program" in text_of(page)
    assert "/purchase" not in page.get_data(as_text=True).split("<main")[-1].split("history")[0]
    assert "/m/" not in page.get_data(as_text=True)
    assert "Ana Petrovska" not in owner.get("/panel/programs/cafe-ohrid/members").get_data(as_text=True)
