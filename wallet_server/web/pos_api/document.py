"""The OpenAPI 3.1 document of the till API, made of the same models that check and answer the calls.

Pydantic writes JSON Schema 2020-12, which is OpenAPI 3.1's own schema language, so nothing is translated.
Source: the OpenAPI Specification 3.1.1, spec.openapis.org/oas/v3.1.1.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from wallet_server import __version__
from wallet_server.web.pos_api import answers, bodies

PATH: Final = "/api/v1"
_KEY: Final = "Idempotency-Key"
_EVERYWHERE: Final = (401, 429, 500, 503)
STATUS_TEXTS: Final[Mapping[int, str]] = {
    200: "Done, or done before.",
    201: "Recorded.",
    400: "The body is not JSON (`bad_json`).",
    401: "The key is missing, wrong or revoked (`unauthorized`).",
    403: "The key lacks a scope or is another outlet's (`missing_scope`, `other_outlet`).",
    404: "There is no such thing in this program (`unknown_card`, `unknown_outlet`, `unknown_voucher`).",
    409: "It cannot be done as things are; see `code`.",
    413: "The body is larger than 256 kB (`too_large`).",
    415: "The body is not `application/json` (`unsupported_media_type`).",
    422: "The request is wrong (`validation`), or its key was another one's (`idempotency_mismatch`); see `code`.",
    429: "Too many calls (`rate_limited`); wait as `Retry-After` says.",
    500: "Our fault (`internal`); the same key may be tried again.",
    503: "The database is busy (`busy`); try again with the same key.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One call."""

    method: str
    path: str
    name: str
    summary: str
    description: str
    answers: Mapping[int, type[BaseModel]]
    problems: Sequence[int]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    keyed: bool = False

    @property
    def tag(self) -> str:
        """The group it is shown in."""
        return self.path.split("/")[1].title()


_WRITES: Final = (400, 413, 415, 422)
OPERATIONS: Final = (
    Operation(
        "post",
        "/members",
        "join",
        "Make somebody a member",
        "Somebody who is a member already gets the same membership (200). Scope `members`.",
        {201: answers.MemberJoined, 200: answers.MemberJoined},
        (*_WRITES, 403, 404, 409),
        body=bodies.NewMember,
        keyed=True,
    ),
    Operation(
        "get",
        "/members/{card_number}",
        "member",
        "What the cashier sees of a card",
        "Balance, tier, challenges, and the vouchers that can be redeemed now. Any scope.",
        {200: answers.MemberAnswer},
        (404, 409),
    ),
    Operation(
        "get",
        "/members/{card_number}/entries",
        "entries",
        "The member's ledger",
        "Newest first, each row with its reason. Any scope.",
        {200: answers.EntriesAnswer},
        (404, 409, 422),
        query=bodies.EntriesQuery,
    ),
    Operation(
        "post",
        "/quotes",
        "quote",
        "What a receipt would bring and cost",
        "Changes nothing. Scope `earn`.",
        {200: answers.QuoteAnswer},
        (*_WRITES, 403, 404, 409),
        body=bodies.QuoteRequest,
    ),
    Operation(
        "post",
        "/purchases",
        "purchase",
        "Record a receipt",
        "Once per outlet and `receipt_id`, whatever the key. Scope `earn`, and `redeem` to pay with points.",
        {201: answers.PurchaseAnswer},
        (*_WRITES, 403, 404, 409),
        body=bodies.PurchaseRequest,
        keyed=True,
    ),
    Operation(
        "post",
        "/vouchers/{code}/redeem",
        "redeem",
        "Redeem a voucher",
        "Succeeds once (`voucher_used`, `voucher_expired`). Scope `redeem`.",
        {200: answers.VoucherAnswer},
        (*_WRITES, 403, 404, 409),
        body=bodies.VoucherRedemption,
        keyed=True,
    ),
)


def document() -> dict[str, Any]:
    """The whole document."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Wallet Server till API",
            "version": __version__,
            "description": "Money is an integer in the program's minor unit, points are integers, percents are exact "
            "texts. Every refusal is a problem document with a stable `code`. Writing calls take an "
            "`Idempotency-Key`: repeat a call with the same key and you get the same answer, done once.",
        },
        # Relative to the document, so that it is right under whatever name the server is reached.
        "servers": [{"url": PATH}],
        "security": [{"till_key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["components"],
            "securitySchemes": {
                "till_key": {"type": "http", "scheme": "bearer", "description": "`wallet-server api-key create`"}
            },
        },
    }


def _schemas() -> dict[str, Any]:
    requests = [operation.body for operation in OPERATIONS if operation.body]
    queries = [operation.query for operation in OPERATIONS if operation.query]
    results = {model for operation in OPERATIONS for model in operation.answers.values()} | {answers.Problem}
    wanted = [(model, "validation") for model in (*requests, *queries)]
    wanted += [(model, "serialization") for model in sorted(results, key=lambda model: model.__name__)]
    references, definitions = models_json_schema(
        wanted,  # type: ignore[arg-type]
        ref_template="#/components/schemas/{model}",
    )
    components = definitions["$defs"]
    return {
        "components": components,
        "of": {model: references[model, mode] for model, mode in wanted},  # type: ignore[index]
    }


def _operation(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": schemas["of"][answers.Problem]}}
    responses: dict[str, Any] = {}
    for status, model in operation.answers.items():
        responses[str(status)] = {
            "description": STATUS_TEXTS[status],
            "content": {"application/json": {"schema": schemas["of"][model]}},
        }
        if operation.keyed:
            responses[str(status)]["headers"] = {
                "Idempotency-Replayed": {
                    "description": "`true` where the answer had been given before.",
                    "schema": {"type": "string"},
                }
            }
    for status in sorted({*operation.problems, *_EVERYWHERE}):
        responses[str(status)] = {"description": STATUS_TEXTS[status], "content": problem}
    result: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": _parameters(operation, schemas),
        "responses": responses,
    }
    if operation.body is not None:
        schema = schemas["of"][operation.body]
        result["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return result


def _parameters(operation: Operation, schemas: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    if operation.query is not None:
        model = schemas["components"].pop(operation.query.__name__)
        found += [
            {"name": name, "in": "query", "required": name in model.get("required", ()), "schema": _not_null(schema)}
            for name, schema in model["properties"].items()
        ]
    if operation.keyed:
        found.append(
            {
                "name": _KEY,
                "in": "header",
                "required": True,
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
                "description": "Made by the till for each new request and repeated with each retry of it.",
            }
        )
    return found


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is there or is not; it is never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else {key: value for key, value in schema.items() if key != "default"}
