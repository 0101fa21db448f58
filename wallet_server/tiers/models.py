"""Table of the tier that each member holds."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id, partial_index
from wallet_server.members.models import member_key


class MemberTier(ProgramOwned, table=True):
    """The level a member holds now."""

    __tablename__ = "member_tier"
    __table_args__ = (
        member_key(),
        partial_index("ix_member_tier_review_at", "review_at", where="review_at IS NOT NULL"),
    )

    member_id: UUID = Field(primary_key=True)
    tier: str = Field(max_length=63, description="Code of a level in the program file.")
    since: datetime = Field(sa_type=UTCDateTime)
    protected_until: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="Not lowered before: a temporary tier, or a promise of staff."
    )
    grace_until: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="No longer reached; lowered then unless reached again."
    )
    review_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="When to look again; none where time alone changes nothing."
    )


class TierChange(ProgramOwned, table=True):
    """One step of a member's status, for ever: from where to where, and why."""

    __tablename__ = "tier_change"
    __table_args__ = (member_key(), sa.Index("ix_tier_change_program_id_member_id", "program_id", "member_id", "at"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    from_tier: str | None = Field(default=None, max_length=63)
    to_tier: str = Field(max_length=63)
    reason: str = Field(max_length=16, description="reached, lapsed, granted, ended, refunded, table.")
    actor: str = Field(default="", max_length=200)
    at: datetime = Field(sa_type=UTCDateTime)
