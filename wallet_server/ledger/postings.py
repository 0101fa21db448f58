"""Movements of points: pure values that a posting, its entries and its lots are made of.

Accounts of a member: ``spendable``, ``pending``, ``held``, ``owed``. Accounts of the program, kept per member so
that every posting sums to zero: ``issued``, ``redeemed``, ``expired``, ``adjusted``. Points are integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final, Literal
from uuid import UUID

from wallet_server.db import new_id

MEMBER_ACCOUNTS: Final = frozenset({"spendable", "pending", "held", "owed"})
PROGRAM_ACCOUNTS: Final = frozenset({"issued", "redeemed", "expired", "adjusted"})

Kind = Literal["earn", "redeem", "reward", "adjust", "expire", "release"]
REASON_MAX: Final = 300
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Balance:
    """A member's accounts, in points; ``carried`` is the exact fraction of a point that rounding cut off."""

    spendable: int = 0
    pending: int = 0
    held: int = 0
    owed: int = 0
    carried: Fraction = Fraction(0)
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class NewLot:
    """An earning with its own expiry; ``released`` is false while its points are pending."""

    points: int
    spendable_at: datetime
    expires_at: datetime | None
    released: bool
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Movement:
    """One event that moves a member's points. ``entries`` are (account, points) pairs that sum to zero."""

    member_id: UUID
    kind: Kind
    reason: str
    occurred_at: datetime
    entries: tuple[tuple[str, int], ...]
    purchase_id: UUID | None = None
    lot: NewLot | None = None
    releases: UUID | None = None
    """The pending lot that becomes spendable by this movement."""
    id: UUID = field(default_factory=new_id)

    def __post_init__(self) -> None:
        assert self.entries, "a movement moves something"
        assert sum(points for _account, points in self.entries) == 0, "a posting sums to zero"
        for account, points in self.entries:
            assert account in MEMBER_ACCOUNTS or account in PROGRAM_ACCOUNTS, account
            assert points != 0, "an entry moves something"
        credited = sum(points for account, points in self.entries if account in MEMBER_ACCOUNTS)
        assert (self.lot.points if self.lot else 0) == max(credited, 0), "every earned point belongs to a lot"

    @property
    def debit(self) -> int:
        """Points that have to be taken out of lots."""
        return max(0, -sum(points for account, points in self.entries if account in MEMBER_ACCOUNTS))


def earn(
    member_id: UUID,
    points: int,
    *,
    reason: str,
    occurred_at: datetime,
    kind: Kind = "earn",
    purchase_id: UUID | None = None,
    spendable_at: datetime | None = None,
    expires_at: datetime | None = None,
    pending: bool = False,
) -> Movement:
    """New points for a member: one lot, spendable at once unless ``pending``."""
    assert points > 0, "only a positive number of points is earned"
    account = "pending" if pending else "spendable"
    return Movement(
        member_id=member_id,
        kind=kind,
        reason=reason[:REASON_MAX],
        occurred_at=occurred_at,
        purchase_id=purchase_id,
        entries=(("issued", -points), (account, points)),
        lot=NewLot(points, spendable_at or occurred_at, expires_at, released=not pending),
    )


def redeem(
    member_id: UUID, points: int, *, reason: str, occurred_at: datetime, purchase_id: UUID | None = None
) -> Movement:
    """Points that pay for something; taken from the lots that expire first."""
    assert points > 0, "only a positive number of points is redeemed"
    return Movement(
        member_id=member_id,
        kind="redeem",
        reason=reason[:REASON_MAX],
        occurred_at=occurred_at,
        purchase_id=purchase_id,
        entries=(("spendable", -points), ("redeemed", points)),
    )


def release(member_id: UUID, points: int, *, lot_id: UUID, reason: str, occurred_at: datetime) -> Movement:
    """Pending points of one lot that become spendable."""
    assert points > 0, "a lot with nothing left has nothing to release"
    return Movement(
        member_id=member_id,
        kind="release",
        reason=reason[:REASON_MAX],
        occurred_at=occurred_at,
        entries=(("pending", -points), ("spendable", points)),
        releases=lot_id,
    )


@dataclass(frozen=True, slots=True)
class OpenLot:
    """A spendable lot with points left."""

    id: UUID
    remaining: int
    expires_at: datetime | None


def spending_order(lots: Iterable[OpenLot]) -> list[OpenLot]:
    """The lots as they are spent: earliest expiry first, ties by id, those that never expire last (invariant L6)."""
    return sorted(lots, key=lambda lot: (lot.expires_at or _NEVER, lot.id.int))


def take(lots: Sequence[OpenLot], points: int) -> tuple[list[tuple[UUID, int]], list[OpenLot]]:
    """Take points out of lots in spending order: what each lot gives, and the lots that are left.

    The caller has checked the balance: lots that hold less than it says are a broken ledger, not a refusal.
    """
    taken: list[tuple[UUID, int]] = []
    left: list[OpenLot] = []
    for lot in spending_order(lots):
        part = min(points, lot.remaining)
        points -= part
        if part:
            taken.append((lot.id, part))
        if lot.remaining > part:
            left.append(replace(lot, remaining=lot.remaining - part))
    assert points == 0, "the lots hold less than the balance"
    return taken, left
