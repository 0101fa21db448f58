"""How much work waits: for metrics, health pages and the command line."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.outbox.models import OutboxRow


@dataclass(frozen=True, slots=True)
class Backlog:
    """``open`` rows wait or are being worked on; ``failed`` ones have been given up."""

    open: int
    failed: int


def backlog(session: Session) -> Backlog:
    """Count what is not done."""
    # In the words of the indexes, or SQLite would read all that was ever done.
    waiting = _count(session, "state IN ('waiting', 'leased')")
    return Backlog(open=waiting, failed=_count(session, "state = 'failed'"))


def _count(session: Session, where: str) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(OutboxRow).where(sa.text(where))) or 0
