"""What a refund does to points: those that paid go back, those earned come back, the carried fraction is put right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from math import floor
from uuid import UUID

from sqlmodel import Session, select

from wallet_server.ledger.expiry import expires_at
from wallet_server.ledger.models import Posting
from wallet_server.ledger.postings import earn
from wallet_server.ledger.queries import balance as read_balance
from wallet_server.ledger.returns import give_back, take_back
from wallet_server.ledger.services import post
from wallet_server.partners.services import settle
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.plan import spendable_at
from wallet_server.purchases.sale import Sale


@dataclass(frozen=True, slots=True)
class PointsMoved:
    """What a refund moved; ``taken_back`` below zero are points that what is left has brought back."""

    returned: int
    reissued: int
    taken_back: int
    owed: int
    carried_points: int


def move_points(session: Session, program: ProgramDefinition, sale: Sale, now: datetime) -> PointsMoved:
    """Return points that paid, take back what was earned, and put the carried fraction right."""
    row, member_id, outlet_id = sale.row, sale.row.member_id, sale.row.outlet_id
    returned = row.points_redeemed - sale.after.points_redeemed - row.points_returned
    given = give_back(
        session,
        program,
        member_id,
        purchase_id=row.id,
        points=returned,
        reason=sale.reason,
        occurred_at=now,
        now=now,
        outlet_id=outlet_id,
    )
    if returned:
        settle(session, program, now, purchase_ids=[row.id])
    taken = row.points_earned - sale.after.points_earned - row.points_taken_back
    owed = 0
    if taken > 0:
        owed = take_back(
            session,
            program,
            member_id,
            purchase_id=row.id,
            points=taken,
            reason=sale.reason,
            occurred_at=now,
            now=now,
            outlet_id=outlet_id,
        ).owed
    elif taken < 0:
        # What is left meets a rule that more had not met: it keeps more than before.
        due = spendable_at(sale.version, row.occurred_at, now)
        again = earn(
            member_id,
            -taken,
            kind="take_back",
            reason=sale.reason,
            occurred_at=now,
            purchase_id=row.id,
            spendable_at=due,
            pending=due > now,
            expires_at=expires_at(sale.version, row.occurred_at),
            outlet_id=outlet_id,
        )
        first = _earning_of(session, row.id)
        post(session, program.id, [replace(again, corrects=first)], now)
    carried_points = _carry(session, program, sale, now)
    return PointsMoved(returned, given.reissued, taken, owed, carried_points)


def _earning_of(session: Session, purchase_id: UUID) -> UUID | None:
    return session.exec(
        select(Posting.id).where(Posting.purchase_id == purchase_id, Posting.kind == "earn")
    ).one_or_none()


def _carry(session: Session, program: ProgramDefinition, sale: Sale, now: datetime) -> int:
    """Move the member's carried fraction by what this purchase has put into it; points that this made or cost.

    Purchases after this one may have used the fraction up, or come short of a point for it: then a whole point
    changes hands, so that the card is as if the returned lines had never been.
    """
    change = sale.after.carried - sale.before.carried
    if not change or not sale.version.points.carry_fraction:
        return 0
    member_id = sale.row.member_id
    carried = read_balance(session, member_id).carried + change
    points = floor(carried)
    reason = f"Carried fraction after {sale.reason[0].lower()}{sale.reason[1:]}"
    moves = []
    if points > 0:
        moves.append(
            earn(
                member_id,
                points,
                kind="take_back",
                reason=reason,
                occurred_at=now,
                # No longer than the purchase's own points: refunds lengthen no point's life.
                expires_at=expires_at(sale.version, sale.row.occurred_at),
                outlet_id=sale.row.outlet_id,
            )
        )
    elif points < 0:
        take_back(
            session,
            program,
            member_id,
            purchase_id=None,
            points=-points,
            reason=reason,
            occurred_at=now,
            now=now,
            outlet_id=sale.row.outlet_id,
        )
    post(session, program.id, moves, now, carried={member_id: carried - points})
    return points
