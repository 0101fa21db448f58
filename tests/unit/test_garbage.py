"""Processes that live long set aside what they loaded and look for cycles rarely."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.group import run_python
from wallet_server.garbage import THRESHOLDS, few_collections
from workers import __main__ as workers

ASKED = "import gc\nimport wsgi\nprint(*gc.get_threshold(), gc.get_freeze_count() > 100_000)"


def test_the_web_collects_rarely(tmp_path: Path) -> None:
    ran = run_python(ASKED, tmp_path, WALLET_SANDBOX="1")
    assert ran.stdout.split() == [*map(str, THRESHOLDS), "True"], ran.stderr


def test_a_background_process_collects_rarely_once_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(workers, "collect_rarely", lambda: called.append("rarely"))
    workers._say_ready("tick")
    assert called == ["rarely"]


def test_a_batch_leaves_the_collector_as_it_was() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with few_collections():
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > before[1]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
