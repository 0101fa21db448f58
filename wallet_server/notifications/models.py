"""Table of everything a member was meant to notice."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id
from wallet_server.members.models import member_key


class Notification(ProgramOwned, table=True):
    """One message for one member, and what became of it.

    At most one per campaign and member (invariant C2); the newest shown one is the pass's news field.
    """

    __tablename__ = "notification"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("member_id", "origin"),
        sa.Index("ix_notification_member_id_shown_at", "member_id", "shown_at"),
        sa.CheckConstraint("state IN ('shown', 'suppressed')", name="state_known"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    origin: str = Field(max_length=140, description="`campaign:<id>`; unique per member.")
    text: str = Field(max_length=500, description="In the member's language.")
    state: str = Field(max_length=16)
    reason: str = Field(default="", max_length=64, description="Why it was suppressed: no_consent, no_pass …")
    shown_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="When it went onto the pass.")
