"""Quotes and purchases over HTTP."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlmodel import col, select

from tests.conftest import NOW
from tests.factories import edited, program_file
from tests.services.purchases.shop import Shop, open_shop
from tests.web.pos_api.conftest import TillClient, make_key, problem, quote_of, receipt
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.keys import TillKeys
from wallet_server.programs.models import ApiKey
from wallet_server.programs.services import apply_program, revoke_api_key
from wallet_server.purchases.models import Purchase, PurchaseLine


def recorded(shop: Shop) -> int:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        return session.exec(select(sa.func.count()).select_from(Purchase)).one()


def test_a_purchase_is_recorded_and_answered_in_full(till: TillClient, shop: Shop) -> None:
    response = till.post("/purchases", receipt(shop.card))
    assert response.status_code == 201
    assert "Idempotency-Replayed" not in response.headers
    body = response.get_json()
    assert set(body) == {
        *("total_minor", "discount_minor", "redeemable_points", "points_redeemed", "money_due_minor", "points_earned"),
        *("points_earned_spendable_at", "lines", "trace", "purchase_id", "balance", "tier", "challenges", "rewards"),
    }
    assert (body["total_minor"], body["points_earned"], body["money_due_minor"]) == (30_000, 3, 30_000)
    assert body["points_earned_spendable_at"] == "2026-11-23T15:30:00+00:00"
    assert body["lines"] == [
        {
            "line": 1,
            "amount_minor": 30_000,
            "discount_minor": 0,
            "earn_percent": "1",
            "redeem_percent": "100",
            "points_earned": 3,
            "paid_with_points_minor": 0,
        }
    ]
    assert body["balance"] == {"spendable": 3, "pending": 0}
    assert body["tier"] == "base"
    assert body["challenges"][0] == {"code": "dinner", "progress": 1, "target": 3, "completed": False}
    assert all(set(step) == {"rule", "family", "line", "matched", "effect", "why"} for step in body["trace"])
    assert shop.balance().spendable == 3


def test_a_quote_says_what_the_purchase_will(till: TillClient, shop: Shop) -> None:
    till.post("/purchases", receipt(shop.card, "A-0", 10_000_000))
    asked = receipt(shop.card, redeem_points="max")
    quoted = till.post("/quotes", quote_of(asked), key=None)
    assert quoted.status_code == 200
    assert recorded(shop) == 1
    bought = till.post("/purchases", asked).get_json()
    assert {name: bought[name] for name in quoted.get_json()} == quoted.get_json()
    assert bought["points_redeemed"] == 300


def test_a_replay_is_the_same_status_and_body(till: TillClient, shop: Shop) -> None:
    first = till.post("/purchases", receipt(shop.card), key="k1")
    # The same request written in another way is the same request.
    again = json.dumps(dict(reversed(receipt(shop.card).items())), indent=1)
    second = till.post("/purchases", key="k1", data=again, content_type="application/json; charset=utf-8")
    assert second.status_code == 201
    assert second.data == first.data
    assert second.headers["Idempotency-Replayed"] == "true"
    assert recorded(shop) == 1


def test_a_refusal_is_replayed_and_asks_for_a_new_key(till: TillClient, shop: Shop) -> None:
    asked = receipt(shop.card, redeem_points=1)
    first = till.post("/purchases", asked, key="k1")
    assert problem(first) == (409, "insufficient_points")
    assert first.get_json(force=True)["retry"] == "new_key"
    till.post("/purchases", receipt(shop.card, "A-0", 1_000_000))
    second = till.post("/purchases", asked, key="k1")
    assert second.data == first.data
    assert second.content_type == "application/problem+json"
    assert second.headers["Idempotency-Replayed"] == "true"
    assert till.post("/purchases", asked, key="k2").status_code == 201


def test_a_key_used_for_another_request_is_refused(till: TillClient, shop: Shop) -> None:
    till.post("/purchases", receipt(shop.card), key="k1")
    assert problem(till.post("/purchases", receipt(shop.card, "A-2"), key="k1")) == (422, "idempotency_mismatch")
    redeem = {"outlet": "A", "occurred_at": "2026-11-23T16:30:00+01:00"}
    assert problem(till.post("/vouchers/X/redeem", redeem, key="k1")) == (422, "idempotency_mismatch")
    assert recorded(shop) == 1


@pytest.mark.parametrize("key", [None, "x" * 256, "with space"])
def test_a_missing_or_strange_key_is_refused(till: TillClient, shop: Shop, key: str | None) -> None:
    assert problem(till.post("/purchases", receipt(shop.card), key=key)) == (422, "validation")
    assert recorded(shop) == 0


def test_the_same_receipt_under_a_new_key_names_the_first(till: TillClient, shop: Shop) -> None:
    first = till.post("/purchases", receipt(shop.card)).get_json()
    response = till.post("/purchases", receipt(shop.card))
    assert problem(response) == (409, "duplicate_receipt")
    assert response.get_json(force=True)["purchase_id"] == first["purchase_id"]


def test_decimal_quantities_are_read_exactly(till: TillClient, shop: Shop) -> None:
    text = json.dumps(receipt(shop.card)).replace('"quantity": 1', '"quantity": 1.005')
    body = till.post("/purchases", data=text, content_type="application/json").get_json()
    assert body["total_minor"] == 30_150
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(PurchaseLine.quantity_thousandths)).one() == 1005


BAD_BODIES: dict[str, tuple[Any, str]] = {
    "no lines": ({"lines": []}, "lines"),
    "too many lines": ({"lines": [{"quantity": 1, "unit_price_minor": 1}] * 1_001}, "lines"),
    "a quantity of nothing": ({"lines": [{"quantity": 0, "unit_price_minor": 1}]}, "lines[0].quantity"),
    "four decimals": ({"lines": [{"quantity": 1.0001, "unit_price_minor": 1}]}, "lines[0].quantity"),
    "a quantity as a text": ({"lines": [{"quantity": "1", "unit_price_minor": 1}]}, "lines[0].quantity"),
    "a quantity of true": ({"lines": [{"quantity": True, "unit_price_minor": 1}]}, "lines[0].quantity"),
    "a huge quantity": ({"lines": [{"quantity": 1e300, "unit_price_minor": 1}]}, "lines[0].quantity"),
    "a price of a float": ({"lines": [{"quantity": 1, "unit_price_minor": 1.5}]}, "lines[0].unit_price_minor"),
    "a negative price": ({"lines": [{"quantity": 1, "unit_price_minor": -1}]}, "lines[0].unit_price_minor"),
    "a misspelt member": ({"lines": [{"quantity": 1, "unit_price_minor": 1, "prize": 2}]}, "lines[0].prize"),
    "an unknown member": ({"points": 5}, "points"),
    "a time without a zone": ({"occurred_at": "2026-11-23T16:30:00"}, "occurred_at"),
    "a time as a number": ({"occurred_at": 1_795_000_000}, "occurred_at"),
    "a time long ago": ({"occurred_at": "2026-10-01T16:30:00+01:00"}, "occurred_at"),
    "a time in the future": ({"occurred_at": "2026-11-23T16:41:00+01:00"}, "occurred_at"),
    "negative points": ({"redeem_points": -1}, "redeem_points"),
    "points as a text": ({"redeem_points": "all"}, "redeem_points"),
    "a card of no digits": ({"card_number": ""}, "card_number"),
    "a currency that is none": ({"currency": "denar"}, "currency"),
    "a number beyond all numbers": ({"lines": [{"quantity": 10**400, "unit_price_minor": 1}]}, "lines[0].quantity"),
    "a price beyond all prices": (
        {"lines": [{"quantity": 1, "unit_price_minor": 10**400}]},
        "lines[0].unit_price_minor",
    ),
    "an empty receipt number": ({"receipt_id": ""}, "receipt_id"),
    "a receipt number with a line break": ({"receipt_id": "A\n1"}, "receipt_id"),
    "a receipt number of null": ({"receipt_id": None}, "receipt_id"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_body_names_its_fields_and_keeps_the_key_free(till: TillClient, shop: Shop, case: str) -> None:
    change, field = BAD_BODIES[case]
    response = till.post("/purchases", receipt(shop.card, **change), key="k1")
    assert problem(response) == (422, "validation")
    assert field in [error["field"] for error in response.get_json(force=True)["errors"]]
    assert till.post("/purchases", receipt(shop.card), key="k1").status_code == 201


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2",
        "nul",
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        "1" * 5000,
        "1e99999999999999999999",
        '"\\ud800"',
        '{"\\u0000": 1}',
    ],
)
def test_what_is_not_json_is_told_so(till: TillClient, text: str) -> None:
    response = till.post("/purchases", data=text, content_type="application/json")
    assert problem(response) == (400, "bad_json")


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"'])
def test_json_of_another_kind_is_refused(till: TillClient, text: str) -> None:
    response = till.post("/purchases", data=text, content_type="application/json")
    assert problem(response) == (422, "validation")


def test_another_kind_of_body_is_refused(till: TillClient) -> None:
    assert problem(till.post("/purchases", data="a=1", content_type="text/plain")) == (415, "unsupported_media_type")
    form = till.post("/purchases", data={"a": "1"})
    assert problem(form) == (415, "unsupported_media_type")


def test_a_body_that_is_too_large_is_refused(till: TillClient) -> None:
    response = till.post("/purchases", data=b" " * (2 * 1024 * 1024 + 1), content_type="application/json")
    assert problem(response) == (413, "too_large")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"card_number": "9999999999999999"}, (404, "unknown_card")),
        ({"outlet": "Z"}, (404, "unknown_outlet")),
        ({"redeem_points": 1}, (409, "insufficient_points")),
        ({"currency": "EUR"}, (422, "currency_mismatch")),
    ],
)
def test_a_refused_purchase_and_quote_have_a_code(
    till: TillClient, shop: Shop, change: dict[str, Any], answer: tuple[int, str]
) -> None:
    asked = receipt(shop.card, **change)
    assert problem(till.post("/quotes", quote_of(asked), key=None)) == answer
    assert problem(till.post("/purchases", asked)) == answer
    assert recorded(shop) == 0


def test_a_payment_above_the_limit_is_refused(app: Flask, shop: Shop, till: TillClient) -> None:
    till.post("/purchases", receipt(shop.card, "A-0", 10_000_000))
    response = till.post("/purchases", receipt(shop.card, redeem_points=301))
    assert problem(response) == (422, "redeem_limit_exceeded")


def test_the_programs_own_currency_is_taken(till: TillClient, shop: Shop) -> None:
    asked = receipt(shop.card, currency="MKD")
    assert till.post("/quotes", quote_of(asked), key=None).status_code == 200
    assert till.post("/purchases", asked).status_code == 201


def test_the_longest_receipt_fits_and_one_line_more_is_told(till: TillClient, shop: Shop) -> None:
    line = {"sku": "ж" * 120, "category": "ш" * 120, "quantity": 999_999.999, "unit_price_minor": 1}
    assert till.post("/purchases", receipt(shop.card, lines=[line] * 1_000)).status_code == 201
    refused = till.post("/purchases", receipt(shop.card, "A-2", lines=[line] * 1_001))
    assert problem(refused) == (422, "validation")
    assert [error["field"] for error in refused.get_json(force=True)["errors"]] == ["lines"]


def test_a_till_sees_how_many_calls_are_left(
    app: Flask, till: TillClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its full name, because the package has a blueprint of the same name.
    monkeypatch.setattr(sys.modules["wallet_server.web.pos_api.blueprint"], "CALLS_LIMIT", "3/hour")
    left = [till.get(path).headers["RateLimit-Remaining"] for path in (f"/members/{shop.card}", "/members/1")]
    assert left == ["2", "1"]
    last = till.post("/purchases", receipt(shop.card))
    assert (last.headers["RateLimit-Limit"], last.headers["RateLimit-Remaining"]) == ("3", "0")
    refused = till.post("/purchases", receipt(shop.card, "A-2"), key="k1")
    assert problem(refused) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 3600
    assert refused.get_json(force=True)["retry_after"] == int(refused.headers["Retry-After"])
    other = TillClient(app.test_client(), make_key(shop.engine, shop.program))
    assert other.get(f"/members/{shop.card}").headers["RateLimit-Remaining"] == "2"
    monkeypatch.undo()
    # Nothing was stored of it: the same key is good once there is time.
    assert till.post("/purchases", receipt(shop.card, "A-2"), key="k1").status_code == 201
    assert "RateLimit-Limit" not in app.test_client().get("/api/v1/members/1").headers


def test_no_key_and_wrong_keys_are_401(app: Flask, till: TillClient, shop: Shop) -> None:
    client = app.test_client()
    missing = client.post("/api/v1/purchases", json=receipt(shop.card))
    assert problem(missing) == (401, "unauthorized")
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="wallet-server"'
    for header in (f"Bearer {till.secret}x", "Bearer ", f"Basic {till.secret}", "Bearer " + "x" * 5000):
        response = client.post("/api/v1/purchases", json=receipt(shop.card), headers={"Authorization": header})
        assert problem(response) == (401, "unauthorized")
        assert "Bearer" in response.headers["WWW-Authenticate"]
    assert recorded(shop) == 0


def test_guessing_keys_is_slowed_down(app: Flask) -> None:
    client = app.test_client()
    answers = [
        problem(client.get("/api/v1/members/1", headers={"Authorization": f"Bearer wk_{number}"}))
        for number in range(61)
    ]
    assert answers[:60] == [(401, "unauthorized")] * 60
    assert answers[60] == (429, "rate_limited")


def revoke(shop: Shop) -> None:
    with transaction(shop.engine, shop.program.id) as session:
        key = session.exec(select(ApiKey)).one()
        revoke_api_key(session, shop.program.id, key.id, now=NOW, actor="test")


def test_a_revoked_key_is_401_at_once(till: TillClient, shop: Shop) -> None:
    assert till.get(f"/members/{shop.card}").status_code == 200
    revoke(shop)
    assert problem(till.get(f"/members/{shop.card}")) == (401, "unauthorized")


def test_a_key_that_was_seen_before_is_looked_at_in_the_purchase_itself(
    till: TillClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert till.post("/purchases", receipt(shop.card), key="first").status_code == 201
    with monkeypatch.context() as patched:
        patched.setattr(TillKeys, "find", None)
        assert till.post("/purchases", receipt(shop.card, "A-2")).status_code == 201
    revoke(shop)
    for answer in (
        till.post("/purchases", receipt(shop.card, "A-3")),
        till.post("/purchases", receipt(shop.card), key="first"),  # not the stored answer either
        till.post("/purchases", receipt("0000000000000000", "A-3")),
        till.post("/purchases", {"receipt_id": 1}),
        till.post("/purchases", receipt(shop.card, "A-3"), key=None),
    ):
        assert problem(answer) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert recorded(shop) == 2


def test_a_purchase_is_computed_with_the_version_in_force_though_another_was_seen(till: TillClient, shop: Shop) -> None:
    assert till.post("/purchases", receipt(shop.card)).get_json()["points_earned"] == 3
    doubled = edited(program_file(), "program.points.base_percent", 2)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(doubled), now=NOW, actor="test")
    after = receipt(shop.card, "A-2", occurred_at=NOW.isoformat())
    assert till.post("/purchases", after).get_json()["points_earned"] == 6
    with reading(shop.engine, ALL_PROGRAMS) as session:
        versions = session.exec(select(Purchase.program_version).order_by(col(Purchase.receipt_id))).all()
    assert versions == [1, 2]


def test_a_key_of_another_program_finds_nothing(app: Flask, shop: Shop) -> None:
    other = open_shop(shop.engine, program={**program_file()["program"], "slug": "other"})
    stranger = TillClient(app.test_client(), make_key(shop.engine, other.program))
    assert problem(stranger.post("/purchases", receipt(shop.card))) == (404, "unknown_card")
    assert problem(stranger.get(f"/members/{shop.card}")) == (404, "unknown_card")
    assert problem(stranger.get(f"/members/{shop.card}/entries")) == (404, "unknown_card")
    assert stranger.post("/purchases", receipt(other.card), key="k").status_code == 201
    own = TillClient(app.test_client(), make_key(shop.engine, shop.program))
    assert own.post("/purchases", receipt(shop.card), key="k").status_code == 201


def test_scopes_are_needed(app: Flask, shop: Shop) -> None:
    members = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["members"]))
    assert problem(members.post("/purchases", receipt(shop.card))) == (403, "missing_scope")
    assert problem(members.post("/quotes", quote_of(receipt(shop.card)))) == (403, "missing_scope")
    earn = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn"]))
    assert earn.post("/purchases", receipt(shop.card, "A-0", 1_000_000)).status_code == 201
    assert problem(earn.post("/purchases", receipt(shop.card, redeem_points=1))) == (403, "missing_scope")
    assert problem(earn.post("/purchases", receipt(shop.card, redeem_points="max"))) == (403, "missing_scope")
    assert shop.balance().spendable == 100


def test_a_key_of_one_outlet_is_good_there_only(app: Flask, shop: Shop) -> None:
    at_b = TillClient(app.test_client(), make_key(shop.engine, shop.program, outlet="B"))
    assert problem(at_b.post("/purchases", receipt(shop.card))) == (403, "other_outlet")
    assert problem(at_b.post("/quotes", quote_of(receipt(shop.card)))) == (403, "other_outlet")
    assert at_b.post("/purchases", receipt(shop.card, outlet="B")).status_code == 201


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_other_methods_are_405(till: TillClient, method: str) -> None:
    response = getattr(till.client, method)("/api/v1/purchases", headers=till.headers())
    assert problem(response) == (405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


def test_an_unknown_address_is_a_problem_document(till: TillClient) -> None:
    answer = till.get("/nothing")
    assert problem(answer) == (404, "not_found")
    assert answer.get_json(force=True)["detail"] == "there is nothing at this address"


def test_a_bug_is_a_problem_document_without_its_secrets(
    till: TillClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_values: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("wallet_server.purchases.counter.record_purchases", broken)
    response = till.post("/purchases", receipt(shop.card), key="k1")
    assert problem(response) == (500, "internal")
    assert b"a secret" not in response.data
    monkeypatch.undo()
    assert till.post("/purchases", receipt(shop.card), key="k1").status_code == 201
