"""What a till may get wrong: each refusal has its code and changes nothing.

One table: what is asked, and what is answered. ``docs/errors.md`` is walked at the end: a code of the till API
that no row of the table produces fails the test, and so does a code of the other doors that no test names.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlmodel import col, select
from werkzeug.test import TestResponse

import wallet_server
from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop
from tests.tables import digest_of_tables
from tests.web.helpers import StoppedClock
from tests.web.pos_api.conftest import TillClient, make_key, problem, quote_of, receipt
from wallet_server.db import transaction
from wallet_server.errors import DomainError
from wallet_server.members.models import Card
from wallet_server.members.services import Enrol, enrol

ROOT = Path(wallet_server.__file__).parent.parent
NO_CARD = "1234567890123456"
NO_ID = "01890000-0000-7000-8000-000000000000"
LONG_AGO = 40
"""Days between the beginning of the story and the bad calls."""
SALE = {"occurred_at": "2027-01-02T12:00:00+01:00"}
"""When the bad calls are made: vouchers and holds of the beginning have expired by then."""


KEYS: tuple[tuple[tuple[str, ...], str | None], ...] = (
    (("earn",), None),
    (("earn",), "B"),
    (("redeem",), "B"),
    (("refund",), "B"),
    (("members",), None),
    (("earn", "redeem", "refund", "members"), None),
)


@dataclass
class Stage:
    """A café in which everything has happened that a till may trip over."""

    app: Flask
    shop: Shop
    till: TillClient
    blocked: str
    purchase: str
    """Of three units; one came back under ``R-1``."""
    used_voucher: str
    expired_voucher: str
    holds: dict[str, str]
    """By what became of them."""
    keys: dict[tuple[tuple[str, ...], str | None], TillClient]
    """Tills with less than all scopes, and at one outlet."""

    @property
    def card(self) -> str:
        return self.shop.card

    def key(self, *scopes: str, outlet: str | None = None) -> TillClient:
        return self.keys[scopes, outlet]

    def sale(self, **changes: Any) -> dict[str, Any]:
        return receipt(self.card, "N-1", **{**SALE, **changes})

    def buy(self, **changes: Any) -> TestResponse:
        return self.till.post("/purchases", self.sale(**changes))

    def ask(self, **changes: Any) -> TestResponse:
        return self.till.post("/quotes", quote_of(self.sale(**changes)), key=None)

    def line(self, **changes: Any) -> TestResponse:
        return self.buy(lines=[{"quantity": 1, "unit_price_minor": 30_000, **changes}])

    def raw(self, text: str | bytes, kind: str = "application/json", **options: Any) -> TestResponse:
        return self.till.post("/purchases", data=text, content_type=kind, **options)

    def refund(self, lines: Any = None, *, refund_id: str = "R-2", purchase: str = "") -> TestResponse:
        body = {"refund_id": refund_id} | ({} if lines is None else {"lines": lines})
        return self.till.post(f"/purchases/{purchase or self.purchase}/refunds", body)

    def visit(self, **changes: Any) -> TestResponse:
        body = {"card_number": self.card, "outlet": "A", "visit_id": "V-2", **SALE, **changes}
        return self.till.post("/visits", body)

    def hold(self, **changes: Any) -> TestResponse:
        body = {"card_number": self.card, "outlet": "A", "points": 10, "expires_in_seconds": 60, **changes}
        return self.till.post("/holds", body)

    def capture(self, which: str, **body: Any) -> TestResponse:
        return self.till.post(f"/holds/{self.holds.get(which, which)}/capture", body)

    def release(self, which: str, **body: Any) -> TestResponse:
        return self.till.post(f"/holds/{self.holds.get(which, which)}/release", body)

    def adjust(self, **changes: Any) -> TestResponse:
        return self.till.post("/adjustments", {"card_number": self.card, "points": 5, "reason": "Sorry", **changes})

    def percent(self, card: str = "", **changes: Any) -> TestResponse:
        return self.till.put(f"/members/{card or self.card}/coefficient", {"percent": 5, **changes})

    def tags(self, tags: Any, card: str = "") -> TestResponse:
        return self.till.put(f"/members/{card or self.card}/tags", {"tags": tags})

    def redeem(self, code: str, **changes: Any) -> TestResponse:
        return self.till.post(f"/vouchers/{code}/redeem", {"outlet": "A", **SALE, **changes})

    def join(self, **person: Any) -> TestResponse:
        return self.till.post("/members", person)

    def twice(self) -> TestResponse:
        """Another request under a key that has had its answer."""
        return self.till.post("/purchases", self.sale(), key="first")

    @contextmanager
    def broken(self, error: Exception) -> Iterator[None]:
        """A service meets something that it was not made for."""

        def fail(*_arguments: object, **_values: object) -> None:
            raise error

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wallet_server.web.pos_api.purchases.record_visit", fail)
            yield

    def bug(self) -> TestResponse:
        with self.broken(RuntimeError("a bug")):
            return self.visit()

    def busy(self) -> TestResponse:
        with self.broken(sa.exc.OperationalError("", {}, sqlite3.OperationalError("database is locked"))):
            return self.visit()

    def in_progress(self) -> TestResponse:
        """SQLite's writers take turns, so nobody is refused for a twin there: test_replay.py has the real thing."""
        with self.broken(DomainError("idempotency_in_progress", "being answered", status=409, retry_after=1)):
            return self.visit()

    def too_fast(self) -> TestResponse:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.modules["wallet_server.web.pos_api.blueprint"], "CALLS_LIMIT", "1/hour")
            quick = self.key("earn")
            quick.get(f"/members/{self.card}")
            return quick.post("/purchases", self.sale())

    def nobody(self) -> TestResponse:
        return TillClient(self.till.client, "wk_nobody").post("/purchases", self.sale())


@pytest.fixture
def stage(app: Flask, shop: Shop, till: TillClient, clock: StoppedClock) -> Stage:
    with transaction(shop.engine, shop.program.id) as session:
        other = enrol(session, shop.program, Enrol(email="b@example.com"), now=NOW, actor="test")
        enrol(session, shop.program, Enrol(phone="+38970111222"), now=NOW, actor="test")
        card = session.exec(select(Card).where(col(Card.number) == other.card_number)).one()
        card.blocked_at = NOW
        session.add(card)

    def done(response: TestResponse) -> dict[str, Any]:
        assert response.status_code in (200, 201), response.get_data(as_text=True)
        answer: dict[str, Any] = response.get_json()
        return answer

    burgers = {"sku": "burger", "quantity": 5, "unit_price_minor": 1_000_000}
    won = done(till.post("/purchases", receipt(shop.card, "A-0", lines=[burgers])))["rewards"]
    used = won[0]["voucher_code"]
    moment = {"outlet": "A", "occurred_at": "2026-11-23T16:30:00+01:00"}
    done(till.post(f"/vouchers/{used}/redeem", moment))
    for day in ("21", "22"):
        bought = till.post("/purchases", receipt(shop.card, f"D-{day}", occurred_at=f"2026-11-{day}T12:00:00+01:00"))
    expired = done(bought)["rewards"][0]["voucher_code"]
    coffees = {"sku": "cappuccino", "quantity": 3, "unit_price_minor": 30_000}
    purchase = done(till.post("/purchases", receipt(shop.card, "A-1", lines=[coffees]), key="first"))["purchase_id"]
    one = {"refund_id": "R-1", "lines": [{"line": 1, "quantity": 1}]}
    done(till.post(f"/purchases/{purchase}/refunds", one))
    done(till.post("/visits", {"card_number": shop.card, "visit_id": "V-1", **moment}))
    wish = {"card_number": shop.card, "outlet": "A", "points": 10}
    holds = {
        fate: done(till.post("/holds", {**wish, "expires_in_seconds": 60}))["hold_id"]
        for fate in ("captured", "released", "expired")
    }
    done(till.post(f"/holds/{holds['captured']}/capture", {"points": 4}))
    done(till.post(f"/holds/{holds['released']}/release"))
    clock.advance(timedelta(days=LONG_AGO))
    holds["open"] = done(till.post("/holds", {**wish, "expires_in_seconds": 60}))["hold_id"]
    keys = {
        (scopes, outlet): TillClient(app.test_client(), make_key(shop.engine, shop.program, scopes, outlet))
        for scopes, outlet in KEYS
    }
    return Stage(app, shop, till, other.card_number, purchase, used, expired, holds, keys)


@pytest.fixture
def shop(sqlite_engine: sa.engine.Engine) -> Shop:
    """A café where gift cards paid by cheque earn more than a receipt may."""
    often = {"multiply": 1000}
    rules = [
        {"name": "Cheque", "family": "behavior", "when": {"payment_types": ["cheque"]}, "earn": often},
        {"name": "Gift card", "family": "product", "when": {"skus": ["gift-card"]}, "earn": often},
    ]
    return open_shop(sqlite_engine, rules=rules)


Call = Callable[[Stage], TestResponse]

TABLE: dict[str, tuple[Call, int, str]] = {
    # Who asks
    "no key of ours": (lambda on: on.nobody(), 401, "unauthorized"),
    "a key without the scope": (lambda on: on.key("members").post("/purchases", on.sale()), 403, "missing_scope"),
    "points without the scope": (
        lambda on: on.key("earn").post("/purchases", on.sale(redeem_points=1)),
        403,
        "missing_scope",
    ),
    "a key of another outlet": (
        lambda on: on.key("earn", outlet="B").post("/purchases", on.sale()),
        403,
        "other_outlet",
    ),
    "another outlet's hold": (
        lambda on: on.key("redeem", outlet="B").post(f"/holds/{on.holds['open']}/capture"),
        403,
        "other_outlet",
    ),
    "another outlet's purchase": (
        lambda on: on.key("refund", outlet="B").post(f"/purchases/{on.purchase}/refunds", {"refund_id": "R-2"}),
        403,
        "other_outlet",
    ),
    "a browser on another site": (
        lambda on: on.till.post("/purchases", on.sale(), headers={"Origin": "https://evil.example"}),
        403,
        "forbidden",
    ),
    "too many calls": (lambda on: on.too_fast(), 429, "rate_limited"),
    # How it is asked
    "no such address": (lambda on: on.till.get("/nothing"), 404, "not_found"),
    "no such method": (lambda on: on.till.get("/purchases"), 405, "method_not_allowed"),
    "no JSON": (lambda on: on.raw("{"), 400, "bad_json"),
    "a member named twice": (lambda on: on.raw('{"outlet": "A", "outlet": "B"}'), 400, "bad_json"),
    "a number that is none": (lambda on: on.raw('{"a": NaN}'), 400, "bad_json"),
    "a number beyond all numbers": (lambda on: on.raw('{"a": 1e99999999999999999999}'), 400, "bad_json"),
    "a number of 5,000 digits": (lambda on: on.raw("1" * 5_000), 400, "bad_json"),
    "lists in lists without end": (lambda on: on.raw("[" * 100_000), 400, "bad_json"),
    "half a character": (lambda on: on.raw('{"a": "\\ud800"}'), 400, "bad_json"),
    "a character of nothing": (lambda on: on.raw('{"a": "\\u0000"}'), 400, "bad_json"),
    "less than was announced": (
        lambda on: on.raw(b"{}", environ_overrides={"CONTENT_LENGTH": "10"}),
        400,
        "bad_request",
    ),
    "another kind of body": (lambda on: on.raw("a=1", "text/plain"), 415, "unsupported_media_type"),
    "a body of 3 MB": (lambda on: on.raw(b" " * 3_000_000), 413, "too_large"),
    "no idempotency key": (lambda on: on.till.post("/purchases", on.sale(), key=None), 422, "validation"),
    "an idempotency key of two words": (lambda on: on.till.post("/purchases", on.sale(), key="a b"), 422, "validation"),
    "a key of another request": (lambda on: on.twice(), 422, "idempotency_mismatch"),
    "a key that is being answered": (lambda on: on.in_progress(), 409, "idempotency_in_progress"),
    "our bug": (lambda on: on.bug(), 500, "internal"),
    "a busy database": (lambda on: on.busy(), 503, "busy"),
    # Quotes and purchases
    "an unknown card": (lambda on: on.buy(card_number=NO_CARD), 404, "unknown_card"),
    "an unknown card in a quote": (lambda on: on.ask(card_number=NO_CARD), 404, "unknown_card"),
    "an unknown card in an address": (lambda on: on.till.get(f"/members/{NO_CARD}"), 404, "unknown_card"),
    "a card of no characters": (lambda on: on.till.get("/members/%00/entries"), 404, "unknown_card"),
    "a blocked card": (lambda on: on.buy(card_number=on.blocked), 409, "card_blocked"),
    "an unknown outlet": (lambda on: on.buy(outlet="Z"), 404, "unknown_outlet"),
    "1,001 lines": (lambda on: on.buy(lines=[{"quantity": 1, "unit_price_minor": 1}] * 1_001), 422, "validation"),
    "no lines": (lambda on: on.buy(lines=[]), 422, "validation"),
    "a negative quantity": (lambda on: on.line(quantity=-1), 422, "validation"),
    "a huge quantity": (lambda on: on.line(quantity=10**400), 422, "validation"),
    "a quantity with four decimals": (lambda on: on.line(quantity=0.0001), 422, "validation"),
    "a negative price": (lambda on: on.line(unit_price_minor=-1), 422, "validation"),
    "a huge price": (lambda on: on.line(unit_price_minor=10**400), 422, "validation"),
    "a huge total": (lambda on: on.line(quantity=1_000_000, unit_price_minor=10**12), 422, "validation"),
    "a misspelt member": (lambda on: on.line(prize=1), 422, "validation"),
    "negative points": (lambda on: on.buy(redeem_points=-1), 422, "validation"),
    "a huge number of points": (lambda on: on.buy(redeem_points=10**400), 422, "validation"),
    "a date in the future": (lambda on: on.buy(occurred_at="2027-01-03T12:00:00+01:00"), 422, "validation"),
    "a date long ago": (lambda on: on.buy(occurred_at="2026-12-01T12:00:00+01:00"), 422, "validation"),
    "a time without a zone": (lambda on: on.buy(occurred_at="2027-01-02T12:00:00"), 422, "validation"),
    "a time of digits": (lambda on: on.buy(occurred_at="1798887600"), 422, "validation"),
    "another currency": (lambda on: on.buy(currency="EUR"), 422, "currency_mismatch"),
    "another currency in a quote": (lambda on: on.ask(currency="EUR"), 422, "currency_mismatch"),
    "more points than the receipt": (lambda on: on.buy(redeem_points=301), 422, "redeem_limit_exceeded"),
    "more points than the card": (lambda on: on.buy(redeem_points=100_000_000), 409, "insufficient_points"),
    "more points than the ledger takes": (
        lambda on: on.buy(
            payment_type="cheque", lines=[{"sku": "gift-card", "quantity": 1, "unit_price_minor": 10**12}]
        ),
        422,
        "points_limit",
    ),
    "a receipt again": (
        lambda on: on.till.post("/purchases", receipt(on.card, "A-1", **SALE)),
        409,
        "duplicate_receipt",
    ),
    # Refunds
    "an unknown purchase": (lambda on: on.refund(purchase=NO_ID), 404, "unknown_purchase"),
    "a purchase of no id": (lambda on: on.refund(purchase="A-1"), 404, "unknown_purchase"),
    "a refund again": (lambda on: on.refund(refund_id="R-1"), 409, "duplicate_refund"),
    "more than is left": (lambda on: on.refund([{"line": 1, "quantity": 2.001}]), 409, "refund_exceeds_purchase"),
    "an unknown line": (lambda on: on.refund([{"line": 2, "quantity": 1}]), 422, "unknown_line"),
    "a line named twice": (lambda on: on.refund([{"line": 1, "quantity": 1}] * 2), 422, "validation"),
    "nothing of a line": (lambda on: on.refund([{"line": 1, "quantity": 0}]), 422, "validation"),
    "a refund of no lines": (lambda on: on.refund([]), 422, "validation"),
    # Visits
    "a visit again": (lambda on: on.visit(visit_id="V-1"), 409, "duplicate_visit"),
    "a visit of an unknown card": (lambda on: on.visit(card_number=NO_CARD), 404, "unknown_card"),
    "a visit of an unknown outlet": (lambda on: on.visit(outlet="Z"), 404, "unknown_outlet"),
    "a visit in the future": (lambda on: on.visit(occurred_at="2027-01-03T12:00:00+01:00"), 422, "validation"),
    # Holds
    "a hold of more than there is": (lambda on: on.hold(points=100_000_000), 409, "insufficient_points"),
    "a hold of nothing": (lambda on: on.hold(points=0), 422, "validation"),
    "a hold for ever": (lambda on: on.hold(expires_in_seconds=10**9), 422, "validation"),
    "a hold on an unknown card": (lambda on: on.hold(card_number=NO_CARD), 404, "unknown_card"),
    "a hold at an unknown outlet": (lambda on: on.hold(outlet="Z"), 404, "unknown_outlet"),
    "an unknown hold": (lambda on: on.capture(NO_ID), 404, "unknown_hold"),
    "a hold of no id": (lambda on: on.release("1"), 404, "unknown_hold"),
    "a hold captured again": (lambda on: on.capture("captured"), 409, "hold_captured"),
    "a captured hold released": (lambda on: on.release("captured"), 409, "hold_captured"),
    "a released hold captured": (lambda on: on.capture("released"), 409, "hold_released"),
    "a hold captured after its time": (lambda on: on.capture("expired"), 409, "hold_expired"),
    "a hold released after its time": (lambda on: on.release("expired"), 409, "hold_expired"),
    "more than is held": (lambda on: on.capture("open", points=11), 422, "validation"),
    "a hold captured at an unknown outlet": (lambda on: on.capture("open", outlet="Z"), 404, "unknown_outlet"),
    # Adjustments
    "an adjustment above the limit": (lambda on: on.adjust(points=1_001), 403, "adjustment_limit"),
    "an adjustment below the limit": (lambda on: on.adjust(points=-1_001), 403, "adjustment_limit"),
    "an adjustment of nothing": (lambda on: on.adjust(points=0), 422, "validation"),
    "an adjustment without a reason": (lambda on: on.adjust(reason=" "), 422, "validation"),
    "an adjustment of an unknown card": (lambda on: on.adjust(card_number=NO_CARD), 404, "unknown_card"),
    "an adjustment without the scope": (
        lambda on: on.key("earn", "redeem", "refund", "members").post("/adjustments", {}),
        403,
        "missing_scope",
    ),
    # Own percents and tags
    "a percent at an unknown outlet": (lambda on: on.percent(outlet="Z"), 404, "unknown_outlet"),
    "a percent of an unknown card": (lambda on: on.percent(NO_CARD), 404, "unknown_card"),
    "a percent of a blocked card": (lambda on: on.percent(on.blocked), 409, "card_blocked"),
    "a huge percent": (lambda on: on.percent(percent=10**400), 422, "validation"),
    "a percent that has ended": (lambda on: on.percent(ends_at="2027-01-01T00:00:00Z"), 422, "validation"),
    "a tag of two words": (lambda on: on.tags(["two words"]), 422, "validation"),
    "a tag of an unknown card": (lambda on: on.tags([], NO_CARD), 404, "unknown_card"),
    # Vouchers
    "an unknown voucher": (lambda on: on.redeem("AAAA-AAAA-AAAA-A"), 404, "unknown_voucher"),
    "a used voucher": (lambda on: on.redeem(on.used_voucher), 409, "voucher_used"),
    "an expired voucher": (lambda on: on.redeem(on.expired_voucher), 409, "voucher_expired"),
    # Joining
    "somebody who cannot be reached": (lambda on: on.join(name="Ana"), 422, "validation"),
    "somebody born on a number": (lambda on: on.join(email="c@example.com", birthday="86400"), 422, "validation"),
    "somebody born at midnight": (
        lambda on: on.join(email="c@example.com", birthday="1990-12-31T00:00:00"),
        422,
        "validation",
    ),
    "an address with what nobody sees": (lambda on: on.join(email="\u200bc@example.com"), 422, "validation"),
    "somebody who is two members": (
        lambda on: on.join(phone="070 111 222", email="b@example.com"),
        409,
        "member_conflict",
    ),
    "somebody at an unknown outlet": (lambda on: on.join(email="c@example.com", outlet="Z"), 404, "unknown_outlet"),
}

NOTED = frozenset({"idempotency_key"})
"""The table that notes the attempt itself: a refusal is an answer, and is kept."""


def test_each_refusal_has_its_code_and_changes_nothing(stage: Stage, subtests: pytest.Subtests) -> None:
    for name, (call, status, code) in TABLE.items():
        before = digest_of_tables(stage.shop.engine, but=NOTED)
        with subtests.test(name):
            answer = call(stage)
            assert problem(answer) == (status, code)
            assert code != "validation" or answer.get_json()["errors"][0]["field"]
            assert digest_of_tables(stage.shop.engine, but=NOTED) == before
    with subtests.test("a good call"):
        # So that the digest is known to see anything at all.
        before = digest_of_tables(stage.shop.engine, but=NOTED)
        assert stage.buy().status_code == 201
        assert digest_of_tables(stage.shop.engine, but=NOTED) != before


def codes_by_section() -> dict[str, dict[str, int]]:
    """The codes of the page with their statuses, by heading."""
    found: dict[str, dict[str, int]] = {}
    for section in (ROOT / "docs/errors.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", section, re.MULTILINE)
        found[section.partition("\n")[0]] = {code: int(status) for code, status in rows}
    return found


def test_the_table_produces_every_code_of_the_till_api_with_its_status() -> None:
    sections = codes_by_section()
    produced = {code: status for _call, status, code in TABLE.values()}
    assert produced == sections["Every call"] | sections["Till API"]


def test_every_code_of_the_other_doors_is_named_by_a_test() -> None:
    others = {
        code: heading
        for heading, codes in codes_by_section().items()
        if heading not in ("Every call", "Till API")
        for code in codes
    }
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    named = {code for code in others if any(f'"{code}"' in source for source in sources)}
    assert {code: heading for code, heading in others.items() if code not in named} == {}
