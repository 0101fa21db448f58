"""Tables of a program: its versions, outlets, catalog, pictures and till keys."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id


class Program(SQLModel, table=True):
    """One merchant's loyalty program. Its definition is the document of its current version."""

    __tablename__ = "program"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    slug: str = Field(max_length=63, unique=True)
    version: int = Field(description="Number of the current program version.")
    created_at: datetime = Field(sa_type=UTCDateTime)
    updated_at: datetime = Field(sa_type=UTCDateTime)
    turned_on: date | None = Field(default=None, description="The local day whose beginning the passes show.")


class ProgramVersion(ProgramOwned, table=True):
    """A published definition, kept for ever: a purchase names the version it was computed with."""

    __tablename__ = "program_version"
    __table_args__ = (sa.UniqueConstraint("program_id", "number"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    number: int
    document: dict[str, Any] = Field(sa_type=JSONColumn, description="The program file without its catalog.")
    published_at: datetime = Field(sa_type=UTCDateTime)
    published_by: str = Field(max_length=200)


class Outlet(ProgramOwned, table=True):
    """A place of the program: shop, restaurant, web shop."""

    __tablename__ = "outlet"
    __table_args__ = (sa.UniqueConstraint("program_id", "code"), sa.UniqueConstraint("program_id", "id"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    code: str = Field(max_length=63)
    name: dict[str, str] = Field(sa_type=JSONColumn)
    time_zone: str | None = Field(default=None, max_length=63)
    latitude: float | None = None
    longitude: float | None = None
    receipt_max_percent: str | None = Field(default=None, max_length=32, description="Exact decimal; none: no limit.")
    partner: dict[str, Any] | None = Field(default=None, sa_type=JSONColumn)
    closed_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="No longer in the program file.")


class Category(ProgramOwned, table=True):
    """A product category; a category includes its sub-categories."""

    __tablename__ = "category"
    __table_args__ = (sa.UniqueConstraint("program_id", "code"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    code: str = Field(max_length=120)
    parent_code: str | None = Field(default=None, max_length=120)
    name: dict[str, str] = Field(sa_type=JSONColumn)


class Product(ProgramOwned, table=True):
    """A product that the program knows; a till may sell others too."""

    __tablename__ = "product"
    __table_args__ = (sa.UniqueConstraint("program_id", "sku"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sku: str = Field(max_length=120)
    category_code: str | None = Field(default=None, max_length=120)
    name: dict[str, str] = Field(sa_type=JSONColumn)
    price_minor: int | None = Field(default=None, sa_type=sa.BigInteger)
    cost_minor: int | None = Field(default=None, sa_type=sa.BigInteger)


class ApiKey(ProgramOwned, table=True):
    """A till's key: shown once, kept as a fingerprint."""

    __tablename__ = "api_key"
    __table_args__ = (sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    outlet_id: UUID | None = Field(default=None, description="None: good for all outlets.")
    scopes: list[str] = Field(sa_type=JSONColumn, description="Of earn, redeem, refund, members, adjust.")
    hint: str = Field(max_length=12, description="First characters of the key, to recognise it in lists.")
    secret_fingerprint: str = Field(max_length=64, unique=True)
    created_at: datetime = Field(sa_type=UTCDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class ProgramPicture(ProgramOwned, table=True):
    """A picture that the program's look may name: drawn anew from what was uploaded, known by its content.

    Kept for ever like the versions that name it; what no version names goes after a day.
    """

    __tablename__ = "program_picture"
    __table_args__ = (
        sa.UniqueConstraint("program_id", "sha256"),
        sa.CheckConstraint("slot IN ('logo', 'icon', 'photo')", name="slot_known"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sha256: str = Field(max_length=64, description="Of the file that is kept, in hex.")
    slot: str = Field(max_length=8, description="What it was drawn for: its size and shape.")
    data: bytes = Field(sa_type=sa.LargeBinary, description="PNG; photos without transparency are JPEG.")
    uploaded_at: datetime = Field(sa_type=UTCDateTime)
    uploaded_by: str = Field(max_length=200)
