"""What a phone's request is judged by, in one indexed read past the ORM: nearly all that phones ask is unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel

from wallet_server.issuance.models import IssuedPass

_PASS: Final[sa.Table] = SQLModel.metadata.tables[str(IssuedPass.__tablename__)]
_HEADER: Final = sa.select(_PASS.c.id, _PASS.c.program_id, _PASS.c.token_generation, _PASS.c.last_modified).where(
    _PASS.c.wallet == "apple", _PASS.c.serial == sa.bindparam("serial")
)


@dataclass(frozen=True, slots=True)
class PassHeader:
    """Whose pass it is, whose token opens it, and when its file changed (whole seconds)."""

    id: UUID
    program_id: UUID
    token_generation: int
    last_modified: datetime


def pass_header(engine: Engine, serial: str) -> PassHeader | None:
    """The header of the Apple pass with this serial number, of whichever program."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # One statement is consistent by itself: BEGIN and ROLLBACK would be two more ways there and back.
            connection.execution_options(isolation_level="AUTOCOMMIT")
        row = connection.execute(_HEADER, {"serial": serial}).one_or_none()
    return None if row is None else PassHeader(*row)
