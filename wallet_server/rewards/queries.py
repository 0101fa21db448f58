"""Reading vouchers."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from wallet_server.errors import NotFoundError
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.wins import parse_voucher_code

VOUCHERS_MAX: Final = 100
"""Vouchers of one member that are listed: more than anybody can spend, or read."""


def redeemable(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """Vouchers that can be redeemed at a moment."""
    expires_at = col(Voucher.expires_at)
    return sa.and_(col(Voucher.redeemed_at).is_(None), sa.or_(expires_at.is_(None), expires_at > now))


def vouchers(
    session: Session, member_ids: Collection[UUID], now: datetime | None = None
) -> dict[UUID, tuple[Voucher, ...]]:
    """Vouchers by member, newest first, at most :data:`VOUCHERS_MAX` each; members without any are missing.

    With ``now`` only those that can be redeemed then; without it all that the member ever had.
    """
    if not member_ids:
        return {}
    place = sa.func.row_number().over(
        partition_by=col(Voucher.member_id), order_by=(col(Voucher.issued_at).desc(), col(Voucher.id).desc())
    )
    wanted = sa.select(Voucher, place.label("place")).where(col(Voucher.member_id).in_(member_ids))
    if now is not None:
        wanted = wanted.where(redeemable(now))
    ranked = wanted.subquery()
    ranked_voucher = aliased(Voucher, ranked)
    rows = session.execute(
        sa.select(ranked_voucher)
        .where(ranked.c.place <= VOUCHERS_MAX)
        .order_by(col(ranked_voucher.member_id), ranked.c.place)
    ).scalars()
    found: dict[UUID, list[Voucher]] = {}
    for voucher in rows:
        found.setdefault(voucher.member_id, []).append(voucher)
    return {member_id: tuple(mine) for member_id, mine in found.items()}


def find_voucher(session: Session, text: str) -> Voucher:
    """A voucher of the session's program by what was scanned or typed; raises ``NotFoundError(unknown_voucher)``."""
    code = parse_voucher_code(text)
    found = session.exec(select(Voucher).where(Voucher.code == code)).one_or_none() if code is not None else None
    if found is None:
        raise NotFoundError("unknown_voucher", "there is no such voucher in this program")
    return found
