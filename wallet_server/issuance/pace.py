"""Google's 20 calls a second, shared by every process of ours.

A row in the database and not in Valkey: the web processes call Google too, must not know Valkey, and go on
while it is down. A row says when the next call may begin; whoever wants to call moves it on by a twentieth of a
second and waits for its own turn. No burst is saved up, so that no second ever holds more than 20 beginnings,
and nothing has to be given back by a process that dies.

Source: developers.google.com/wallet/retail/loyalty-cards/resources/performance-tips.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlmodel import col

from passes.google.client import REQUESTS_PER_SECOND_MAX, GoogleProblem, GoogleWalletError
from wallet_server.db import is_locked, transaction
from wallet_server.issuance.models import GooglePace

WAIT_SECONDS_MAX: Final = 5.0
_MICROSECONDS: Final = 1_000_000
_ASTRAY: Final = 60 * _MICROSECONDS
"""A row that is further ahead than this was written by a clock that was wrong."""


class SharedPace:
    """One issuer's turns to call. `clock` and `sleep` are in seconds; the machine's, for Google's clock is real."""

    def __init__(
        self,
        engine: Engine,
        issuer_id: str,
        *,
        rate: float = REQUESTS_PER_SECOND_MAX,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._issuer_id = issuer_id
        self._interval = round(_MICROSECONDS / rate)
        self._clock = clock
        self._sleep = sleep

    def take(self) -> None:
        """Wait for the next turn. Raises ``GoogleWalletError`` when it is further away than five seconds."""
        now = round(self._clock() * _MICROSECONDS)
        turn = self.reserve(now)
        if turn > now:
            self._sleep((turn - now) / _MICROSECONDS)

    def reserve(self, now: int) -> int:
        """Take the next turn and return its moment; both in microseconds since 1970."""
        try:
            with transaction(self._engine) as session:
                after = session.execute(self._next_turn(session.get_bind().dialect.name, now)).scalar_one_or_none()
        except sa.exc.DBAPIError as error:
            if is_locked(error):
                raise _busy("the database is busy") from error
            raise
        if after is None:
            raise _busy(f"more than {WAIT_SECONDS_MAX:.0f} seconds of calls are ahead")
        return int(after) - self._interval

    def _next_turn(self, dialect: str, now: int) -> Any:
        free_at = col(GooglePace.free_at)
        astray = free_at > now + _ASTRAY
        insert = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(GooglePace)
        return (
            insert.values(issuer_id=self._issuer_id, free_at=now + self._interval)
            .on_conflict_do_update(
                index_elements=["issuer_id"],
                set_={"free_at": sa.case((sa.or_(free_at < now, astray), now), else_=free_at) + self._interval},
                where=sa.or_(free_at <= now + round(WAIT_SECONDS_MAX * _MICROSECONDS), astray),
            )
            .returning(free_at)
        )


def _busy(why: str) -> GoogleWalletError:
    return GoogleWalletError(GoogleProblem.RETRY_LATER, 0, "pace", why)
