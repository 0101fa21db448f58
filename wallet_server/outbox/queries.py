"""How much work waits: for metrics, health pages and the command line."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.outbox.models import OutboxRow


@dataclass(frozen=True, slots=True)
class Backlog:
    """``open`` rows wait or are being worked on; ``failed`` ones have been given up."""

    open: int
    failed: int


def backlog(session: Session) -> Backlog:
    """Count what is not done."""
    open_states = col(OutboxRow.state).in_(("waiting", "leased"))
    waiting = session.scalar(sa.select(sa.func.count()).where(open_states)) or 0
    failed = session.scalar(sa.select(sa.func.count()).where(col(OutboxRow.state) == "failed")) or 0
    return Backlog(open=waiting, failed=failed)
