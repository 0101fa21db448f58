"""What is heard of Google's cards: that their object was made, that somebody saved or deleted one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from wallet_server.db import UTCDateTime
from wallet_server.issuance.announcements import announce
from wallet_server.issuance.deliveries import record_pushed
from wallet_server.issuance.models import GoogleCallback, IssuedPass

CALLBACKS_PRUNED_MAX: Final = 5_000


def google_object_made(session: Session, pass_id: UUID, version: int, now: datetime) -> None:
    """Note that Google has the object of this pass at this version; changes are sent from now on.

    A change that was committed while Google was being asked is announced: nobody saw that it had to be.
    """
    current = session.execute(
        sa.update(IssuedPass)
        .where(col(IssuedPass.id) == pass_id, col(IssuedPass.wallet) == "google")
        .values(live=True)
        .returning(col(IssuedPass.version), col(IssuedPass.program_id)),
        execution_options={"synchronize_session": False},
    ).one()
    record_pushed(session, {pass_id: version}, now)
    if current.version > version:
        announce(session, current.program_id, [pass_id], now)


def google_event(session: Session, serial: str, *, saved: bool, nonce: str, expires_ms: int, now: datetime) -> bool:
    """Act upon Google's message that a card was saved or deleted; False for a message seen before.

    ``expires_ms`` is its ``expTimeMillis``, which grows from message to message: one that comes after a newer one has
    nothing to say any more. A deleted card keeps its object at Google (there is no way to remove one), so that it can
    be saved again; only a save counts as fetched.
    """
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    new = session.execute(
        insert(GoogleCallback)
        .values(nonce=nonce, received_at=now)
        .on_conflict_do_nothing(index_elements=["nonce"])
        .returning(col(GoogleCallback.nonce))
    ).scalar_one_or_none()
    if new is None:
        return False
    told: dict[str, Any]
    if saved:
        first = sa.func.coalesce(col(IssuedPass.installed_at), sa.literal(now, UTCDateTime()))
        told = {
            "fetched_at": now,
            "fetched_version": col(IssuedPass.pushed_version),
            "installed_at": first,
            "removed_at": None,
            "removed_why": None,
        }
    else:
        told = {"removed_at": now, "removed_why": "deleted"}
    session.execute(
        sa.update(IssuedPass)
        .where(
            col(IssuedPass.wallet) == "google",
            col(IssuedPass.serial) == serial,
            sa.func.coalesce(col(IssuedPass.heard_ms), 0) <= expires_ms,
        )
        .values(**told, heard_ms=expires_ms),
        execution_options={"synchronize_session": False},
    )
    return True


def prune_callbacks(session: Session, before: datetime) -> int:
    """Forget messages of Google's that are too old to be repeated, at most 5,000 at once; how many."""
    old = (
        sa.select(col(GoogleCallback.nonce)).where(col(GoogleCallback.received_at) < before).limit(CALLBACKS_PRUNED_MAX)
    )
    forgotten = session.execute(
        sa.delete(GoogleCallback).where(col(GoogleCallback.nonce).in_(old)).returning(col(GoogleCallback.nonce)),
        execution_options={"synchronize_session": False},
    )
    return len(forgotten.all())
