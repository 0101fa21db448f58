"""Tables of staff users, their roles and sessions, and the audit log."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id


class StaffUser(SQLModel, table=True):
    """A person who works with one program or several."""

    __tablename__ = "staff_user"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    email: str = Field(max_length=254, unique=True, description="Lower case.")
    password_hash: str = Field(max_length=200, description="argon2id.")
    password_is_temporary: bool = Field(default=False, description="Made by us and shown to somebody else too.")
    language: str | None = Field(default=None, max_length=8)
    created_at: datetime = Field(sa_type=UTCDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class StaffRole(ProgramOwned, table=True):
    """What a staff user may do in a program: owner, manager or cashier; optionally at one outlet only."""

    __tablename__ = "staff_role"
    __table_args__ = (
        sa.UniqueConstraint("staff_id", "program_id"),
        sa.ForeignKeyConstraint(["program_id", "outlet_id"], ["outlet.program_id", "outlet.id"]),
        sa.CheckConstraint("role IN ('owner', 'manager', 'cashier')", name="role_known"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    staff_id: UUID = Field(foreign_key="staff_user.id")
    role: str = Field(max_length=16)
    outlet_id: UUID | None = None


class StaffSession(SQLModel, table=True):
    """A signed-in browser; ended by sign-out, a new password, a changed role, or time."""

    __tablename__ = "staff_session"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    token_fingerprint: str = Field(max_length=64, unique=True)
    staff_id: UUID = Field(foreign_key="staff_user.id", index=True)
    created_at: datetime = Field(sa_type=UTCDateTime)
    seen_at: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime = Field(sa_type=UTCDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    user_agent: str = Field(default="", max_length=300)
    address: str = Field(default="", max_length=64)


class LoginAttempt(SQLModel, table=True):
    """One try to sign in that was looked at; the limits count these rows, so a restart does not reset them."""

    __tablename__ = "login_attempt"
    __table_args__ = (
        sa.Index("ix_login_attempt_email_at", "email", "at"),
        sa.Index("ix_login_attempt_address_at", "address", "at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    email: str = Field(max_length=254)
    address: str = Field(default="", max_length=64)
    at: datetime = Field(sa_type=UTCDateTime)


class AuditRecord(SQLModel, table=True):
    """Who changed what; rows are only ever added."""

    __tablename__ = "audit_record"
    __table_args__ = (sa.Index("ix_audit_record_program_id_at", "program_id", "at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    program_id: UUID | None = Field(default=None, foreign_key="program.id")
    at: datetime = Field(sa_type=UTCDateTime)
    actor: str = Field(max_length=200, description="`staff:e-mail`, `key:hint`, `cli`, `member`, `system`.")
    action: str = Field(max_length=80, description="Past tense: `program.published`, `voucher.redeemed`.")
    subject: str = Field(default="", max_length=200)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONColumn)
