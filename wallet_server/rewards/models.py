"""Table of vouchers."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id, partial_index
from wallet_server.members.models import member_key


class Voucher(ProgramOwned, table=True):
    """A single-use right to something: a free product or a discount."""

    __tablename__ = "voucher"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("program_id", "code"),
        sa.UniqueConstraint("member_id", "origin"),
        sa.Index("ix_voucher_program_id_member_id", "program_id", "member_id"),
        # What the clock still has to take off the cards.
        partial_index(
            "ix_voucher_expires_at",
            "expires_at",
            where="expires_at IS NOT NULL AND redeemed_at IS NULL AND lapsed_at IS NULL",
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    code: str = Field(max_length=16, description="What the cashier scans or types; 60 random bits and more.")
    benefit: dict[str, Any] = Field(sa_type=JSONColumn, description='{"kind": "free_product", "sku": …}.')
    origin: str = Field(
        max_length=140,
        description="What it was won by, unique per member: `challenge:dinner:2026-11:1`.",
    )
    issued_at: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    lapsed_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="When the cards were told that it is over, unused."
    )
    redeemed_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    redeemed_outlet_id: UUID | None = None
    redeemed_by: str | None = Field(default=None, max_length=200)
    receipt_id: str | None = Field(default=None, max_length=120)
