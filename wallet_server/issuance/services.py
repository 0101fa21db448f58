"""Passes given out: issue them, and mark them changed.

A change raises a pass's version in the change's own transaction and leaves an outbox row; the push job
(:mod:`wallet_server.issuance.pushes`) gives the update tag. No network is touched here.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Session, col

from wallet_server.db import UTCDateTime, insert_rows, new_id
from wallet_server.issuance.announcements import ID_ORDER, Notes, announce_changes
from wallet_server.issuance.announcements import PASS_CHANGED as PASS_CHANGED  # noqa: PLC0414 - callers find all here
from wallet_server.issuance.announcements import announce as announce  # noqa: PLC0414 - the same
from wallet_server.issuance.models import IssuedPass
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.reads import Asked, OneOf, Read, Rows, ask, say

PASS: sa.Table = IssuedPass.__table__  # type: ignore[attr-defined]
MEMBERS_PER_STATEMENT_MAX: Final = 5_000
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
    wanted = sorted(set(member_ids), key=ID_ORDER)
    for start in range(0, len(wanted), MEMBERS_PER_STATEMENT_MAX):
        chunk = wanted[start : start + MEMBERS_PER_STATEMENT_MAX]
        held = _next_versions(session, program.id, _VERSIONS_OF_MEMBERS, chunk, now)
        announce_changes(session, program.id, held, now, priority=priority, notes=notes or {})


def passes_changed_by_id(
    session: Session, program_id: UUID, pass_ids: Collection[UUID], now: datetime, *, priority: int = 0
) -> None:
    """As :func:`passes_changed`, for single passes."""
    held = _next_versions(session, program_id, _VERSIONS_OF_PASSES, list(pass_ids), now)
    announce_changes(session, program_id, held, now, priority=priority, notes={})


def refresh_passes(session: Session, program: ProgramDefinition, after: UUID | None, now: datetime) -> UUID | None:
    """Raise the versions of the next part of the passes that somebody holds, after a program was published.

    Returns the id to go on after; ``None`` when all are done. Pushed behind everything else: nobody waits for a
    new colour as for a balance.
    """
    return refresh_part(session, program.id, held_passes(program.id), after, now)


def held_passes(program_id: UUID) -> sa.Select[UUID]:
    """The passes of a program that somebody holds and that are still good."""
    return sa.select(col(IssuedPass.id)).where(
        col(IssuedPass.program_id) == program_id, col(IssuedPass.live), col(IssuedPass.voided_at).is_(None)
    )


def refresh_part(
    session: Session, program_id: UUID, passes: sa.Select[UUID], after: UUID | None, now: datetime
) -> UUID | None:
    """Raise the versions of the next part of these passes; returns as :func:`refresh_passes` does."""
    if after is not None:
        passes = passes.where(col(IssuedPass.id) > after)
    part = list(session.scalars(passes.order_by(col(IssuedPass.id)).limit(REFRESHED_AT_ONCE)))
    if part:
        passes_changed_by_id(session, program_id, part, now, priority=REFRESH_PRIORITY)
    return part[-1] if len(part) == REFRESHED_AT_ONCE else None


def passes_say_more(session: Session, program_id: UUID, member_ids: Collection[UUID], now: datetime) -> None:
    """Raise the versions once more for what the worker has found to say, just before it pushes them itself.

    A phone that has asked by itself in between has the change without the words, and would never hear them. The
    caller has locked the passes.
    """
    say(session, _SAY_MORE, _values(program_id, list(member_ids), now))


def _next_versions(
    session: Session, program_id: UUID, versions: Read, ids: Sequence[UUID], now: datetime
) -> dict[UUID, UUID]:
    """Raise versions; the passes that somebody holds, with their members."""
    return ask(session, Asked(versions, _values(program_id, ids, now), _held))


def _values(program_id: UUID, ids: Sequence[UUID], now: datetime) -> dict[str, Any]:
    return {"program_id": program_id, "ids": ids, "now": now, "second": now.replace(microsecond=0)}


def _held(rows: Rows) -> dict[UUID, UUID]:
    return {pass_id: member_id for pass_id, member_id in rows if pass_id is not None}


def _raise(one_of: OneOf, column: sa.Column[Any]) -> sa.sql.dml.ReturningUpdate[Any]:
    table = PASS.c
    # Locked in the order of their ids: two changes that touch the same passes wait instead of dying.
    locked = sa.select(table.id).where(_good(one_of, column)).order_by(table.id).with_for_update().cte("locked")
    # What nobody holds is not read: of most members that is every second pass.
    held = (sa.case((table.live, column)) for column in (table.id, table.member_id))
    return _raised(table.id.in_(sa.select(locked.c.id))).returning(*held)


def _good(one_of: OneOf, column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    program_id = sa.bindparam("program_id", type_=sa.Uuid())
    return sa.and_(PASS.c.program_id == program_id, one_of(column, "ids"), PASS.c.voided_at.is_(None))


def _raised(which: sa.ColumnElement[bool]) -> sa.Update:
    table = PASS.c
    now, second = sa.bindparam("now", type_=UTCDateTime()), sa.bindparam("second", type_=UTCDateTime())
    return (
        sa.update(PASS)
        .where(which)
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
    )


_VERSIONS_OF_MEMBERS: Final = Read(lambda one_of: _raise(one_of, PASS.c.member_id))
_VERSIONS_OF_PASSES: Final = Read(lambda one_of: _raise(one_of, PASS.c.id))
_SAY_MORE: Final = Read(lambda one_of: _raised(_good(one_of, PASS.c.member_id)))
