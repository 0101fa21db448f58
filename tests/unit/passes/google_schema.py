"""A strict reader of Google's own discovery document: unknown and old names, wrong types and enums are errors."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

DOCUMENT = json.loads(
    Path(
        find_spec("googleapiclient").submodule_search_locations[0],
        "discovery_cache/documents/walletobjects.v1.json",
    ).read_text()
)
_TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list, "object": dict}
_READ_ONLY = {"kind", "hasUsers", "hasLinkedDevice", "classReference", "review"}


def faults(schema: str, body: object) -> list[str]:
    """Return what Google's schema says against `body`, as sentences; none means that it is accepted."""
    return list(_check(DOCUMENT["schemas"][schema], body, schema))


def _check(schema: dict, value: object, where: str):
    if "$ref" in schema:
        yield from _check(DOCUMENT["schemas"][schema["$ref"]], value, where)
        return
    expected = _TYPES[schema["type"]]
    if not isinstance(value, expected) or (isinstance(value, bool) and schema["type"] != "boolean"):
        yield f"{where} is {value!r}, not of type {schema['type']}"
        return
    if schema.get("format") == "int64" and not (isinstance(value, str) and value.lstrip("-").isdecimal()):
        yield f"{where} is an int64 and must be a text of digits"
    if schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
        yield f"{where} does not fit 32 bits"
    if "enum" in schema:
        deprecated = dict(zip(schema["enum"], schema.get("enumDeprecated", []), strict=False))
        if value not in schema["enum"] or deprecated.get(value):
            yield f"{where} is {value!r}, not one of {schema['enum']}"
    if schema["type"] == "array":
        for index, item in enumerate(value):
            yield from _check(schema["items"], item, f"{where}[{index}]")
    if schema["type"] == "object":
        for key, item in value.items():
            if key not in schema["properties"] or key in _READ_ONLY:
                yield f"{where}.{key} is unknown or read-only"
            elif schema["properties"][key].get("deprecated"):
                yield f"{where}.{key} is deprecated"
            else:
                yield from _check(schema["properties"][key], item, f"{where}.{key}")
