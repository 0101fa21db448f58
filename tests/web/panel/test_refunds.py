"""A refund by hand: what it would do, then done once, and shown with the purchase."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.test import TestResponse

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.ledger.queries import balance
from wallet_server.members.services import Enrolled
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.models import Refund
from wallet_server.purchases.services import record_purchase

BASE = "/panel/programs/cafe-ohrid/purchases"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def purchase_id(server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock) -> UUID:
    """Four burgers and a cappuccino: 18 points and 3."""
    lines = (LineInput("burger", None, 4000, 45000), LineInput("cappuccino", None, 1000, 30000))
    receipt = RecordPurchase("A-9", member.card_number, "A", clock.now(), lines)
    with transaction(server.engine, cast.cafe.id) as session:
        made = record_purchase(session, cast.cafe, receipt, now=clock.now(), source="till", recorded_by="key:x")
        return made.purchase_id


def form_of(purchase_id: UUID) -> str:
    return f"{BASE}/{purchase_id}/refund"


def send(client: FlaskClient, purchase_id: UUID, action: str = "refund", **values: Any) -> TestResponse:
    values = {"action": action, "refund_id": "P-0000000A", **values}
    return submit(client, form_of(purchase_id), values, follow_redirects=True)


def refunds(server: ServerContext) -> list[Refund]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Refund)))


def words(response: TestResponse) -> str:
    return " ".join(text_of(response).replace("\N{NO-BREAK SPACE}", " ").split())


def test_the_preview_says_what_would_happen_and_changes_nothing(
    manager: FlaskClient, server: ServerContext, member: Enrolled, purchase_id: UUID
) -> None:
    assert "Burger MKD 450.00 · 4 left" in words(manager.get(form_of(purchase_id)))
    values = {"csrf_token": csrf_of(manager, form_of(purchase_id)), "action": "preview", "line_1": "2"}
    answer = manager.post(form_of(purchase_id), data=values, headers=HTMX)
    assert "<html" not in answer.get_data(as_text=True)
    text = words(answer)
    assert "To give back in money MKD 900.00" in text
    assert "Points taken back 9" in text
    assert "Points after it 12" in text
    assert refunds(server) == []
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert balance(session, member.member_id).spendable == 21


def test_a_refund_is_done_once_and_shown(
    manager: FlaskClient, server: ServerContext, member: Enrolled, purchase_id: UUID
) -> None:
    page = words(send(manager, purchase_id, line_1="1"))
    assert "Refunded. Give back MKD 450.00." in page
    assert "Refunds P-0000000A MKD 450.00 Burger × 1" in page
    assert "manager@cafe.example" in page
    send(manager, purchase_id, line_1="1")
    assert len(refunds(server)) == 1
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert balance(session, member.member_id).spendable < 21


def test_a_refund_says_what_else_it_did_and_why_what_is_left_earns_so_much(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, purchase_id: UUID
) -> None:
    """The fifth burger wins a voucher, and is brought back."""
    receipt = RecordPurchase("A-10", member.card_number, "A", clock.now(), (LineInput("burger", None, 1000, 45000),))
    with transaction(server.engine, cast.cafe.id) as session:
        record_purchase(session, cast.cafe, receipt, now=clock.now(), source="till", recorded_by="key:x")
    page = words(send(manager, purchase_id, line_1="1"))
    assert "What is left (MKD 1,650.00) earns 16 points." in page
    assert "Five burgers: 1 less." in page
    assert re.search(r"Voucher [A-Z0-9-]+ is withdrawn\.", page)
    assert "Why what is left earns this Every line earns 1 %." in page
    for language in ("ru", "mk"):
        assert manager.get(f"{BASE}/{purchase_id}", query_string={"lang": language}).status_code == 200


def test_everything_is_one_button(manager: FlaskClient, server: ServerContext, purchase_id: UUID) -> None:
    body = send(manager, purchase_id, "all").get_data(as_text=True)
    assert re.search(r'name="line_1"[^>]*value="4"', body)
    assert re.search(r'name="line_2"[^>]*value="1"', body)
    assert refunds(server) == []
    page = words(send(manager, purchase_id, line_1="4", line_2="1"))
    assert "MKD 2,100.00" in page
    assert f'href="{form_of(purchase_id)}"' not in manager.get(f"{BASE}/{purchase_id}").get_data(as_text=True)


@pytest.mark.parametrize(
    ("values", "sentence", "status"),
    [
        ({}, "Choose what comes back.", 422),
        ({"line_1": "0"}, "Choose what comes back.", 422),
        ({"line_1": "two"}, "A quantity is a number with at most three decimals.", 422),
        ({"line_1": "-1"}, "A quantity is a number with at most three decimals.", 422),
        ({"line_1": "4.001"}, "Less than that is left of this purchase.", 409),
    ],
)
def test_what_cannot_be_is_refused(
    manager: FlaskClient, server: ServerContext, purchase_id: UUID, values: dict[str, str], sentence: str, status: int
) -> None:
    answer = send(manager, purchase_id, **values)
    assert answer.status_code == status
    assert sentence in words(answer)
    assert refunds(server) == []


def test_who_may_not_cannot(
    sign_in: SignIn, client: FlaskClient, server: ServerContext, cast: Cast, purchase_id: UUID
) -> None:
    cashier = sign_in("cashier@cafe.example")
    assert form_of(purchase_id) not in cashier.get(f"{BASE}/{purchase_id}").get_data(as_text=True)
    assert cashier.get(form_of(purchase_id)).status_code == 403
    assert client.get(form_of(purchase_id)).status_code == 303
    stranger = sign_in("owner@bakery.example")
    assert stranger.get(form_of(purchase_id)).status_code == 404
    assert stranger.get(form_of(purchase_id).replace("cafe-ohrid", "bakery")).status_code == 404
    manager = sign_in("manager@cafe.example")
    assert manager.get(form_of(uuid4())).status_code == 404
    assert manager.put(form_of(purchase_id)).status_code == 405
    assert refunds(server) == []
