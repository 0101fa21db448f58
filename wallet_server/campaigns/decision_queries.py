"""What the governor has decided about a campaign's messages, and why: in members, and in members of each wallet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.campaigns.models import CampaignRecipient
from wallet_server.campaigns.services import origin_of
from wallet_server.issuance.models import IssuedPass
from wallet_server.notifications.models import Notification

ORDER = ("shown", "deferred", "merged", "suppressed")


@dataclass(frozen=True, slots=True)
class Decided:
    """Members about whose message the same was decided for the same reason.

    ``members`` is all of them; ``apple`` and ``google`` those who hold a card in that wallet today: some hold both,
    some none. ``aloud_apple`` and ``aloud_google`` are those of them whose phone says it; on the other cards the
    message lies in silence. ``until`` is when the first of those who were put off comes up again.
    """

    state: str
    """``shown``, ``deferred``, ``merged`` or ``suppressed``."""
    reason: str
    members: int
    apple: int
    google: int
    aloud_apple: int = 0
    aloud_google: int = 0
    until: datetime | None = None


def decisions(session: Session, program_id: UUID, campaign_id: UUID, *, waiting_only: bool = False) -> list[Decided]:
    """What was decided so far, what was shown first, then the most members first.

    ``waiting_only`` looks only at members who still wait for their message, which is little while a campaign is
    being sent. Members whom nobody has looked at yet are in neither.
    """
    said = Notification
    has = {wallet: _holds(program_id, wallet) for wallet in ("apple", "google")}
    is_shown = col(said.state) == "shown"
    # Why somebody was shown a message is another question than through which wallet: the columns answer that.
    reason = sa.case((is_shown, ""), else_=col(said.reason)).label("reason")
    loud = {"apple": col(said.speaks), "google": col(said.at_google).in_(("balance", "notice"))}
    statement = (
        sa.select(
            col(said.state),
            reason,
            sa.func.count(),
            *(_number(has[wallet]) for wallet in has),
            *(_number(sa.and_(is_shown, has[wallet], loud[wallet])) for wallet in has),
            sa.func.min(col(said.deferred_until)),
        )
        .select_from(CampaignRecipient)
        .join(
            said,
            sa.and_(
                col(said.member_id) == col(CampaignRecipient.member_id), col(said.origin) == origin_of(campaign_id)
            ),
        )
        .where(col(CampaignRecipient.program_id) == program_id, col(CampaignRecipient.campaign_id) == campaign_id)
        .group_by(col(said.state), reason)
    )
    if waiting_only:
        statement = statement.where(col(CampaignRecipient.state) == "waiting")
    found = [Decided(*row) for row in session.execute(statement)]
    return sorted(found, key=lambda one: (ORDER.index(one.state), -one.members, one.reason))


def put_off(decided: Sequence[Decided]) -> int:
    """How many members' messages wait for another moment."""
    return sum(one.members for one in decided if one.state == "deferred")


def _holds(program_id: UUID, wallet: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        col(IssuedPass.program_id) == program_id,
        col(IssuedPass.member_id) == col(CampaignRecipient.member_id),
        col(IssuedPass.wallet) == wallet,
        col(IssuedPass.live),
        col(IssuedPass.voided_at).is_(None),
        col(IssuedPass.removed_at).is_(None),
    )


def _number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
    return sa.func.count(sa.case((condition, 1)))
