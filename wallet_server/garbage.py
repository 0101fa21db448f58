"""When Python looks for cycles: rarely, and never again among what a process loaded at its start.

Hundreds of thousands of objects (modules, mapped classes, compiled rules) live as long as the process, and a walk
through all of them stops every till for a tenth of a second. What a request leaves goes at once, by its reference
counts, all but a few cycles.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (50_000, 20, 10)
"""New objects that are still there, and collections of the younger generation, before one is collected."""


def collect_rarely() -> None:
    """Set what there is aside and collect rarely from now on; for a process at the end of its start.

    Python's manual, ``gc.freeze``.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def few_collections() -> Iterator[None]:
    """:func:`collect_rarely` for a while: a batch is a hundred thousand small objects without any cycle."""
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
