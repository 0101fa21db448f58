"""What a refund does to points: those that paid go back, those that were earned are taken back.

Source: ``bonus-processing.md``, "Refunds". Both lock the member's balance; what they do depends only on how many
points were returned and taken back so far, not on how a refund was sliced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.ledger.expiry import ended_by_inactivity, grace_until
from wallet_server.ledger.models import Allocation, Entry, Lot, Posting
from wallet_server.ledger.postings import (
    REASON_MAX,
    Kind,
    LotShares,
    Movement,
    NewLot,
    OpenLot,
    entries_of,
    first_of,
    spending_order,
    take,
)
from wallet_server.ledger.services import lock_balances, open_lots, post
from wallet_server.programs.definition import ProgramDefinition

POSTING: sa.Table = Posting.__table__  # type: ignore[attr-defined]
ENTRY: sa.Table = Entry.__table__  # type: ignore[attr-defined]
LOT: sa.Table = Lot.__table__  # type: ignore[attr-defined]
ALLOCATION: sa.Table = Allocation.__table__  # type: ignore[attr-defined]

OWN_EARNINGS = ("earn", "reward")
LOST = ("expire", "zero")


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Where points were taken back from; the four add up to what was asked for.

    ``expired`` are earnings of the purchase that had expired: they are booked as never earned, and cost the
    member nothing. ``owed`` became a debt.
    """

    pending: int = 0
    spendable: int = 0
    owed: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Points that went back to the lots they came from, and those that came anew because their lot has expired."""

    restored: int = 0
    reissued: int = 0


def take_back(
    session: Session,
    program: ProgramDefinition,
    member_id: UUID,
    *,
    purchase_id: UUID | None,
    points: int,
    reason: str,
    occurred_at: datetime,
    now: datetime,
    outlet_id: UUID | None = None,
    earning_id: UUID | None = None,
) -> TakenBack:
    """Take points back that a purchase had brought; 0 does nothing.

    With ``earning_id`` those of one posting, such as the reward of a challenge; without either there is nothing
    that the points came from.

    From the purchase's own earnings first: pending, then spendable. What of them has expired meanwhile the
    member no longer has and does not lose twice. Then from other spendable lots, the earliest expiry first; what
    is missing becomes a debt. Points that an open hold has set aside stay where they are.
    """
    assert points >= 0, "points are taken back, not given"
    if points == 0:
        return TakenBack()
    balances = lock_balances(session, [member_id])
    lots = open_lots(session, [member_id])[member_id]
    own = _own_lots(session, program.id, purchase_id, earning_id)
    mine = [lot for lot_id, lot in lots.items() if lot_id in own]
    pending, rest = _pending_shares(mine, points)
    own_spendable = min(rest, sum(lot.available for lot in mine))
    rest -= own_spendable
    expired = min(rest, _own_expired(session, program.id, purchase_id, earning_id, own))
    rest -= expired
    others = [lot for lot_id, lot in lots.items() if lot_id not in own]
    from_others = min(rest, sum(lot.available for lot in others))
    owed = rest - from_others
    spendable = own_spendable + from_others
    taken_pending = sum(part for _lot, part in pending)
    movement = Movement(
        member_id=member_id,
        kind="take_back",
        reason=reason[:REASON_MAX],
        occurred_at=occurred_at,
        entries=entries_of(issued=points, pending=-taken_pending, spendable=-spendable, expired=-expired, owed=-owed),
        purchase_id=purchase_id,
        takes=pending + take(mine, own_spendable) + take(others, from_others),
        outlet_id=outlet_id,
        corrects=earning_id or _posting_of(session, program.id, purchase_id, OWN_EARNINGS),
    )
    after = post(session, program.id, [movement], now, balances=balances)[member_id]
    assert not (after.owed and after.spendable), "who owes has nothing to spend"
    return TakenBack(taken_pending, spendable, owed, expired)


def _pending_shares(lots: Collection[OpenLot], points: int) -> tuple[LotShares, int]:
    """What the lots that are still pending give, and how many points are missing then."""
    shares = tuple((lot.id, lot.remaining) for lot in spending_order(lots) if not lot.released)
    taken = min(points, sum(share for _lot, share in shares))
    return first_of(shares, taken)[0], points - taken


def _own_lots(session: Session, program_id: UUID, purchase_id: UUID | None, earning_id: UUID | None) -> set[UUID]:
    """The lots that a purchase has brought: its points, those of the challenges that it completed, and those that
    it kept after all when another refund left it with more.
    """
    if purchase_id is None and earning_id is None:
        return set()
    wanted = POSTING.c.id == earning_id if earning_id is not None else POSTING.c.purchase_id == purchase_id
    rows = session.connection().execute(
        sa.select(LOT.c.id)
        .join(POSTING, POSTING.c.id == LOT.c.posting_id)
        .where(wanted, POSTING.c.program_id == program_id, POSTING.c.kind.in_((*OWN_EARNINGS, "take_back")))
    )
    return set(rows.scalars())


def _own_expired(
    session: Session, program_id: UUID, purchase_id: UUID | None, earning_id: UUID | None, own: Collection[UUID]
) -> int:
    """How many of a purchase's points have expired and were not taken back since."""
    if not own:
        return 0
    connection = session.connection()
    lost = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(ALLOCATION.c.points), 0))
        .join(POSTING, POSTING.c.id == ALLOCATION.c.posting_id)
        .where(ALLOCATION.c.lot_id.in_(own), ALLOCATION.c.program_id == program_id, POSTING.c.kind.in_(LOST))
    ).scalar_one()
    wanted = POSTING.c.reverses_id == earning_id if earning_id is not None else POSTING.c.purchase_id == purchase_id
    booked = _moved(connection, program_id, wanted, "take_back", "expired")
    return max(0, int(lost) + booked)


def _moved(connection: sa.Connection, program_id: UUID, wanted: sa.ColumnElement[bool], kind: str, account: str) -> int:
    """The sum of the entries on one account of one kind of posting, of those that are ``wanted``."""
    statement = (
        sa.select(sa.func.coalesce(sa.func.sum(ENTRY.c.points), 0))
        .join(POSTING, POSTING.c.id == ENTRY.c.posting_id)
        .where(
            wanted,
            POSTING.c.program_id == program_id,
            POSTING.c.kind == kind,
            ENTRY.c.account == account,
        )
    )
    return int(connection.execute(statement).scalar_one())


def _posting_of(session: Session, program_id: UUID, purchase_id: UUID | None, kinds: Collection[str]) -> UUID | None:
    """The purchase's first posting of these kinds."""
    if purchase_id is None:
        return None
    statement = (
        sa.select(POSTING.c.id)
        .where(
            POSTING.c.purchase_id == purchase_id, POSTING.c.program_id == program_id, POSTING.c.kind.in_(sorted(kinds))
        )
        .order_by(POSTING.c.id)
        .limit(1)
    )
    found: UUID | None = session.connection().execute(statement).scalar()
    return found


def give_back(
    session: Session,
    program: ProgramDefinition,
    member_id: UUID,
    *,
    purchase_id: UUID,
    points: int,
    reason: str,
    occurred_at: datetime,
    now: datetime,
    outlet_id: UUID | None = None,
) -> GivenBack:
    """Return points that a purchase was paid with, to the lots they came from; 0 does nothing.

    The lots get them in the order in which they gave them, with their original expiry. Where a lot has expired
    meanwhile its points come as a new lot that stays for the program's grace. Returned points pay a debt first,
    as all points do that become spendable.

    The caller has made sure that no more is returned than was redeemed and not returned yet: more is a bug.
    """
    assert points >= 0, "points are given back, not taken"
    if points == 0:
        return GivenBack()
    balances = lock_balances(session, [member_id])
    connection = session.connection()
    redemption = _posting_of(session, program.id, purchase_id, ("redeem",))
    assert redemption is not None, "no points paid for this purchase"
    shares = _redeemed_shares(connection, program.id, redemption)
    wanted = POSTING.c.purchase_id == purchase_id
    returned = -sum(_moved(connection, program.id, wanted, kind, "redeemed") for kind in ("return", "reissue"))
    _before, left = first_of(shares, returned)
    back, _after = first_of(left, points)
    origins = _origins(connection, program.id, {lot_id for lot_id, _points in back})
    idle_until = ended_by_inactivity(session, program, member_id, now)
    gone = {lot_id for lot_id, lot in origins.items() if lot.has_ended(now, idle_until)}

    def movement(kind: Kind, points: int, *, takes: LotShares = (), lot: NewLot | None = None) -> Movement:
        return Movement(
            member_id=member_id,
            kind=kind,
            reason=reason[:REASON_MAX],
            occurred_at=occurred_at,
            entries=(("redeemed", -points), ("spendable", points)),
            purchase_id=purchase_id,
            takes=takes,
            lot=lot,
            outlet_id=outlet_id,
            corrects=redemption,
        )

    restored = tuple((lot_id, -part) for lot_id, part in back if lot_id not in gone)
    count = -sum(part for _lot, part in restored)
    movements = [movement("return", count, takes=restored)] if restored else []
    grace = grace_until(program, now)
    for lot_id, part in back:
        if lot_id in gone:
            lot = NewLot(part, now, grace, released=True, outlet_id=origins[lot_id].outlet_id)
            movements.append(movement("reissue", part, lot=lot))
    post(session, program.id, movements, now, balances=balances)
    return GivenBack(count, points - count)


def _redeemed_shares(connection: sa.Connection, program_id: UUID, redemption: UUID) -> LotShares:
    """From which lots a redemption took its points, in the order in which it took them."""
    rows = connection.execute(
        sa.select(ALLOCATION.c.lot_id, ALLOCATION.c.points)
        .where(ALLOCATION.c.posting_id == redemption, ALLOCATION.c.program_id == program_id)
        .order_by(ALLOCATION.c.id)
    )
    return tuple((row.lot_id, row.points) for row in rows)


@dataclass(frozen=True, slots=True)
class _Origin:
    spendable_at: datetime
    expires_at: datetime | None
    outlet_id: UUID | None

    def has_ended(self, now: datetime, idle_until: datetime | None) -> bool:
        if self.expires_at is None:
            return idle_until is not None and self.spendable_at < idle_until
        return self.expires_at <= now


def _origins(connection: sa.Connection, program_id: UUID, lot_ids: Collection[UUID]) -> Mapping[UUID, _Origin]:
    rows = connection.execute(
        sa.select(LOT.c.id, LOT.c.spendable_at, LOT.c.expires_at, LOT.c.outlet_id).where(
            LOT.c.id.in_(lot_ids), LOT.c.program_id == program_id
        )
    )
    return {row.id: _Origin(row.spendable_at, row.expires_at, row.outlet_id) for row in rows}
