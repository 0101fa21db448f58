"""A purchase recorded by hand: quoted while typing, recorded exactly once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlmodel import select

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, form_key_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.members.services import Enrolled
from wallet_server.purchases.models import Purchase, PurchaseLine
from wallet_server.staff.models import AuditRecord

BASE = "/panel/programs/cafe-ohrid"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def cashier(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("cashier@cafe.example")


@pytest.fixture
def url(member: Enrolled) -> str:
    return f"{BASE}/members/{member.member_id}/purchase"


def purchases(server: ServerContext) -> list[Purchase]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Purchase).order_by(Purchase.receipt_id)).all())  # type: ignore[arg-type]


def form(client: FlaskClient, url: str, **values: Any) -> dict[str, Any]:
    return {"key": form_key_of(client, url), "outlet": "A", "amount": "", "redeem": "none", **values}


def test_an_amount_is_recorded(
    cashier: FlaskClient, server: ServerContext, member: Enrolled, cast: Cast, url: str, clock: StoppedClock
) -> None:
    answer = submit(cashier, url, form(cashier, url, amount="300,00", receipt_id="R-1"))
    assert answer.status_code == 303
    [purchase] = purchases(server)
    assert (purchase.total_minor, purchase.points_earned, purchase.receipt_id) == (30000, 3, "R-1")
    assert (purchase.source, purchase.recorded_by) == ("panel", "staff:cashier@cafe.example")
    assert purchase.occurred_at == clock.now()
    with reading(server.engine, ALL_PROGRAMS) as session:
        [noted] = session.exec(select(AuditRecord).where(AuditRecord.action == "purchase.recorded")).all()
    assert (noted.actor, noted.subject, noted.detail["points"]) == ("staff:cashier@cafe.example", "R-1", 3)
    text = " ".join(text_of(cashier.get(answer.location)).split())
    assert "Recorded: 3 points." in text
    assert "3 points" in text


def test_products_bring_their_price(cashier: FlaskClient, server: ServerContext, url: str) -> None:
    values = form(cashier, url, amount="10", sku=["burger", "", "cappuccino"], quantity=["2", "1", "0.5"])
    assert submit(cashier, url, values).status_code == 303
    with reading(server.engine, ALL_PROGRAMS) as session:
        lines = session.exec(select(PurchaseLine).order_by(PurchaseLine.line)).all()  # type: ignore[arg-type]
    assert [(line.sku, line.category, line.amount_minor) for line in lines] == [
        (None, None, 1000),
        ("burger", "food", 90000),
        ("cappuccino", "coffee", 15000),
    ]


def test_a_double_click_records_once(cashier: FlaskClient, server: ServerContext, url: str) -> None:
    values = form(cashier, url, amount="300")
    first = submit(cashier, url, values)
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=5)):  # the page's CSRF proof is another one now
        second = submit(cashier, url, values)
    assert first.location == second.location
    assert len(purchases(server)) == 1


def test_an_old_form_with_other_content_is_refused(cashier: FlaskClient, server: ServerContext, url: str) -> None:
    values = form(cashier, url, amount="300")
    proof = csrf_of(cashier, url)
    cashier.post(url, data={"csrf_token": proof, **values})
    answer = cashier.post(url, data={"csrf_token": proof, **values, "amount": "999"})
    assert answer.status_code == 422
    assert "sent before with other content" in text_of(answer)
    assert len(purchases(server)) == 1


def test_points_pay(cashier: FlaskClient, server: ServerContext, member: Enrolled, url: str) -> None:
    submit(cashier, url, form(cashier, url, amount="10000"))
    submit(cashier, url, form(cashier, url, amount="20", redeem="some", redeem_points="7", receipt_id="some"))
    submit(cashier, url, form(cashier, url, amount="50", redeem="max", receipt_id="max"))
    used = {purchase.receipt_id: (purchase.points_redeemed, purchase.money_due_minor) for purchase in purchases(server)}
    assert used["some"] == (7, 1300)
    assert used["max"] == (50, 0)


def test_too_many_points_are_refused_and_the_form_can_be_corrected(
    cashier: FlaskClient, server: ServerContext, url: str
) -> None:
    values = form(cashier, url, amount="300", redeem="some", redeem_points="500")
    answer = submit(cashier, url, values)
    assert answer.status_code in (409, 422)
    assert "does not have that many points" in text_of(answer)
    body = answer.get_data(as_text=True)
    assert 'value="500"' in body
    fresh = re.search(r'name="key" value="([0-9a-f]{32})"', body)
    assert fresh is not None
    assert fresh.group(1) != values["key"]
    again = submit(cashier, url, {**values, "key": fresh.group(1), "redeem": "none"})
    assert again.status_code == 303
    assert len(purchases(server)) == 1


def test_the_same_receipt_is_recorded_once(cashier: FlaskClient, server: ServerContext, url: str) -> None:
    submit(cashier, url, form(cashier, url, amount="300", receipt_id="R-1"))
    answer = submit(cashier, url, form(cashier, url, amount="300", receipt_id="R-1"))
    assert answer.status_code == 409
    assert "recorded before" in text_of(answer)
    assert len(purchases(server)) == 1


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"amount": "-5"},
        {"amount": "abc"},
        {"amount": "1.234,56"},
        {"amount": "1.005"},
        {"amount": "9" * 15},
        {"amount": "300", "outlet": "Z"},
        {"amount": "300", "outlet": ""},
        {"amount": "300", "redeem": "some", "redeem_points": "1.5"},
        {"amount": "300", "redeem": "some", "redeem_points": "many"},
        {"sku": "no-such-product", "quantity": "1"},
        {"sku": "burger", "quantity": "0"},
        {"sku": "burger", "quantity": "0.0001"},
        {"amount": "300", "receipt_id": "a\x1fb"},
    ],
)
def test_a_bad_form_changes_nothing_and_comes_back(
    cashier: FlaskClient, server: ServerContext, url: str, values: dict[str, Any]
) -> None:
    answer = submit(cashier, url, form(cashier, url, **values))
    assert answer.status_code in (404, 422)
    assert 'role="alert"' in answer.get_data(as_text=True)
    assert purchases(server) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Enter an amount or choose a product."),
        ({"amount": "abc"}, "Enter an amount or choose a product."),
        ({"sku": "no-such-product", "quantity": "1"}, "Choose a product that has a price."),
        ({"sku": "burger", "quantity": "0.0001"}, "A quantity is a number with at most three decimals."),
        ({"amount": "300", "redeem": "some", "redeem_points": "1.5"}, "Points to use are a whole number."),
    ],
)
def test_a_bad_form_says_which_part_is_wrong(
    cashier: FlaskClient, url: str, values: dict[str, Any], sentence: str
) -> None:
    refused = submit(cashier, url, form(cashier, url, **values)).get_data(as_text=True)
    alert = refused.split('role="alert">')[1]
    assert alert.startswith(sentence)


def test_the_quote_comes_while_typing_and_changes_nothing(
    cashier: FlaskClient, server: ServerContext, url: str
) -> None:
    values = form(cashier, url, amount="450", action="quote")
    fragment = submit(cashier, url, values, headers=HTMX)
    text = " ".join(text_of(fragment).split())
    assert "<html" not in fragment.get_data(as_text=True)
    assert "MKD 450.00" in text
    assert "+4" in text
    whole = submit(cashier, url, values)
    assert "<html" in whole.get_data(as_text=True)
    assert 'value="450"' in whole.get_data(as_text=True)
    assert purchases(server) == []


def test_a_quote_of_a_bad_form_says_why(cashier: FlaskClient, url: str) -> None:
    fragment = submit(cashier, url, form(cashier, url, amount="abc", action="quote"), headers=HTMX)
    assert fragment.status_code == 200
    assert 'role="alert"' in fragment.get_data(as_text=True)


def test_another_line_keeps_what_was_typed(cashier: FlaskClient, url: str) -> None:
    values = form(cashier, url, sku=["burger"], quantity=["3"], action="add")
    fragment = submit(cashier, url, values, headers=HTMX).get_data(as_text=True)
    assert fragment.count('name="sku"') == 2
    assert '<option value="burger" selected>' in fragment
    assert 'value="3"' in fragment
    assert "<html" not in fragment
    assert "<html" in submit(cashier, url, values).get_data(as_text=True)


def test_a_recorded_purchase_says_why(cashier: FlaskClient, server: ServerContext, url: str) -> None:
    submit(cashier, url, form(cashier, url, amount="300", receipt_id="R-1"))
    [purchase] = purchases(server)
    text = " ".join(text_of(cashier.get(f"{BASE}/purchases/{purchase.id}")).split())
    assert "Receipt R-1" in text
    assert "Restaurant A" in text
    assert "Every line earns 1 %." in text
    assert "Together: 3 points." in text


def test_a_won_voucher_is_told_at_once(cashier: FlaskClient, url: str) -> None:
    answer = submit(cashier, url, form(cashier, url, sku=["burger"], quantity=["5"]))
    assert "The member has won a reward" in text_of(cashier.get(answer.location))


def test_the_outlet_used_last_is_chosen_next_time(cashier: FlaskClient, url: str) -> None:
    submit(cashier, url, form(cashier, url, amount="300", outlet="B"))
    assert '<option value="B" selected>' in cashier.get(url).get_data(as_text=True)
