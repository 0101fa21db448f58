"""The OpenAPI document: complete, kept by the server, and shown without another host."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
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

import wallet_server
from tests.services.purchases.shop import Shop
from tests.web.pos_api.conftest import TillClient
from wallet_server.web.pos_api.operations import OPERATIONS

ROOT = Path(wallet_server.__file__).parent.parent


def test_the_document_names_every_call_of_the_door(app: Flask, till: TillClient) -> None:
    document = till.client.get("/api/v1/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/api/v1")))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("pos_api.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == {(method, path) for path, item in document["paths"].items() for method in item}
    for item in document["paths"].values():
        for operation in item.values():
            assert {"401", "429", "500", "503"} <= set(operation["responses"])


def test_every_reference_of_the_document_leads_somewhere(till: TillClient) -> None:
    text = till.client.get("/api/v1/openapi.json").get_data(as_text=True)
    document = till.client.get("/api/v1/openapi.json").get_json()
    references = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', text))
    assert references == references & set(document["components"]["schemas"])
    assert {"PurchaseRequest", "PurchaseAnswer", "Problem"} <= references


def test_every_code_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE))
    raised: dict[str, str] = {}
    for path in (ROOT / "wallet_server").rglob("*.py"):
        if "sandbox" in str(path.relative_to(ROOT)):
            continue  # the simulator's own refusals are no contract
        text = path.read_text(encoding="utf-8")
        for code in re.findall(r'(?:DomainError|NotFoundError|problem|refusal)\(\s*"(\w+)"', text):
            raised[code] = path.name
    assert raised, "the pattern finds no code any more"
    assert {code: name for code, name in raised.items() if code not in documented} == {}


def test_the_pages_come_from_this_host_under_the_strict_policy(till: TillClient) -> None:
    page = till.client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    text = page.get_data(as_text=True)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("/")
        assert till.client.get(address).status_code == 200
    assert "<script>" not in text
    assert " style=" not in text
    assert till.client.get("/api/v1/docs/../blueprint.py").status_code == 404
    assert till.client.get("/api/v1/docs/plugins.py").status_code == 404


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS])
def test_what_the_server_answers_is_what_the_document_says(
    app: Flask, till: TillClient, shop: Shop, name: str, mode: GenerationMode
) -> None:
    """Schemathesis makes requests that fit the document, and requests that do not; our answers must fit it."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    [operation] = [
        found.ok() for found in schema.get_all_operations() if found.ok().definition.raw["operationId"] == name
    ]
    seen: Counter[int] = Counter()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        # A card that exists gets further than an invented one.
        if case.path_parameters and "card_number" in case.path_parameters and mode is GenerationMode.POSITIVE:
            case.path_parameters["card_number"] = shop.card
        if isinstance(case.body, dict) and isinstance(case.body.get("card_number"), str):
            case.body["card_number"] = shop.card
            case.body["outlet"] = "A"
            case.body["occurred_at"] = "2026-11-23T16:30:00+01:00"
        response = case.call(headers={"Authorization": f"Bearer {till.secret}"})
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    run()
    assert seen
