"""Refunds and visits over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import Engine

from tests.services.purchases.shop import Shop, open_shop
from tests.web.pos_api.conftest import TillClient, make_key, problem, receipt
from wallet_server.verification import run_checks

COFFEES = {"sku": "cappuccino", "quantity": 3, "unit_price_minor": 30_000}
BURGERS = {"sku": "burger", "quantity": 5, "unit_price_minor": 45_000}
VISIT = {"outlet": "A", "occurred_at": "2026-11-23T16:30:00+01:00", "visit_id": "V-1"}


def bought(till: TillClient, shop: Shop, *lines: dict[str, Any], **values: Any) -> dict[str, Any]:
    response = till.post("/purchases", receipt(shop.card, **{"lines": list(lines), **values}))
    assert response.status_code == 201, response.get_data(as_text=True)
    answer: dict[str, Any] = response.get_json()
    return answer


def test_a_purchase_comes_back_in_parts(till: TillClient, shop: Shop) -> None:
    purchase = bought(till, shop, COFFEES, BURGERS)
    path = f"/purchases/{purchase['purchase_id']}/refunds"
    asked = {"refund_id": "R-1", "lines": [{"line": 1, "quantity": 1.5}]}
    first = till.post(path, asked, key="k1")
    assert first.status_code == 201
    voucher = purchase["rewards"][0]["voucher_code"]
    assert first.get_json() == {
        "refund_id": "R-1",
        "purchase_id": purchase["purchase_id"],
        "amount_minor": 45_000,
        "money_minor": 45_000,
        "points_returned": 0,
        "points_taken_back": 4,
        "points_owed": 0,
        "balance": {"spendable": 27, "pending": 0},
        "tier": "base",
        "challenges": [
            {"code": "dinner", "progress": 1, "target": 3, "completed": False},
            {"code": "burgers", "progress": 0, "target": 5, "completed": True},
        ],
        "vouchers_withdrawn": [],
        "vouchers_kept": [],
    }
    assert till.post(path, asked, key="k1").data == first.data
    duplicate = till.post(path, asked)
    assert problem(duplicate) == (409, "duplicate_refund")
    rest = till.post(path, {"refund_id": "R-2"}).get_json()
    assert (rest["points_taken_back"], rest["amount_minor"]) == (27, 270_000)
    assert (rest["balance"], rest["vouchers_withdrawn"]) == ({"spendable": 0, "pending": 0}, [voucher])
    assert [state["progress"] for state in rest["challenges"]] == [0, 0]
    assert problem(till.post(path, {"refund_id": "R-3"})) == (409, "refund_exceeds_purchase")
    assert run_checks(shop.engine).violations == []


def test_points_that_paid_come_back_and_spent_ones_are_owed(till: TillClient, shop: Shop) -> None:
    earned = bought(till, shop, {"quantity": 1, "unit_price_minor": 1_000_000}, receipt_id="A-0")
    paid = bought(till, shop, COFFEES, receipt_id="A-1", redeem_points=60)
    lost = till.post(f"/purchases/{earned['purchase_id']}/refunds", {"refund_id": "R-1"}).get_json()
    assert (lost["points_taken_back"], lost["points_owed"]) == (100, 52)
    assert till.get(f"/members/{shop.card}").get_json()["points_owed"] == 52
    back = till.post(f"/purchases/{paid['purchase_id']}/refunds", {"refund_id": "R-1"}).get_json()
    assert (back["points_returned"], back["money_minor"], back["amount_minor"]) == (60, 84_000, 90_000)
    assert back["balance"] == {"spendable": 0, "pending": 0}
    accounts = {row["account"] for row in till.get(f"/members/{shop.card}/entries").get_json()["entries"]}
    assert "owed" in accounts
    assert run_checks(shop.engine).violations == []


def test_a_debt_is_shown_below_zero_where_the_program_allows_it(app: Flask, sqlite_engine: Engine) -> None:
    shop = open_shop(sqlite_engine, points={"negative_balance": "allow"})
    till = TillClient(app.test_client(), make_key(shop.engine, shop.program))
    earned = bought(till, shop, {"quantity": 1, "unit_price_minor": 1_000_000}, receipt_id="A-0")
    bought(till, shop, COFFEES, receipt_id="A-1", redeem_points=60)
    lost = till.post(f"/purchases/{earned['purchase_id']}/refunds", {"refund_id": "R-1"}).get_json()
    assert (lost["points_owed"], lost["balance"]["spendable"]) == (52, -52)
    assert till.get(f"/members/{shop.card}").get_json()["balance"]["spendable"] == -52


def test_who_may_refund_what(app: Flask, till: TillClient, shop: Shop) -> None:
    path = f"/purchases/{bought(till, shop, COFFEES)['purchase_id']}/refunds"
    body = {"refund_id": "R-1"}
    others = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn", "redeem", "members", "adjust"]))
    assert problem(others.post(path, body)) == (403, "missing_scope")
    at_b = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["refund"], outlet="B"))
    assert problem(at_b.post(path, body)) == (403, "other_outlet")
    program = {**shop.program.file.program.model_dump(mode="json"), "slug": "other"}
    other = open_shop(shop.engine, program=program)
    stranger = TillClient(app.test_client(), make_key(shop.engine, other.program))
    assert problem(stranger.post(path, body)) == (404, "unknown_purchase")
    at_a = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["refund"], outlet="A"))
    assert problem(at_a.get(path)) == (405, "method_not_allowed")
    assert at_a.post(path, body).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"refund_id": ""},
        {"refund_id": "R-1", "lines": []},
        {"refund_id": "R-1", "lines": [{"line": 0, "quantity": 1}]},
        {"refund_id": "R-1", "lines": [{"line": 1}]},
        {"refund_id": "R-1", "lines": [{"line": 1, "quantity": 0.0001}]},
        {"refund_id": "R-1", "lines": [{"line": 1, "quantity": 1, "reason": "cold"}]},
        {"refund_id": "R-1", "all": True},
    ],
)
def test_a_bad_refund_is_refused_and_keeps_the_key_free(till: TillClient, shop: Shop, body: dict[str, Any]) -> None:
    path = f"/purchases/{bought(till, shop, COFFEES)['purchase_id']}/refunds"
    assert problem(till.post(path, body, key="k1")) == (422, "validation")
    assert till.post(path, {"refund_id": "R-1"}, key="k1").status_code == 201


def test_a_visit_counts_once(till: TillClient, shop: Shop) -> None:
    asked = {"card_number": shop.card, **VISIT}
    first = till.post("/visits", asked, key="k1")
    assert first.status_code == 201
    assert first.get_json() == {
        "visit_id": "V-1",
        "balance": {"spendable": 0, "pending": 0},
        "tier": "base",
        "challenges": [
            {"code": "dinner", "progress": 1, "target": 3, "completed": False},
            {"code": "burgers", "progress": 0, "target": 5, "completed": False},
        ],
        "rewards": [],
    }
    assert till.post("/visits", asked, key="k1").data == first.data
    assert problem(till.post("/visits", asked)) == (409, "duplicate_visit")
    for day in ("21", "22"):
        last = till.post(
            "/visits", {**asked, "visit_id": f"V-{day}", "occurred_at": f"2026-11-{day}T12:00:00+01:00"}
        ).get_json()
    assert [(won["challenge"], won["kind"]) for won in last["rewards"]] == [("dinner", "voucher")]
    assert run_checks(shop.engine).violations == []


def test_who_may_record_visits_where(app: Flask, till: TillClient, shop: Shop) -> None:
    asked = {"card_number": shop.card, **VISIT}
    at_b = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn"], outlet="B"))
    assert problem(at_b.post("/visits", asked)) == (403, "other_outlet")
    members = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["members", "redeem"]))
    assert problem(members.post("/visits", asked)) == (403, "missing_scope")
    assert at_b.post("/visits", {**asked, "outlet": "B"}).status_code == 201
    assert till.post("/visits", asked).status_code == 201, "the same number at another outlet is another visit"
