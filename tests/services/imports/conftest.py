"""A café to import into, and files to import."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import CAFE
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.imports.rows import MEMBER_COLUMNS, RECEIPT_COLUMNS
from wallet_server.imports.runs import Summary, run
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import apply_program

SLUG = CAFE["program"]["slug"]


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture
def program_id(engine: Engine) -> UUID:
    with transaction(engine, ALL_PROGRAMS) as session:
        return apply_program(session, ProgramFile.model_validate(CAFE), now=NOW, actor="test").program_id


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a CSV file with our columns."""

    def make(kind: str, rows: Iterable[Mapping[str, Any]], name: str | None = None) -> Path:
        path = tmp_path / (name or f"{kind}.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, MEMBER_COLUMNS if kind == "members" else RECEIPT_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        return path

    return make


@pytest.fixture
def do_import(engine: Engine, program_id: UUID) -> Callable[..., Summary]:
    def do(kind: Any, path: Path, **options: Any) -> Summary:
        return run(engine, FixedClock(), slug=SLUG, kind=kind, path=path, **options)

    return do
