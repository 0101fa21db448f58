"""``verify``: every invariant of the stored data, each a function of the feature that promises it.

A check takes a reading session and returns the rows that break it. It reads through the session's scope, so
the same function answers for one program or for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Engine
from sqlmodel import Session

from wallet_server.campaigns import invariants as campaigns
from wallet_server.challenges import invariants as challenges
from wallet_server.db import ALL_PROGRAMS, Scope, reading
from wallet_server.issuance import invariants as issuance
from wallet_server.ledger import invariants as ledger
from wallet_server.ledger.invariants import Violation
from wallet_server.partners import invariants as partners
from wallet_server.programs.queries import load_program
from wallet_server.purchases import invariants as purchases
from wallet_server.tiers import invariants as tiers

CheckFunction = Callable[[Session], list[Violation]]
CHECKS: Sequence[CheckFunction] = (
    *ledger.CHECKS,
    *partners.CHECKS,
    *purchases.CHECKS,
    *tiers.CHECKS,
    *challenges.CHECKS,
    *campaigns.CHECKS,
    *issuance.CHECKS,
)


@dataclass(frozen=True)
class Check:
    """One invariant as it is shown to a person."""

    name: str
    summary: str


@dataclass(frozen=True)
class Report:
    """What was checked, each check with the rows that break it, the first of them."""

    found: Sequence[tuple[Check, Sequence[Violation]]]
    seconds: float

    @property
    def checks(self) -> list[Check]:
        """All that was checked, in order."""
        return [check for check, _violations in self.found]

    @property
    def violations(self) -> list[Violation]:
        """All that was found."""
        return [violation for _check, violations in self.found for violation in violations]

    def as_dict(self) -> dict[str, Any]:
        """The report for ``verify --json``."""
        return {
            "checks": [{"name": check.name, "summary": check.summary} for check in self.checks],
            "violations": [
                {"check": found.check, "name": check.name, "row": str(found.row), "detail": found.detail}
                for check, violations in self.found
                for found in violations
            ],
            "seconds": round(self.seconds, 3),
        }


def describe(function: CheckFunction) -> Check:
    """A check's name and the first line of its docstring."""
    return Check(function.__name__, (function.__doc__ or "").strip().splitlines()[0])


def run_checks(engine: Engine, slug: str | None = None) -> Report:
    """Run every check, for one program or for all.

    Raises ``NotFoundError(unknown_program)``.
    """
    started = time.monotonic()
    scope: Scope = ALL_PROGRAMS
    with reading(engine, ALL_PROGRAMS) as session:
        if slug is not None:
            scope = load_program(session, slug=slug).id
    found: list[tuple[Check, list[Violation]]] = []
    for function in CHECKS:
        # Each its own snapshot: on SQLite a long read would keep the write-ahead log from being folded in.
        with reading(engine, scope) as session:
            found.append((describe(function), function(session)))
    return Report(found, time.monotonic() - started)
