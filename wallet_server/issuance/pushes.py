"""What a push job asks of the passes: which have changed, under which tag, on whose phones.

Statements are said past the ORM, each once for any number of passes: a promotion to everybody is nothing but these,
over and over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.db import insert_free_rows, table_of
from wallet_server.issuance.models import Device, IssuedPass, Registration, UpdateTag
from wallet_server.reads import Asked, OneOf, Read, ask, say

PASS: Final = table_of(IssuedPass)
DEVICE: Final = table_of(Device)
REGISTRATION: Final = table_of(Registration)
TAG: Final = table_of(UpdateTag)


class Changed(NamedTuple):
    """A pass that somebody holds and whose newest version was not pushed yet."""

    pass_id: UUID
    wallet: str
    program_id: UUID
    version: int


class PushTarget(NamedTuple):
    """One phone to ring for one pass; ``token_at`` is when the phone last told us its token."""

    pass_id: UUID
    push_token: str
    token_at: datetime


@dataclass(frozen=True, slots=True)
class Tagged:
    """A new tag that several passes share, and the phones to ring for them."""

    tag: int
    targets: Sequence[PushTarget]


def changed_passes(session: Session, pass_ids: Collection[UUID]) -> list[Changed]:
    """Those of the passes that are still to be pushed, locked in the order of their ids.

    A change that commits after this raises the version again, and brings its own row of work.
    """
    return ask(session, Asked(_CHANGED, {"ids": list(pass_ids)}, lambda rows: [Changed(*row) for row in rows]))


def tag_passes(session: Session, pass_ids: Collection[UUID], now: datetime) -> Tagged:
    """Give passes that the caller has locked the next update tag, and find their phones.

    The one row of ``update_tag`` is locked until the commit, so tags become visible in their order: a phone that has
    seen tag *n* can never miss a change with a smaller one (invariant P1). Commit soon after.
    """
    tag = _next_tag(session, now)
    ids = list(pass_ids)
    say(session, _TAGGED, {"ids": ids, "tag": tag})
    return Tagged(tag, ask(session, Asked(_TARGETS, {"ids": ids}, lambda rows: [PushTarget(*row) for row in rows])))


def _next_tag(session: Session, now: datetime) -> int:
    """Alone, and not in one round with the passes: before the very first tag there is no row that could be locked."""
    values = {"milliseconds": int(now.timestamp() * 1000)}
    tag: int | None = ask(session, Asked(_NEXT_TAG, values, lambda rows: rows[0][0] if rows else None))
    if tag is None:
        insert_free_rows(session, UpdateTag, [{"id": 1, "last": 0}], key=["id"])
        return _next_tag(session, now)
    return tag


def lock_passes(
    session: Session, pass_ids: Iterable[UUID], *, of_members: Mapping[UUID, Iterable[UUID]] | None = None
) -> None:
    """Lock passes in the order of their ids, as everybody does who changes several: they wait instead of dying.

    Beside those with these ids all of some members, who are named by program: whoever changes passes of several
    programs one after the other would lock them in another order. SQLite has one writer at a time, and nothing to lock.
    """
    if session.get_bind().dialect.name == "sqlite":
        return
    wanted = list(set(pass_ids))
    members = {program_id: set(mine) for program_id, mine in (of_members or {}).items()}
    if any(members.values()):
        theirs = {"programs": list(members), "members": list(set().union(*members.values()))}
        ask(session, Asked(_LOCK_OF_MEMBERS, {"ids": wanted, **theirs}, len))
    elif wanted:
        ask(session, Asked(_LOCK, {"ids": wanted}, len))


def _select_changed(one_of: OneOf) -> sa.Select[Any]:
    table = PASS.c
    return (
        sa.select(table.id, table.wallet, table.program_id, table.version)
        .where(one_of(table.id, "ids"), table.live, table.version > table.pushed_version)
        .order_by(table.id)
        .with_for_update()
    )


def _select_lock(one_of: OneOf, *, of_members: bool = False) -> sa.Select[Any]:
    which = one_of(PASS.c.id, "ids")
    if of_members:
        # With the program, which the index of members begins with.
        which = sa.or_(which, sa.and_(one_of(PASS.c.program_id, "programs"), one_of(PASS.c.member_id, "members")))
    locked = sa.select(PASS.c.id).where(which).order_by(PASS.c.id).with_for_update().cte("locked")
    return sa.select(sa.func.count()).select_from(locked)


def _raise_tag(_one_of: OneOf) -> sa.sql.dml.ReturningUpdate[Any]:
    """The milliseconds of the clock, or one more than the last tag if that is more.

    Counting alone would give tags of a later time out again once an older database was put back.
    """
    clock = sa.bindparam("milliseconds", type_=sa.BigInteger())
    last = sa.case((clock > TAG.c.last, clock), else_=TAG.c.last + 1)
    return sa.update(TAG).where(TAG.c.id == 1).values(last=last).returning(TAG.c.last)


def _write_tag(one_of: OneOf) -> sa.Update:
    return sa.update(PASS).where(one_of(PASS.c.id, "ids")).values(update_tag=sa.bindparam("tag", type_=sa.BigInteger()))


def _select_targets(one_of: OneOf) -> sa.Select[Any]:
    return (
        sa.select(REGISTRATION.c.pass_id, DEVICE.c.push_token, DEVICE.c.token_at)
        .join_from(REGISTRATION, DEVICE, DEVICE.c.id == REGISTRATION.c.device_id)
        .where(one_of(REGISTRATION.c.pass_id, "ids"))
        .order_by(DEVICE.c.id, REGISTRATION.c.pass_id)
    )


_CHANGED: Final = Read(_select_changed)
_LOCK: Final = Read(_select_lock)
_LOCK_OF_MEMBERS: Final = Read(lambda one_of: _select_lock(one_of, of_members=True))
_NEXT_TAG: Final = Read(_raise_tag)
_TAGGED: Final = Read(_write_tag)
_TARGETS: Final = Read(_select_targets)
