"""Movements of points: pure values that a posting, its entries and its lots are made of.

Accounts of a member: ``spendable``, ``pending``, ``held``, ``owed``. Accounts of the program, kept per member so
that every posting sums to zero: ``issued``, ``redeemed``, ``expired``, ``adjusted``. Points are integers.

``owed`` is a debt: an entry of −4 makes the member owe 4 more, one of +4 pays it. A balance says how much is owed,
which is never negative. All other accounts of a member hold points that lie in lots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final, Literal
from uuid import UUID

from wallet_server.db import new_id

LOT_ACCOUNTS: Final = frozenset({"spendable", "pending", "held"})
MEMBER_ACCOUNTS: Final = LOT_ACCOUNTS | {"owed"}
PROGRAM_ACCOUNTS: Final = frozenset({"issued", "redeemed", "expired", "adjusted"})

Kind = Literal[
    "earn",
    "reward",
    "redeem",
    "release",
    "hold",
    "capture",
    "unhold",
    "expire",
    "zero",
    "adjust",
    "take_back",
    "return",
    "reissue",
    "debt",
]
REASON_MAX: Final = 300
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

LotShares = tuple[tuple[UUID, int], ...]
"""Points by lot."""


@dataclass(frozen=True, slots=True)
class Balance:
    """A member's accounts, in points; ``carried`` is the exact fraction of a point that rounding cut off.

    ``owed`` is a debt, which is paid as soon as points become spendable: who owes has nothing to spend.
    """

    spendable: int = 0
    pending: int = 0
    held: int = 0
    owed: int = 0
    carried: Fraction = Fraction(0)
    sequence: int = 0


def settled(balance: Balance) -> Balance:
    """The balance after its debt was paid as far as the spendable points go (the ledger does the same)."""
    paid = min(balance.spendable, balance.owed)
    return replace(balance, spendable=balance.spendable - paid, owed=balance.owed - paid) if paid else balance


@dataclass(frozen=True, slots=True)
class NewLot:
    """An earning with its own expiry; ``released`` is false while its points are pending."""

    points: int
    spendable_at: datetime
    expires_at: datetime | None
    released: bool
    id: UUID = field(default_factory=new_id)
    outlet_id: UUID | None = None
    """The outlet that issued the points."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One event that moves a member's points. ``entries`` are (account, points) pairs that sum to zero.

    Points that leave the member come out of lots in spending order, unless ``takes`` names them.
    """

    member_id: UUID
    kind: Kind
    reason: str
    occurred_at: datetime
    entries: tuple[tuple[str, int], ...]
    purchase_id: UUID | None = None
    lot: NewLot | None = None
    releases: UUID | None = None
    """The pending lot that becomes spendable by this movement."""
    takes: LotShares = ()
    """The lots that give points (positive) or get them back (negative)."""
    holds: LotShares = ()
    """The lots whose points are set aside (positive) or free again (negative)."""
    outlet_id: UUID | None = None
    """Where it happened."""
    corrects: UUID | None = None
    """The posting that this one takes back, or the hold that it places or resolves."""
    id: UUID = field(default_factory=new_id)

    def __post_init__(self) -> None:
        assert self.entries, "a movement moves something"
        assert sum(points for _account, points in self.entries) == 0, "a posting sums to zero"
        for account, points in self.entries:
            assert account in MEMBER_ACCOUNTS or account in PROGRAM_ACCOUNTS, account
            assert points != 0, "an entry moves something"
        if self.takes:
            assert self.lot is None, "points come into a new lot, or go back to old ones"
            assert sum(points for _lot, points in self.takes) == -self._brought, "lots give what the member loses"
        else:
            assert (self.lot.points if self.lot else 0) == max(self._brought, 0), "every earned point belongs to a lot"
        held = sum(points for account, points in self.entries if account == "held")
        assert sum(points for _lot, points in self.holds) == held, "what is held is held in lots"

    @property
    def _brought(self) -> int:
        return sum(points for account, points in self.entries if account in LOT_ACCOUNTS)

    @property
    def debit(self) -> int:
        """Points that have to be taken out of lots in spending order."""
        return 0 if self.takes else max(0, -self._brought)


def entries_of(**points: int) -> tuple[tuple[str, int], ...]:
    """Entries by account, without those that move nothing."""
    return tuple((account, moved) for account, moved in points.items() if moved)


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
    outlet_id: UUID | None = None,
    source: str = "issued",
) -> Movement:
    """New points for a member: one lot, spendable at once unless ``pending``.

    ``outlet_id`` is who issues them, ``expires_at`` what :func:`wallet_server.ledger.expiry.expires_at` says.
    """
    assert points > 0, "only a positive number of points is earned"
    account = "pending" if pending else "spendable"
    return Movement(
        member_id=member_id,
        kind=kind,
        reason=reason[:REASON_MAX],
        occurred_at=occurred_at,
        purchase_id=purchase_id,
        entries=((source, -points), (account, points)),
        lot=NewLot(points, spendable_at or occurred_at, expires_at, released=not pending, outlet_id=outlet_id),
        outlet_id=outlet_id,
    )


def redeem(
    member_id: UUID,
    points: int,
    *,
    reason: str,
    occurred_at: datetime,
    purchase_id: UUID | None = None,
    outlet_id: UUID | None = None,
) -> Movement:
    """Points that pay for something; taken from the lots that expire first. ``outlet_id`` is who honours them."""
    assert points > 0, "only a positive number of points is redeemed"
    return Movement(
        member_id=member_id,
        kind="redeem",
        reason=reason[:REASON_MAX],
        occurred_at=occurred_at,
        purchase_id=purchase_id,
        entries=(("spendable", -points), ("redeemed", points)),
        outlet_id=outlet_id,
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


def lose(
    member_id: UUID,
    takes: LotShares,
    *,
    kind: Kind,
    reason: str,
    occurred_at: datetime,
) -> Movement:
    """Spendable points that are gone for good: expired, or set to zero."""
    points = sum(part for _lot, part in takes)
    assert points > 0, "nothing was lost"
    return Movement(
        member_id=member_id,
        kind=kind,
        reason=reason[:REASON_MAX],
        occurred_at=occurred_at,
        entries=(("spendable", -points), ("expired", points)),
        takes=takes,
    )


def pay_debt(cause: Movement, balance: Balance) -> Movement:
    """The debt paid from what ``cause`` has made spendable."""
    paid = min(balance.spendable, balance.owed)
    return Movement(
        member_id=cause.member_id,
        kind="debt",
        reason=DEBT_PAID,
        occurred_at=cause.occurred_at,
        purchase_id=cause.purchase_id,
        entries=(("spendable", -paid), ("owed", paid)),
    )


DEBT_PAID: Final = "Debt paid"


@dataclass(frozen=True, slots=True)
class OpenLot:
    """A lot with points left; ``held`` of them are set aside and cannot be spent."""

    id: UUID
    remaining: int
    expires_at: datetime | None
    held: int = 0
    released: bool = True

    @property
    def available(self) -> int:
        """Points that can be spent now."""
        return self.remaining - self.held if self.released else 0


def spending_order(lots: Iterable[OpenLot]) -> list[OpenLot]:
    """The lots as they are spent: earliest expiry first, ties by id, those that never expire last (invariant L6)."""
    return sorted(lots, key=lambda lot: (lot.expires_at or _NEVER, lot.id.int))


def available(lots: Iterable[OpenLot]) -> int:
    """Points of these lots that can be spent now."""
    return sum(lot.available for lot in lots)


def take(lots: Iterable[OpenLot], points: int) -> LotShares:
    """What each lot gives if so many points are taken, in spending order.

    The caller has checked the balance: lots that hold less than it says are a broken ledger, not a refusal.
    """
    taken: list[tuple[UUID, int]] = []
    for lot in spending_order(lots):
        part = min(points, lot.available)
        points -= part
        if part:
            taken.append((lot.id, part))
    assert points == 0, "the lots hold less than the balance"
    return tuple(taken)


def first_of(shares: Sequence[tuple[UUID, int]], points: int) -> tuple[LotShares, LotShares]:
    """The first so many points of shares, in their order, and the rest."""
    first: list[tuple[UUID, int]] = []
    rest: list[tuple[UUID, int]] = []
    for lot_id, share in shares:
        part = min(points, share)
        points -= part
        if part:
            first.append((lot_id, part))
        if share > part:
            rest.append((lot_id, share - part))
    assert points == 0, "there are not as many points in these shares"
    return tuple(first), tuple(rest)
