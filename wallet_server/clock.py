"""The business clock: what time it is for the program, which in the sandbox can be moved forward."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy.engine import Engine
from sqlmodel import Field, SQLModel, select

from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError


class Clock(Protocol):
    """Anything that knows the time."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ClockOffset(SQLModel, table=True):
    """How far the sandbox's business clock is ahead of the machine's: one row, or none."""

    __tablename__ = "clock_offset"
    id: int = Field(default=1, primary_key=True)
    seconds: float = Field(default=0)


class SandboxClock:
    """A clock that every process of a sandbox shares through the database and that only moves forward."""

    REFRESH_SECONDS = 0.5

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._offset = timedelta(0)
        self._read_at = float("-inf")

    def now(self) -> datetime:
        if time.monotonic() - self._read_at > self.REFRESH_SECONDS:
            with reading(self._engine) as session:
                seconds = session.exec(select(ClockOffset.seconds)).one_or_none()
            self._offset = timedelta(seconds=seconds or 0)
            self._read_at = time.monotonic()
        return datetime.now(UTC) + self._offset

    def advance(self, duration: timedelta) -> datetime:
        """Move the clock forward and return the new time.

        Raises ``DomainError(clock_backwards)``: points that have expired would otherwise come back
        (invariant L13).
        """
        if duration < timedelta(0):
            raise DomainError("clock_backwards", "the business clock never runs backwards")
        with transaction(self._engine) as session:
            row = session.get(ClockOffset, 1) or ClockOffset()
            row.seconds += duration.total_seconds()
            session.add(row)
        self._read_at = float("-inf")
        return self.now()

    def set(self, moment: datetime) -> datetime:
        """Move the clock forward to ``moment`` (aware); raises as :meth:`advance` does."""
        return self.advance(moment - self.now())
