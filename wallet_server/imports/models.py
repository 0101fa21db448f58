"""Table of the places where interrupted imports go on."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from wallet_server.db import ProgramOwned, UTCDateTime, new_id


class ImportCheckpoint(ProgramOwned, table=True):
    """How far a file has been read, moved on in the same transaction as the rows it brought."""

    __tablename__ = "import_checkpoint"
    __table_args__ = (sa.UniqueConstraint("program_id", "kind", "file_hash"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    kind: str = Field(max_length=16, description="members or receipts.")
    file_hash: str = Field(max_length=64, description="SHA-256 of the file.")
    rows_done: int = Field(default=0, sa_type=sa.BigInteger, description="Records of the file, bad ones too.")
    created: int = Field(default=0, sa_type=sa.BigInteger, description="Members or receipts that are new.")
    already_there: int = Field(default=0, sa_type=sa.BigInteger)
    refused: int = Field(default=0, sa_type=sa.BigInteger)
    finished: bool = False
    updated_at: datetime = Field(sa_type=UTCDateTime)
