"""Table of answers already given."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id


class IdempotencyKey(ProgramOwned, table=True):
    """A caller's key, a hash of what it asked, and the answer, byte for byte (invariant L7).

    Written in the same transaction as the work: a crash leaves neither.
    """

    __tablename__ = "idempotency_key"
    __table_args__ = (sa.UniqueConstraint("program_id", "client", "key"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    client: str = Field(max_length=64, description="Who uses the key: an API key's id, a staff user's id.")
    key: str = Field(max_length=255)
    request_hash: str = Field(max_length=64, description="SHA-256 of method, path and body.")
    status: int
    body: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=UTCDateTime, index=True)
