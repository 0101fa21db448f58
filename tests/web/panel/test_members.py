"""The list of members, one member's page, enrolling, vouchers, the audit log."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, enrol_member, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.models import Member
from wallet_server.members.services import Enrolled
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.services import record_purchase
from wallet_server.rewards.models import Voucher
from wallet_server.staff.models import AuditRecord

BASE = "/panel/programs/cafe-ohrid"
MEMBERS = f"{BASE}/members"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def cashier(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("cashier@cafe.example")


def buy(
    server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, receipt: str, burgers: int = 1
) -> None:
    command = RecordPurchase(
        receipt, member.card_number, "A", clock.now(), (LineInput("burger", None, 1000 * burgers, 45000),)
    )
    with transaction(server.engine, cast.cafe.id) as session:
        record_purchase(session, cast.cafe, command, now=clock.now(), source="till", recorded_by="key:x")


@pytest.mark.parametrize("text", ["Ana", "petrovska", "070 123 456", "+38970123", "123456"])
def test_the_search_finds_a_member_by_what_people_say(cashier: FlaskClient, member: Enrolled, text: str) -> None:
    assert "Ana Petrovska" in text_of(cashier.get(MEMBERS, query_string={"q": text}))


def test_the_search_finds_a_member_by_card(cashier: FlaskClient, member: Enrolled) -> None:
    spaced = f"{member.card_number[:4]} {member.card_number[4:8]}"
    assert "Ana Petrovska" in text_of(cashier.get(MEMBERS, query_string={"q": spaced}))


@pytest.mark.parametrize("text", ["nobody", "%", "_", "'; DROP TABLE member; --", "x" * 3000])
def test_a_search_without_result_says_so(cashier: FlaskClient, member: Enrolled, text: str) -> None:
    answer = cashier.get(MEMBERS, query_string={"q": text})
    assert answer.status_code == 200
    assert "Nobody found" in text_of(answer)


def test_htmx_gets_the_list_alone_and_history_the_whole_page(cashier: FlaskClient, member: Enrolled) -> None:
    fragment = cashier.get(MEMBERS, headers=HTMX)
    assert "Ana Petrovska" in text_of(fragment)
    assert "<html" not in fragment.get_data(as_text=True)
    assert "HX-Request" in fragment.headers["Vary"]
    for extra in ({}, {**HTMX, "HX-Boosted": "true"}, {**HTMX, "HX-History-Restore-Request": "true"}):
        assert "<html" in cashier.get(MEMBERS, headers=extra).get_data(as_text=True)


def test_a_fragment_without_result_and_one_of_many_pages(
    cashier: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    assert "No members yet" in text_of(cashier.get(MEMBERS, headers=HTMX))
    for number in range(51):
        enrol_member(server, cast.cafe, clock, phone=f"+3897022{number:04d}")
    assert "Next page" in text_of(cashier.get(MEMBERS, headers=HTMX))


def test_the_list_goes_on_page_by_page(
    cashier: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    for number in range(60):
        enrol_member(server, cast.cafe, clock, phone=f"+3897022{number:04d}")
    first = cashier.get(MEMBERS).get_data(as_text=True)
    assert first.count("row-link") == 50
    following = re.search(r'href="([^"]+before=[^"]+)"', first)
    assert following is not None
    second = cashier.get(following.group(1)).get_data(as_text=True)
    assert second.count("row-link") == 10
    assert "First page" in second


def test_a_member_of_another_program_is_not_in_the_list(
    cashier: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    enrol_member(server, cast.bakery, clock, phone="+38970999888", name="Baker Boris")
    assert "Boris" not in text_of(cashier.get(MEMBERS))


def test_a_members_page_shows_everything(
    cashier: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    buy(server, cast, member, clock, "A-77", burgers=6)
    answer = cashier.get(f"{MEMBERS}/{member.member_id}")
    text = " ".join(text_of(answer).split())
    for expected in ("Ana Petrovska", "+38970123456", "27 points", "Receipt A-77", "+27", "1 / 5", "1 / 3", "Burger"):
        assert expected in text
    assert "completed 1 time" in text


@pytest.mark.parametrize("member_id", ["x", "1", "0199e0d2-7c1b-7cc3-98c4-dc0c0c07398f"])
def test_a_member_that_is_none(cashier: FlaskClient, cast: Cast, member_id: str) -> None:
    assert cashier.get(f"{MEMBERS}/{member_id}").status_code == 404


def test_the_live_part_follows_the_pass(
    cashier: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    url = f"{MEMBERS}/{member.member_id}/live"
    assert "not on a phone" in text_of(cashier.get(url))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        for issued in session.exec(select(IssuedPass).where(IssuedPass.wallet == "apple")):
            issued.live = True
            issued.fetched_version = issued.version
    assert "up to date" in text_of(cashier.get(url))
    buy(server, cast, member, clock, "A-1")
    text = " ".join(text_of(cashier.get(url)).split())
    assert "on its way" in text
    assert "4 points" in text
    assert "<html" not in cashier.get(url).get_data(as_text=True)


def test_a_card_that_google_was_told_of_is_up_to_date(
    cashier: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    url = f"{MEMBERS}/{member.member_id}/live"
    with transaction(server.engine, ALL_PROGRAMS) as session:
        for issued in session.exec(select(IssuedPass).where(IssuedPass.wallet == "google")):
            issued.live = True
    assert "on its way" in text_of(cashier.get(url))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        for issued in session.exec(select(IssuedPass).where(IssuedPass.wallet == "google")):
            issued.pushed_version = issued.version
    assert "up to date" in text_of(cashier.get(url))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        for issued in session.exec(select(IssuedPass).where(IssuedPass.wallet == "google")):
            issued.removed_at = issued.created_at
    assert "up to date" not in text_of(cashier.get(f"{MEMBERS}/{member.member_id}/live"))


def test_staff_enrols_somebody_at_the_till(cashier: FlaskClient, server: ServerContext, cast: Cast) -> None:
    form = {"contact": "070 555 666", "name": "Марко", "language": "mk", "marketing": "yes"}
    answer = submit(cashier, f"{MEMBERS}/new", form)
    assert answer.status_code == 303
    page = cashier.get(answer.location)
    assert "Welcome! Let the member scan the code below." in text_of(page)
    with reading(server.engine, ALL_PROGRAMS) as session:
        person = session.exec(select(Member)).one()
        record = session.exec(select(AuditRecord).where(AuditRecord.action == "member.enrolled")).one()
    assert (person.phone, person.name, person.language, person.channel) == ("+38970555666", "Марко", "mk", "staff")
    assert record.actor == "staff:cashier@cafe.example"


def test_enrolling_a_member_again_changes_nothing(cashier: FlaskClient, member: Enrolled) -> None:
    answer = submit(cashier, f"{MEMBERS}/new", {"contact": "+38970123456", "name": "Someone Else"})
    assert answer.location == f"{MEMBERS}/{member.member_id}"
    text = text_of(cashier.get(answer.location))
    assert "already a member" in text
    assert "Someone Else" not in text


@pytest.mark.parametrize("form", [{"contact": ""}, {"contact": "12"}, {"contact": "070555666", "name": "x" * 150}])
def test_a_bad_enrolment_comes_back_filled(
    cashier: FlaskClient, server: ServerContext, cast: Cast, form: dict[str, str]
) -> None:
    answer = submit(cashier, f"{MEMBERS}/new", form)
    assert answer.status_code == 422
    assert "is-invalid" in answer.get_data(as_text=True)
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Member)).first() is None


def voucher_of(server: ServerContext) -> Voucher:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return session.exec(select(Voucher)).one()


def test_a_voucher_is_redeemed_once(
    cashier: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    buy(server, cast, member, clock, "A-1", burgers=5)
    page = f"{MEMBERS}/{member.member_id}"
    url = f"{page}/vouchers/{voucher_of(server).code}/redeem"
    assert submit(cashier, url, {"outlet": "A"}, page=page).location == page
    assert "Hand out the reward" in text_of(cashier.get(page))
    used = voucher_of(server)
    assert used.redeemed_by == "staff:cashier@cafe.example"
    assert used.redeemed_outlet_id == cast.cafe.outlet("A").id
    assert submit(cashier, url, {"outlet": "B"}, page=page).status_code == 303
    assert "redeemed before" in text_of(cashier.get(page))
    assert voucher_of(server) == used
    with reading(server.engine, ALL_PROGRAMS) as session:
        records = session.exec(select(AuditRecord).where(AuditRecord.action == "voucher.redeemed")).all()
        [apple] = session.exec(select(IssuedPass).where(IssuedPass.wallet == "apple"))
    assert len(records) == 1
    assert apple.version == 3  # issued, bought, redeemed


def test_an_expired_voucher_and_a_wrong_outlet_are_refused(
    sign_in: SignIn, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    for number in range(3):
        buy(server, cast, member, clock, f"A-{number}")
        clock.advance(timedelta(days=1))
    cashier = sign_in("cashier@cafe.example")
    page = f"{MEMBERS}/{member.member_id}"
    url = f"{page}/vouchers/{voucher_of(server).code}/redeem"
    submit(cashier, url, {"outlet": "Z"}, page=page)
    assert "Choose the outlet." in text_of(cashier.get(page))
    clock.advance(timedelta(days=31))
    cashier = sign_in("cashier@cafe.example")
    submit(cashier, url, {"outlet": "A"}, page=f"{MEMBERS}/new")
    assert "This voucher has expired." in text_of(cashier.get(page))
    assert voucher_of(server).redeemed_at is None


def test_a_voucher_of_another_member_is_unknown_here(
    cashier: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    buy(server, cast, member, clock, "A-1", burgers=5)
    other = enrol_member(server, cast.cafe, clock, phone="+38970333444")
    url = f"{MEMBERS}/{other.member_id}/vouchers/{voucher_of(server).code}/redeem"
    assert submit(cashier, url, {"outlet": "A"}, page=f"{MEMBERS}/{member.member_id}").status_code == 404
    assert voucher_of(server).redeemed_at is None


def test_the_owner_reads_who_did_what(sign_in: SignIn, cashier: FlaskClient, cast: Cast) -> None:
    submit(cashier, f"{MEMBERS}/new", {"contact": "070555666"})
    text = text_of(sign_in("owner@cafe.example").get(f"{BASE}/audit"))
    assert "member.enrolled" in text
    assert "staff:cashier@cafe.example" in text
    assert "program.published" in text


def test_the_program_switcher_names_ones_own_programs_only(sign_in: SignIn, cast: Cast) -> None:
    text = text_of(sign_in("owner@cafe.example").get(MEMBERS))
    assert "Cafe Ohrid" in text
    assert "Bakery" not in text
