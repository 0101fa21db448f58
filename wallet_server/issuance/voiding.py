"""Passes that are no longer good: marked so, and pushed once more, so that their phones say it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.issuance.models import IssuedPass, Registration
from wallet_server.issuance.phones import forget_idle_devices, settle_live
from wallet_server.issuance.services import passes_changed_by_id
from wallet_server.programs.definition import ProgramDefinition

KEEP_TIES: Final = timedelta(days=30)
VOIDED: Final = "voided"


def void_passes(session: Session, program: ProgramDefinition, card_ids: Collection[UUID], now: datetime) -> int:
    """Void the passes of these cards; how many were still good.

    Phones that hold one are pushed and fetch a last version, which says nothing of the member any more. Whoever
    holds such a pass may ask for it as before; nothing changes on it again.
    """
    good = list(
        session.scalars(
            sa.select(col(IssuedPass.id))
            .where(
                col(IssuedPass.program_id) == program.id,
                col(IssuedPass.card_id).in_(list(card_ids)),
                col(IssuedPass.voided_at).is_(None),
            )
            .order_by(col(IssuedPass.id))
        )
    )
    if good:
        passes_changed_by_id(session, program.id, good, now)
        session.execute(
            sa.update(IssuedPass).where(col(IssuedPass.id).in_(good)).values(voided_at=now),
            execution_options={"synchronize_session": "fetch"},
        )
    return len(good)


def untie_phones(session: Session, now: datetime, *, limit: int = 500) -> int:
    """Untie phones from passes that were voided 30 days ago, at most ``limit`` passes at once; how many.

    By then a phone that is ever switched on has fetched the last version; a tie is data of a person who is gone.
    """
    held = sa.select(col(Registration.pass_id)).where(col(Registration.pass_id) == col(IssuedPass.id)).exists()
    old = list(
        session.scalars(
            sa.select(col(IssuedPass.id))
            .where(col(IssuedPass.voided_at) < now - KEEP_TIES, held)
            .order_by(col(IssuedPass.id))
            .limit(limit)
            .with_for_update()
        )
    )
    if not old:
        return 0
    devices = session.execute(
        sa.delete(Registration).where(col(Registration.pass_id).in_(old)).returning(col(Registration.device_id)),
        execution_options={"synchronize_session": False},
    ).scalars()
    phones = set(devices)
    settle_live(session, old, now, why=VOIDED)
    forget_idle_devices(session, phones)
    return len(old)
