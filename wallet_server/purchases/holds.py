"""Letting points pay that were set aside, with what follows from it between companies: the ledger lies below."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from wallet_server.ledger import holds
from wallet_server.ledger.holds import HoldState
from wallet_server.partners.services import settle
from wallet_server.programs.definition import ProgramDefinition


def capture_hold(
    session: Session,
    program: ProgramDefinition,
    hold_id: UUID,
    *,
    points: int | None,
    now: datetime,
    actor: str,
    outlet: str | None = None,
) -> HoldState:
    """Let held points pay as :func:`wallet_server.ledger.holds.capture_hold` does, and raise what it raises.

    What companies owe each other for them is written in the same transaction.
    """
    state = holds.capture_hold(session, program, hold_id, points=points, now=now, actor=actor, outlet=outlet)
    settle(session, program, now, hold_ids=[hold_id])
    return state
