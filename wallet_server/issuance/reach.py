"""How far a new look reaches: what publishing changes, how long that takes, and how far it has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from passes.google.client import REQUESTS_PER_SECOND_MAX
from wallet_server.issuance.models import IssuedPass, Registration
from wallet_server.issuance.services import PASS_CHANGED
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.services import PROGRAM_PUBLISHED

APPLE_A_SECOND_ASSUMED: Final = 200.0
"""Passes pushed a second where nothing has been measured: one worker with its rows, on a small machine."""
MEASURED_PASSES_MIN: Final = 500
"""Fewer pushes than this say more about the first connection than about the pace."""
MEASURED_WITHIN: Final = timedelta(hours=1)
"""What was pushed later than this after a publication was not pushed because of it."""

_HELD: Final = (col(IssuedPass.live), col(IssuedPass.voided_at).is_(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whose cards a publication changes: passes that somebody holds, and the phones that hold Apple's."""

    members: int
    apple_passes: int
    apple_phones: int
    google_cards: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Apple's passes a second. ``measured``: at the last publication, not assumed."""

    apple_a_second: float
    measured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletProgress:
    """Of ``held`` passes of one wallet how many have been renewed, sent, and asked for by their phone.

    Google tells nothing of phones: what it has taken is shown, so there ``fetched`` is ``sent``.
    """

    held: int
    renewed: int
    sent: int
    fetched: int
    refused: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a publication has come."""

    apple: WalletProgress
    google: WalletProgress
    at_work: bool
    """Whether workers still have something of it to do."""


def reach_of(session: Session, program_id: UUID) -> Reach:
    """What publishing now would change."""
    of_program = (col(IssuedPass.program_id) == program_id, *_HELD)
    counted = (
        sa.select(col(IssuedPass.wallet), sa.func.count().label("held"))
        .where(*of_program)
        .group_by(col(IssuedPass.wallet))
    )
    wallets = {row.wallet: row.held for row in session.execute(counted)}
    members = session.scalar(sa.select(sa.func.count(sa.distinct(col(IssuedPass.member_id)))).where(*of_program))
    phones = session.scalar(
        sa.select(sa.func.count(sa.distinct(col(Registration.device_id))))
        .join(IssuedPass, col(IssuedPass.id) == col(Registration.pass_id))
        .where(col(Registration.program_id) == program_id, *of_program)
    )
    return Reach(
        members=members or 0,
        apple_passes=wallets.get("apple", 0),
        apple_phones=phones or 0,
        google_cards=wallets.get("google", 0),
    )


def pace_of(session: Session, program_id: UUID, published_at: datetime) -> Pace:
    """How fast Apple's passes went out after the last publication; an assumption where too few did."""
    pushed_at = col(IssuedPass.pushed_at)
    count, first, last = session.execute(
        sa.select(sa.func.count(), sa.func.min(pushed_at), sa.func.max(pushed_at)).where(
            col(IssuedPass.program_id) == program_id,
            col(IssuedPass.wallet) == "apple",
            pushed_at >= published_at,
            pushed_at < published_at + MEASURED_WITHIN,
        )
    ).one()
    if count < MEASURED_PASSES_MIN or last <= first:
        return Pace(APPLE_A_SECOND_ASSUMED, measured=False)
    return Pace(count / (last - first).total_seconds(), measured=True)


def seconds_to_renew(reach: Reach, pace: Pace) -> int:
    """How long the wallets take to hear of it: each wallet in turn, Google at its 20 calls a second."""
    return math.ceil(reach.apple_passes / pace.apple_a_second + reach.google_cards / REQUESTS_PER_SECOND_MAX)


def progress_of(session: Session, program_id: UUID, published_at: datetime) -> Progress:
    """How far the publication of that moment has come."""
    rows = session.execute(
        sa.select(
            col(IssuedPass.wallet),
            sa.func.count().label("held"),
            _number(col(IssuedPass.changed_at) >= published_at).label("renewed"),
            _number(col(IssuedPass.pushed_at) >= published_at).label("sent"),
            _number(col(IssuedPass.fetched_at) >= published_at).label("fetched"),
            _number(col(IssuedPass.push_error).is_not(None)).label("refused"),
        )
        .where(col(IssuedPass.program_id) == program_id, *_HELD)
        .group_by(col(IssuedPass.wallet))
    )
    found = {row.wallet: row for row in rows}
    return Progress(_of_wallet("apple", found), _of_wallet("google", found), _at_work(session, program_id))


def _number(holds: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((holds, 1), else_=0))


def _of_wallet(wallet: str, found: dict[str, Any]) -> WalletProgress:
    row = found.get(wallet)
    if row is None:
        return WalletProgress(held=0, renewed=0, sent=0, fetched=0, refused=0)
    fetched = row.sent if wallet == "google" else row.fetched
    return WalletProgress(held=row.held, renewed=row.renewed, sent=row.sent, fetched=fetched, refused=row.refused)


def _at_work(session: Session, program_id: UUID) -> bool:
    waiting = sa.select(col(OutboxRow.id)).where(
        col(OutboxRow.state).in_(["waiting", "leased"]),
        col(OutboxRow.program_id) == program_id,
        col(OutboxRow.topic).in_([PROGRAM_PUBLISHED, PASS_CHANGED]),
    )
    return bool(session.scalar(sa.select(waiting.exists())))
