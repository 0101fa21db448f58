"""Passes given out: issue them, mark them changed, tag them, note what became of them.

A change raises a pass's version in the change's own transaction and leaves an outbox row; the push job
gives the update tag. No network is touched here.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Session, SQLModel, col

from wallet_server.db import UTCDateTime, insert_rows, new_id, upsert_rows
from wallet_server.issuance.announcements import PASS_CHANGED as PASS_CHANGED  # noqa: PLC0414 - callers find all here
from wallet_server.issuance.announcements import Notes, announce_changes
from wallet_server.issuance.announcements import announce as announce  # noqa: PLC0414 - the same
from wallet_server.issuance.deliveries import record_fetch as record_fetch  # noqa: PLC0414 - callers find all here
from wallet_server.issuance.deliveries import record_pushed as record_pushed  # noqa: PLC0414 - the same
from wallet_server.issuance.deliveries import record_refused as record_refused  # noqa: PLC0414 - the same
from wallet_server.issuance.models import Device, GoogleCallback, IssuedPass, Registration, UpdateTag
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.reads import Asked, OneOf, Read, ask

PASS: sa.Table = IssuedPass.__table__  # type: ignore[attr-defined]
MEMBERS_PER_STATEMENT_MAX: Final = 5_000
CALLBACKS_PRUNED_MAX: Final = 5_000
SERIAL_BYTES: Final = 16
WALLETS: Final = ("apple", "google")
REFRESHED_AT_ONCE: Final = 1_000
REFRESH_PRIORITY: Final = 20


class one_second_after(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """A stored moment plus one second, in SQL."""

    type = UTCDateTime()
    inherit_cache = True


@compiles(one_second_after, "postgresql")
def _one_second_after_postgresql(element: Any, compiler: Any, **arguments: Any) -> str:
    return f"({compiler.process(element.clauses, **arguments)} + interval '1 second')"


@compiles(one_second_after, "sqlite")
def _one_second_after_sqlite(element: Any, compiler: Any, **arguments: Any) -> str:
    # Milliseconds and three more digits: the form in which SQLAlchemy stores a datetime in SQLite.
    return f"strftime('%Y-%m-%d %H:%M:%f000', {compiler.process(element.clauses, **arguments)}, '+1 second')"


def issue_passes(
    session: Session, program: ProgramDefinition, cards: Sequence[tuple[UUID, UUID]], now: datetime
) -> None:
    """Give each (member, card) one pass for each kind of wallet; nobody holds it yet."""
    insert_rows(
        session,
        IssuedPass,
        [
            {
                "id": new_id(),
                "program_id": program.id,
                "member_id": member_id,
                "card_id": card_id,
                "wallet": wallet,
                "serial": secrets.token_hex(SERIAL_BYTES),
                "token_generation": 0,
                "version": 1,
                "last_modified": now.replace(microsecond=0),
                "changed_at": now,
                "update_tag": 0,
                "live": False,
                "pushed_version": 0,
                "fetched_version": 0,
                "created_at": now,
            }
            for member_id, card_id in cards
            for wallet in WALLETS
        ],
    )


def passes_changed(
    session: Session,
    program: ProgramDefinition,
    member_ids: Collection[UUID],
    now: datetime,
    *,
    priority: int = 0,
    notes: Notes | None = None,
) -> None:
    """Raise the version of the members' passes, and have those that somebody holds pushed.

    ``last_modified`` moves by a whole second at least: it is an HTTP date, and a phone that asks with
    ``If-Modified-Since`` would otherwise never hear of the second change in a second. ``notes`` go with the work
    for the governor (``notifications.services.tell``), which lives a floor above.
    """
    wanted = sorted(set(member_ids))
    for start in range(0, len(wanted), MEMBERS_PER_STATEMENT_MAX):
        chunk = wanted[start : start + MEMBERS_PER_STATEMENT_MAX]
        changed = _next_versions(session, program.id, _VERSIONS_OF_MEMBERS, chunk, now)
        live = {pass_id: member_id for pass_id, (live, member_id) in changed.items() if live}
        announce_changes(session, program.id, live, now, priority=priority, notes=notes or {})


def passes_changed_by_id(
    session: Session, program_id: UUID, pass_ids: Collection[UUID], now: datetime, *, priority: int = 0
) -> None:
    """As :func:`passes_changed`, for single passes."""
    changed = _next_versions(session, program_id, _VERSIONS_OF_PASSES, list(pass_ids), now)
    announce(
        session,
        program_id,
        [pass_id for pass_id, (live, _member_id) in changed.items() if live],
        now,
        priority=priority,
    )


def refresh_passes(session: Session, program: ProgramDefinition, after: UUID | None, now: datetime) -> UUID | None:
    """Raise the versions of the next part of the passes that somebody holds, after a program was published.

    Returns the id to go on after; ``None`` when all are done. Pushed behind everything else: nobody waits for a
    new colour as for a balance.
    """
    live = sa.select(col(IssuedPass.id)).where(
        col(IssuedPass.program_id) == program.id, col(IssuedPass.live), col(IssuedPass.voided_at).is_(None)
    )
    if after is not None:
        live = live.where(col(IssuedPass.id) > after)
    part = list(session.scalars(live.order_by(col(IssuedPass.id)).limit(REFRESHED_AT_ONCE)))
    if part:
        passes_changed_by_id(session, program.id, part, now, priority=REFRESH_PRIORITY)
    return part[-1] if len(part) == REFRESHED_AT_ONCE else None


def passes_say_more(session: Session, program_id: UUID, member_ids: Collection[UUID], now: datetime) -> None:
    """Raise the versions once more for what the worker has found to say, just before it pushes them itself.

    A phone that has asked by itself in between has the change without the words, and would never hear them.
    """
    _next_versions(session, program_id, _VERSIONS_OF_MEMBERS, sorted(set(member_ids)), now)


def _next_versions(
    session: Session, program_id: UUID, versions: Read, ids: Sequence[UUID], now: datetime
) -> dict[UUID, tuple[bool, UUID]]:
    """Raise versions: whether each pass is held by anybody, and its member."""
    values = {"program_id": program_id, "ids": ids, "now": now, "second": now.replace(microsecond=0)}
    return ask(session, Asked(versions, values, lambda rows: {pass_id: (live, owner) for pass_id, live, owner in rows}))


def _raise(one_of: OneOf, column: sa.Column[Any]) -> sa.sql.dml.ReturningUpdate[Any]:
    table = PASS.c
    now, second = sa.bindparam("now", type_=UTCDateTime()), sa.bindparam("second", type_=UTCDateTime())
    # Locked in the order of their ids: two changes that touch the same passes wait instead of dying.
    locked = (
        sa.select(table.id)
        .where(
            table.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
            one_of(column, "ids"),
            table.voided_at.is_(None),
        )
        .order_by(table.id)
        .with_for_update()
        .cte("locked")
    )
    return (
        sa.update(PASS)
        .where(table.id.in_(sa.select(locked.c.id)))
        .values(
            version=table.version + 1,
            changed_at=now,
            last_modified=sa.case(
                (table.last_modified < second, second),
                else_=one_second_after(table.last_modified),
            ),
            behind_since=sa.case(
                (sa.and_(table.live, table.behind_since.is_(None)), now),
                else_=table.behind_since,
            ),
        )
        .returning(table.id, table.live, table.member_id)
    )


_VERSIONS_OF_MEMBERS: Final = Read(lambda one_of: _raise(one_of, PASS.c.member_id))
_VERSIONS_OF_PASSES: Final = Read(lambda one_of: _raise(one_of, PASS.c.id))


def assign_tags(session: Session, pass_ids: Collection[UUID]) -> int:
    """Give the passes the next update tag, which is returned.

    The one row of ``update_tag`` is locked until the commit, so tags become visible in their order: a phone
    that has seen tag *n* can never miss a change with a smaller one (invariant P1). Commit soon after.
    """
    upsert = _next_tag(session)
    tag = session.execute(upsert).scalar_one()
    session.execute(
        sa.update(IssuedPass).where(col(IssuedPass.id).in_(list(pass_ids))).values(update_tag=tag),
        execution_options={"synchronize_session": False},
    )
    return int(tag)


def _insert(session: Session, model: type[SQLModel]) -> Any:
    return (sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert)(model)


def _next_tag(session: Session) -> Any:
    return (
        _insert(session, UpdateTag)
        .values(id=1, last=1)
        .on_conflict_do_update(index_elements=["id"], set_={"last": col(UpdateTag.last) + 1})
        .returning(col(UpdateTag.last))
    )


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
    created = session.execute(
        _insert(session, Registration)
        .values(
            id=new_id(),
            program_id=issued.program_id,
            device_id=device_id,
            pass_id=issued.id,
            registered_at=now,
        )
        .on_conflict_do_nothing(index_elements=["device_id", "pass_id"])
        .returning(col(Registration.id))
    ).scalar_one_or_none()
    if not issued.live:
        issued.live = True
        issued.installed_at = issued.installed_at or now
        issued.removed_at = issued.removed_why = None
        issued.behind_since = now if issued.version > issued.fetched_version else None
        session.add(issued)
        session.flush()
    if created is not None and issued.version > issued.fetched_version:
        announce(session, issued.program_id, [issued.id], now)
    return created is not None


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


def lock_passes(session: Session, pass_ids: Iterable[UUID]) -> None:
    """Lock passes in the order of their ids, as everybody does who changes several: they wait instead of dying."""
    session.execute(
        sa.select(col(IssuedPass.id))
        .where(col(IssuedPass.id).in_(sorted(set(pass_ids))))
        .order_by(col(IssuedPass.id))
        .with_for_update()
    )


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


def google_event(session: Session, serial: str, *, saved: bool, nonce: str, now: datetime) -> bool:
    """Act upon Google's message that a card was saved or deleted; False for a message seen before.

    A deleted card keeps its object at Google (there is no way to remove one), so that it can be saved
    again; only a save counts as fetched.
    """
    new = session.execute(
        _insert(session, GoogleCallback)
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
        .where(col(IssuedPass.wallet) == "google", col(IssuedPass.serial) == serial)
        .values(**told),
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
