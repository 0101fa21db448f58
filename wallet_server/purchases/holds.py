"""Setting points aside while points pay, and letting them pay with what follows from it between companies."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from wallet_server.errors import DomainError
from wallet_server.ledger import holds
from wallet_server.ledger.holds import HoldState, PlaceHold
from wallet_server.partners.services import settle
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rules.validity import season


def place_hold(
    session: Session, program: ProgramDefinition, command: PlaceHold, *, now: datetime, actor: str
) -> HoldState:
    """Set points aside as :func:`wallet_server.ledger.holds.place_hold` does, and raise what it raises.

    Where the program's time is over points pay no more, so none is set aside: ``redeem_limit_exceeded``. What was
    set aside in time may still be captured until the hold ends.
    """
    outlet = program.outlet(command.outlet)
    if not season(program.section.validity, now, outlet.zone).pays:
        detail = "the program is over and points pay no more"
        raise DomainError("redeem_limit_exceeded", detail, payable_points=0)
    return holds.place_hold(session, program, command, now=now, actor=actor)


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
