"""Writing consents: each answer is a row with its proof, and the newest is kept beside the statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, new_id
from wallet_server.members.models import Consent, MemberStatistics
from wallet_server.programs.queries import parts

CONSENT_TEXT_VERSION: Final = "2026-11"
"""Version of the sentences on the enrol page; raised whenever one of them changes its meaning."""


@dataclass(frozen=True)
class Answer:
    """An answer to a question, and the channel through which it came."""

    granted: bool
    source: str


def row(program_id: UUID, member_id: UUID, kind: str, answer: Answer, now: datetime) -> dict[str, Any]:
    """A row of :class:`Consent`; ``kind`` is ``terms`` or ``marketing``."""
    return {
        "id": new_id(),
        "program_id": program_id,
        "member_id": member_id,
        "kind": kind,
        "granted": answer.granted,
        "text_version": CONSENT_TEXT_VERSION,
        "source": answer.source,
        "at": now,
    }


def record_marketing(session: Session, program_id: UUID, answers: Mapping[UUID, Answer], now: datetime) -> set[UUID]:
    """Keep members' answers to the marketing question; returns those whose answer was another one before."""
    changed: set[UUID] = set()
    for part in parts(answers):
        # Locked in one order everywhere: a purchase changes the same rows.
        statement = (
            select(MemberStatistics)
            .where(MemberStatistics.program_id == program_id, col(MemberStatistics.member_id).in_(part))
            .order_by(col(MemberStatistics.member_id))
            .with_for_update()
        )
        for statistics in session.exec(statement):
            granted = answers[statistics.member_id].granted
            if statistics.marketing != granted:
                statistics.marketing = granted
                session.add(statistics)
                changed.add(statistics.member_id)
    session.flush()
    rows = [row(program_id, member_id, "marketing", answers[member_id], now) for member_id in sorted(changed)]
    insert_rows(session, Consent, rows)
    return changed
