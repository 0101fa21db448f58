"""Joining at the till, and what the cashier sees."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlmodel import select

from tests.services.purchases.shop import Shop
from tests.web.helpers import StoppedClock
from tests.web.pos_api.conftest import TillClient, make_key, problem, quote_of, receipt
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.idempotency.models import IdempotencyKey
from wallet_server.members.models import Member

ANA = {"phone": "070 123 456", "language": "mk", "name": "Ана", "consents": {"marketing": True}}


def test_somebody_joins_and_is_found_again(till: TillClient, shop: Shop) -> None:
    response = till.post("/members", ANA)
    assert response.status_code == 201
    body = response.get_json()
    assert set(body) == {"member_id", "card_number", "page_url", "apple_pass_url", "google_save_url"}
    assert body["page_url"].startswith("http://127.0.0.1:8000/m/")
    token = body["page_url"].rpartition("/")[2]
    assert body["apple_pass_url"] == f"http://127.0.0.1:8000/passes/{token}.pkpass"
    assert till.client.get(f"/m/{token}").status_code == 200
    again = till.post("/members", {"phone": "+389 70 123 456"})
    assert again.status_code == 200
    assert again.get_json() == body
    seen = till.get(f"/members/{body['card_number']}").get_json()
    assert seen == {
        "member_id": body["member_id"],
        "card_number": body["card_number"],
        "tier": "base",
        "balance": {"spendable": 0, "pending": 0},
        "challenges": [
            {"code": "dinner", "progress": 0, "target": 3, "completed": False},
            {"code": "burgers", "progress": 0, "target": 5, "completed": False},
        ],
        "vouchers": [],
        "offers": [],
        "points_held": 0,
        "points_owed": 0,
        "tags": [],
        "coefficients": [],
    }


def test_a_replay_gives_the_addresses_again_but_keeps_none(till: TillClient, shop: Shop) -> None:
    first = till.post("/members", ANA, key="k1")
    second = till.post("/members", ANA, key="k1")
    assert (second.status_code, second.data) == (201, first.data)
    assert second.headers["Idempotency-Replayed"] == "true"
    token = first.get_json()["page_url"].rpartition("/")[2]
    with reading(shop.engine, ALL_PROGRAMS) as session:
        [stored] = session.exec(select(IdempotencyKey.body)).all()
    assert token not in stored


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "Ана"},
        {"phone": "12"},
        {"email": "nobody"},
        {"phone": 70123456},
        {"email": "a@example.com", "language": "xx"},
        {"email": "a@example.com", "birthday": "2026-13-01"},
        {"email": "a@example.com", "birthday": 5},
        {"email": "a@example.com", "consents": {"marketing": "yes"}},
        {"email": "a@example.com", "consents": {}},
        {"email": "a@example.com", "is_admin": True},
        {"email": "a@example.com", "referral_code": "NOBODYS"},
    ],
)
def test_a_bad_member_is_refused(till: TillClient, shop: Shop, body: dict[str, Any]) -> None:
    assert problem(till.post("/members", body)) == (422, "validation")
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(sa.func.count()).select_from(Member)).one() == 1


@pytest.mark.parametrize("body", [{"phone": "12"}, {"phone": "070 111 222", "phones": 1}])
def test_one_wrong_field_is_told_as_several_are(till: TillClient, body: dict[str, Any]) -> None:
    refused = till.post("/members", body).get_json()
    assert [sorted(error) for error in refused["errors"]] == [["field", "message"]]
    [error] = refused["errors"]
    assert error["field"] in body
    assert refused["detail"] == f"{error['field']}: {error['message']}"
    assert "field" not in refused


def test_the_outlet_of_the_key_is_where_the_member_joined(app: Flask, shop: Shop) -> None:
    at_b = TillClient(app.test_client(), make_key(shop.engine, shop.program, outlet="B"))
    assert at_b.post("/members", {"email": "b@example.com"}).status_code == 201
    with reading(shop.engine, ALL_PROGRAMS) as session:
        joined = session.exec(select(Member).where(Member.email == "b@example.com")).one()
        assert joined.outlet_id == shop.program.outlet("B").id
        assert joined.channel == "till"
    assert problem(at_b.post("/members", {"email": "c@example.com", "outlet": "A"})) == (403, "other_outlet")


def test_joining_needs_its_scope_and_a_key(app: Flask, shop: Shop, till: TillClient) -> None:
    earn = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn"]))
    assert problem(earn.post("/members", ANA)) == (403, "missing_scope")
    assert problem(till.post("/members", ANA, key=None)) == (422, "validation")
    assert problem(app.test_client().post("/api/v1/members", json=ANA)) == (401, "unauthorized")
    assert problem(till.get("/members")) == (405, "method_not_allowed")


def test_the_card_shows_balance_progress_and_vouchers(till: TillClient, shop: Shop) -> None:
    line = {"sku": "burger", "quantity": 5, "unit_price_minor": 45_000}
    bought = till.post("/purchases", receipt(shop.card, lines=[line])).get_json()
    [reward] = bought["rewards"]
    assert (reward["challenge"], reward["kind"], reward["points"]) == ("burgers", "voucher", None)
    seen = till.get(f"/members/{shop.card}").get_json()
    assert seen["balance"] == {"spendable": 22, "pending": 0}
    assert [voucher["code"] for voucher in seen["vouchers"]] == [reward["voucher_code"]]
    assert seen["vouchers"][0]["sku"] == "burger"


def test_unknown_and_blocked_cards(till: TillClient, shop: Shop) -> None:
    assert problem(till.get("/members/1")) == (404, "unknown_card")
    assert problem(till.get("/members/1/entries")) == (404, "unknown_card")
    assert problem(till.get("/members/%00")) == (404, "unknown_card")


def test_the_ledger_is_read_page_by_page(till: TillClient, shop: Shop) -> None:
    for number in range(5):
        till.post("/purchases", receipt(shop.card, f"A-{number}", 10_000 * (number + 1)))
    first = till.get(f"/members/{shop.card}/entries?limit=2").get_json()
    assert [(row["sequence"], row["points"], row["reason"]) for row in first["entries"]] == [
        (5, 5, "Receipt A-4"),
        (4, 4, "Receipt A-3"),
    ]
    assert first["entries"][0]["balance_after"] == 15
    assert first["next_after"] == 4
    rest = till.get(f"/members/{shop.card}/entries?after=4").get_json()
    assert [row["sequence"] for row in rest["entries"]] == [3, 2, 1]
    assert rest["next_after"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "after=0", "after=-1", "after=1e9", "page=2"])
def test_a_bad_page_is_refused(till: TillClient, shop: Shop, query: str) -> None:
    assert problem(till.get(f"/members/{shop.card}/entries?{query}")) == (422, "validation")


def test_an_own_percent_is_set_shown_used_and_taken_away(till: TillClient, shop: Shop, clock: StoppedClock) -> None:
    path = f"/members/{shop.card}/coefficient"
    at_b = till.put(path, {"percent": 8, "outlet": "B", "ends_at": "2026-11-25T00:00:00+01:00"})
    assert at_b.status_code == 200, at_b.get_data(as_text=True)
    everywhere = till.put(path, {"percent": "2.50", "redeem_max_percent": 30.5})
    network = {"percent": "2.5", "outlet": None, "ends_at": None, "redeem_max_percent": "30.5"}
    of_b = {"percent": "8", "outlet": "B", "ends_at": "2026-11-25T00:00:00+01:00", "redeem_max_percent": None}
    assert everywhere.get_json() == {"card_number": shop.card, "coefficients": [network, of_b]}
    assert till.get(f"/members/{shop.card}").get_json()["coefficients"] == [network, of_b]
    for outlet, percent, redeemable in (("A", "2.5", "30.5"), ("B", "8", "100")):
        [line] = till.post("/quotes", quote_of(receipt(shop.card, outlet=outlet)), key=None).get_json()["lines"]
        assert (line["earn_percent"], line["redeem_percent"]) == (percent, redeemable)
    clock.advance(timedelta(days=2))
    assert till.get(f"/members/{shop.card}").get_json()["coefficients"] == [network]
    assert till.put(path, {"percent": None, "outlet": "B"}).get_json()["coefficients"] == [network]
    assert till.put(path, {"percent": 0}).get_json()["coefficients"] == []


@pytest.mark.parametrize("zero", ["0", "-0", "-0.0", "0e400", "0.000e-400"])
def test_a_zero_is_a_zero_however_it_is_written(till: TillClient, shop: Shop, zero: str) -> None:
    body = f'{{"percent": 5, "redeem_max_percent": {zero}}}'
    answer = till.put(f"/members/{shop.card}/coefficient", data=body, content_type="application/json")
    assert answer.get_json()["coefficients"][0]["redeem_max_percent"] == "0"


def test_a_bad_percent_is_told_in_words(till: TillClient, shop: Shop) -> None:
    answer = till.put(f"/members/{shop.card}/coefficient", {"percent": "1/3"})
    assert answer.get_json()["detail"] == 'percent: must be a number, or a text such as "2.5"'


def test_who_may_set_which_percent(app: Flask, till: TillClient, shop: Shop) -> None:
    path = f"/members/{shop.card}/coefficient"
    at_b = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["members"], outlet="B"))
    assert problem(at_b.put(path, {"percent": 5, "outlet": "A"})) == (403, "other_outlet")
    assert problem(at_b.put(path, {"percent": 5})) == (403, "other_outlet")
    assert at_b.put(path, {"percent": 5, "outlet": "B"}).status_code == 200
    earn = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn"]))
    assert problem(earn.put(path, {"percent": 5})) == (403, "missing_scope")
    assert problem(till.post(path, {"percent": 5})) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"percent": -1},
        {"percent": 1001},
        {"percent": "5 %"},
        {"percent": "1e2"},
        {"percent": True},
        {"percent": 5, "redeem_max_percent": 101},
        {"percent": 5, "ends_at": "2026-11-23T16:30:00+01:00"},
        {"percent": 5, "ends_at": "2026-11-30"},
        {"percent": None, "redeem_max_percent": 5},
        {"percent": 5, "outlet": ""},
        {"percent": 5, "priority": 1},
    ],
)
def test_a_bad_percent_is_refused(till: TillClient, shop: Shop, body: dict[str, Any]) -> None:
    assert problem(till.put(f"/members/{shop.card}/coefficient", body)) == (422, "validation")
    assert till.get(f"/members/{shop.card}").get_json()["coefficients"] == []


def test_tags_are_set_all_at_once(app: Flask, till: TillClient, shop: Shop) -> None:
    path = f"/members/{shop.card}/tags"
    assert till.put(path, {"tags": ["press", "staff", "press"]}).get_json() == {
        "card_number": shop.card,
        "tags": ["press", "staff"],
    }
    assert till.put(path, {"tags": ["staff"]}).status_code == 200
    assert till.get(f"/members/{shop.card}").get_json()["tags"] == ["staff"]
    for bad in ({"tags": ["two words"]}, {"tags": ["x"] * 51}, {"tags": "staff"}, {"tags": [1]}, {}):
        assert problem(till.put(path, bad)) == (422, "validation")
    assert problem(till.put("/members/1/tags", {"tags": []})) == (404, "unknown_card")
    earn = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn"]))
    assert problem(earn.put(path, {"tags": []})) == (403, "missing_scope")
    assert till.get(f"/members/{shop.card}").get_json()["tags"] == ["staff"]
