"""Table of the mails that were asked for, and what became of them."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id
from wallet_server.members.models import member_key


class Mail(ProgramOwned, table=True):
    """One mail to one member. Neither its text nor the address stands here: both are made when it is sent.

    States: ``waiting`` → ``handed_over`` (the mail server is about to hear the text) → ``sent`` or ``refused``;
    ``unsure``: the line broke after the text, and it is not said again; ``dropped``: too late, or nobody to
    send it to.
    """

    __tablename__ = "mail"
    __table_args__ = (
        member_key(),
        sa.CheckConstraint(
            "state IN ('waiting', 'handed_over', 'sent', 'refused', 'unsure', 'dropped')", name="state_known"
        ),
        sa.Index("ix_mail_program_id_member_id", "program_id", "member_id"),
        sa.Index("ix_mail_created_at", "created_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    kind: str = Field(max_length=32, description="Which letter: `recovery`.")
    subject_id: UUID = Field(description="What it is about: the id of the recovery.")
    state: str = Field(default="waiting", max_length=16)
    reason: str = Field(default="", max_length=500, description="Why it was refused, dropped, or is unsure.")
    attempts: int = 0
    created_at: datetime = Field(sa_type=UTCDateTime)
    not_after: datetime = Field(sa_type=UTCDateTime, description="Later it would be of no use, and is dropped.")
    handed_over_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
