"""Table of everything a member was meant to notice."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id, partial_index
from wallet_server.members.models import member_key


class Notification(ProgramOwned, table=True):
    """One message for one member, what became of it, and why.

    At most one per origin and member (invariant C2); the newest shown one is the pass's news field.
    """

    __tablename__ = "notification"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("member_id", "origin"),
        sa.Index("ix_notification_member_id_shown_at", "member_id", "shown_at"),
        partial_index("ix_notification_deferred_until", "deferred_until", where="state = 'deferred'"),
        # What the clock still has to take off the cards.
        partial_index("ix_notification_ends_at", "ends_at", where="ends_at IS NOT NULL AND ended_at IS NULL"),
        sa.CheckConstraint("state IN ('shown', 'suppressed', 'deferred', 'merged')", name="state_known"),
        sa.CheckConstraint(
            "kind IN ('balance', 'tier', 'challenge', 'voucher', 'reminder', 'promotion')", name="kind_known"
        ),
        sa.CheckConstraint("at_google IN ('nothing', 'balance', 'notice', 'text')", name="at_google_known"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    origin: str = Field(max_length=140, description="`campaign:<id>`, `change:<id>`; unique per member.")
    kind: str = Field(default="promotion", max_length=16)
    facts: dict[str, Any] = Field(
        default_factory=dict,
        sa_type=JSONColumn,
        sa_column_kwargs={"server_default": "{}"},
        description="What changed (`facts.Noticed`); empty where the text came with the wish.",
    )
    text: str = Field(max_length=500, description="In the member's language; empty if nothing was to be said.")
    state: str = Field(max_length=16)
    reason: str = Field(default="", max_length=64, description="Why: no_consent, no_pass, quiet_hours …")
    decided_at: datetime = Field(sa_type=UTCDateTime, description="When it was last decided about.")
    shown_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="When it went onto the pass.")
    deferred_until: datetime | None = Field(default=None, sa_type=UTCDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="When it is no longer true.")
    ends_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="The card says it until then.")
    ended_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="When it was taken off the card.")
    merged_into: UUID | None = Field(default=None, description="The message that says this one, too.")
    speaks: bool = Field(default=False, description="An iPhone's lock screen says it.")
    at_google: str = Field(default="nothing", max_length=8, description="How Google Wallet is to say it.")
    google_begun_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="It may have arrived.")
    google_told_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
