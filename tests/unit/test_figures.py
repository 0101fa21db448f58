"""The page of figures says what was measured, and nothing else."""

from __future__ import annotations

import json

from tests.benchmarks.figures import DOCS, MODULES, render


def test_the_page_is_made_from_the_measured_figures() -> None:
    stored = json.loads((DOCS / "figures.json").read_text(encoding="utf-8"))
    assert set(stored) == set(MODULES)
    assert (DOCS / "figures.md").read_text(encoding="utf-8") == render(stored)


def test_a_changed_figure_changes_the_page() -> None:
    stored = json.loads((DOCS / "figures.json").read_text(encoding="utf-8"))
    stored["latency"]["median_seconds"] += 1
    assert render(stored) != (DOCS / "figures.md").read_text(encoding="utf-8")
