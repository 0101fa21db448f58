"""A short-term program outside its time: what of it still holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from wallet_server.programs.file import Validity
from wallet_server.rules.receipt import TraceStep
from wallet_server.rules.trace import validity_step


@dataclass(frozen=True, slots=True)
class Season:
    """Where a moment is in a program's time. ``step`` says it in the trace; ``None`` while the program runs."""

    earns: bool
    pays: bool
    step: TraceStep | None


RUNS = Season(earns=True, pays=True, step=None)


def season(validity: Validity | None, moment: datetime, zone: str) -> Season:
    """Whether purchases earn and points pay at an aware moment, at an outlet in this zone."""
    if validity is None:
        return RUNS
    if validity.starts_at is not None and _clock(validity.starts_at, moment, zone) < validity.starts_at:
        return Season(earns=False, pays=True, step=validity_step("starts_at", validity.starts_at))
    pays_until = validity.pays_until
    if pays_until is not None and _clock(pays_until, moment, zone) >= pays_until:
        return Season(earns=False, pays=False, step=validity_step("redeem_until", pays_until))
    if validity.ends_at is not None and _clock(validity.ends_at, moment, zone) >= validity.ends_at:
        return Season(earns=False, pays=True, step=validity_step("ends_at", validity.ends_at))
    return RUNS


def _clock(bound: datetime, moment: datetime, zone: str) -> datetime:
    """The moment as it compares with a bound: local time with one that has no offset."""
    if bound.tzinfo is not None:
        return moment.astimezone(UTC)
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
