"""Messages whose time is over leave the cards: an offer that has ended is not said any more."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.issuance.services import passes_changed
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import NEWS_KINDS, NOTIFICATION
from wallet_server.notifications.services import MESSAGE_PRIORITY
from wallet_server.programs.queries import load_program

ENDED_AT_ONCE: Final = 500


def end_messages(session: Session, now: datetime, *, limit: int = ENDED_AT_ONCE) -> int:
    """Take messages off the cards whose time is over; how many were looked at.

    Runs in the scope of all programs, in portions of one program each: the caller repeats it until it returns 0. What
    marks the messages and what raises the passes' versions is one transaction. Cards that say something newer stay
    as they are, and no phone speaks of it.
    """
    newer = NOTIFICATION.alias("newer")
    is_on_card = sa.and_(
        col(Notification.state) == "shown",
        ~sa.exists().where(
            newer.c.member_id == col(Notification.member_id),
            newer.c.state == "shown",
            newer.c.kind.in_(NEWS_KINDS),
            newer.c.shown_at > col(Notification.shown_at),
        ),
    )
    rows = session.execute(
        sa.select(
            col(Notification.id),
            col(Notification.program_id),
            col(Notification.member_id),
            is_on_card.label("is_on_card"),
        )
        .where(col(Notification.ends_at).is_not(None), col(Notification.ends_at) <= now)
        .where(col(Notification.ended_at).is_(None))
        .order_by(col(Notification.ends_at), col(Notification.id))
        .limit(limit)
        # One that is being decided, or told to Google, at this moment comes next time.
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return 0
    # One program at a time: its passes are then locked in the order of their ids, as everybody does.
    program_id = rows[0].program_id
    mine = [row for row in rows if row.program_id == program_id]
    session.execute(
        sa.update(Notification).where(col(Notification.id).in_([row.id for row in mine])).values(ended_at=now),
        execution_options={"synchronize_session": False},
    )
    shown = {row.member_id for row in mine if row.is_on_card}
    if shown:
        program = load_program(session, program_id=program_id)
        passes_changed(session, program, shown, now, priority=MESSAGE_PRIORITY)
    return len(mine)
