"""Tables of purchases: the receipt as recorded, its lines, and the trace that says why."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, PackedJSON, ProgramOwned, ProgramOwnedThrough, UTCDateTime, new_id
from wallet_server.members.models import member_key


class Purchase(ProgramOwnedThrough, table=True):
    """Our record of a receipt; unique per outlet and receipt number (invariant L8)."""

    __tablename__ = "purchase"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.ForeignKeyConstraint(["program_id", "card_id"], ["card.program_id", "card.id"]),
        sa.UniqueConstraint("outlet_id", "receipt_id"),
        sa.UniqueConstraint("program_id", "id"),
        sa.CheckConstraint("points_returned >= 0 AND points_returned <= points_redeemed", name="returned_range"),
        sa.CheckConstraint("points_taken_back <= points_earned", name="taken_back_range"),
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
    returned_minor: int = Field(
        default=0,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": "0"},
        description="Of the discounted total: refunded so far, money and points.",
    )
    points_returned: int = Field(
        default=0,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": "0"},
        description="Of the points redeemed.",
    )
    points_taken_back: int = Field(
        default=0,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": "0"},
        description="Of the points earned; below zero where what is left has earned more.",
    )
    refunded_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="When nothing was left.")


class PurchaseLine(ProgramOwnedThrough, table=True):
    """One line of a receipt with what it earned and what points paid of it."""

    __tablename__ = "purchase_line"
    __table_args__ = (
        sa.ForeignKeyConstraint(["program_id", "purchase_id"], ["purchase.program_id", "purchase.id"]),
        sa.CheckConstraint(
            "returned_thousandths >= 0 AND returned_thousandths <= quantity_thousandths", name="returned_range"
        ),
    )

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
    returned_thousandths: int = Field(
        default=0,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": "0"},
        description="Of the quantity: refunded.",
    )


class PurchaseTrace(ProgramOwnedThrough, table=True):
    """Why: the decision trace of a purchase, versioned JSON."""

    __tablename__ = "purchase_trace"
    __table_args__ = (sa.ForeignKeyConstraint(["program_id", "purchase_id"], ["purchase.program_id", "purchase.id"]),)

    purchase_id: UUID = Field(primary_key=True)
    trace: dict[str, Any] = Field(sa_type=PackedJSON, description='{"v": 1, "steps": [...], "facts": {...}}.')


class Refund(ProgramOwned, table=True):
    """Lines of a purchase taken back, once; what it did and why."""

    __tablename__ = "refund"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "purchase_id"], ["purchase.program_id", "purchase.id"]),
        sa.UniqueConstraint("purchase_id", "refund_id"),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_refund_program_id_member_id", "program_id", "member_id"),
        sa.Index("ix_refund_program_id_recorded_at", "program_id", "recorded_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    purchase_id: UUID
    member_id: UUID
    refund_id: str = Field(max_length=120, description="What the till calls it.")
    recorded_at: datetime = Field(sa_type=UTCDateTime)
    recorded_by: str = Field(max_length=200)
    amount_minor: int = Field(sa_type=sa.BigInteger, description="After discounts: money and points together.")
    money_minor: int = Field(sa_type=sa.BigInteger, description="Of it, to be given back in money.")
    points_returned: int = Field(sa_type=sa.BigInteger)
    points_taken_back: int = Field(sa_type=sa.BigInteger)
    points_owed: int = Field(sa_type=sa.BigInteger, description="Of the points taken back: became a debt.")
    trace: dict[str, Any] = Field(sa_type=JSONColumn, description='{"v": 1, "steps": [...], "effects": {...}}.')


class RefundLine(ProgramOwned, table=True):
    """One line of a refund."""

    __tablename__ = "refund_line"
    __table_args__ = (
        sa.ForeignKeyConstraint(["program_id", "refund_id"], ["refund.program_id", "refund.id"]),
        sa.CheckConstraint("quantity_thousandths > 0", name="quantity_positive"),
    )

    refund_id: UUID = Field(primary_key=True)
    line: int = Field(primary_key=True, description="Number of the purchase's line.")
    quantity_thousandths: int = Field(sa_type=sa.BigInteger)
    amount_minor: int = Field(sa_type=sa.BigInteger, description="After discounts.")


class Visit(ProgramOwned, table=True):
    """A visit without money; unique per outlet and number, like a receipt."""

    __tablename__ = "visit"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.UniqueConstraint("outlet_id", "visit_id"),
        sa.Index("ix_visit_member_id_occurred_at", "member_id", "occurred_at"),
        sa.Index("ix_visit_program_id_occurred_at", "program_id", "occurred_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    outlet_id: UUID
    visit_id: str = Field(max_length=120)
    member_id: UUID
    card_id: UUID
    occurred_at: datetime = Field(sa_type=UTCDateTime)
    business_date: date = Field(description="Local day at the outlet.")
    recorded_at: datetime = Field(sa_type=UTCDateTime)
    recorded_by: str = Field(max_length=200)
