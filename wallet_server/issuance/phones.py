"""Phones that hold a pass of Apple's: they register, unregister, and are forgotten when nobody answers any more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import insert_free_rows, new_id, upsert_rows
from wallet_server.issuance.announcements import announce
from wallet_server.issuance.models import Device, IssuedPass, Registration
from wallet_server.issuance.pushes import lock_passes


def register_device(session: Session, issued: IssuedPass, *, device: str, push_token: str, now: datetime) -> bool:
    """Tie a phone to a pass and keep the phone's newest push token; whether the tie is new.

    The token belongs to the phone, not to the pass: a phone that comes again with another one is reached
    under it for all its passes. A pass that has changed since it was last fetched is announced at once: its
    push could not go out while nobody was registered.
    """
    _lock_pass(session, issued)
    upsert_rows(
        session,
        Device,
        [
            {
                "id": new_id(),
                "library_identifier": device,
                "push_token": push_token,
                "created_at": now,
                "token_at": now,
            }
        ],
        key=["library_identifier"],
        update=["push_token", "token_at"],
    )
    device_id = session.scalar(sa.select(col(Device.id)).where(col(Device.library_identifier) == device))
    assert device_id is not None
    tie = {
        "id": new_id(),
        "program_id": issued.program_id,
        "device_id": device_id,
        "pass_id": issued.id,
        "registered_at": now,
    }
    is_new = bool(insert_free_rows(session, Registration, [tie], key=["device_id", "pass_id"]))
    if not issued.live:
        issued.live = True
        issued.installed_at = issued.installed_at or now
        issued.removed_at = issued.removed_why = None
        issued.behind_since = now if issued.version > issued.fetched_version else None
        session.add(issued)
        session.flush()
    if is_new and issued.version > issued.fetched_version:
        announce(session, issued.program_id, [issued.id], now)
    return is_new


def unregister_device(session: Session, issued: IssuedPass, *, device: str, now: datetime) -> bool:
    """Untie a phone from a pass; whether it was tied. A phone without passes is forgotten."""
    _lock_pass(session, issued)
    device_id = session.scalar(sa.select(col(Device.id)).where(col(Device.library_identifier) == device))
    if device_id is None:
        return False
    removed = session.execute(
        sa.delete(Registration)
        .where(col(Registration.device_id) == device_id, col(Registration.pass_id) == issued.id)
        .returning(col(Registration.id)),
        execution_options={"synchronize_session": False},
    ).scalar_one_or_none()
    settle_live(session, [issued.id], now, why="deleted")
    forget_idle_devices(session, [device_id])
    return removed is not None


def _lock_pass(session: Session, issued: IssuedPass) -> None:
    # Registering, unregistering and dropping dead phones decide together whether a pass is live.
    session.refresh(issued, with_for_update=True)


@dataclass(frozen=True, slots=True)
class DeadToken:
    """A push token that the push service refused; ``before``: only if told to us before that moment."""

    push_token: str
    before: datetime | None


def drop_dead_tokens(session: Session, dead: Sequence[DeadToken], now: datetime) -> int:
    """Forget the phones behind dead push tokens; how many were forgotten.

    A phone that has told us its token since ``before`` is alive again and stays (invariant P5).
    """
    if not dead:
        return 0
    ties = (
        sa.select(col(Registration.pass_id))
        .join(Device, col(Device.id) == col(Registration.device_id))
        .where(col(Device.push_token).in_([token.push_token for token in dead]))
    )
    # Passes before phones, as a phone that registers does; until it is locked it may tell us its token anew.
    lock_passes(session, session.scalars(ties))
    devices = [
        device_id
        for token in sorted(dead, key=lambda one: one.push_token)
        for device_id in session.scalars(_devices_of(token).order_by(col(Device.id)).with_for_update())
    ]
    if not devices:
        return 0
    untied = session.scalars(
        sa.delete(Registration).where(col(Registration.device_id).in_(devices)).returning(col(Registration.pass_id)),
        execution_options={"synchronize_session": False},
    )
    settle_live(session, set(untied), now, why="unreachable")
    forget_idle_devices(session, devices)
    return len(devices)


def _devices_of(token: DeadToken) -> sa.Select[UUID]:
    statement = sa.select(col(Device.id)).where(col(Device.push_token) == token.push_token)
    return statement if token.before is None else statement.where(col(Device.token_at) < token.before)


def settle_live(session: Session, pass_ids: Collection[UUID], now: datetime, *, why: str) -> None:
    """Passes of Apple's that no phone holds any more are removed, and behind nobody."""
    held = sa.select(col(Registration.pass_id)).where(col(Registration.pass_id) == col(IssuedPass.id)).exists()
    session.execute(
        sa.update(IssuedPass)
        .where(col(IssuedPass.id).in_(list(pass_ids)), col(IssuedPass.wallet) == "apple", col(IssuedPass.live), ~held)
        .values(live=False, removed_at=now, removed_why=why, behind_since=None, unfetched_since=None, push_error=None),
        execution_options={"synchronize_session": "fetch"},
    )


def forget_idle_devices(session: Session, device_ids: Collection[UUID]) -> None:
    tied = sa.select(col(Registration.id)).where(col(Registration.device_id) == col(Device.id)).exists()
    session.execute(
        sa.delete(Device).where(col(Device.id).in_(list(device_ids)), ~tied),
        execution_options={"synchronize_session": False},
    )
