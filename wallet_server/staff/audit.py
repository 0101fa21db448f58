"""The audit log: who changed what. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from wallet_server.staff.models import AuditRecord

SUBJECT_LENGTH_MAX = 200


def record(
    session: Session,
    *,
    program_id: UUID | None,
    actor: str,
    action: str,
    subject: str = "",
    detail: Mapping[str, Any] | None = None,
    now: datetime,
) -> None:
    """Note one change in the transaction that makes it.

    ``actor`` is ``staff:e-mail``, ``key:hint``, ``cli``, ``member`` or ``system``; ``action`` is in the past
    tense (``program.published``); ``subject`` is what was changed. Never put a secret into ``detail``.
    """
    row = AuditRecord(
        program_id=program_id,
        at=now,
        actor=actor[:200],
        action=action,
        subject=subject[:SUBJECT_LENGTH_MAX],
        detail=dict(detail or {}),
    )
    session.add(row)


def newest(session: Session, program_id: UUID, *, limit: int = 100) -> Sequence[AuditRecord]:
    """The program's newest records, the newest first; at most 500."""
    statement = (
        select(AuditRecord)
        .where(AuditRecord.program_id == program_id)
        .order_by(col(AuditRecord.at).desc(), col(AuditRecord.id).desc())
        .limit(min(limit, 500))
    )
    return session.exec(statement).all()
