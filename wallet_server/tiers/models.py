"""Table of the tier that each member holds."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime
from wallet_server.members.models import member_key


class MemberTier(ProgramOwned, table=True):
    """The level a member holds now."""

    __tablename__ = "member_tier"
    __table_args__ = (member_key(),)

    member_id: UUID = Field(primary_key=True)
    tier: str = Field(max_length=63, description="Code of a level in the program file.")
    since: datetime = Field(sa_type=UTCDateTime)
