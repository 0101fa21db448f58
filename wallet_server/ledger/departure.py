"""The points of somebody who leaves: all are gone, those on the way and those set aside too.

The rows of the ledger stay, as those of nobody. A debt stays as well: nothing pays it any more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.ledger.expiry import lock_current
from wallet_server.ledger.holds import free_open_holds
from wallet_server.ledger.models import Adjustment
from wallet_server.ledger.postings import Movement, entries_of, spending_order
from wallet_server.ledger.services import open_lots, post
from wallet_server.programs.definition import ProgramDefinition

LEFT: Final = "Left the program"
SYSTEM: Final = "system"


def forfeit_all(session: Session, program: ProgramDefinition, member_id: UUID, *, now: datetime, actor: str) -> int:
    """Take all points of a member; how many that were. Corrections that wait for approval are refused."""
    lock_current(session, program, [member_id], now)
    free_open_holds(session, program, member_id, now=now, actor=actor)
    balances = lock_current(session, program, [member_id], now)
    lots = spending_order(open_lots(session, [member_id])[member_id].values())
    points = sum(lot.remaining for lot in lots)
    if points:
        balance = balances[member_id]
        movement = Movement(
            member_id=member_id,
            kind="zero",
            reason=LEFT,
            occurred_at=now,
            entries=entries_of(spendable=-balance.spendable, pending=-balance.pending, expired=points),
            takes=tuple((lot.id, lot.remaining) for lot in lots),
        )
        post(session, program.id, [movement], now, balances=balances)
    session.execute(
        sa.update(Adjustment)
        .where(col(Adjustment.member_id) == member_id, col(Adjustment.state) == "waiting")
        .values(state="refused", decided_by=SYSTEM, decided_at=now),
        execution_options={"synchronize_session": False},
    )
    return points
