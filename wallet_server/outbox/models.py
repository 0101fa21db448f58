"""Table of what must still be done after a commit."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from wallet_server.db import JSONColumn, UTCDateTime, partial_index


class OutboxRow(SQLModel, table=True):
    """One piece of work, written in the transaction of the change that asks for it.

    States: ``waiting`` → ``leased`` (a worker works on it until ``lease_until``) → ``done`` or ``failed``;
    a lapsed lease may be taken by another worker, and only the holder of the current
    ``lease_generation`` may finish the row (fencing, invariant C4).
    """

    __tablename__ = "outbox"
    __table_args__ = (
        sa.CheckConstraint("state IN ('waiting', 'leased', 'done', 'failed')", name="state_known"),
        partial_index("ix_outbox_due", "queue", "priority", "id", where="state IN ('waiting', 'leased')"),
        partial_index("ix_outbox_failed", "id", where="state = 'failed'"),
    )

    id: int | None = Field(
        default=None,
        sa_column=sa.Column(sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    )
    topic: str = Field(max_length=63, description="Past tense: `pass.changed`, `campaign.launched`.")
    queue: str = Field(max_length=16, description="`push` or `bulk`.")
    priority: int = Field(default=0, description="Smaller is sooner.")
    program_id: UUID = Field(foreign_key="program.id")
    payload: dict[str, Any] = Field(sa_type=JSONColumn, description='Ids only, with a version: {"v": 1, …}.')
    state: str = Field(default="waiting", max_length=8)
    attempts: int = Field(default=0)
    not_before: datetime = Field(sa_type=UTCDateTime)
    rung_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="When RQ was last told.")
    lease_until: datetime | None = Field(default=None, sa_type=UTCDateTime)
    lease_generation: int = Field(default=0)
    lapses: int = Field(default=0, description="How often a worker died on it; three times are enough.")
    created_at: datetime = Field(sa_type=UTCDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    error: str = Field(default="", max_length=500)
