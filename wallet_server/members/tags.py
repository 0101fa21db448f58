"""Words that staff or a till put on a member; rules and segments may ask for them."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.members.models import Member, MemberTag
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.fields import CODE_PATTERN
from wallet_server.staff import audit

TAGS_MAX: Final = 50
"""Tags of one member."""
_TAG: Final = re.compile(CODE_PATTERN)


def set_tags(
    session: Session, program: ProgramDefinition, member_id: UUID, tags: Collection[str], *, actor: str, now: datetime
) -> tuple[str, ...]:
    """Give a member exactly these tags and return them in order; the ones that stay keep who set them and when.

    Rules ask for the tags that a member has when a receipt is recorded.
    Raises ``DomainError(validation)`` with ``field``, and ``NotFoundError(unknown_member)``.
    """
    wanted = sorted(set(tags))
    if len(wanted) > TAGS_MAX:
        raise DomainError("validation", f"a member has at most {TAGS_MAX} tags", field="tags")
    for tag in wanted:
        if not _TAG.fullmatch(tag):
            raise DomainError(
                "validation", f"{tag[:20]!r} is no tag: letters, digits, '.', '_', '-', 63 at most", field="tags"
            )
    # The lock makes two who write at once wait for each other (SQLite's writers wait anyway).
    member = session.exec(
        select(Member.id).where(Member.program_id == program.id, Member.id == member_id).with_for_update()
    ).one_or_none()
    if member is None:
        raise NotFoundError("unknown_member", "there is no such member in this program")
    before = set(tags_of_member(session, member_id))
    added, removed = [tag for tag in wanted if tag not in before], sorted(before - set(wanted))
    if not added and not removed:
        return tuple(wanted)
    session.execute(sa.delete(MemberTag).where(col(MemberTag.member_id) == member_id, col(MemberTag.tag).in_(removed)))
    insert_rows(
        session,
        MemberTag,
        [
            {"program_id": program.id, "member_id": member_id, "tag": tag, "set_at": now, "set_by": actor}
            for tag in added
        ],
    )
    audit.record(
        session,
        program_id=program.id,
        actor=actor,
        action="member.tagged",
        subject=str(member_id),
        detail={"added": added, "removed": removed},
        now=now,
    )
    return tuple(wanted)


def tags_of_member(session: Session, member_id: UUID) -> tuple[str, ...]:
    """A member's tags in order."""
    statement = select(MemberTag.tag).where(MemberTag.member_id == member_id).order_by(col(MemberTag.tag))
    return tuple(session.exec(statement).all())


def tags_of_members(
    session: Session, member_ids: Collection[UUID], tags: Collection[str]
) -> dict[UUID, frozenset[str]]:
    """Which of these tags each member has; members with none of them are missing."""
    found: dict[UUID, set[str]] = {}
    statement = select(MemberTag.member_id, MemberTag.tag).where(
        col(MemberTag.member_id).in_(member_ids), col(MemberTag.tag).in_(tags)
    )
    for member_id, tag in session.exec(statement):
        found.setdefault(member_id, set()).add(tag)
    return {member_id: frozenset(held) for member_id, held in found.items()}
