"""What checks of the ledger are made of: a violation, the tables, and the sums that several of them need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from wallet_server.db import ALL_PROGRAMS
from wallet_server.ledger.models import Adjustment, Allocation, Entry, Hold, HoldLot, Lot, MemberBalance, Posting
from wallet_server.ledger.postings import LOT_ACCOUNTS

VIOLATIONS_MAX: Final = 100
"""A check names at most so many rows: the first ones say what is wrong."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks an invariant: which check, the row's key, and what is wrong with it."""

    check: str
    row: str
    detail: str


Check = Callable[[Session], list[Violation]]


def table(model: type[SQLModel]) -> sa.Table:
    """The Core table of a model: checks look at rows, not at objects."""
    found: sa.Table = model.__table__  # type: ignore[attr-defined]
    return found


def violations(
    session: Session, check: str, program_id: sa.ColumnElement[Any], statement: sa.Select[Any]
) -> list[Violation]:
    """Run a statement whose rows are violations; its first column is the key, the others are named values."""
    scope = session.info.get("scope")
    assert scope is not None, "name a program, or all of them"
    if scope is not ALL_PROGRAMS:
        statement = statement.where(program_id == scope)
    rows = session.connection().execute(statement.limit(VIOLATIONS_MAX)).all()
    return [
        Violation(
            check,
            str(row[0]),
            ", ".join(f"{name} {value}" for name, value in list(row._mapping.items())[1:]),
        )
        for row in rows
    ]


BALANCE, ENTRY, POSTING = table(MemberBalance), table(Entry), table(Posting)
LOT, ALLOCATION = table(Lot), table(Allocation)
HOLD, HOLD_LOT, ADJUSTMENT = table(Hold), table(HoldLot), table(Adjustment)

KEPT = sa.case((ENTRY.c.account == "owed", -ENTRY.c.points), else_=ENTRY.c.points)
"""An entry as its balance counts it: a debt grows by negative entries."""


def summed(column: sa.ColumnElement[Any], *, where: sa.ColumnElement[bool] | None = None) -> sa.ColumnElement[int]:
    """The sum of a column, of the rows ``where`` a condition holds."""
    value = column if where is None else sa.case((where, column), else_=0)
    return sa.func.coalesce(sa.func.sum(value), 0)


def brought_to_lots() -> sa.Subquery:
    """What each posting brought to (positive) or took from (negative) its member's lots."""
    return (
        sa.select(ENTRY.c.posting_id, summed(ENTRY.c.points).label("points"))
        .where(ENTRY.c.account.in_(sorted(LOT_ACCOUNTS)))
        .group_by(ENTRY.c.posting_id)
        .subquery()
    )


def allocated() -> sa.Subquery:
    """What each posting took from lots, and what it gave back to them; both positive."""
    points = ALLOCATION.c.points
    return (
        sa.select(
            ALLOCATION.c.posting_id,
            summed(points, where=points > 0).label("taken"),
            summed(-points, where=points < 0).label("back"),
        )
        .group_by(ALLOCATION.c.posting_id)
        .subquery()
    )
