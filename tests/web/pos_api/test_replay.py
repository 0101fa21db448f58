"""Retries: the same answer byte for byte and the effect once, also when all come at the same moment.

On both databases, because PostgreSQL lets twins run at once and SQLite's writers take turns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from sqlalchemy.engine import Engine
from sqlmodel import select
from werkzeug.test import TestResponse

from tests.services.purchases.shop import Shop, open_shop
from tests.tables import digest_of_tables
from tests.web.conftest import application
from tests.web.helpers import StoppedClock
from tests.web.pos_api.conftest import TillClient, make_key, problem, receipt
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.idempotency.models import IdempotencyKey
from wallet_server.idempotency.services import prune
from wallet_server.settings import Settings
from wallet_server.verification import run_checks

TILLS = 16


@pytest.fixture
def app(
    settings: Settings, engine: Engine, clock: StoppedClock, _templates: FileSystemBytecodeCache
) -> Iterator[Flask]:
    """As the application of the other tests, on both databases."""
    with application(settings, clock, _templates) as app:
        assert app.extensions["wallet"].engine.dialect.name == engine.dialect.name
        yield app


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return open_shop(engine)


@pytest.fixture
def rich(till: TillClient, shop: Shop) -> TillClient:
    """A till of a café where the member has 1,000 points."""
    assert till.post("/purchases", receipt(shop.card, "A-0", 10_000_000)).status_code == 201
    return till


def stored(shop: Shop, key: str) -> list[tuple[int, str]]:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        found = select(IdempotencyKey.status, IdempotencyKey.body).where(IdempotencyKey.key == key)
        return [(status, body) for status, body in session.exec(found)]


Asked = Callable[[TillClient, Shop], tuple[str, Any]]


def _purchase_id(till: TillClient, shop: Shop) -> str:
    found: str = till.post("/purchases", receipt(shop.card, "A-9")).get_json()["purchase_id"]
    return found


def _hold_id(till: TillClient, shop: Shop) -> str:
    wish = {"card_number": shop.card, "outlet": "A", "points": 5, "expires_in_seconds": 60}
    found: str = till.post("/holds", wish).get_json()["hold_id"]
    return found


WRITES: dict[str, Asked] = {
    "a purchase": lambda till, shop: ("/purchases", receipt(shop.card, redeem_points=7)),
    "a refund": lambda till, shop: (f"/purchases/{_purchase_id(till, shop)}/refunds", {"refund_id": "R-1"}),
    "a visit": lambda till, shop: (
        "/visits",
        {"card_number": shop.card, "outlet": "A", "occurred_at": "2026-11-23T16:30:00+01:00", "visit_id": "V-1"},
    ),
    "a hold": lambda till, shop: (
        "/holds",
        {"card_number": shop.card, "outlet": "A", "points": 5, "expires_in_seconds": 60},
    ),
    "a capture": lambda till, shop: (f"/holds/{_hold_id(till, shop)}/capture", {"points": 2}),
    "a release": lambda till, shop: (f"/holds/{_hold_id(till, shop)}/release", {}),
    "an adjustment": lambda till, shop: ("/adjustments", {"card_number": shop.card, "points": 5, "reason": "Sorry"}),
    "a new member": lambda till, shop: ("/members", {"email": "new@example.com"}),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_retry_is_answered_byte_for_byte_and_changes_nothing(rich: TillClient, shop: Shop, name: str) -> None:
    path, body = WRITES[name](rich, shop)
    first = rich.post(path, body, key="k1")
    assert first.status_code in (200, 201), first.get_data(as_text=True)
    assert "Idempotency-Replayed" not in first.headers
    before = digest_of_tables(shop.engine)
    for _ in range(2):
        again = rich.post(path, body, key="k1")
        assert (again.status_code, again.data) == (first.status_code, first.data)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.content_type == first.content_type
    assert digest_of_tables(shop.engine) == before


def test_a_refusal_is_an_answer_too_and_a_malformed_request_is_none(rich: TillClient, shop: Shop) -> None:
    wish = {"card_number": shop.card, "outlet": "A", "points": 2_000, "expires_in_seconds": 60}
    refused = rich.post("/holds", wish, key="k1")
    assert problem(refused) == (409, "insufficient_points")
    assert stored(shop, "k1") == [(409, refused.get_data(as_text=True))]
    rich.post("/purchases", receipt(shop.card, "A-2", 20_000_000))
    again = rich.post("/holds", wish, key="k1")
    assert (again.data, again.headers["Idempotency-Replayed"]) == (refused.data, "true")
    assert again.get_json(force=True)["retry"] == "new_key"
    assert rich.post("/holds", wish, key="k2").status_code == 201
    malformed = rich.post("/holds", {**wish, "points": 0}, key="k3")
    assert problem(malformed) == (422, "validation")
    assert "retry" not in malformed.get_json(force=True)
    assert stored(shop, "k3") == []
    assert rich.post("/holds", {**wish, "points": 1}, key="k3").status_code == 201


def test_an_answer_is_repeated_for_ninety_days(rich: TillClient, shop: Shop, clock: StoppedClock) -> None:
    asked = receipt(shop.card, "A-1")
    first = rich.post("/purchases", asked, key="k1")
    clock.advance(timedelta(days=89))
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        prune(session, clock.now() - timedelta(days=90))
    late = rich.post("/purchases", asked, key="k1")
    assert (late.status_code, late.data) == (201, first.data)


@pytest.mark.parametrize("name", ["a purchase", "an adjustment"])
def test_a_storm_under_one_key_has_one_effect_and_one_answer(
    app: Flask, rich: TillClient, shop: Shop, name: str
) -> None:
    path, body = WRITES[name](rich, shop)
    answers = _at_once([TillClient(app.test_client(), rich.secret) for _ in range(TILLS)], path, body, ["k1"] * TILLS)
    done = {answer.data for answer in answers if answer.status_code == 201}
    assert len(done) == 1
    rest = [answer for answer in answers if answer.status_code != 201]
    assert {problem(answer) for answer in rest} <= {(409, "idempotency_in_progress")}
    assert all(answer.headers["Retry-After"] == "1" for answer in rest)
    assert rich.post(path, body, key="k1").data == done.pop()
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert len(session.exec(select(IdempotencyKey).where(IdempotencyKey.key == "k1")).all()) == 1
    assert run_checks(shop.engine).violations == []


def test_a_storm_under_many_keys_records_one_receipt(app: Flask, rich: TillClient, shop: Shop) -> None:
    tills = [TillClient(app.test_client(), make_key(shop.engine, shop.program)) for _ in range(TILLS)]
    answers = _at_once(tills, "/purchases", receipt(shop.card), [f"k{number}" for number in range(TILLS)])
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * (TILLS - 1)
    [first] = [answer.get_json()["purchase_id"] for answer in answers if answer.status_code == 201]
    for answer in answers:
        if answer.status_code != 201:
            assert problem(answer) == (409, "duplicate_receipt")
            assert answer.get_json(force=True)["purchase_id"] == first


def test_no_database_is_asked_for_what_it_cannot_hold(till: TillClient, shop: Shop) -> None:
    assert problem(till.get("/members/%00")) == (404, "unknown_card")
    assert problem(till.put("/members/%00/tags", {"tags": []})) == (404, "unknown_card")
    moment = {"outlet": "A", "occurred_at": "2026-11-23T16:30:00+01:00"}
    assert problem(till.post("/vouchers/%00/redeem", moment)) == (404, "unknown_voucher")
    assert problem(till.post("/holds/%00/release")) == (404, "unknown_hold")
    for text in ('{"card_number": "\\u0000"}', '{"card_number": "\\ud800"}'):
        assert problem(till.post("/visits", data=text, content_type="application/json")) == (400, "bad_json")


def _at_once(tills: list[TillClient], path: str, body: Any, keys: list[str]) -> list[TestResponse]:
    ready = threading.Barrier(len(tills))
    answers: list[TestResponse] = []

    def ask(till: TillClient, key: str) -> None:
        ready.wait(20)
        answers.append(till.post(path, body, key=key))

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(tills, keys, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == len(tills)
    assert {answer.status_code for answer in answers} <= {201, 409}, [answer.data for answer in answers]
    return answers
