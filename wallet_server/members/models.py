"""Tables of people, their cards and consents, and the statistics that segments ask for."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import JSONColumn, ProgramOwned, ProgramOwnedThrough, UTCDateTime, new_id


def member_key() -> sa.ForeignKeyConstraint:
    """The composite key that keeps a row and its member in the same program (invariant L17)."""
    return sa.ForeignKeyConstraint(["program_id", "member_id"], ["member.program_id", "member.id"])


class Member(ProgramOwned, table=True):
    """A person in a program, known by a phone number or an e-mail address."""

    __tablename__ = "member"
    __table_args__ = (
        sa.UniqueConstraint("program_id", "id"),
        sa.UniqueConstraint("program_id", "phone"),
        sa.UniqueConstraint("program_id", "email"),
        sa.UniqueConstraint("program_id", "external_id"),
        sa.UniqueConstraint("program_id", "referral_code"),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.CheckConstraint(
            "phone IS NOT NULL OR email IS NOT NULL OR external_id IS NOT NULL OR left_at IS NOT NULL", name="reachable"
        ),
        sa.Index("ix_member_program_id_joined_at", "program_id", "joined_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    phone: str | None = Field(default=None, max_length=16, description="E.164.")
    email: str | None = Field(default=None, max_length=254, description="Lower case.")
    external_id: str | None = Field(default=None, max_length=120, description="The person's id in the shop's system.")
    name: str = Field(default="", max_length=120)
    birthday: date | None = None
    language: str = Field(max_length=8)
    channel: str = Field(max_length=63, description="Where the person joined: poster, till, web, import …")
    outlet_id: UUID | None = None
    referral_code: str = Field(max_length=16)
    referred_by_id: UUID | None = Field(default=None, foreign_key="member.id")
    token_generation: int = Field(default=0, description="Raised to revoke the member page's address.")
    joined_at: datetime = Field(sa_type=UTCDateTime)
    left_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="When the person left, and was forgotten."
    )


class Card(ProgramOwned, table=True):
    """The number that a till scans."""

    __tablename__ = "card"
    __table_args__ = (
        member_key(),
        sa.UniqueConstraint("program_id", "number"),
        sa.UniqueConstraint("program_id", "id"),
        sa.Index("ix_card_program_id_member_id", "program_id", "member_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    number: str = Field(max_length=32)
    created_at: datetime = Field(sa_type=UTCDateTime)
    blocked_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class Consent(ProgramOwned, table=True):
    """One answer to one question, with its proof; the newest row of a kind counts."""

    __tablename__ = "consent"
    __table_args__ = (member_key(), sa.Index("ix_consent_program_id_member_id", "program_id", "member_id"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    kind: str = Field(max_length=32, description="`terms` or `marketing`.")
    granted: bool
    text_version: str = Field(max_length=32)
    source: str = Field(max_length=63)
    at: datetime = Field(sa_type=UTCDateTime)


class MemberStatistics(ProgramOwnedThrough, table=True):
    """What segments, tiers and reports ask of a member, kept up to date in each purchase's transaction."""

    __tablename__ = "member_statistics"
    __table_args__ = (member_key(), sa.Index("ix_member_statistics_program_id_last", "program_id", "last_visit_at"))

    member_id: UUID = Field(primary_key=True)
    purchases: int = 0
    visits: int = Field(
        default=0, sa_column_kwargs={"server_default": "0"}, description="Purchases and visits without money."
    )
    spend_minor: int = Field(default=0, sa_type=sa.BigInteger, description="Purchases after discounts.")
    points_earned: int = Field(default=0, sa_type=sa.BigInteger)
    first_visit_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    last_visit_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    marketing: bool = Field(default=False, description="The newest marketing consent.")
    coefficients: list[dict[str, Any]] = Field(
        default_factory=list,
        sa_type=JSONColumn,
        sa_column_kwargs={"server_default": "[]"},
        description='Own percents: [{"percent": "5", "outlet": null, "ends_at": null, "redeem_max_percent": null}].',
    )


class MemberTag(ProgramOwned, table=True):
    """A word that staff or a till put on a member; rules and segments may ask for it."""

    __tablename__ = "member_tag"
    __table_args__ = (member_key(), sa.Index("ix_member_tag_program_id_tag", "program_id", "tag"))

    member_id: UUID = Field(primary_key=True)
    tag: str = Field(primary_key=True, max_length=63)
    set_at: datetime = Field(sa_type=UTCDateTime)
    set_by: str = Field(max_length=200)
