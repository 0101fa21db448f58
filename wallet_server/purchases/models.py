"""Tables of purchases: the receipt as recorded, its lines, and the trace that says why."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id
from wallet_server.members.models import member_key


class Purchase(ProgramOwned, table=True):
    """Our record of a receipt; unique per outlet and receipt number (invariant L8)."""

    __tablename__ = "purchase"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.ForeignKeyConstraint(["program_id", "card_id"], ["card.program_id", "card.id"]),
        sa.UniqueConstraint("outlet_id", "receipt_id"),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_purchase_member_id_occurred_at", "member_id", "occurred_at"),
        sa.Index("ix_purchase_program_id_occurred_at", "program_id", "occurred_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    outlet_id: UUID
    receipt_id: str = Field(max_length=120)
    member_id: UUID
    card_id: UUID
    occurred_at: datetime = Field(sa_type=UTCDateTime)
    business_date: date = Field(description="Local day at the outlet.")
    recorded_at: datetime = Field(sa_type=UTCDateTime)
    source: str = Field(max_length=16, description="till, panel or import.")
    recorded_by: str = Field(max_length=200)
    payment_type: str | None = Field(default=None, max_length=32)
    program_version: int
    total_minor: int = Field(sa_type=sa.BigInteger)
    discount_minor: int = Field(default=0, sa_type=sa.BigInteger)
    money_due_minor: int = Field(sa_type=sa.BigInteger)
    points_redeemed: int = Field(default=0, sa_type=sa.BigInteger)
    points_earned: int = Field(sa_type=sa.BigInteger)
    receipt_points: int = Field(
        default=0, sa_type=sa.BigInteger, description="Of the points earned, those that belong to no line."
    )


class PurchaseLine(ProgramOwned, table=True):
    """One line of a receipt with what it earned and what points paid of it."""

    __tablename__ = "purchase_line"
    __table_args__ = (sa.ForeignKeyConstraint(["program_id", "purchase_id"], ["purchase.program_id", "purchase.id"]),)

    purchase_id: UUID = Field(primary_key=True)
    line: int = Field(primary_key=True, description="From 1.")
    sku: str | None = Field(default=None, max_length=120)
    category: str | None = Field(default=None, max_length=120)
    quantity_thousandths: int = Field(sa_type=sa.BigInteger)
    unit_price_minor: int = Field(sa_type=sa.BigInteger)
    amount_minor: int = Field(sa_type=sa.BigInteger)
    discount_minor: int = Field(default=0, sa_type=sa.BigInteger)
    earn_percent: str = Field(max_length=64)
    redeem_percent: str = Field(max_length=64)
    points_earned: int = Field(sa_type=sa.BigInteger)
    paid_with_points_minor: int = Field(default=0, sa_type=sa.BigInteger)


class PurchaseTrace(ProgramOwned, table=True):
    """Why: the decision trace of a purchase, versioned JSON."""

    __tablename__ = "purchase_trace"
    __table_args__ = (sa.ForeignKeyConstraint(["program_id", "purchase_id"], ["purchase.program_id", "purchase.id"]),)

    purchase_id: UUID = Field(primary_key=True)
    trace: dict[str, Any] = Field(sa_type=JSONColumn, description='{"v": 1, "steps": [...], "facts": {...}}.')
