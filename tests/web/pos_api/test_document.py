"""The OpenAPI document: complete, kept by the server, and shown without another host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

import wallet_server
from tests.web.pos_api.conftest import TillClient
from wallet_server.web.pos_api.operations import OPERATIONS, Operation

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


def test_every_link_of_the_document_leads_to_a_parameter(till: TillClient) -> None:
    document = till.client.get("/api/v1/openapi.json").get_json()
    operations = {found["operationId"]: found for item in document["paths"].values() for found in item.values()}
    links = [
        (name, parameter, answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2], pointer)
        for found in operations.values()
        for answer in found["responses"].values()
        for name, link in answer.get("links", {}).items()
        for parameter, pointer in link["parameters"].items()
    ]
    assert len(links) >= 7
    for name, parameter, answered, pointer in links:
        assert parameter in [one["name"] for one in operations[name]["parameters"]]
        members = document["components"]["schemas"][answered]["properties"]
        assert pointer.removeprefix("$response.body#/") in members


def test_the_page_for_till_developers_lists_every_call_with_its_scope(till: TillClient) -> None:
    page = (ROOT / "docs/till-api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+) (/[^`?]+)[^`]*` \| ([^|]+) \|", page, re.MULTILINE)
    listed = {(method.lower(), path): scopes for method, path, scopes in rows}
    assert set(listed) == {(operation.method, operation.path) for operation in OPERATIONS}
    for operation in OPERATIONS:
        told = set(re.findall(r"[Ss]cope `(\w+)`", operation.description))
        assert told <= set(re.findall(r"`(\w+)`", listed[operation.method, operation.path])), operation.name
        assert told or listed[operation.method, operation.path] == "any"


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if "{" in one.path], ids=lambda one: one.name)
@pytest.mark.parametrize("value", ["40/00", "40%2F00", "/", "%2F", "..%2F..", "40/tags"])
def test_a_slash_in_a_path_is_a_refusal_that_the_document_names(
    till: TillClient, operation: Operation, value: str
) -> None:
    path = re.sub(r"\{\w+\}", value, operation.path)
    answer = till.client.open(
        f"/api/v1{path}",
        method=operation.method,
        headers={**till.headers(), "Idempotency-Key": "slash"},
        json={} if operation.body else None,
    )
    assert answer.get_json(force=True)["code"] in operation.codes[answer.status_code]
    assert answer.status_code in (404, 405)
