"""Reading what members were shown."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.notifications.models import Notification


def newest(session: Session, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """The text of each member's newest shown message: the news on the card; who has none is missing."""
    if not member_ids:
        return {}
    place = sa.func.row_number().over(
        partition_by=col(Notification.member_id),
        order_by=(col(Notification.shown_at).desc(), col(Notification.id).desc()),
    )
    ranked = (
        sa.select(col(Notification.member_id), col(Notification.text), place.label("place"))
        .where(col(Notification.member_id).in_(member_ids), col(Notification.state) == "shown")
        .subquery()
    )
    rows = session.execute(sa.select(ranked.c.member_id, ranked.c.text).where(ranked.c.place == 1))
    return {row.member_id: row.text for row in rows}
