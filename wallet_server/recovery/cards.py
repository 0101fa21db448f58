"""A card whose phone is in other hands: the old card dies, a new one has all that it had."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, new_id
from wallet_server.issuance.services import issue_passes
from wallet_server.issuance.voiding import void_passes
from wallet_server.members.identity import new_card_number
from wallet_server.members.models import Card, Member
from wallet_server.members.queries import present
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.recovery.services import end_links
from wallet_server.staff import audit

CARD_REPLACED: Final = "card.replaced"


def replace_card(
    session: Session,
    program: ProgramDefinition,
    member: Member,
    *,
    actor: str,
    now: datetime,
    by_link: UUID | None = None,
) -> str:
    """Give a member (whose row is locked here) a new card with new passes, and shut the old ones out; the new number.

    The old cards are blocked at the till, their passes voided (phones that hold them are told), and the member's
    secret addresses and links die, but for the link that it is done ``by_link``. Points, vouchers and tier are the
    member's, and stay.
    Raises ``DomainError(member_left)``.
    """
    session.refresh(member, with_for_update={"key_share": True})
    present(member)
    old = session.exec(select(Card.id).where(Card.member_id == member.id, col(Card.blocked_at).is_(None))).all()
    session.execute(
        sa.update(Card).where(col(Card.id).in_(old)).values(blocked_at=now),
        execution_options={"synchronize_session": "fetch"},
    )
    void_passes(session, program, old, now)
    member.token_generation += 1
    session.add(member)
    session.flush()
    end_links(session, member.id, now, spare=by_link)
    card_id, number = new_id(), new_card_number()
    row = {"id": card_id, "program_id": program.id, "member_id": member.id, "number": number, "created_at": now}
    insert_rows(session, Card, [row])
    issue_passes(session, program, [(member.id, card_id)], now)
    audit.record(
        session, program_id=program.id, actor=actor, action=CARD_REPLACED, subject=str(member.id), detail={}, now=now
    )
    return number
