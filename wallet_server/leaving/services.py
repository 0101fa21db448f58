"""Leaving: a member goes, and takes along what says who it was.

One transaction: points, vouchers, passes, messages and the person's own data end together. What stays (receipts,
the ledger, consents) names a member that nobody can tie to a person any more; reports stay true.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.issuance.voiding import void_passes
from wallet_server.ledger.departure import forfeit_all
from wallet_server.mail import services as mail
from wallet_server.members import erasure
from wallet_server.members.models import Card, Member
from wallet_server.members.queries import member_by_id, present
from wallet_server.notifications.models import Notification
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.recovery import services as recovery
from wallet_server.rewards.models import Voucher
from wallet_server.staff import audit
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

MEMBER_LEFT: Final = "member.left"


@dataclass(frozen=True, slots=True)
class Left:
    """What went with a member."""

    points: int
    vouchers: int
    passes: int


def leave(session: Session, program: ProgramDefinition, member_id: UUID, *, actor: str, now: datetime) -> Left:
    """Let a member leave the program and forget who it was.

    Raises ``NotFoundError(unknown_member)``, ``DomainError(member_left)`` for somebody who has left before.
    """
    # The balance is locked before the member's row: a purchase, which points at both, comes in the same order.
    member_by_id(session, member_id)
    points = forfeit_all(session, program, member_id, now=now, actor=actor)
    locked = select(Member).where(Member.id == member_id, Member.program_id == program.id)
    member = session.exec(locked.with_for_update(key_share=True).execution_options(populate_existing=True)).one()
    present(member)
    vouchers = _end_vouchers(session, member_id, now)
    # Messages before passes, as where messages are decided.
    _forget_messages(session, member_id)
    card_ids = session.exec(select(Card.id).where(Card.member_id == member_id)).all()
    passes = void_passes(session, program, card_ids, now)
    mail.forget_member(session, program.id, member_id)
    recovery.forget_member(session, program.id, member_id)
    card_numbers = erasure.forget(session, member, now)
    # Whoever was told of the person has to be told that it is to be forgotten (GDPR, article 19).
    data = {"member_id": str(member_id), "card_numbers": list(card_numbers)}
    emit(session, program.id, [Event(MEMBER_LEFT, member_id, data)], now)
    detail = {"points": points, "vouchers": vouchers}
    audit.record(
        session, program_id=program.id, actor=actor, action=MEMBER_LEFT, subject=str(member_id), detail=detail, now=now
    )
    return Left(points, vouchers, passes)


def _end_vouchers(session: Session, member_id: UUID, now: datetime) -> int:
    """Let what was won and not redeemed end now."""
    ended = session.execute(
        sa.update(Voucher)
        .where(
            col(Voucher.member_id) == member_id,
            col(Voucher.redeemed_at).is_(None),
            sa.or_(col(Voucher.expires_at).is_(None), col(Voucher.expires_at) > now),
        )
        .values(expires_at=now)
        .returning(col(Voucher.id)),
        execution_options={"synchronize_session": False},
    )
    return len(ended.all())


def _forget_messages(session: Session, member_id: UUID) -> None:
    """Take the words out of what the member was told, and tell nothing that still waits; the counts stay."""
    mine = col(Notification.member_id) == member_id
    session.execute(
        sa.update(Notification).where(mine).values(text=""), execution_options={"synchronize_session": False}
    )
    session.execute(
        sa.update(Notification)
        .where(mine, col(Notification.state) == "deferred")
        .values(state="suppressed", reason="left", deferred_until=None),
        execution_options={"synchronize_session": False},
    )
