"""Tables of what companies of a coalition owe each other for points."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id
from wallet_server.members.models import member_key


class SettlementLine(ProgramOwned, table=True):
    """Points of one issuer that another company honoured (or, negative, that came back), valued when it happened.

    A company is a partner's name, or empty for the program's own outlets. Never changed: a report of a month
    that is over stays as it was.
    """

    __tablename__ = "settlement_line"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "posting_id"], ["posting.program_id", "posting.id"]),
        sa.CheckConstraint("points <> 0", name="points_moved"),
        sa.CheckConstraint("issuer <> honourer", name="two_companies"),
        sa.Index("ix_settlement_line_program_id_business_date", "program_id", "business_date"),
        sa.Index("ix_settlement_line_posting_id", "posting_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    posting_id: UUID
    business_date: date = Field(description="Of the recording, local to the outlet that honoured the points.")
    issuer: str = Field(max_length=120)
    honourer: str = Field(max_length=120)
    points: int = Field(sa_type=sa.BigInteger)
    value_minor: int = Field(sa_type=sa.BigInteger, description="What the points paid.")
    issuer_owes_minor: int = Field(sa_type=sa.BigInteger, description="To the program; 0 where it is the issuer.")
    honourer_gets_minor: int = Field(sa_type=sa.BigInteger, description="From the program; 0 where it honours.")
    recorded_at: datetime = Field(sa_type=UTCDateTime)
