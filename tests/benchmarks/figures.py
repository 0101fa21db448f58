"""docs/figures.md, made from docs/figures.json: figures are measured and rendered, never typed.

wallet-server bench --json > docs/figures.json
python -m tests.benchmarks.figures
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import baskets, engine, imports, latency, ledger, main_job, passes, push

DOCS = Path(__file__).parents[2] / "docs"
MODULES = {
    "baskets": baskets,
    "engine": engine,
    "imports": imports,
    "latency": latency,
    "ledger": ledger,
    "main_job": main_job,
    "passes": passes,
    "push": push,
}
HEAD = """# Figures

Measured by `wallet-server bench`, on a machine with two shared cores and 24 GiB of memory, with everything
(server, workers, phones, tills) on it. Shares within one run carry over to other machines; seconds do not.
This page is made from `figures.json` by `python -m tests.benchmarks.figures`.
"""


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for these results."""
    parts = [HEAD]
    for name, figures in results.items():
        summary = (MODULES[name].__doc__ or "").strip().splitlines()[0]
        title = f"## {name.replace('_', ' ')}\n\n{summary}\n"
        parts.append(f"{title}\n| what | figure |\n| --- | ---: |\n{_rows(figures)}")
    return "\n".join(parts)


def _rows(figures: Mapping[str, Any], prefix: str = "") -> str:
    rows = ""
    for key, value in figures.items():
        label = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows += _rows(value, f"{label}: ")
        else:
            rows += f"| {label} | {value:,} |\n" if isinstance(value, int | float) else f"| {label} | {value} |\n"
    return rows


if __name__ == "__main__":
    stored = json.loads((DOCS / "figures.json").read_text(encoding="utf-8"))
    (DOCS / "figures.md").write_text(render(stored), encoding="utf-8")
