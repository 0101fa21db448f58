"""Holds and adjustments over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.services.purchases.shop import Shop, open_shop
from tests.web.helpers import StoppedClock
from tests.web.pos_api.conftest import TillClient, make_key, problem, receipt
from wallet_server.db import reading
from wallet_server.ledger.models import Adjustment, Hold, Posting


@pytest.fixture
def rich(till: TillClient, shop: Shop) -> TillClient:
    """A till of a café where the member has 1,000 points."""
    assert till.post("/purchases", receipt(shop.card, "A-0", 10_000_000)).status_code == 201
    return till


def hold(till: TillClient, shop: Shop, points: int = 300, **values: Any) -> dict[str, Any]:
    wish = {"card_number": shop.card, "outlet": "A", "points": points, "expires_in_seconds": 900, **values}
    response = till.post("/holds", wish)
    assert response.status_code == 201, response.get_data(as_text=True)
    answer: dict[str, Any] = response.get_json()
    return answer


def balance(till: TillClient, shop: Shop) -> tuple[int, int, int]:
    seen = till.get(f"/members/{shop.card}").get_json()
    return seen["balance"]["spendable"], seen["balance"]["pending"], seen["points_held"]


def test_points_are_set_aside_and_some_of_them_pay(rich: TillClient, shop: Shop) -> None:
    placed = hold(rich, shop, reference="A-10045")
    assert placed == {
        "hold_id": placed["hold_id"],
        "points": 300,
        "captured_points": 0,
        "state": "open",
        "expires_at": "2026-11-23T15:45:00+00:00",
        "balance": {"spendable": 700, "pending": 0},
    }
    assert balance(rich, shop) == (700, 0, 300)
    assert problem(rich.post("/purchases", receipt(shop.card, redeem_points=701))) == (409, "insufficient_points")
    path = f"/holds/{placed['hold_id']}/capture"
    captured = rich.post(path, {"points": 200, "outlet": "B"}, key="k1")
    assert captured.status_code == 200
    assert captured.get_json() == {
        **placed,
        "captured_points": 200,
        "state": "captured",
        "balance": {"spendable": 800, "pending": 0},
    }
    again = rich.post(path, {"points": 200, "outlet": "B"}, key="k1")
    assert (again.status_code, again.data, again.headers["Idempotency-Replayed"]) == (200, captured.data, "true")
    assert balance(rich, shop) == (800, 0, 0)
    rows = rich.get(f"/members/{shop.card}/entries").get_json()["entries"]
    assert {(row["kind"], row["account"], row["points"], row["outlet"]) for row in rows if row["kind"] != "earn"} == {
        ("hold", "spendable", -300, "A"),
        ("hold", "held", 300, "A"),
        ("capture", "held", -200, "B"),
        ("unhold", "held", -100, "A"),
        ("unhold", "spendable", 100, "A"),
    }


@pytest.mark.parametrize("body", ["", "{}"])
def test_a_hold_is_captured_whole_or_released_without_saying_more(rich: TillClient, shop: Shop, body: str) -> None:
    kind = "application/json" if body else ""
    first, second = hold(rich, shop), hold(rich, shop)
    captured = rich.post(f"/holds/{first['hold_id']}/capture", data=body, content_type=kind)
    assert (captured.status_code, captured.get_json()["captured_points"]) == (200, 300)
    released = rich.post(f"/holds/{second['hold_id']}/release", data=body, content_type=kind)
    assert (released.status_code, released.get_json()["state"]) == (200, "released")
    assert balance(rich, shop) == (700, 0, 0)


def test_a_hold_resolves_once_whatever_the_key(rich: TillClient, shop: Shop, clock: StoppedClock) -> None:
    placed = hold(rich, shop)["hold_id"]
    assert rich.post(f"/holds/{placed}/release").status_code == 200
    for verb in ("release", "capture"):
        refused = rich.post(f"/holds/{placed}/{verb}", key=f"again-{verb}")
        assert problem(refused) == (409, "hold_released")
        assert refused.get_json(force=True)["retry"] == "new_key"
    late = hold(rich, shop)["hold_id"]
    clock.advance(timedelta(minutes=15))
    assert problem(rich.post(f"/holds/{late}/capture")) == (409, "hold_expired")
    assert balance(rich, shop) == (700, 0, 300), "the tick frees it, not the till that came too late"


def test_a_hold_belongs_to_its_outlet_and_program(app: Flask, rich: TillClient, shop: Shop) -> None:
    placed = hold(rich, shop)["hold_id"]
    at_b = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["redeem"], outlet="B"))
    assert problem(at_b.post(f"/holds/{placed}/capture", {"outlet": "B"})) == (403, "other_outlet")
    wish = {"card_number": shop.card, "outlet": "A", "points": 1, "expires_in_seconds": 60}
    assert problem(at_b.post("/holds", wish)) == (403, "other_outlet")
    own = at_b.post("/holds", {**wish, "outlet": "B"}).get_json()["hold_id"]
    assert problem(at_b.post(f"/holds/{own}/capture", {"outlet": "A"})) == (403, "other_outlet")
    assert at_b.post(f"/holds/{own}/capture").status_code == 200
    earn = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn", "refund", "members", "adjust"]))
    for path in ("/holds", f"/holds/{placed}/capture", f"/holds/{placed}/release"):
        assert problem(earn.post(path, wish)) == (403, "missing_scope")
    other = open_shop(shop.engine, program={**shop.program.file.program.model_dump(mode="json"), "slug": "other"})
    stranger = TillClient(app.test_client(), make_key(shop.engine, other.program))
    assert problem(stranger.post(f"/holds/{placed}/release")) == (404, "unknown_hold")
    assert balance(rich, shop)[2] == 300
    with reading(shop.engine, shop.program.id) as session:
        assert len(session.exec(select(Hold)).all()) == 2


def test_points_are_given_and_taken_by_hand(rich: TillClient, shop: Shop) -> None:
    given = rich.post(
        "/adjustments", {"card_number": shop.card, "points": 50, "reason": "The coffee was cold"}, key="k"
    )
    assert given.status_code == 201
    body = given.get_json()
    assert body == {
        "adjustment_id": body["adjustment_id"],
        "points": 50,
        "state": "posted",
        "balance": {"spendable": 1_050, "pending": 0},
    }
    again = rich.post(
        "/adjustments", {"card_number": shop.card, "points": 50, "reason": "The coffee was cold"}, key="k"
    )
    assert again.data == given.data
    assert rich.post("/adjustments", {"card_number": shop.card, "points": -30, "reason": "Mistake"}).status_code == 201
    assert balance(rich, shop) == (1_020, 0, 0)
    [newest, before] = rich.get(f"/members/{shop.card}/entries?limit=2").get_json()["entries"]
    assert (newest["points"], newest["reason"], newest["kind"]) == (-30, "Mistake", "adjust")
    assert (before["points"], before["reason"]) == (50, "The coffee was cold")
    with reading(shop.engine, shop.program.id) as session:
        rows = session.exec(select(Adjustment)).all()
        assert {(row.points, row.requested_by, row.address) for row in rows} == {
            (50, f"key:{rich.secret[:9]}", "127.0.0.1"),
            (-30, f"key:{rich.secret[:9]}", "127.0.0.1"),
        }


@pytest.mark.parametrize(
    ("points", "answer"),
    [
        (1_001, (403, "adjustment_limit")),
        (-1_001, (403, "adjustment_limit")),
        (0, (422, "validation")),
        (1.5, (422, "validation")),
        ("5", (422, "validation")),
    ],
)
def test_a_wrong_adjustment_moves_nothing(rich: TillClient, shop: Shop, points: Any, answer: tuple[int, str]) -> None:
    asked = {"card_number": shop.card, "points": points, "reason": "Because"}
    assert problem(rich.post("/adjustments", asked)) == answer
    assert balance(rich, shop) == (1_000, 0, 0)


def test_adjusting_needs_its_scope(app: Flask, rich: TillClient, shop: Shop) -> None:
    others = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["earn", "redeem", "refund", "members"]))
    asked = {"card_number": shop.card, "points": 5, "reason": "Because"}
    assert problem(others.post("/adjustments", asked)) == (403, "missing_scope")
    only = TillClient(app.test_client(), make_key(shop.engine, shop.program, ["adjust"]))
    assert only.post("/adjustments", asked).status_code == 201
    assert problem(only.post("/adjustments", {**asked, "points": -2_000})) == (403, "adjustment_limit")


def test_an_adjustment_above_the_second_pair_of_eyes_waits(app: Flask, sqlite_engine: Engine) -> None:
    shop = open_shop(sqlite_engine, points={"adjustments": {"till": 1_000, "four_eyes_above": 100}})
    till = TillClient(app.test_client(), make_key(shop.engine, shop.program))
    waiting = till.post("/adjustments", {"card_number": shop.card, "points": 101, "reason": "A big sorry"})
    assert waiting.status_code == 201
    assert (waiting.get_json()["state"], waiting.get_json()["balance"]["spendable"]) == ("waiting", 0)
    with reading(shop.engine, shop.program.id) as session:
        assert session.exec(select(Posting)).all() == []
