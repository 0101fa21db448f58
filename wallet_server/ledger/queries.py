"""Reads of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import ALL_PROGRAMS, among
from wallet_server.ledger.models import Entry, Hold, Lot, MemberBalance, Posting
from wallet_server.ledger.postings import Balance
from wallet_server.programs.points import PointsSettings
from wallet_server.reads import Asked, Read, known

PAGE_SIZE_MAX = 200

BALANCE: sa.Table = MemberBalance.__table__  # type: ignore[attr-defined]
BALANCE_COLUMNS = [
    BALANCE.c[name] for name in ("member_id", "spendable", "pending", "held", "owed", "carried", "sequence")
]


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One line of a member's history, with the reason of its posting; ``points`` positive into the account."""

    sequence: int
    account: str
    points: int
    balance_after: int
    kind: str
    reason: str
    purchase_id: UUID | None
    occurred_at: datetime
    recorded_at: datetime
    outlet_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class LotRow:
    """An earning of a member that has points left: where it came from, and until when it stays.

    ``held`` of the ``remaining`` points are set aside; ``pending`` ones become spendable at ``spendable_at``.
    """

    id: UUID
    kind: str
    reason: str
    purchase_id: UUID | None
    outlet_id: UUID | None
    points: int
    remaining: int
    held: int
    pending: bool
    earned_at: datetime
    spendable_at: datetime
    expires_at: datetime | None


def shown(balance: Balance, settings: PointsSettings) -> int:
    """The points to spend that a person is shown: below zero where the program lets a balance be so.

    Debts are kept and paid alike in both kinds of programs (``negative_balance``); they differ in this number.
    """
    return balance.spendable - balance.owed if settings.negative_balance == "allow" else balance.spendable


def select_balances(session: Session, member_ids: Collection[UUID]) -> sa.Select[Any]:
    """The accounts of members; Core, so it names the session's program itself."""
    statement = sa.select(*BALANCE_COLUMNS).where(among(session, BALANCE.c.member_id, member_ids))
    scope = session.info.get("scope")
    return statement if scope is ALL_PROGRAMS else statement.where(BALANCE.c.program_id == scope)


def balance(session: Session, member_id: UUID) -> Balance:
    """A member's accounts; all zero for a member who never had a point."""
    return balances(session, [member_id]).get(member_id, Balance())


def balances(session: Session, member_ids: Collection[UUID]) -> dict[UUID, Balance]:
    """The accounts of several members, without locking them."""
    if not member_ids:
        return {}
    rows = session.execute(select_balances(session, member_ids))
    return {row.member_id: balance_of(*row) for row in rows}


def balances_asked(program_id: UUID, member_ids: Collection[UUID]) -> Asked[dict[UUID, Balance]]:
    """As :func:`balances`, to be asked with other things."""
    if not member_ids:
        return known({})
    values = {"program_id": program_id, "member_ids": list(member_ids)}
    return Asked(_BALANCES, values, lambda rows: {row[0]: balance_of(*row) for row in rows})


_BALANCES: Final = Read(
    lambda one_of: sa.select(*BALANCE_COLUMNS).where(
        BALANCE.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()), one_of(BALANCE.c.member_id, "member_ids")
    )
)


def balance_of(  # noqa: PLR0917 - the columns in their order
    _member_id: UUID, spendable: int, pending: int, held: int, owed: int, carried: str, sequence: int
) -> Balance:
    """A :class:`Balance` of the values of ``BALANCE_COLUMNS``."""
    return Balance(spendable, pending, held, owed, Fraction(carried), sequence)


def entries(
    session: Session, member_id: UUID, *, before_sequence: int | None = None, limit: int = 50
) -> Sequence[EntryRow]:
    """A page of a member's entries, newest first: those before ``before_sequence``, at most ``limit`` (≤ 200).

    What an earning paid of a debt is a posting of its own after it (kind ``debt``, of the same purchase): one
    entry takes the points, the other, on ``owed``, is how much less is owed.
    """
    limit = max(1, min(limit, PAGE_SIZE_MAX))
    statement = (
        select(Entry, Posting)
        .join(Posting, col(Posting.id) == col(Entry.posting_id))
        .where(Entry.member_id == member_id, col(Entry.sequence).is_not(None))
        .order_by(col(Entry.sequence).desc())
        .limit(limit)
    )
    if before_sequence is not None:
        statement = statement.where(col(Entry.sequence) < before_sequence)
    return [
        EntryRow(
            sequence=entry.sequence or 0,
            account=entry.account,
            points=entry.points,
            balance_after=entry.balance_after or 0,
            kind=posting.kind,
            reason=posting.reason,
            purchase_id=posting.purchase_id,
            occurred_at=posting.occurred_at,
            recorded_at=posting.recorded_at,
            outlet_id=posting.outlet_id,
        )
        for entry, posting in session.exec(statement)
    ]


def lots_of_member(session: Session, member_id: UUID, *, limit: int = PAGE_SIZE_MAX) -> list[LotRow]:
    """A member's lots that have points left, in the order in which they are spent; at most 200."""
    statement = (
        select(Lot, Posting)
        .join(Posting, col(Posting.id) == col(Lot.posting_id))
        .where(Lot.member_id == member_id, col(Lot.remaining) > 0)
        .order_by(col(Lot.expires_at).is_(None), col(Lot.expires_at), col(Lot.id))
        .limit(max(1, min(limit, PAGE_SIZE_MAX)))
    )
    return [
        LotRow(
            id=lot.id,
            kind=posting.kind,
            reason=posting.reason,
            purchase_id=posting.purchase_id,
            outlet_id=lot.outlet_id,
            points=lot.points,
            remaining=lot.remaining,
            held=lot.held,
            pending=not lot.released,
            earned_at=posting.occurred_at,
            spendable_at=lot.spendable_at,
            expires_at=lot.expires_at,
        )
        for lot, posting in session.exec(statement)
    ]


def open_holds(session: Session, member_id: UUID, now: datetime, *, limit: int = PAGE_SIZE_MAX) -> list[Hold]:
    """A member's points that are set aside now, the one that ends first in front; at most 200."""
    statement = (
        select(Hold)
        .where(Hold.member_id == member_id, Hold.state == "open", col(Hold.expires_at) > now)
        .order_by(col(Hold.expires_at), col(Hold.id))
        .limit(max(1, min(limit, PAGE_SIZE_MAX)))
    )
    return list(session.exec(statement))
