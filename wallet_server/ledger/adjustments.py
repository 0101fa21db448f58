"""Points given or taken by hand: a reason, a limit by role, and above the program's limit a second person.

Invariant L21: staff never adjust their own account, and never approve what they asked for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import new_id
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.ledger.expiry import expires_at, lock_current
from wallet_server.ledger.models import Adjustment
from wallet_server.ledger.postings import Balance, Movement, earn
from wallet_server.ledger.services import post
from wallet_server.members.models import Member
from wallet_server.members.queries import member_by_id, member_of_card, present
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.fields import POINTS_MAX
from wallet_server.staff import audit
from wallet_server.staff.models import StaffUser
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

Role = Literal["owner", "manager", "cashier", "till"]
REASON_MIN: Final = 3
REASON_MAX: Final = 300
PAGE_SIZE_MAX: Final = 200
ACTOR_MAX: Final = 200
STAFF: Final = "staff:"
APPROVERS: Final = ("owner", "manager")


@dataclass(frozen=True, slots=True)
class Adjust:
    """Points to give (positive) or take (negative), for the member or the card that is named."""

    points: int
    reason: str
    member_id: UUID | None = None
    card_number: str | None = None


@dataclass(frozen=True, slots=True)
class Adjusted:
    """An adjustment, and the member's balance after it; a ``waiting`` one has changed nothing yet."""

    adjustment_id: UUID
    member_id: UUID
    points: int
    state: Literal["posted", "waiting", "refused"]
    balance: Balance


def adjust(
    session: Session,
    program: ProgramDefinition,
    command: Adjust,
    *,
    role: Role,
    actor: str,
    now: datetime,
    address: str = "",
) -> Adjusted:
    """Give or take points by hand; above the program's ``four_eyes_above`` it waits for a second person.

    ``actor`` is who asks, as the audit log names people, ``address`` the network address it came from.

    Raises ``DomainError``: ``validation``, ``unknown_card``, ``card_blocked``, ``unknown_member``,
    ``adjustment_limit`` (with the ``limit`` of the role), ``adjustment_same_person``, ``insufficient_points``,
    ``member_left``.
    """
    _check(command)
    member = present(_member(session, command))
    limits = program.points.adjustments
    limit: int = getattr(limits, role)
    if abs(command.points) > limit:
        raise DomainError(
            "adjustment_limit",
            f"a {role} may move at most {limit} points at once, and {abs(command.points)} were asked for",
            status=403,
            limit=limit,
        )
    _refuse_own(session, member, actor)
    balances = lock_current(session, program, [member.id], now)
    balance = balances[member.id]
    _refuse_missing(balance, command.points)
    waits = abs(command.points) > limits.four_eyes_above
    row = Adjustment(
        id=new_id(),
        program_id=program.id,
        member_id=member.id,
        points=command.points,
        reason=command.reason,
        state="waiting",
        needs_approval=waits,
        requested_by=actor[:ACTOR_MAX],
        requested_at=now,
        address=address[:64],
    )
    if not waits:
        balance = _post(session, program, row, balances, now)
    session.add(row)
    session.flush()
    _note(session, row, "adjustment.requested" if waits else "points.adjusted", actor, now)
    return _adjusted(row, balance)


def decide(
    session: Session,
    program: ProgramDefinition,
    adjustment_id: UUID,
    *,
    approve: bool,
    role: Role,
    actor: str,
    now: datetime,
) -> Adjusted:
    """Approve or refuse an adjustment that waits: any other owner or manager, whatever their own limit.

    Raises ``DomainError``: ``unknown_adjustment``, ``adjustment_decided``, ``adjustment_same_person``,
    ``adjustment_limit`` (neither owner nor manager), ``insufficient_points`` (it goes on waiting).
    """
    found = find_adjustment(session, program, adjustment_id)
    if role not in APPROVERS:
        raise DomainError("adjustment_limit", "only an owner or a manager decides", status=403, limit=0)
    balances = lock_current(session, program, [found.member_id], now)
    row = find_adjustment(session, program, adjustment_id)
    if row.state != "waiting":
        raise DomainError("adjustment_decided", "this was decided before", status=409, state=row.state)
    if row.requested_by == actor[:ACTOR_MAX]:
        raise DomainError("adjustment_same_person", "a second person has to decide", status=403)
    _refuse_own(session, member_by_id(session, row.member_id), actor)
    balance = balances[row.member_id]
    if approve:
        _refuse_missing(balance, row.points)
        balance = _post(session, program, row, balances, now)
    else:
        row.state = "refused"
    row.decided_by, row.decided_at = actor[:ACTOR_MAX], now
    session.add(row)
    session.flush()
    _note(session, row, "adjustment.approved" if approve else "adjustment.refused", actor, now)
    return _adjusted(row, balance)


def find_adjustment(session: Session, program: ProgramDefinition, adjustment_id: UUID) -> Adjustment:
    """An adjustment of this program as it is; raises ``NotFoundError(unknown_adjustment)``."""
    row = session.exec(
        select(Adjustment)
        .where(Adjustment.id == adjustment_id, Adjustment.program_id == program.id)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NotFoundError("unknown_adjustment", "there is no such adjustment in this program")
    return row


def adjustments(
    session: Session,
    program: ProgramDefinition,
    *,
    state: str | None = None,
    member_id: UUID | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Adjustment]:
    """Adjustments, the newest first: of one state or one member, at most 200 after the first ``offset``."""
    statement = select(Adjustment).where(Adjustment.program_id == program.id)
    if state is not None:
        statement = statement.where(Adjustment.state == state)
    if member_id is not None:
        statement = statement.where(Adjustment.member_id == member_id)
    newest_first = statement.order_by(col(Adjustment.requested_at).desc(), col(Adjustment.id).desc())
    return list(session.exec(newest_first.limit(max(1, min(limit, PAGE_SIZE_MAX))).offset(max(0, offset))))


def waiting_count(session: Session, program: ProgramDefinition, *, most: int = 100) -> int:
    """How many adjustments wait for a second person; counted up to ``most``."""
    waiting = select(Adjustment.id).where(Adjustment.program_id == program.id, Adjustment.state == "waiting")
    return int(session.execute(sa.select(sa.func.count()).select_from(waiting.limit(most).subquery())).scalar_one())


def _check(command: Adjust) -> None:
    assert (command.member_id is None) != (command.card_number is None), "name the member or the card"
    errors = []
    if not 1 <= abs(command.points) <= POINTS_MAX:
        errors.append({"field": "points", "message": f"must be from 1 to {POINTS_MAX}, or as many less than 0"})
    reason = command.reason
    if not REASON_MIN <= len(reason) <= REASON_MAX or not reason.isprintable() or reason != reason.strip():
        errors.append({"field": "reason", "message": f"must be {REASON_MIN} to {REASON_MAX} printable characters"})
    if errors:
        sentence = "; ".join(f"{error['field']} {error['message']}" for error in errors)
        raise DomainError("validation", sentence, errors=errors)


def _member(session: Session, command: Adjust) -> Member:
    if command.card_number is not None:
        return member_of_card(session, command.card_number).member
    assert command.member_id is not None, "checked before"
    return member_by_id(session, command.member_id)


def _refuse_own(session: Session, member: Member, actor: str) -> None:
    email = _email_of(session, actor)
    if email is not None and member.email == email:
        raise DomainError("adjustment_same_person", "nobody adjusts their own points", status=403)


def _email_of(session: Session, actor: str) -> str | None:
    """The address of the staff user who acts: by id from the panel, by e-mail from the command line."""
    if not actor.startswith(STAFF):
        return None
    name = actor.removeprefix(STAFF)
    try:
        staff_id = UUID(name)
    except ValueError:
        return name.lower()
    user = session.get(StaffUser, staff_id)
    return None if user is None else user.email


def _refuse_missing(balance: Balance, points: int) -> None:
    if balance.spendable + points < 0:
        raise DomainError(
            "insufficient_points",
            f"the card has {balance.spendable} spendable points and {-points} were to be taken",
            status=409,
            spendable=balance.spendable,
        )


def _post(
    session: Session, program: ProgramDefinition, row: Adjustment, balances: dict[UUID, Balance], now: datetime
) -> Balance:
    movement = (
        earn(
            row.member_id,
            row.points,
            reason=row.reason,
            occurred_at=now,
            kind="adjust",
            expires_at=expires_at(program, now),
            source="adjusted",
        )
        if row.points > 0
        else Movement(
            member_id=row.member_id,
            kind="adjust",
            reason=row.reason,
            occurred_at=now,
            entries=(("spendable", row.points), ("adjusted", -row.points)),
        )
    )
    row.state, row.posting_id = "posted", movement.id
    after = post(session, program.id, [movement], now, balances=balances)[row.member_id]
    data = {
        "adjustment_id": str(row.id),
        "member_id": str(row.member_id),
        "points": row.points,
        "spendable": after.spendable,
    }
    emit(session, program.id, [Event("points.adjusted", row.member_id, data)], now)
    return after


def _note(session: Session, row: Adjustment, action: str, actor: str, now: datetime) -> None:
    audit.record(
        session,
        program_id=row.program_id,
        actor=actor,
        action=action,
        subject=str(row.member_id),
        detail={
            "adjustment_id": str(row.id),
            "points": row.points,
            "reason": row.reason,
            "requested_by": row.requested_by,
            "address": row.address,
        },
        now=now,
    )


def _adjusted(row: Adjustment, balance: Balance) -> Adjusted:
    assert row.state in ("posted", "waiting", "refused"), row.state
    return Adjusted(row.id, row.member_id, row.points, row.state, balance)  # type: ignore[arg-type]
