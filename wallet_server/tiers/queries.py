"""Reads of tiers and of the statistics they are reached by."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlmodel import Session, col, select

from wallet_server.members.models import MemberStatistics
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.models import MemberTier


def standings(session: Session, member_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Statistics and tier of members in one statement; a member without a row is missing."""
    if not member_ids:
        return {}
    statement = (
        select(MemberStatistics, MemberTier.tier)
        .outerjoin(MemberTier, col(MemberTier.member_id) == col(MemberStatistics.member_id))
        .where(col(MemberStatistics.member_id).in_(member_ids))
        # The session may know an older state of these rows from before they were locked.
        .execution_options(populate_existing=True)
    )
    return {
        row.member_id: Standing(
            tier=tier,
            spend_minor=row.spend_minor,
            purchases=row.purchases,
            points_earned=row.points_earned,
            first_visit_at=row.first_visit_at,
            last_visit_at=row.last_visit_at,
            marketing=row.marketing,
        )
        for row, tier in session.exec(statement)
    }


def tiers(session: Session, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """The tier code of each member who holds one."""
    if not member_ids:
        return {}
    return dict(
        session.exec(
            select(MemberTier.member_id, MemberTier.tier).where(col(MemberTier.member_id).in_(member_ids))
        ).all()
    )
