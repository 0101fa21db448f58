"""Who in a program has no phone yet."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.issuance.models import IssuedPass, Registration
from wallet_server.members.models import Member


@dataclass(frozen=True, slots=True)
class Phoneless:
    """A member whose Apple pass is on no phone."""

    member_id: UUID
    name: str
    language: str
    token_generation: int


def members_without_phone(session: Session, limit: int) -> list[Phoneless]:
    """The members of the session's program whose pass no phone is registered for, oldest first."""
    registered = sa.exists().where(col(Registration.pass_id) == col(IssuedPass.id))
    statement = (
        select(Member.id, Member.name, Member.language, Member.token_generation)
        .join(IssuedPass, col(IssuedPass.member_id) == col(Member.id))
        .where(IssuedPass.wallet == "apple", col(IssuedPass.voided_at).is_(None), ~registered)
        .order_by(col(Member.joined_at), col(Member.id))
        .limit(limit)
    )
    return [Phoneless(*row) for row in session.exec(statement)]
