"""docs/program-file.md names every key and every word that a program file may have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wallet_server.programs.yaml_file import program_schema

PAGE = Path(__file__).parents[2] / "docs" / "program-file.md"


def words(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for choice in (*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())):
            yield str(choice)
        for part in schema.values():
            yield from words(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from words(part)


def test_every_key_and_every_word_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = set(words(program_schema()))
    assert {"slug", "settlement_percent", "days_since_last_visit", "once_per_window"} <= found
    assert [word for word in sorted(found) if word not in page] == []
