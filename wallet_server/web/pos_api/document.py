"""The OpenAPI 3.1 document of the till API, made of the same models that check and answer the calls.

Pydantic writes JSON Schema 2020-12, which is OpenAPI 3.1's own schema language, so nothing is translated.
Source: the OpenAPI Specification 3.1.1, spec.openapis.org/oas/v3.1.1.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from wallet_server import __version__
from wallet_server.web.pos_api import answers
from wallet_server.web.pos_api.operations import OPERATIONS, Operation

PATH: Final = "/api/v1"
_KEY: Final = "Idempotency-Key"
STATUS_TEXTS: Final[Mapping[int, str]] = {
    200: "Done, or done before.",
    201: "Recorded.",
    400: "The body is malformed.",
    401: "The key is missing, wrong or revoked.",
    403: "The key is not good for this.",
    404: "There is no such thing in this program.",
    405: "The method is not one of this address.",
    409: "It cannot be done as things are.",
    413: "The body is larger than 2 MiB.",
    415: "The body is not `application/json`.",
    422: "The request is wrong.",
    429: "Too many calls; wait as `Retry-After` says.",
    500: "Our fault; the same key may be tried again.",
    503: "The database is busy; try again with the same key.",
}
_RATE_HEADERS: Final[Mapping[str, str]] = {
    "RateLimit-Limit": "Calls that the key has in a window of a minute.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the next window begins.",
}


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
    responses: dict[str, Any] = {}
    for status, model in operation.answers.items():
        responses[str(status)] = {
            "description": STATUS_TEXTS[status],
            "content": {"application/json": {"schema": schemas["of"][model]}},
            "headers": _rate_headers(),
        }
        if operation.keyed:
            responses[str(status)]["headers"]["Idempotency-Replayed"] = {
                "description": "`true` where the answer had been given before.",
                "schema": {"type": "string", "enum": ["true"]},
            }
        if operation.links:
            responses[str(status)]["links"] = {
                name: {"operationId": name, "parameters": {parameter: f"$response.body#/{member}"}}
                for name, parameter, member in operation.links
            }
    for status, codes in operation.codes.items():
        responses[str(status)] = _refusal(status, codes, schemas["of"][answers.Problem])
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
        required = operation.body_required
        result["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return result


def _refusal(status: int, codes: tuple[str, ...], problem: Mapping[str, Any]) -> dict[str, Any]:
    """A problem document whose code is one of these."""
    names = ", ".join(f"`{code}`" for code in codes)
    schema = {"allOf": [problem, {"properties": {"code": {"enum": list(codes)}, "status": {"const": status}}}]}
    headers = {} if status == 401 else _rate_headers()
    if status in (429, 503):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
    if status == 401:
        headers["WWW-Authenticate"] = {"description": "RFC 6750, section 3.", "schema": {"type": "string"}}
    return {
        "description": f"{STATUS_TEXTS[status]} {names}",
        "content": {"application/problem+json": {"schema": schema}},
        "headers": headers,
    }


def _rate_headers() -> dict[str, Any]:
    return {
        name: {"description": text, "schema": {"type": "integer", "minimum": 0}} for name, text in _RATE_HEADERS.items()
    }


def _parameters(operation: Operation, schemas: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}}
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
