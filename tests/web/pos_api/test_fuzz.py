"""Schemathesis against our own document: requests that fit it, requests that do not, and stories of several calls.

Whatever is sent, there is no 5xx, and status, code, headers and body are those that the document says.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.services.purchases.shop import Shop
from tests.web.pos_api.conftest import TillClient, receipt
from wallet_server.verification import run_checks
from wallet_server.web.pos_api.operations import OPERATIONS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
MOMENT = "2026-11-23T16:30:00+01:00"
BURGERS = {"sku": "burger", "quantity": 5, "unit_price_minor": 1_000_000}


class Counterfoil:
    """Real things for invented requests: a card that exists gets further than one that does not."""

    def __init__(self, till: TillClient, shop: Shop) -> None:
        self.till, self.shop = till, shop
        self.numbers = itertools.count(1)
        self.buy()

    def buy(self) -> dict[str, Any]:
        bought = self.till.post("/purchases", receipt(self.shop.card, f"F-{next(self.numbers)}", lines=[BURGERS]))
        assert bought.status_code == 201, bought.get_data(as_text=True)
        answer: dict[str, Any] = bought.get_json()
        return answer

    def hold(self) -> str:
        wish = {"card_number": self.shop.card, "outlet": "A", "points": 2, "expires_in_seconds": 600}
        made: str = self.till.post("/holds", wish).get_json()["hold_id"]
        return made

    def put_in_addresses(self, case: Any) -> None:
        """Real ids in place of invented ones."""
        real: dict[str, Callable[[], str]] = {
            "card_number": lambda: self.shop.card,
            "purchase_id": lambda: str(self.buy()["purchase_id"]),
            "hold_id": self.hold,
            "code": lambda: str(self.buy()["rewards"][0]["voucher_code"]),
        }
        for name in case.path_parameters or ():
            case.path_parameters[name] = real[name]()

    def put_in_bodies(self, case: Any) -> None:
        """A real card, an open outlet, a moment that is not too late."""
        if not isinstance(case.body, dict):
            return
        real = {
            "card_number": self.shop.card,
            "outlet": "A",
            "occurred_at": MOMENT,
            "currency": "MKD",
            "redeem_points": 1,
            "percent": 5,
            "ends_at": None,
            "redeem_max_percent": None,
            "reason": "Invented",
            "reference": "Invented",
            "payment_type": "card",
            "points": 1,
            **{name: f"X-{next(self.numbers)}" for name in ("receipt_id", "refund_id", "visit_id")},
            "phone": f"+389701{next(self.numbers):05d}",
            "email": None,
            "external_id": None,
            "language": "mk",
            "name": "Invented",
            "channel": "till",
            "birthday": None,
            "referral_code": None,
        }
        case.body.update({name: value for name, value in real.items() if name in case.body})
        if "refund_id" in case.body:
            case.body["lines"] = [{"line": 1, "quantity": 0.001}]
        elif isinstance(case.body.get("lines"), list):
            for line in case.body["lines"]:
                line.update({"sku": "cappuccino", "category": None, "quantity": 1.5})
                line["unit_price_minor"] = min(line.get("unit_price_minor", 0) + 100, 10**6)
        case.headers["Idempotency-Key"] = f"fuzz-{next(self.numbers)}"


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS])
def test_what_the_server_answers_is_what_the_document_says(
    app: Flask, till: TillClient, shop: Shop, name: str, mode: GenerationMode
) -> None:
    """Every third request is helped with real things, so that each call succeeds now and then."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    [operation] = [
        found.ok() for found in schema.get_all_operations() if found.ok().definition.raw["operationId"] == name
    ]
    seen: Counter[int] = Counter()
    counterfoil = Counterfoil(till, shop)
    turns = itertools.count()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=24,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        help_it = next(turns) % 3
        if help_it:
            counterfoil.put_in_addresses(case)
        if help_it == 2 and mode is GenerationMode.POSITIVE:
            counterfoil.put_in_bodies(case)
        response = case.call(headers={"Authorization": f"Bearer {till.secret}"})
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    run()
    if mode is GenerationMode.POSITIVE:
        assert any(200 <= status < 300 for status in seen), seen


STORIES: dict[str, dict[str, int]] = {
    "joining": {"join": 201, "member": 200, "entries": 200, "coefficient": 200, "tags": 200},
    "refunds": {"purchase": 201, "refund": 201},
    "holds": {"hold": 201, "capture": 200, "release": 200},
}
"""Calls that go on from each other, with the status that each has to reach at least once."""


@pytest.mark.parametrize("name", STORIES)
def test_stories_of_several_calls_end_well(app: Flask, till: TillClient, shop: Shop, name: str) -> None:
    """Calls that go on from the answers before them, by the document's links; then the books are checked."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app).include(operation_id=list(STORIES[name]))
    counterfoil = Counterfoil(till, shop)
    seen: Counter[tuple[str, int]] = Counter()

    class Story(schema.as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: Any) -> None:
            counterfoil.put_in_bodies(case)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {"Authorization": f"Bearer {till.secret}"}}

        def validate_response(self, response: Any, case: Any, additional_checks: Any = None, **_options: Any) -> None:
            seen[case.operation.definition.raw["operationId"], response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

    Story.run(
        settings=settings(
            max_examples=25,
            stateful_step_count=6,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )
    assert {call: status for call, status in STORIES[name].items() if not seen[call, status]} == {}
    assert run_checks(shop.engine).violations == []
