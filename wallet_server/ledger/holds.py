"""Two-phase redemption: points are set aside, and then captured, released, or free again when the time is over.

A hold resolves exactly once (invariant L10): whoever resolves it has locked the member's balance and looks at the
hold after that. Its lots neither expire nor are spent meanwhile (L13).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, new_id
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.ledger.expiry import lock_current
from wallet_server.ledger.models import Hold, HoldLot
from wallet_server.ledger.postings import Balance, LotShares, Movement, first_of, take
from wallet_server.ledger.services import LOT, lock_balances, open_lots, post
from wallet_server.members.queries import member_of_card
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.fields import POINTS_MAX
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

SECONDS_MAX: Final = 7 * 24 * 60 * 60
REFERENCE_MAX: Final = 120
ACTOR_MAX: Final = 200
EXPIRE_BATCH: Final = 500
HOLD: sa.Table = Hold.__table__  # type: ignore[attr-defined]
HOLD_LOT: sa.Table = HoldLot.__table__  # type: ignore[attr-defined]

State = Literal["open", "captured", "released", "expired"]


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Points to set aside; ``outlet`` is a code, ``reference`` what the till calls it."""

    card_number: str
    outlet: str
    points: int
    expires_in_seconds: int
    reference: str = ""


@dataclass(frozen=True, slots=True)
class HoldState:
    """A hold with the member's balance after what was done."""

    id: UUID
    member_id: UUID
    points: int
    captured_points: int
    state: State
    expires_at: datetime
    balance: Balance


def place_hold(
    session: Session, program: ProgramDefinition, command: PlaceHold, *, now: datetime, actor: str
) -> HoldState:
    """Set points aside, from the lots that expire first.

    Raises ``DomainError``: ``validation``, ``unknown_card``, ``card_blocked``, ``unknown_outlet``,
    ``redeem_limit_exceeded`` (fewer than the program's ``min_points``), ``insufficient_points``.
    """
    _check(command)
    card = member_of_card(session, command.card_number).card
    outlet = program.outlet(command.outlet)
    if command.points < program.points.min_points:
        raise DomainError(
            "redeem_limit_exceeded",
            f"the program takes at least {program.points.min_points} points at once",
            min_points=program.points.min_points,
        )
    balances = lock_current(session, program, [card.member_id], now)
    spendable = balances[card.member_id].spendable
    if spendable < command.points:
        raise DomainError(
            "insufficient_points",
            f"the card has {spendable} spendable points and {command.points} were asked for",
            status=409,
            spendable=spendable,
        )
    shares = take(open_lots(session, [card.member_id])[card.member_id].values(), command.points)
    hold_id, expires = new_id(), now + timedelta(seconds=command.expires_in_seconds)
    insert_rows(
        session,
        Hold,
        [
            {
                "id": hold_id,
                "program_id": program.id,
                "member_id": card.member_id,
                "card_id": card.id,
                "outlet_id": outlet.id,
                "points": command.points,
                "captured_points": 0,
                "state": "open",
                "reference": command.reference,
                "created_at": now,
                "expires_at": expires,
                "created_by": actor[:ACTOR_MAX],
                "resolved_by": "",
            }
        ],
    )
    insert_rows(
        session,
        HoldLot,
        [
            {"hold_id": hold_id, "lot_id": lot_id, "program_id": program.id, "points": points}
            for lot_id, points in shares
        ],
    )
    movement = Movement(
        member_id=card.member_id,
        kind="hold",
        reason=command.reference or HELD,
        occurred_at=now,
        entries=(("spendable", -command.points), ("held", command.points)),
        holds=shares,
        outlet_id=outlet.id,
        corrects=hold_id,
    )
    after = post(session, program.id, [movement], now, balances=balances)[card.member_id]
    state = HoldState(hold_id, card.member_id, command.points, 0, "open", expires, after)
    _tell(session, program.id, "hold.placed", state, now)
    return state


HELD: Final = "Points set aside"
CAPTURED: Final = "Points set aside were used"
FREED: Final = "Points set aside are free again"


def _check(command: PlaceHold) -> None:
    errors = []
    if not 1 <= command.points <= POINTS_MAX:
        errors.append({"field": "points", "message": f"must be from 1 to {POINTS_MAX}"})
    if not 1 <= command.expires_in_seconds <= SECONDS_MAX:
        errors.append({"field": "expires_in_seconds", "message": f"must be from 1 to {SECONDS_MAX}"})
    reference = command.reference
    if len(reference) > REFERENCE_MAX or not reference.isprintable() or reference != reference.strip():
        errors.append({"field": "reference", "message": f"must be at most {REFERENCE_MAX} printable characters"})
    if errors:
        sentence = "; ".join(f"{error['field']} {error['message']}" for error in errors)
        raise DomainError("validation", sentence, errors=errors)


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
    """Let points that were set aside pay: all of them, or ``points``; the rest is free again.

    ``outlet`` is where they pay, if not where they were set aside.

    Raises ``DomainError``: ``unknown_hold``, ``hold_captured``, ``hold_released``, ``hold_expired``,
    ``unknown_outlet``, ``validation`` (more than are held, or none).
    """
    hold, balances = _open_hold(session, program, hold_id, now)
    outlet_id = hold.outlet_id if outlet is None else program.outlet(outlet).id
    wanted = hold.points if points is None else points
    if not 1 <= wanted <= hold.points:
        message = f"must be from 1 to {hold.points}, the points that are set aside"
        raise DomainError("validation", f"points {message}", errors=[{"field": "points", "message": message}])
    paying, rest = first_of(_shares(session, program.id, hold_id), wanted)
    movements = [
        Movement(
            member_id=hold.member_id,
            kind="capture",
            reason=hold.reference or CAPTURED,
            occurred_at=now,
            entries=(("held", -wanted), ("redeemed", wanted)),
            takes=paying,
            holds=tuple((lot_id, -part) for lot_id, part in paying),
            outlet_id=outlet_id,
            corrects=hold_id,
        )
    ]
    if rest:
        movements.append(_free(hold, rest, now))
    after = post(session, program.id, movements, now, balances=balances)[hold.member_id]
    _resolve(session, hold, "captured", now=now, actor=actor, captured=wanted)
    state = HoldState(hold_id, hold.member_id, hold.points, wanted, "captured", hold.expires_at, after)
    _tell(session, program.id, "hold.captured", state, now)
    return state


def release_hold(
    session: Session, program: ProgramDefinition, hold_id: UUID, *, now: datetime, actor: str
) -> HoldState:
    """Give points back that were set aside.

    Raises ``DomainError``: ``unknown_hold``, ``hold_captured``, ``hold_released``, ``hold_expired``.
    """
    hold, balances = _open_hold(session, program, hold_id, now)
    movement = _free(hold, _shares(session, program.id, hold_id), now)
    after = post(session, program.id, [movement], now, balances=balances)[hold.member_id]
    _resolve(session, hold, "released", now=now, actor=actor)
    state = HoldState(hold_id, hold.member_id, hold.points, 0, "released", hold.expires_at, after)
    _tell(session, program.id, "hold.released", state, now)
    return state


def free_open_holds(
    session: Session, program: ProgramDefinition, member_id: UUID, *, now: datetime, actor: str
) -> None:
    """Give a member all points back that are set aside; the member's balance is locked."""
    mine = select(Hold.id).where(Hold.program_id == program.id, Hold.member_id == member_id, Hold.state == "open")
    for hold_id in session.exec(mine.order_by(col(Hold.created_at), col(Hold.id))).all():
        hold = find_hold(session, program, hold_id)
        movement = _free(hold, _shares(session, program.id, hold_id), now)
        after = post(session, program.id, [movement], now)[member_id]
        _resolve(session, hold, "released", now=now, actor=actor)
        state = HoldState(hold_id, member_id, hold.points, 0, "released", hold.expires_at, after)
        _tell(session, program.id, "hold.released", state, now)


def find_hold(session: Session, program: ProgramDefinition, hold_id: UUID) -> Hold:
    """A hold of this program as it is; raises ``NotFoundError(unknown_hold)``."""
    hold = session.exec(
        select(Hold).where(Hold.id == hold_id, Hold.program_id == program.id).execution_options(populate_existing=True)
    ).one_or_none()
    if hold is None:
        raise NotFoundError("unknown_hold", "there is no such hold in this program")
    return hold


def _open_hold(
    session: Session, program: ProgramDefinition, hold_id: UUID, now: datetime
) -> tuple[Hold, dict[UUID, Balance]]:
    """The hold and its member's balance, locked; refuses one that is resolved, or whose time is over."""
    balances = lock_balances(session, [find_hold(session, program, hold_id).member_id])
    hold = find_hold(session, program, hold_id)
    if hold.state == "captured":
        raise DomainError("hold_captured", "these points were used before", status=409)
    if hold.state == "released":
        raise DomainError("hold_released", "these points were given back before", status=409)
    if hold.state == "expired" or hold.expires_at <= now:
        when = hold.expires_at.isoformat()
        raise DomainError("hold_expired", "the time of this hold is over", status=409, expired_at=when)
    return hold, balances


def _shares(session: Session, program_id: UUID, hold_id: UUID) -> LotShares:
    """The lots of a hold, in spending order."""
    rows = session.connection().execute(
        sa.select(HOLD_LOT.c.lot_id, HOLD_LOT.c.points)
        .join(LOT, LOT.c.id == HOLD_LOT.c.lot_id)
        .where(HOLD_LOT.c.hold_id == hold_id, HOLD_LOT.c.program_id == program_id)
        .order_by(LOT.c.expires_at.is_(None), LOT.c.expires_at, LOT.c.id)
    )
    return tuple((row.lot_id, row.points) for row in rows)


def _free(hold: Hold, shares: LotShares, now: datetime) -> Movement:
    points = sum(part for _lot, part in shares)
    return Movement(
        member_id=hold.member_id,
        kind="unhold",
        reason=hold.reference or FREED,
        occurred_at=now,
        entries=(("held", -points), ("spendable", points)),
        holds=tuple((lot_id, -part) for lot_id, part in shares),
        outlet_id=hold.outlet_id,
        corrects=hold.id,
    )


def _resolve(session: Session, hold: Hold, state: State, *, now: datetime, actor: str, captured: int = 0) -> None:
    changed = session.connection().execute(
        sa.update(HOLD)
        .where(HOLD.c.id == hold.id, HOLD.c.program_id == hold.program_id, HOLD.c.state == "open")
        .values(state=state, captured_points=captured, resolved_at=now, resolved_by=actor[:ACTOR_MAX])
    )
    assert changed.rowcount == 1, "a hold was resolved twice: the balance's lock did not hold"


def _tell(session: Session, program_id: UUID, name: str, state: HoldState, now: datetime) -> None:
    data = {
        "hold_id": str(state.id),
        "member_id": str(state.member_id),
        "points": state.points,
        "captured_points": state.captured_points,
        "state": state.state,
    }
    emit(session, program_id, [Event(name, state.member_id, data)], now)


def expire_holds(session: Session, now: datetime, *, limit: int = EXPIRE_BATCH) -> dict[UUID, list[UUID]]:
    """Free the points of holds whose time is over: at most ``limit`` holds, of any program.

    Returns the members whose balance changed, by program; empty when nothing is due. Runs in the scope of all
    programs and may run twice at once.
    """
    due = (
        select(Hold)
        .where(Hold.state == "open", col(Hold.expires_at) <= now)
        .order_by(col(Hold.expires_at), col(Hold.id))
    )
    found = session.exec(due.limit(limit)).all()
    locked = lock_balances(session, {hold.member_id for hold in found})
    ids = [hold.id for hold in found]
    # Looked at again after the lock: a till may have been faster.
    holds = (
        session.exec(due.where(col(Hold.id).in_(ids)).execution_options(populate_existing=True)).all() if ids else []
    )
    by_program: dict[UUID, list[Hold]] = defaultdict(list)
    for hold in holds:
        by_program[hold.program_id].append(hold)
    changed: dict[UUID, list[UUID]] = {}
    for program_id, mine in by_program.items():
        member_ids = sorted({hold.member_id for hold in mine})
        shares = {hold.id: _shares(session, program_id, hold.id) for hold in mine}
        movements = [_free(hold, shares[hold.id], now) for hold in mine]
        after = post(session, program_id, movements, now, balances={key: locked[key] for key in member_ids})
        for hold in mine:
            _resolve(session, hold, "expired", now=now, actor="system")
            balance = after[hold.member_id]
            state = HoldState(hold.id, hold.member_id, hold.points, 0, "expired", hold.expires_at, balance)
            _tell(session, program_id, "hold.released", state, now)
        changed[program_id] = member_ids
    return changed
