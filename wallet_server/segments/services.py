"""Saving and deleting segments."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from wallet_server.db import new_id
from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.segments.condition import Condition
from wallet_server.segments.models import Segment
from wallet_server.segments.queries import SEGMENTS_MAX, find_segment
from wallet_server.staff import audit

NAME_CHARACTERS_MAX: Final = 120
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def save_segment(
    session: Session,
    program: ProgramDefinition,
    *,
    code: str,
    name: str,
    condition: Condition,
    actor: str,
    now: datetime,
) -> Segment:
    """Save a segment under its code: a new one, or another condition for the one that has the code.

    Campaigns that were launched keep the condition that they were launched with.
    Raises ``DomainError(validation)`` with ``field``, and ``DomainError(too_many_segments, 409)``.
    """
    name = name.strip()
    if not _CODE.fullmatch(code):
        raise DomainError("validation", "a code has letters, digits, '.', '_', '-', 63 at most", field="code")
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise DomainError("validation", f"a name has 1 to {NAME_CHARACTERS_MAX} characters", field="name")
    for tier in condition.tiers or ():
        if program.level(tier) is None:
            raise DomainError("validation", f"this program has no tier {tier!r}", field="tiers")
    document = condition.model_dump(mode="json", exclude_none=True)
    # The lock makes two managers who save the same code wait for each other (SQLite's writers wait anyway).
    segment = session.exec(
        select(Segment).where(Segment.program_id == program.id, Segment.code == code).with_for_update()
    ).one_or_none()
    if segment is None:
        saved = session.execute(
            sa.select(sa.func.count()).select_from(Segment).where(col(Segment.program_id) == program.id)
        ).scalar_one()
        if saved >= SEGMENTS_MAX:
            detail = f"a program has at most {SEGMENTS_MAX} segments"
            raise DomainError("too_many_segments", detail, status=409)
        segment = Segment(id=new_id(), program_id=program.id, code=code, name=name, condition=document, updated_at=now)
        try:
            with session.begin_nested():
                session.add(segment)
        except IntegrityError as error:
            detail = "somebody saved a segment with this code a moment ago; try again"
            raise DomainError("segment_exists", detail, status=409) from error
    else:
        segment.name, segment.condition, segment.updated_at = name, document, now
        session.add(segment)
        session.flush()
    audit.record(
        session,
        program_id=program.id,
        actor=actor,
        action="segment.saved",
        subject=code,
        detail={"name": name, "condition": document},
        now=now,
    )
    return segment


def delete_segment(
    session: Session, program: ProgramDefinition, segment_id: UUID, *, actor: str, now: datetime
) -> None:
    """Delete a segment that no campaign was made for and no rule of the program in force asks for.

    Raises ``NotFoundError(unknown_segment)`` and ``DomainError(segment_in_use, 409)``.
    """
    segment = find_segment(session, program, segment_id=segment_id)
    code = segment.code
    asking = [rule.name for rule in program.file.rules if code in (rule.when.segments or ())]
    if asking:
        detail = f"the rule {asking[0]!r} asks for this segment, so it is kept"
        raise DomainError("segment_in_use", detail, status=409, rule=asking[0])
    try:
        with session.begin_nested():
            session.delete(segment)
    except IntegrityError as error:
        detail = "a campaign was made for this segment, so it is kept"
        raise DomainError("segment_in_use", detail, status=409) from error
    audit.record(
        session, program_id=program.id, actor=actor, action="segment.deleted", subject=code, detail={}, now=now
    )
