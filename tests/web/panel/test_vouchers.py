"""The voucher desk: what a code is, redeemed once, and the second time when and where it was used."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, form_key_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.services import Enrolled
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.services import record_purchase
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.wins import grouped
from wallet_server.staff.models import AuditRecord

DESK = "/panel/programs/cafe-ohrid/vouchers"
FORM = "/panel/programs/cafe-ohrid/members/new"
"""Any page with a form: the desk of a used voucher has none any more."""


@pytest.fixture
def cashier(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("cashier@cafe.example")


@pytest.fixture
def voucher(server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock) -> Voucher:
    """Ana's free burger, won with five."""
    command = RecordPurchase("A-1", member.card_number, "A", clock.now(), (LineInput("burger", None, 5000, 45000),))
    with transaction(server.engine, cast.cafe.id) as session:
        record_purchase(session, cast.cafe, command, now=clock.now(), source="till", recorded_by="key:x")
    return stored(server)


def stored(server: ServerContext) -> Voucher:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return session.exec(select(Voucher)).one()


@pytest.mark.parametrize("write", [str, str.lower, grouped, lambda code: f"  {code[:5]} {code[5:]} "])
def test_a_code_is_looked_up_as_people_type_it(
    cashier: FlaskClient, server: ServerContext, voucher: Voucher, write
) -> None:
    answer = cashier.get(DESK, query_string={"code": write(voucher.code)})
    text = text_of(answer)
    assert answer.status_code == 200
    for part in (
        "Good to redeem",
        "Free: Burger",
        grouped(voucher.code),
        "Ana Petrovska",
        "Five burgers",
        "Restaurant B",
    ):
        assert part in text
    assert stored(server).redeemed_at is None


def test_it_is_redeemed_once_and_the_second_time_says_when_and_where(
    cashier: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, voucher: Voucher
) -> None:
    answer = submit(cashier, DESK, {"code": voucher.code, "outlet": "B"}, page=f"{DESK}?code={voucher.code}")
    assert answer.location == DESK
    page = text_of(cashier.get(DESK))
    assert "Redeemed: Burger. Hand it out." in page
    assert "Already redeemed" not in page
    used = stored(server)
    assert (used.redeemed_by, used.redeemed_outlet_id) == ("staff:cashier@cafe.example", cast.cafe.outlet("B").id)

    clock.advance(timedelta(minutes=20))
    again = submit(cashier, DESK, {"code": voucher.code, "outlet": "A"}, page=FORM)
    assert again.status_code == 409
    text = " ".join(text_of(again).split())
    assert "Already redeemed" in text
    assert "It was redeemed on 11/23/26, 4:30 PM at Restaurant B by cashier@cafe.example." in spaced(text)
    assert stored(server) == used
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert len(session.exec(select(AuditRecord).where(AuditRecord.action == "voucher.redeemed")).all()) == 1
        [apple] = session.exec(select(IssuedPass).where(IssuedPass.wallet == "apple"))
    assert apple.version == 3  # issued, bought, redeemed


def spaced(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ")


def test_a_used_voucher_has_no_button(cashier: FlaskClient, voucher: Voucher) -> None:
    url = f"{DESK}?code={voucher.code}"
    assert 'name="outlet"' in cashier.get(url).get_data(as_text=True)
    submit(cashier, DESK, {"code": voucher.code, "outlet": "A"}, page=url)
    body = cashier.get(url).get_data(as_text=True)
    assert "Already redeemed" in body
    assert 'name="outlet"' not in body


def test_the_outlet_is_remembered(cashier: FlaskClient, voucher: Voucher) -> None:
    url = f"{DESK}?code={voucher.code}"
    assert '<option value="A" selected>' in cashier.get(url).get_data(as_text=True)
    with cashier.session_transaction() as session:
        session["outlet"] = "B"
    assert '<option value="B" selected>' in cashier.get(url).get_data(as_text=True)


def test_an_expired_voucher_says_since_when(
    sign_in: SignIn, server: ServerContext, cast: Cast, clock: StoppedClock, member: Enrolled
) -> None:
    for number in range(3):
        command = RecordPurchase(
            f"A-{number}", member.card_number, "A", clock.now(), (LineInput("cappuccino", None, 1000, 30000),)
        )
        with transaction(server.engine, cast.cafe.id) as session:
            record_purchase(session, cast.cafe, command, now=clock.now(), source="till", recorded_by="key:x")
        clock.advance(timedelta(days=1))
    clock.advance(timedelta(days=31))
    code = stored(server).code
    cashier = sign_in("cashier@cafe.example")
    shown = " ".join(text_of(cashier.get(DESK, query_string={"code": code})).split())
    assert "It expired on 12/25/26, 4:30 PM." in spaced(shown)
    answer = submit(cashier, DESK, {"code": code, "outlet": "A"}, page=FORM)
    assert answer.status_code == 409
    assert "It expired on" in text_of(answer)
    assert stored(server).redeemed_at is None


def test_a_slip_of_the_finger_is_told_from_an_unknown_code(cashier: FlaskClient, voucher: Voucher) -> None:
    wrong = ("0" if voucher.code[0] != "0" else "1") + voucher.code[1:]
    assert "not a voucher code" in text_of(cashier.get(DESK, query_string={"code": wrong}))
    assert "not a voucher code" in text_of(cashier.get(DESK, query_string={"code": "<script>x</script>" * 50}))
    assert "no such voucher" in text_of(cashier.get(DESK, query_string={"code": "0" * 13}))
    answer = submit(cashier, DESK, {"code": "0" * 13, "outlet": "A"}, page=f"{DESK}?code={voucher.code}")
    assert answer.status_code == 404
    assert "no such voucher" in text_of(answer)


def test_a_wrong_outlet_redeems_nothing(cashier: FlaskClient, server: ServerContext, voucher: Voucher) -> None:
    url = f"{DESK}?code={voucher.code}"
    for outlet in ("Z", ""):
        answer = submit(cashier, DESK, {"code": voucher.code, "outlet": outlet}, page=url)
        assert answer.status_code == 422
        assert "Choose the outlet." in text_of(answer)
    assert stored(server).redeemed_at is None


def test_another_programs_voucher_is_unknown(sign_in: SignIn, server: ServerContext, voucher: Voucher) -> None:
    stranger = sign_in("owner@bakery.example")
    bakery = DESK.replace("cafe-ohrid", "bakery")
    assert "no such voucher" in text_of(stranger.get(bakery, query_string={"code": voucher.code}))
    page = "/panel/programs/bakery/members/new"
    assert submit(stranger, bakery, {"code": voucher.code, "outlet": "A"}, page=page).status_code == 404
    assert submit(stranger, DESK, {"code": voucher.code, "outlet": "A"}, page=page).status_code == 404
    assert stored(server).redeemed_at is None


def test_who_is_not_signed_in_comes_back_to_the_code(client: FlaskClient, cast: Cast) -> None:
    answer = client.get(DESK, query_string={"code": "0" * 13})
    assert answer.status_code == 303
    assert answer.location.startswith("/panel/login?next=")
    assert client.post(DESK, data={"code": "x"}).status_code in (303, 403)


def test_the_wrong_method_is_refused(cashier: FlaskClient) -> None:
    answer = cashier.delete(DESK, headers={"X-CSRFToken": "x"})
    assert answer.status_code in (403, 405)


def test_a_used_voucher_on_the_members_page_says_when_and_where(
    cashier: FlaskClient, voucher: Voucher, member: Enrolled
) -> None:
    page = f"/panel/programs/cafe-ohrid/members/{member.member_id}"
    url = f"{page}/vouchers/{voucher.code}/redeem"
    submit(cashier, url, {"outlet": "B"}, page=page)
    cashier.get(page)
    submit(cashier, url, {"outlet": "A"}, page=page)
    assert "at Restaurant B by cashier@cafe.example" in text_of(cashier.get(page))


def test_a_button_pressed_twice_redeems_once_and_says_the_same_twice(
    cashier: FlaskClient, server: ServerContext, voucher: Voucher
) -> None:
    url = f"{DESK}?code={voucher.code}"
    form = {"code": voucher.code, "outlet": "B", "key": form_key_of(cashier, url)}
    for _press in range(2):
        assert submit(cashier, DESK, form, page=FORM).location == DESK
    page = text_of(cashier.get(DESK))
    assert page.count("Redeemed: Burger. Hand it out.") == 1
    assert "Already redeemed" not in page
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert len(session.exec(select(AuditRecord).where(AuditRecord.action == "voucher.redeemed")).all()) == 1
    assert submit(cashier, DESK, form | {"outlet": "A"}, page=FORM).status_code == 409
    assert submit(cashier, DESK, form | {"key": "0" * 32}, page=FORM).status_code == 409


def test_pressed_twice_on_the_members_page_too(cashier: FlaskClient, member: Enrolled, voucher: Voucher) -> None:
    page = f"/panel/programs/cafe-ohrid/members/{member.member_id}"
    url = f"{page}/vouchers/{voucher.code}/redeem"
    form = {"outlet": "A", "key": form_key_of(cashier, page)}
    for _press in range(2):
        assert submit(cashier, url, form, page=page).location == page
    told = text_of(cashier.get(page))
    assert "The voucher has been redeemed" in told
    assert "Already redeemed" not in told
