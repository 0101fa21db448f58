"""The ledger on a member's page: entries by page, lots, holds, debts, tags and own percents."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.factories import CAFE
from tests.people import publish
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.ledger.adjustments import Adjust, adjust
from wallet_server.ledger.holds import PlaceHold, place_hold
from wallet_server.members.coefficients import coefficients_of_members
from wallet_server.members.services import Enrolled
from wallet_server.members.tags import tags_of_member
from wallet_server.purchases.commands import LineInput, RecordPurchase, RefundPurchase
from wallet_server.purchases.refunds import refund_purchase
from wallet_server.purchases.services import record_purchase

BASE = "/panel/programs/cafe-ohrid"
HTMX = {"HX-Request": "true"}


def page_of(member: Enrolled) -> str:
    return f"{BASE}/members/{member.member_id}"


def give(server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, points: int, reason: str) -> None:
    with transaction(server.engine, cast.cafe.id) as session:
        command = Adjust(points, reason, member_id=member.member_id)
        adjust(session, cast.cafe, command, role="manager", actor="cli", now=clock.now())


def words(response: TestResponse) -> str:
    return " ".join(text_of(response).split())


def post(client: FlaskClient, member: Enrolled, what: str, **values: Any) -> TestResponse:
    return submit(client, f"{page_of(member)}/{what}", values, page=page_of(member), follow_redirects=True)


def test_entries_go_on_page_by_page_also_as_a_fragment(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    for number in range(30):
        give(server, cast, member, clock, 1, f"Gift {number}")
    first = manager.get(page_of(member), headers=HTMX).get_data(as_text=True)
    assert "<html" not in first
    assert first.count("<tr>") == 26
    following = re.search(r'href="([^"]+before=\d+)" hx-get', first)
    assert following is not None
    second = manager.get(following.group(1))
    assert "Gift 0 Correction" in words(second)
    assert "Newest" in words(second)


def test_lots_holds_and_debts_are_there(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        program = publish(session, clock.now(), program=_expiring())
    with transaction(server.engine, program.id) as session:
        lines = (LineInput("burger", None, 6000, 45000),)
        receipt = RecordPurchase("A-1", member.card_number, "A", clock.now(), lines)
        made = record_purchase(session, program, receipt, now=clock.now(), source="till", recorded_by="key:x")
        hold = PlaceHold(member.card_number, "B", 10, 3600, "Table 4")
        place_hold(session, program, hold, now=clock.now(), actor="key:x")
    page = words(manager.get(page_of(member)))
    assert "Points set aside Table 4 10 Restaurant B until" in page
    assert "Set aside 10" in page
    lots = page.partition("Where the points are from, and until when they stay")[2]
    assert lots.startswith(" Receipt A-1 27 ")
    assert "Restaurant A · 10 set aside until" in lots
    live = words(manager.get(f"{page_of(member)}/live"))
    assert "17 points" in live
    assert "Set aside 10" in live
    with transaction(server.engine, program.id) as session:
        command = RefundPurchase(made.purchase_id, "R-1", None)
        refund_purchase(session, program, command, now=clock.now(), recorded_by="key:x")
    assert "Owed 10" in words(manager.get(page_of(member)))


def _expiring() -> dict[str, Any]:
    points = {**CAFE["program"]["points"], "expiry": {"kind": "rolling_days", "days": 90}}
    return {**CAFE["program"], "points": points}


def test_a_hold_that_is_over_is_not_shown(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock
) -> None:
    give(server, cast, member, clock, 50, "A gift")
    with transaction(server.engine, cast.cafe.id) as session:
        place_hold(
            session, cast.cafe, PlaceHold(member.card_number, "A", 10, 60, "Short"), now=clock.now(), actor="key:x"
        )
    assert "Short" in words(manager.get(page_of(member)))
    clock.advance(timedelta(seconds=61))
    assert "Points set aside Short" not in words(manager.get(page_of(member)))


def test_tags_are_set_and_taken_off(manager: FlaskClient, server: ServerContext, member: Enrolled) -> None:
    assert "The tags are saved." in words(post(manager, member, "tags", tags="vip, staff;vip"))
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert tags_of_member(session, member.member_id) == ("staff", "vip")
    assert "staff vip" in words(manager.get(page_of(member)))
    post(manager, member, "tags", tags="")
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert tags_of_member(session, member.member_id) == ()


def test_a_word_that_is_no_tag_is_refused_and_kept(
    manager: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    answer = post(manager, member, "tags", tags="vip, <b>")
    assert answer.status_code == 422
    assert "Tags are words of letters" in words(answer)
    assert 'value="vip, &lt;b&gt;"' in answer.get_data(as_text=True)
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert tags_of_member(session, member.member_id) == ()


def test_an_own_percent_is_set_and_removed(
    manager: FlaskClient, server: ServerContext, member: Enrolled, clock: StoppedClock
) -> None:
    until = (clock.now() + timedelta(days=9)).date().isoformat()
    values = {"percent": "7,5", "outlet": "B", "last_day": until, "redeem_percent": "50"}
    page = words(post(manager, member, "percent", **values))
    assert "The own percent is saved." in page
    assert "7.5 % · Restaurant B · until" in page
    assert "pays up to 50 % with points" in page
    with reading(server.engine, ALL_PROGRAMS) as session:
        (one,) = coefficients_of_members(session, [member.member_id])[member.member_id]
    assert (str(one.percent), one.outlet) == ("7.5", "B")
    assert "The own percent is removed." in words(post(manager, member, "percent", outlet="B", action="remove"))
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert coefficients_of_members(session, [member.member_id]) == {}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"percent": ""}, "Enter a percent from 0 to 1000."),
        ({"percent": "1001"}, "Enter a percent from 0 to 1000."),
        ({"percent": "5", "redeem_percent": "101"}, "Enter a percent from 0 to 100,"),
        ({"percent": "5", "last_day": "2001-01-01"}, "Choose a day that is not over."),
        ({"percent": "5", "last_day": "9999-12-31"}, "Choose a day that is not over."),
        ({"percent": "5", "last_day": "soon"}, "Choose a day that is not over."),
        ({"percent": "5", "outlet": "nowhere"}, "Choose the outlet."),
    ],
)
def test_a_percent_that_cannot_be_is_refused(
    manager: FlaskClient, server: ServerContext, member: Enrolled, values: dict[str, str], sentence: str
) -> None:
    answer = post(manager, member, "percent", **values)
    assert answer.status_code == 422
    assert sentence in words(answer)
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert coefficients_of_members(session, [member.member_id]) == {}


def test_a_cashier_sees_but_does_not_change(sign_in: SignIn, cast: Cast, member: Enrolled) -> None:
    cashier = sign_in("cashier@cafe.example")
    page = words(cashier.get(page_of(member)))
    assert "Tags and own percents" in page
    assert "Change the tags" not in page
    for what in ("tags", "percent"):
        answer = submit(cashier, f"{page_of(member)}/{what}", {}, page=f"{BASE}/members/new")
        assert answer.status_code == 403
