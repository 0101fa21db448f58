"""Tables of challenge progress."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwnedThrough, UTCDateTime, new_id
from wallet_server.members.models import member_key


class ChallengeContribution(ProgramOwnedThrough, table=True):
    """What one purchase added to one challenge; progress is the sum of these."""

    __tablename__ = "challenge_contribution"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("member_id", "challenge", "source_id"),
        sa.Index("ix_challenge_contribution_window", "member_id", "challenge", "window"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    challenge: str = Field(max_length=63, description="Code of a challenge in the program file.")
    window: str = Field(max_length=32, description="Key of the window, such as `2026-11`, or `all`.")
    source_id: UUID = Field(description="The purchase (or visit) that contributed.")
    business_date: date
    amount: int = Field(sa_type=sa.BigInteger)


class ChallengeProgress(ProgramOwnedThrough, table=True):
    """Where a member stands in one window of a challenge."""

    __tablename__ = "challenge_progress"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("member_id", "challenge", "window"),
        sa.Index("ix_challenge_progress_challenge", "program_id", "challenge", "window"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    challenge: str = Field(max_length=63)
    window: str = Field(max_length=32)
    progress: int = Field(default=0, sa_type=sa.BigInteger, description="Counted in the window, over all rounds.")
    completions: int = Field(default=0)
    completed_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="Of the newest completion.")
