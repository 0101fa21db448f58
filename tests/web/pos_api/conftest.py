"""A café and a till with a key."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.engine import Engine
from werkzeug.test import TestResponse

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop
from wallet_server.db import transaction
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.services import SCOPES, create_api_key


def make_key(
    engine: Engine, program: ProgramDefinition, scopes: Collection[str] = SCOPES, outlet: str | None = None
) -> str:
    """A till key's secret."""
    with transaction(engine, program.id) as session:
        outlet_id = program.outlet(outlet).id if outlet else None
        _key, secret = create_api_key(session, program.id, outlet_id=outlet_id, scopes=scopes, now=NOW, actor="test")
    return secret


@dataclass
class TillClient:
    """A till: a browserless client with a key that numbers its writing calls."""

    client: FlaskClient
    secret: str
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def get(self, path: str, **arguments: Any) -> TestResponse:
        return self.client.get(f"/api/v1{path}", headers=self.headers(), **arguments)

    def put(self, path: str, body: Any = None, **arguments: Any) -> TestResponse:
        if "data" not in arguments:
            arguments["json"] = body
        return self.client.put(f"/api/v1{path}", headers=self.headers(), **arguments)

    def post(self, path: str, body: Any = None, key: str | None = "", **arguments: Any) -> TestResponse:
        headers = self.headers() | arguments.pop("headers", {})
        if key is not None:
            headers["Idempotency-Key"] = key or f"till-{next(self.numbers)}"
        if "data" not in arguments:
            arguments["json"] = body
        return self.client.post(f"/api/v1{path}", headers=headers, **arguments)


@pytest.fixture
def shop(sqlite_engine: Engine) -> Shop:
    return open_shop(sqlite_engine)


@pytest.fixture
def till(app: Flask, shop: Shop) -> TillClient:
    return TillClient(app.test_client(), make_key(shop.engine, shop.program))


def receipt(card: str, receipt_id: str = "A-1", price_minor: int = 30_000, **values: Any) -> dict[str, Any]:
    """The purchase body of the interfaces page."""
    return {
        "receipt_id": receipt_id,
        "card_number": card,
        "outlet": "A",
        "occurred_at": "2026-11-23T16:30:00+01:00",
        "payment_type": "card",
        "redeem_points": 0,
        "lines": [
            {"sku": "cappuccino", "category": "coffee", "quantity": 1, "unit_price_minor": price_minor},
        ],
        **values,
    }


def quote_of(body: dict[str, Any]) -> dict[str, Any]:
    """The same as a quote."""
    return {name: value for name, value in body.items() if name != "receipt_id"}


def problem(response: TestResponse) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert response.content_type == "application/problem+json", response.get_data(as_text=True)
    document = response.get_json(force=True)
    assert document["status"] == response.status_code
    assert document["detail"]
    return response.status_code, document["code"]
