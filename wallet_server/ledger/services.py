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
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, new_id
from wallet_server.errors import DomainError
from wallet_server.ledger.models import Allocation, Entry, Lot, Posting
from wallet_server.ledger.postings import MEMBER_ACCOUNTS, Balance, Movement, OpenLot, release, take
from wallet_server.ledger.queries import BALANCE, balance_of_row, select_balances

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
    return {row.member_id: balance_of_row(row) for row in session.execute(statement)}


@dataclass
class _Book:
    """What one call writes, gathered first so that it goes out in a few statements."""

    program_id: UUID
    now: datetime
    balances: dict[UUID, Balance]
    lots: dict[UUID, list[OpenLot]]
    postings: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    new_lots: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    taken: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    allocations: list[dict[str, Any]] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)

    def add(self, movement: Movement) -> None:
        member_id = movement.member_id
        balance = self.balances[member_id]
        self.postings.append(
            {
                "id": movement.id,
                "program_id": self.program_id,
                "member_id": member_id,
                "kind": movement.kind,
                "purchase_id": movement.purchase_id,
                "reason": movement.reason,
                "occurred_at": movement.occurred_at,
                "recorded_at": self.now,
                "reverses_id": None,
            }
        )
        for account, points in movement.entries:
            sequence = balance_after = None
            if account in MEMBER_ACCOUNTS:
                sequence, balance_after = balance.sequence + 1, getattr(balance, account) + points
                if balance_after < 0:
                    raise DomainError(
                        "insufficient_points",
                        f"the card has {getattr(balance, account)} points and {-points} were asked for",
                        status=409,
                        spendable=balance.spendable,
                    )
                balance = replace(balance, sequence=sequence, **{account: balance_after})
            self.entries.append(
                {
                    "id": new_id(),
                    "program_id": self.program_id,
                    "posting_id": movement.id,
                    "member_id": member_id,
                    "account": account,
                    "points": points,
                    "sequence": sequence,
                    "balance_after": balance_after,
                }
            )
        self.balances[member_id] = balance
        if movement.lot is not None:
            self._open_lot(movement)
        if movement.debit:
            self._take(movement)
        if movement.releases is not None:
            self.released.append(movement.releases)

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
            "spendable_at": lot.spendable_at,
            "expires_at": lot.expires_at,
            "released": lot.released,
        }
        if lot.released and movement.member_id in self.lots:
            self.lots[movement.member_id].append(OpenLot(lot.id, lot.points, lot.expires_at))

    def _take(self, movement: Movement) -> None:
        taken, self.lots[movement.member_id] = take(self.lots[movement.member_id], movement.debit)
        for lot_id, points in taken:
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

    Raises ``DomainError(insufficient_points)``, having written nothing, if an account would go below zero.
    """
    carried = carried or {}
    member_ids = {movement.member_id for movement in movements} | set(carried)
    before = dict(lock_balances(session, member_ids) if balances is None else balances)
    assert member_ids <= set(before), "a member without a balance row: enrolment makes it"
    debited = {movement.member_id for movement in movements if movement.debit}
    book = _Book(program_id, now, dict(before), _open_lots(session, debited))
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
    _take_from_lots(session, book.taken)
    if book.released:
        session.connection().execute(
            sa.update(LOT).where(LOT.c.id == sa.bindparam("lot_id")).values(released=True),
            [{"lot_id": lot_id} for lot_id in book.released],
        )
    _write_balances(session, program_id, before, book.balances)
    return {member_id: book.balances[member_id] for member_id in member_ids}


def _open_lots(session: Session, member_ids: Collection[UUID]) -> dict[UUID, list[OpenLot]]:
    lots: dict[UUID, list[OpenLot]] = {member_id: [] for member_id in member_ids}
    if member_ids:
        statement = select(Lot.member_id, Lot.id, Lot.remaining, Lot.expires_at).where(
            col(Lot.member_id).in_(member_ids), col(Lot.remaining) > 0, col(Lot.released)
        )
        for row in session.execute(statement):
            lots[row.member_id].append(OpenLot(row.id, row.remaining, row.expires_at))
    return lots


def _take_from_lots(session: Session, taken: Mapping[UUID, int]) -> None:
    if not taken:
        return
    session.connection().execute(
        sa.update(LOT)
        .where(LOT.c.id == sa.bindparam("lot_id"))
        .values(remaining=LOT.c.remaining - sa.bindparam("taken")),
        [{"lot_id": lot_id, "taken": points} for lot_id, points in taken.items()],
    )


def _write_balances(
    session: Session, program_id: UUID, before: Mapping[UUID, Balance], after: Mapping[UUID, Balance]
) -> None:
    changed = {member_id: balance for member_id, balance in after.items() if before[member_id] != balance}
    if not changed:
        return
    session.connection().execute(
        sa.update(BALANCE)
        .where(BALANCE.c.member_id == sa.bindparam("key"), BALANCE.c.program_id == program_id)
        .values({name: sa.bindparam(f"new_{name}") for name in _BALANCE_VALUES}),
        [
            {"key": member_id, **{f"new_{name}": getattr(balance, name) for name in _BALANCE_VALUES[:-1]}}
            | {"new_carried": str(balance.carried)}
            for member_id, balance in sorted(changed.items())
        ],
    )


_BALANCE_VALUES = ("spendable", "pending", "held", "owed", "sequence", "carried")


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
    for lot in lots:
        movements[lot.program_id].append(
            release(lot.member_id, lot.remaining, lot_id=lot.id, reason="Points became spendable", occurred_at=now)
        )
    for program_id, moves in movements.items():
        post(session, program_id, moves, now, balances={move.member_id: locked[move.member_id] for move in moves})
    return {program_id: sorted({move.member_id for move in moves}) for program_id, moves in movements.items()}
