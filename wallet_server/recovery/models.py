"""Table of the wishes to have a lost card back."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id
from wallet_server.members.models import member_key


class Recovery(ProgramOwned, table=True):
    """Somebody typed a phone number or an e-mail address on the recovery page, a member's or not.

    The page writes the same row for everybody; a worker looks up whose contact it is, and forgets it. The link
    is derived from the id (``tokens.TokenMint.recovery_token``) and stands nowhere.
    """

    __tablename__ = "recovery"
    __table_args__ = (
        member_key(),
        sa.Index("ix_recovery_program_id_member_id", "program_id", "member_id"),
        sa.Index("ix_recovery_requested_at", "requested_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    contact: str | None = Field(default=None, max_length=254, description="Until it is looked up.")
    requested_at: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime = Field(sa_type=UTCDateTime)
    member_id: UUID | None = Field(default=None, description="Whose contact it was, if a mail was asked for.")
    used_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="When the link was used, or ended.")
    used_by: str | None = Field(default=None, max_length=64, description="Which form used it: a second click is known.")
