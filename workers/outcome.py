"""What a handler that talks to the world hands back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from wallet_server.outbox.services import ATTEMPTS_MAX, Leased

OUTAGE_ATTEMPTS_MAX: Final = 300
"""While the other side is down it is not the row's fault: at five minutes each, about a day."""


@dataclass(frozen=True, slots=True)
class Again:
    """A row to be tried again after ``delay``; ``None``: after the usual back-off."""

    row: Leased
    error: str
    delay: timedelta | None = None
    attempts_max: int = ATTEMPTS_MAX


def _record_nothing(_session: Session, _now: datetime) -> None:
    """Nothing was learned."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of each row, and ``record``, which writes what was learned in the same transaction."""

    done: Sequence[Leased] = ()
    again: Sequence[Again] = ()
    record: Callable[[Session, datetime], None] = field(default=_record_nothing)
