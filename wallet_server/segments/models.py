"""Table of saved segments."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id


class Segment(ProgramOwned, table=True):
    """Members selected by a saved condition."""

    __tablename__ = "segment"
    __table_args__ = (sa.UniqueConstraint("program_id", "code"), sa.UniqueConstraint("program_id", "id"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    code: str = Field(max_length=63)
    name: str = Field(max_length=120)
    condition: dict[str, Any] = Field(sa_type=JSONColumn, description="A `segments.condition.Condition`.")
    updated_at: datetime = Field(sa_type=UTCDateTime)
