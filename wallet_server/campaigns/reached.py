"""When a campaign's message came onto members' phones: noted by the tick, once per member and campaign."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.campaigns.models import CampaignRecipient
from wallet_server.db import among, update_rows

MEMBERS_PER_STATEMENT_MAX: Final = 500


def note_reached(session: Session, program_id: UUID, fetched: Mapping[UUID, datetime]) -> None:
    """Note of all messages put on these members' cards before their fetch that it brought them; earlier news stays.

    ``fetched`` is the moment of a fetch by member.
    """
    members = sorted(fetched)
    for start in range(0, len(members), MEMBERS_PER_STATEMENT_MAX):
        chunk = members[start : start + MEMBERS_PER_STATEMENT_MAX]
        owed = session.execute(
            sa.select(
                col(CampaignRecipient.campaign_id),
                col(CampaignRecipient.member_id),
                col(CampaignRecipient.decided_at),
            ).where(
                col(CampaignRecipient.program_id) == program_id,
                among(session, col(CampaignRecipient.member_id), chunk),
                col(CampaignRecipient.state) == "shown",
                col(CampaignRecipient.reached_at).is_(None),
            )
        ).all()
        rows = [
            {
                "program_id": program_id,
                "campaign_id": row.campaign_id,
                "member_id": row.member_id,
                "reached_at": fetched[row.member_id],
            }
            for row in sorted(owed)
            if row.decided_at is not None and row.decided_at <= fetched[row.member_id]
        ]
        update_rows(session, CampaignRecipient, rows, key=["program_id", "campaign_id", "member_id"])
