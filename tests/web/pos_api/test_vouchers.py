"""Redeeming vouchers at the till."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.factories import program_file
from tests.services.purchases.shop import Shop, open_shop
from tests.web.pos_api.conftest import TillClient, make_key, problem, receipt

USE = {"outlet": "A", "occurred_at": "2026-11-23T16:30:00+01:00", "receipt_id": "A-9"}


@pytest.fixture
def code(till: TillClient, shop: Shop) -> str:
    line = {"sku": "burger", "quantity": 5, "unit_price_minor": 45_000}
    bought = till.post("/purchases", receipt(shop.card, lines=[line])).get_json()
    won: str = bought["rewards"][0]["voucher_code"]
    return won


def test_a_voucher_is_used_once(till: TillClient, shop: Shop, code: str) -> None:
    first = till.post(f"/vouchers/{code}/redeem", USE, key="k1")
    assert first.status_code == 200
    body = first.get_json()
    assert (body["code"], body["kind"], body["sku"]) == (code, "free_product", "burger")
    assert body["redeemed_at"] == "2026-11-23T15:30:00+00:00"
    assert till.get(f"/members/{shop.card}").get_json()["vouchers"] == []
    replay = till.post(f"/vouchers/{code}/redeem", USE, key="k1")
    assert (replay.status_code, replay.data) == (200, first.data)
    assert problem(till.post(f"/vouchers/{code}/redeem", USE)) == (409, "voucher_used")


def test_an_expired_voucher_is_refused(till: TillClient, shop: Shop, clock: Any) -> None:
    from datetime import timedelta

    for day in ("21", "22", "23"):
        bought = till.post(
            "/purchases", receipt(shop.card, f"A-{day}", occurred_at=f"2026-11-{day}T12:00:00+01:00")
        ).get_json()
    code = bought["rewards"][0]["voucher_code"]
    clock.advance(timedelta(days=31))
    late = {**USE, "occurred_at": "2026-12-24T16:30:00+01:00"}
    assert problem(till.post(f"/vouchers/{code}/redeem", late)) == (409, "voucher_expired")


def test_unknown_vouchers_and_those_of_others(app: Flask, till: TillClient, shop: Shop, code: str) -> None:
    assert problem(till.post("/vouchers/ABCD/redeem", USE)) == (404, "unknown_voucher")
    other = open_shop(shop.engine, program={**program_file()["program"], "slug": "other"})
    stranger = TillClient(app.test_client(), make_key(shop.engine, other.program))
    assert problem(stranger.post(f"/vouchers/{code}/redeem", USE)) == (404, "unknown_voucher")


@pytest.mark.parametrize("change", [{"outlet": None}, {"occurred_at": "today"}, {"receipt_id": ""}, {"free": True}])
def test_a_bad_body_is_refused(till: TillClient, code: str, change: dict[str, Any]) -> None:
    assert problem(till.post(f"/vouchers/{code}/redeem", {**USE, **change})) == (422, "validation")


def test_scope_outlet_and_method(app: Flask, till: TillClient, shop: Shop, code: str) -> None:
    earn = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn", "members"]))
    assert problem(earn.post(f"/vouchers/{code}/redeem", USE)) == (403, "missing_scope")
    at_b = TillClient(app.test_client(), make_key(shop.engine, shop.program, outlet="B"))
    assert problem(at_b.post(f"/vouchers/{code}/redeem", USE)) == (403, "other_outlet")
    assert problem(till.post(f"/vouchers/{code}/redeem", {**USE, "outlet": "Z"})) == (404, "unknown_outlet")
    assert problem(till.get(f"/vouchers/{code}/redeem")) == (405, "method_not_allowed")
    assert problem(till.post(f"/vouchers/{code}/redeem", USE, key=None)) == (422, "validation")
