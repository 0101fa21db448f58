"""Tables of the double-entry ledger of points."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, ProgramOwnedThrough, UTCDateTime, new_id, partial_index
from wallet_server.members.models import member_key


class MemberBalance(ProgramOwnedThrough, table=True):
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


class Posting(ProgramOwnedThrough, table=True):
    """One event that moved points; its entries sum to zero (invariant L3)."""

    __tablename__ = "posting"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_posting_program_id_member_id", "program_id", "member_id"),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.Index("ix_posting_purchase_id", "purchase_id"),
        partial_index("ix_posting_reverses_id", "reverses_id", where="reverses_id IS NOT NULL"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    kind: str = Field(max_length=16, description="A `Kind` of `postings.py`.")
    purchase_id: UUID | None = Field(default=None, description="The purchase that caused it.")
    outlet_id: UUID | None = Field(default=None, description="Where it happened: who issued, who honoured.")
    reason: str = Field(max_length=300, description="For a person: `Receipt A-10045`, or what staff wrote.")
    occurred_at: datetime = Field(sa_type=UTCDateTime)
    recorded_at: datetime = Field(sa_type=UTCDateTime)
    reverses_id: UUID | None = Field(
        default=None, description="The posting that this one corrects, or the hold that it places or resolves."
    )


class Entry(ProgramOwnedThrough, table=True):
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


class Lot(ProgramOwnedThrough, table=True):
    """An earning with its own expiry; points are taken from the lot that expires first."""

    __tablename__ = "lot"
    __table_args__ = (
        member_key(),
        sa.CheckConstraint("points > 0", name="points_positive"),
        sa.CheckConstraint("remaining >= 0 AND remaining <= points", name="remaining_range"),
        sa.CheckConstraint("held >= 0 AND held <= remaining", name="held_range"),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_lot_posting_id", "posting_id"),
        partial_index("ix_lot_expires_at", "expires_at", where="remaining > 0 AND expires_at IS NOT NULL"),
        partial_index("ix_lot_member_id_open", "member_id", "expires_at", where="remaining > 0"),
        partial_index("ix_lot_pending", "spendable_at", where="NOT released"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    posting_id: UUID
    points: int = Field(sa_type=sa.BigInteger)
    remaining: int = Field(sa_type=sa.BigInteger)
    held: int = Field(
        default=0,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": "0"},
        description="Of the remaining: set aside by open holds.",
    )
    outlet_id: UUID | None = Field(default=None, description="The outlet that issued the points.")
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


class Hold(ProgramOwned, table=True):
    """Points set aside until they are captured, released, or the time is over: exactly one of these (L10)."""

    __tablename__ = "hold"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.CheckConstraint("points > 0", name="points_positive"),
        sa.CheckConstraint("captured_points >= 0 AND captured_points <= points", name="captured_range"),
        sa.CheckConstraint("state IN ('open', 'captured', 'released', 'expired')", name="state_known"),
        sa.CheckConstraint("(state = 'open') = (resolved_at IS NULL)", name="resolved_once"),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_hold_program_id_member_id", "program_id", "member_id"),
        partial_index("ix_hold_open", "expires_at", where="state = 'open'"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    card_id: UUID
    outlet_id: UUID
    points: int = Field(sa_type=sa.BigInteger)
    captured_points: int = Field(default=0, sa_type=sa.BigInteger)
    state: str = Field(default="open", max_length=8)
    reference: str = Field(default="", max_length=120, description="What the till calls it, such as a receipt number.")
    created_at: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime = Field(sa_type=UTCDateTime)
    resolved_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    created_by: str = Field(max_length=200)
    resolved_by: str = Field(default="", max_length=200)


class HoldLot(ProgramOwned, table=True):
    """From which lots a hold's points are, so that they neither expire nor are spent meanwhile (L13)."""

    __tablename__ = "hold_lot"
    __table_args__ = (
        sa.ForeignKeyConstraint(["program_id", "hold_id"], ["hold.program_id", "hold.id"]),
        sa.ForeignKeyConstraint(["program_id", "lot_id"], ["lot.program_id", "lot.id"]),
        sa.CheckConstraint("points > 0", name="points_positive"),
        sa.Index("ix_hold_lot_lot_id", "lot_id"),
    )

    hold_id: UUID = Field(primary_key=True)
    lot_id: UUID = Field(primary_key=True)
    points: int = Field(sa_type=sa.BigInteger)


class Adjustment(ProgramOwned, table=True):
    """Points given or taken by hand: who, why, and above the program's limit a second person (L21)."""

    __tablename__ = "adjustment"
    __table_args__ = (
        member_key(),
        sa.CheckConstraint("points <> 0", name="points_moved"),
        sa.CheckConstraint("state IN ('waiting', 'posted', 'refused')", name="state_known"),
        sa.CheckConstraint("(state = 'posted') = (posting_id IS NOT NULL)", name="posted"),
        sa.CheckConstraint("decided_by <> requested_by OR state = 'posted'", name="second_person"),
        sa.Index("ix_adjustment_program_id_state", "program_id", "state", "requested_at"),
        sa.Index("ix_adjustment_program_id_member_id", "program_id", "member_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    points: int = Field(sa_type=sa.BigInteger)
    reason: str = Field(max_length=300)
    state: str = Field(max_length=8)
    needs_approval: bool = Field(description="It was above the limit: posted only by another person's decision.")
    requested_by: str = Field(max_length=200)
    requested_at: datetime = Field(sa_type=UTCDateTime)
    decided_by: str = Field(default="", max_length=200)
    decided_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    address: str = Field(default="", max_length=64, description="Network address that it was asked from.")
    posting_id: UUID | None = None


class Zeroing(ProgramOwned, table=True):
    """That a zeroing rule has run for one due date; the unique key makes it run once."""

    __tablename__ = "zeroing"
    __table_args__ = (sa.UniqueConstraint("program_id", "rule", "due_on"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    rule: str = Field(max_length=120, description="Name of the zeroing rule in the program file.")
    due_on: date
    after_member_id: UUID | None = Field(default=None, description="Where the run has come to; members in id order.")
    members: int = 0
    points: int = Field(default=0, sa_type=sa.BigInteger)
    started_at: datetime = Field(sa_type=UTCDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
