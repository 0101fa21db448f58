"""Writes of the ledger: the only code that touches postings, entries, lots, allocations and balances.

A balance row is locked before its points move (in the order of member ids, so that two batches never wait for
each other in a circle); everything else of that member is read after the lock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.db import insert_rows, new_id, update_rows
from wallet_server.errors import DomainError
from wallet_server.ledger.models import Allocation, Entry, Lot, MemberBalance, Posting
from wallet_server.ledger.postings import (
    MEMBER_ACCOUNTS,
    Balance,
    LotShares,
    Movement,
    OpenLot,
    pay_debt,
    release,
    take,
)
from wallet_server.ledger.queries import BALANCE, balance_of, select_balances
from wallet_server.reads import Asked, Read, ask

LOT: sa.Table = Lot.__table__  # type: ignore[attr-defined]
CARRIED_DENOMINATOR_MAX = 10**30
RELEASE_BATCH = 500


def lock_balances(session: Session, member_ids: Collection[UUID]) -> dict[UUID, Balance]:
    """Lock the members' balances until the transaction ends and return them, fresh.

    SQLite's writing transaction is exclusive already and ignores ``FOR UPDATE``.
    """
    if not member_ids:
        return {}
    statement = select_balances(session, sorted(set(member_ids))).order_by(BALANCE.c.member_id).with_for_update()
    return {row.member_id: balance_of(*row) for row in session.connection().execute(statement)}


@dataclass
class _Book:
    """What one call writes, gathered first so that it goes out in a few statements."""

    program_id: UUID
    now: datetime
    balances: dict[UUID, Balance]
    lots: dict[UUID, dict[UUID, OpenLot]]
    """Lots by member and id, where they have to be known: of members who spend, or owe."""
    postings: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    new_lots: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    taken: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    allocations: list[dict[str, Any]] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)

    def add(self, movement: Movement) -> None:
        member_id = movement.member_id
        self._write_entries(movement)
        known = self.lots.get(member_id, {})
        if movement.lot is not None:
            self._open_lot(movement)
        if movement.releases is not None:
            self.released.append(movement.releases)
            if movement.releases in known:
                known[movement.releases] = replace(known[movement.releases], released=True)
        takes = movement.takes or (take(known.values(), movement.debit) if movement.debit else ())
        self._allocate(movement, takes)
        self._hold(movement)
        balance = self.balances[member_id]
        if balance.owed and balance.spendable and movement.kind != "debt":
            self.add(pay_debt(movement, balance))

    def _write_entries(self, movement: Movement) -> None:
        balance = self.balances[movement.member_id]
        self.postings.append(
            {
                "id": movement.id,
                "program_id": self.program_id,
                "member_id": movement.member_id,
                "kind": movement.kind,
                "purchase_id": movement.purchase_id,
                "outlet_id": movement.outlet_id,
                "reason": movement.reason,
                "occurred_at": movement.occurred_at,
                "recorded_at": self.now,
                "reverses_id": movement.corrects,
            }
        )
        for account, points in movement.entries:
            sequence = balance_after = None
            if account in MEMBER_ACCOUNTS:
                # A debt grows by negative entries, and a balance says how much of it there is.
                change = -points if account == "owed" else points
                sequence, balance_after = balance.sequence + 1, getattr(balance, account) + change
                if balance_after < 0:
                    raise DomainError(
                        "insufficient_points",
                        f"the card has {getattr(balance, account)} points and {abs(points)} were asked for",
                        status=409,
                        spendable=balance.spendable,
                    )
                balance = replace(balance, sequence=sequence, **{account: balance_after})
            self.entries.append(
                {
                    "id": new_id(),
                    "program_id": self.program_id,
                    "posting_id": movement.id,
                    "member_id": movement.member_id,
                    "account": account,
                    "points": points,
                    "sequence": sequence,
                    "balance_after": balance_after,
                }
            )
        self.balances[movement.member_id] = balance

    def _open_lot(self, movement: Movement) -> None:
        lot = movement.lot
        assert lot is not None
        self.new_lots[lot.id] = {
            "id": lot.id,
            "program_id": self.program_id,
            "member_id": movement.member_id,
            "posting_id": movement.id,
            "points": lot.points,
            "remaining": lot.points,
            "held": 0,
            "outlet_id": lot.outlet_id,
            "spendable_at": lot.spendable_at,
            "expires_at": lot.expires_at,
            "released": lot.released,
        }
        if movement.member_id in self.lots:
            self.lots[movement.member_id][lot.id] = OpenLot(lot.id, lot.points, lot.expires_at, 0, lot.released)

    def _allocate(self, movement: Movement, takes: LotShares) -> None:
        known = self.lots.get(movement.member_id, {})
        for lot_id, points in takes:
            self.allocations.append(
                {
                    "id": new_id(),
                    "program_id": self.program_id,
                    "lot_id": lot_id,
                    "posting_id": movement.id,
                    "points": points,
                }
            )
            if lot_id in self.new_lots:
                self.new_lots[lot_id]["remaining"] -= points
            else:
                self.taken[lot_id] += points
            if lot_id in known:
                known[lot_id] = replace(known[lot_id], remaining=known[lot_id].remaining - points)

    def _hold(self, movement: Movement) -> None:
        known = self.lots.get(movement.member_id, {})
        for lot_id, points in movement.holds:
            if lot_id in self.new_lots:
                self.new_lots[lot_id]["held"] += points
            else:
                self.held[lot_id] += points
            if lot_id in known:
                known[lot_id] = replace(known[lot_id], held=known[lot_id].held + points)


def post(
    session: Session,
    program_id: UUID,
    movements: Sequence[Movement],
    now: datetime,
    *,
    balances: Mapping[UUID, Balance] | None = None,
    carried: Mapping[UUID, Fraction] | None = None,
) -> dict[UUID, Balance]:
    """Write movements in the given order and return the balances after them.

    ``balances`` are those that the caller has locked in this transaction; without them they are locked here.
    ``carried`` are fractions of a point to keep for members.

    A member's debt is paid as soon as points become spendable, by a movement of its own after the one that
    made them so.

    Raises ``DomainError(insufficient_points)``, having written nothing, if an account would go below zero.
    """
    carried = carried or {}
    member_ids = {movement.member_id for movement in movements} | set(carried)
    before = dict(lock_balances(session, member_ids) if balances is None else balances)
    assert member_ids <= set(before), "a member without a balance row: enrolment makes it"
    book = _Book(program_id, now, dict(before), _lots_to_know(session, movements, before))
    for movement in movements:
        book.add(movement)
    for member_id, fraction in carried.items():
        book.balances[member_id] = replace(
            book.balances[member_id], carried=fraction.limit_denominator(CARRIED_DENOMINATOR_MAX)
        )
    insert_rows(session, Posting, book.postings)
    insert_rows(session, Entry, book.entries)
    insert_rows(session, Lot, list(book.new_lots.values()))
    insert_rows(session, Allocation, book.allocations)
    _change_lots(session, program_id, book.taken, book.held)
    released = [{"id": lot_id, "program_id": program_id, "released": True} for lot_id in book.released]
    update_rows(session, Lot, released, key=["id", "program_id"])
    _write_balances(session, program_id, before, book.balances)
    return {member_id: book.balances[member_id] for member_id in member_ids}


def _lots_to_know(
    session: Session, movements: Sequence[Movement], before: Mapping[UUID, Balance]
) -> dict[UUID, dict[UUID, OpenLot]]:
    """The lots of those members out of whose lots something may have to be chosen."""
    member_ids = {movement.member_id for movement in movements if movement.debit}
    member_ids |= {movement.member_id for movement in movements if before[movement.member_id].owed}
    member_ids |= {movement.member_id for movement in movements if "owed" in dict(movement.entries)}
    # A lot that was emptied may get points back, and be asked for them again.
    named = {lot_id for movement in movements for lot_id, _points in movement.takes if movement.member_id in member_ids}
    return open_lots(session, member_ids, also=named)


def open_lots(
    session: Session, member_ids: Collection[UUID], *, also: Collection[UUID] = ()
) -> dict[UUID, dict[UUID, OpenLot]]:
    """Lots by member and id: those with points left, pending ones too, and those in ``also``.

    To be read after :func:`lock_balances`.
    """
    lots: dict[UUID, dict[UUID, OpenLot]] = {member_id: {} for member_id in member_ids}
    if member_ids:
        values = {"member_ids": list(member_ids)}
        asked = Asked(_OPEN_OR_NAMED, {**values, "also": list(also)}, list) if also else Asked(_OPEN, values, list)
        for member_id, *lot in ask(session, asked):
            lots[member_id][lot[0]] = OpenLot(*lot)
    return lots


_LOT_COLUMNS: Final = (LOT.c.member_id, LOT.c.id, LOT.c.remaining, LOT.c.expires_at, LOT.c.held, LOT.c.released)
_OPEN: Final = Read(
    lambda one_of: sa.select(*_LOT_COLUMNS).where(one_of(LOT.c.member_id, "member_ids"), LOT.c.remaining > 0)
)
_OPEN_OR_NAMED: Final = Read(
    lambda one_of: sa.select(*_LOT_COLUMNS).where(
        one_of(LOT.c.member_id, "member_ids"), sa.or_(LOT.c.remaining > 0, one_of(LOT.c.id, "also"))
    )
)


def _change_lots(session: Session, program_id: UUID, taken: Mapping[UUID, int], held: Mapping[UUID, int]) -> None:
    changes = [
        {"id": lot_id, "program_id": program_id, "remaining": -taken.get(lot_id, 0), "held": held.get(lot_id, 0)}
        for lot_id in sorted({*taken, *held})
        if taken.get(lot_id, 0) or held.get(lot_id, 0)
    ]
    update_rows(session, Lot, changes, key=["id", "program_id"], add=True)


def _write_balances(
    session: Session, program_id: UUID, before: Mapping[UUID, Balance], after: Mapping[UUID, Balance]
) -> None:
    changed = {member_id: balance for member_id, balance in after.items() if before[member_id] != balance}
    if not changed:
        return
    rows = [
        {
            "member_id": member_id,
            "program_id": program_id,
            "spendable": balance.spendable,
            "pending": balance.pending,
            "held": balance.held,
            "owed": balance.owed,
            "sequence": balance.sequence,
            "carried": str(balance.carried),
        }
        for member_id, balance in sorted(changed.items())
    ]
    update_rows(session, MemberBalance, rows, key=["member_id", "program_id"])


def release_pending(session: Session, now: datetime, *, limit: int = RELEASE_BATCH) -> dict[UUID, list[UUID]]:
    """Make pending points spendable whose time has come: at most ``limit`` lots, of any program.

    Returns the members whose balance changed, by program; empty when nothing is due. Runs in the scope of all
    programs and may run twice at once: what another run has released is no longer due after the lock.
    """
    due = (
        sa.select(LOT.c.program_id, LOT.c.member_id, LOT.c.id, LOT.c.remaining, LOT.c.spendable_at)
        .where(sa.not_(LOT.c.released), LOT.c.spendable_at <= now)
        .order_by(LOT.c.spendable_at, LOT.c.id)
    )
    candidates = session.execute(due.limit(limit)).all()
    locked = lock_balances(session, {row.member_id for row in candidates})
    lots = session.execute(due.where(LOT.c.id.in_([row.id for row in candidates]))).all() if candidates else []
    movements: dict[UUID, list[Movement]] = defaultdict(list)
    # A refund or a departure has taken all of it: there is nothing to move, and it must not come up again.
    if empty := [lot.id for lot in lots if not lot.remaining]:
        session.execute(sa.update(LOT).where(LOT.c.id.in_(empty)).values(released=True))
    for lot in lots:
        if not lot.remaining:
            continue
        movements[lot.program_id].append(
            release(lot.member_id, lot.remaining, lot_id=lot.id, reason="Points became spendable", occurred_at=now)
        )
    for program_id, moves in movements.items():
        post(session, program_id, moves, now, balances={move.member_id: locked[move.member_id] for move in moves})
    return {program_id: sorted({move.member_id for move in moves}) for program_id, moves in movements.items()}
