"""Tables of the double-entry ledger of points."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id
from wallet_server.members.models import member_key


class MemberBalance(ProgramOwned, table=True):
    """A member's accounts, as sums of the entries (invariant L1); the row to lock before points move."""

    __tablename__ = "member_balance"
    __table_args__ = (
        member_key(),
        sa.CheckConstraint("spendable >= 0", name="spendable_floor"),
        sa.CheckConstraint("pending >= 0", name="pending_floor"),
        sa.CheckConstraint("held >= 0", name="held_floor"),
        sa.CheckConstraint("owed >= 0", name="owed_floor"),
    )

    member_id: UUID = Field(primary_key=True)
    spendable: int = Field(default=0, sa_type=sa.BigInteger)
    pending: int = Field(default=0, sa_type=sa.BigInteger)
    held: int = Field(default=0, sa_type=sa.BigInteger)
    owed: int = Field(default=0, sa_type=sa.BigInteger)
    carried: str = Field(default="0", max_length=64, description="Exact fraction that rounding cut off.")
    sequence: int = Field(default=0, description="Of the member's newest entry; without gaps (invariant L18).")


class Posting(ProgramOwned, table=True):
    """One event that moved points; its entries sum to zero (invariant L3)."""

    __tablename__ = "posting"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_posting_program_id_member_id", "program_id", "member_id"),
        sa.Index("ix_posting_purchase_id", "purchase_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    kind: str = Field(max_length=16, description="earn, redeem, reward, adjust, expire, release …")
    purchase_id: UUID | None = Field(default=None, description="The purchase that caused it.")
    reason: str = Field(max_length=300, description="For a person: `Receipt A-10045`, or what staff wrote.")
    occurred_at: datetime = Field(sa_type=UTCDateTime)
    recorded_at: datetime = Field(sa_type=UTCDateTime)
    reverses_id: UUID | None = Field(default=None, description="The posting that this one corrects.")


class Entry(ProgramOwned, table=True):
    """One immutable line of a posting."""

    __tablename__ = "entry"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "posting_id"], ["posting.program_id", "posting.id"]),
        sa.CheckConstraint("points <> 0", name="points_moved"),
        sa.CheckConstraint(
            "account IN ('spendable', 'pending', 'held', 'owed', 'issued', 'redeemed', 'expired', 'adjusted')",
            name="account_known",
        ),
        sa.CheckConstraint(
            "(account IN ('spendable', 'pending', 'held', 'owed')) = (sequence IS NOT NULL)", name="sequence_member"
        ),
        sa.UniqueConstraint("member_id", "sequence"),
        sa.Index("ix_entry_posting_id", "posting_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    posting_id: UUID
    member_id: UUID
    account: str = Field(max_length=16)
    points: int = Field(sa_type=sa.BigInteger, description="Positive into the account.")
    sequence: int | None = Field(default=None, description="The member's own entries: 1, 2, 3 …")
    balance_after: int | None = Field(default=None, sa_type=sa.BigInteger, description="Of the member's account.")


class Lot(ProgramOwned, table=True):
    """An earning with its own expiry; points are taken from the lot that expires first."""

    __tablename__ = "lot"
    __table_args__ = (
        member_key(),
        sa.CheckConstraint("points > 0", name="points_positive"),
        sa.CheckConstraint("remaining >= 0 AND remaining <= points", name="remaining_range"),
        sa.Index(
            "ix_lot_member_id_open",
            "member_id",
            "expires_at",
            sqlite_where=sa.text("remaining > 0"),
            postgresql_where=sa.text("remaining > 0"),
        ),
        sa.Index(
            "ix_lot_pending",
            "spendable_at",
            sqlite_where=sa.text("NOT released"),
            postgresql_where=sa.text("NOT released"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    posting_id: UUID
    points: int = Field(sa_type=sa.BigInteger)
    remaining: int = Field(sa_type=sa.BigInteger)
    spendable_at: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    released: bool = Field(description="False while the points are pending.")


class Allocation(ProgramOwned, table=True):
    """Points that a debit took from a lot (positive) or gave back to it (negative); never changed."""

    __tablename__ = "allocation"
    __table_args__ = (
        sa.ForeignKeyConstraint(["lot_id"], ["lot.id"]),
        sa.CheckConstraint("points <> 0", name="points_moved"),
        sa.Index("ix_allocation_lot_id", "lot_id"),
        sa.Index("ix_allocation_posting_id", "posting_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    lot_id: UUID
    posting_id: UUID
    points: int = Field(sa_type=sa.BigInteger)
