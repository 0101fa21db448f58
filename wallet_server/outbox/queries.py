"""How much work waits: for metrics, health pages and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.outbox.models import OutboxRow


@dataclass(frozen=True, slots=True)
class Backlog:
    """``open`` rows wait or are being worked on; ``failed`` ones have been given up."""

    open: int
    failed: int
    oldest_created_at: datetime | None


def backlog(session: Session) -> Backlog:
    """Count what is not done."""
    open_states = col(OutboxRow.state).in_(("waiting", "leased"))
    waiting, oldest = session.execute(
        sa.select(sa.func.count(), sa.func.min(col(OutboxRow.created_at))).where(open_states)
    ).one()
    failed = session.scalar(sa.select(sa.func.count()).where(col(OutboxRow.state) == "failed")) or 0
    return Backlog(open=waiting, failed=failed, oldest_created_at=oldest)
