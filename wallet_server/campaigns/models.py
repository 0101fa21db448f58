"""Tables of campaigns and of whom each one goes to."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id, partial_index
from wallet_server.members.models import member_key


class Campaign(ProgramOwned, table=True):
    """One message to a segment, once. Whether it is finished is computed, never set (invariant C3)."""

    __tablename__ = "campaign"
    __table_args__ = (
        sa.ForeignKeyConstraint(["program_id", "segment_id"], ["segment.program_id", "segment.id"]),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_campaign_program_id_created_at", "program_id", "created_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str = Field(max_length=120)
    segment_id: UUID
    condition: dict[str, Any] = Field(sa_type=JSONColumn, description="The segment's condition as it was at launch.")
    message: dict[str, str] = Field(sa_type=JSONColumn, description="Text by language.")
    created_at: datetime = Field(sa_type=UTCDateTime)
    created_by: str = Field(max_length=200)
    ends_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="Cards say the message until then; none: until there is another."
    )
    launched_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class CampaignRecipient(ProgramOwned, table=True):
    """One member of a campaign's audience, frozen at launch, in exactly one state."""

    __tablename__ = "campaign_recipient"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "campaign_id"], ["campaign.program_id", "campaign.id"]),
        sa.CheckConstraint("state IN ('waiting', 'shown', 'suppressed', 'failed')", name="state_known"),
        sa.Index("ix_campaign_recipient_campaign_id_state", "campaign_id", "state"),
        sa.Index("ix_campaign_recipient_batch", "campaign_id", "batch"),
        # Whose fetch is still to come: asked for by member, whatever the campaign.
        partial_index("ix_campaign_recipient_unreached", "member_id", where="state = 'shown' AND reached_at IS NULL"),
    )

    campaign_id: UUID = Field(primary_key=True)
    member_id: UUID = Field(primary_key=True)
    batch: int = Field(description="The outbox row that carries it.")
    state: str = Field(default="waiting", max_length=16)
    reason: str = Field(default="", max_length=64)
    decided_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    reached_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="When the first phone of the member fetched the card with it."
    )
