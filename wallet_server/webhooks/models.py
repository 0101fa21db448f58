"""Tables of webhooks: who wants to hear, and what must be told to whom in which order."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id, partial_index


class Webhook(ProgramOwned, table=True):
    """An address that is told of events. Its secret is derived from the server's, by id and generation."""

    __tablename__ = "webhook"
    __table_args__ = (
        sa.UniqueConstraint("program_id", "id"),
        sa.CheckConstraint("deleted_at IS NULL OR disabled_at IS NOT NULL", name="deleted_is_off"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    url: str = Field(max_length=2000)
    events: list[str] = Field(sa_type=JSONColumn, description="Names of events, or `*` for all.")
    secret_generation: int = Field(default=0, description="Raised to make a new secret.")
    rotated_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="For a day after it, the secret before signs too."
    )
    created_at: datetime = Field(sa_type=UTCDateTime)
    created_by: str = Field(max_length=200)
    disabled_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    disabled_because: str = Field(default="", max_length=300)
    deleted_at: datetime | None = Field(
        default=None,
        sa_type=UTCDateTime,
        description="Shown to nobody from then on; the row goes with its last message.",
    )
    failing_since: datetime | None = Field(default=None, sa_type=UTCDateTime)
    resting_until: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="The address did not answer at all: nothing is sent before."
    )


class WebhookDelivery(ProgramOwned, table=True):
    """One event for one webhook, written in the transaction of the change; told in order for each member."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        sa.ForeignKeyConstraint(["program_id", "webhook_id"], ["webhook.program_id", "webhook.id"]),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state_known"),
        partial_index("ix_webhook_delivery_waiting", "webhook_id", "subject", "id", where="state = 'waiting'"),
        sa.Index("ix_webhook_delivery_webhook_id_created_at", "webhook_id", "created_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, description="Also the event's id for the receiver.")
    webhook_id: UUID
    event: str = Field(max_length=63, description="Past tense: `purchase.recorded`.")
    subject: str = Field(max_length=63, description="The member's id (or the program's): order is kept within it.")
    payload: dict[str, Any] = Field(sa_type=JSONColumn)
    state: str = Field(default="waiting", max_length=9)
    attempts: int = 0
    not_before: datetime = Field(sa_type=UTCDateTime)
    last_status: int | None = None
    last_error: str = Field(default="", max_length=300)
    created_at: datetime = Field(sa_type=UTCDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
