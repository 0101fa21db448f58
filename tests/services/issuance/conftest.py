from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.people import publish
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.services import Enrol, enrol
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.definition import ProgramDefinition


class Shop:
    """One program with members that joined by the real door, and looks into the tables."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with transaction(engine, ALL_PROGRAMS) as session:
            self.program: ProgramDefinition = publish(session, NOW)
        self._phones = 0

    def join(self, now: datetime = NOW, **values: Any) -> UUID:
        self._phones += 1
        command = Enrol(phone=f"+3897012{self._phones:04d}", **values)
        with transaction(self.engine, self.program.id) as session:
            return enrol(session, self.program, command, now=now, actor="member").member_id

    def issued(self, member_id: UUID, wallet: str = "apple") -> IssuedPass:
        with reading(self.engine, ALL_PROGRAMS) as session:
            return session.exec(
                select(IssuedPass).where(IssuedPass.member_id == member_id, IssuedPass.wallet == wallet)
            ).one()

    def work(self) -> list[OutboxRow]:
        with reading(self.engine) as session:
            return list(session.exec(select(OutboxRow).order_by(col(OutboxRow.id))))


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)
