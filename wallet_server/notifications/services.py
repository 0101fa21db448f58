"""The governor: decides what a member may be shown, writes it down, and has the pass pushed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from wallet_server.db import new_id
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.services import passes_changed
from wallet_server.members.models import MemberStatistics
from wallet_server.notifications.models import Notification
from wallet_server.programs.definition import ProgramDefinition

WANTED_MAX: Final = 1_000
"""Messages that are decided in one call."""
TEXT_CHARACTERS_MAX: Final = 500
MESSAGE_PRIORITY: Final = 10
"""After the updates that purchases ask for (0): somebody at a till waits for those."""


@dataclass(frozen=True)
class Wanted:
    """A message that somebody wants to show a member.

    ``origin`` (``campaign:<id>``) is what makes it unique for the member; ``text`` is plain, in the member's
    language, and is never evaluated in any way.
    """

    member_id: UUID
    origin: str
    text: str


@dataclass(frozen=True)
class Decision:
    """What became of a message.

    ``reason`` says why it was suppressed: ``no_consent`` or ``no_pass`` (nobody holds a pass of the member);
    ``already`` means that it had been decided before: ``state`` is the decision of that time.
    """

    state: Literal["shown", "suppressed"]
    reason: str = ""


def show(session: Session, program: ProgramDefinition, wanted: Sequence[Wanted], now: datetime) -> dict[UUID, Decision]:
    """Decide about messages and put those that are allowed onto the passes; one message per member a call.

    Consent and pass are looked at here, in the transaction that writes the decision (invariant C6). A message
    is decided once per member and origin, also when two workers ask at the same time (invariant C2): the
    second one waits for the first and is told ``already``.
    """
    assert len(wanted) <= WANTED_MAX, f"{len(wanted)} messages were to be decided at once"
    by_member = {message.member_id: message for message in wanted}
    assert len(by_member) == len(wanted), "one message per member a call"
    if not wanted:
        return {}
    decided = _judge(session, program, sorted(by_member))
    rows = [
        {
            "id": new_id(),
            "program_id": program.id,
            "member_id": member_id,
            "origin": by_member[member_id].origin,
            "text": by_member[member_id].text[:TEXT_CHARACTERS_MAX],
            "state": decision.state,
            "reason": decision.reason,
            "decided_at": now,
            "shown_at": now if decision.state == "shown" else None,
            "speaks": decision.state == "shown",
        }
        for member_id, decision in decided.items()
    ]
    written = _insert_new(session, rows)
    for member_id, state in _decided_before(
        session, program, [by_member[id_] for id_ in decided if id_ not in written]
    ):
        decided[member_id] = Decision(state, "already")
    shown = [member_id for member_id in written if decided[member_id].state == "shown"]
    if shown:
        passes_changed(session, program, shown, now, priority=MESSAGE_PRIORITY)
    return decided


def _judge(session: Session, program: ProgramDefinition, member_ids: Sequence[UUID]) -> dict[UUID, Decision]:
    live = sa.exists().where(
        col(IssuedPass.program_id) == program.id,
        col(IssuedPass.member_id) == col(MemberStatistics.member_id),
        col(IssuedPass.live),
        col(IssuedPass.voided_at).is_(None),
    )
    rows = session.execute(
        sa.select(col(MemberStatistics.member_id), col(MemberStatistics.marketing), live.label("live")).where(
            col(MemberStatistics.program_id) == program.id, col(MemberStatistics.member_id).in_(member_ids)
        )
    )
    facts = {member_id: (marketing, has_pass) for member_id, marketing, has_pass in rows}
    decided: dict[UUID, Decision] = {}
    for member_id in member_ids:
        marketing, has_pass = facts.get(member_id, (False, False))
        if not marketing:
            decided[member_id] = Decision("suppressed", "no_consent")
        elif not has_pass:
            decided[member_id] = Decision("suppressed", "no_pass")
        else:
            decided[member_id] = Decision("shown")
    return decided


def _insert_new(session: Session, rows: Sequence[dict[str, Any]]) -> set[UUID]:
    """Write decisions that have not been taken yet; the members whose decision this is."""
    dialect_insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = (
        dialect_insert(Notification)
        .values(list(rows))
        .on_conflict_do_nothing(index_elements=["member_id", "origin"])
        .returning(col(Notification.member_id))
    )
    return set(session.execute(statement).scalars())


def _decided_before(
    session: Session, program: ProgramDefinition, messages: Sequence[Wanted]
) -> list[tuple[UUID, Literal["shown", "suppressed"]]]:
    if not messages:
        return []
    rows = session.execute(
        sa.select(col(Notification.member_id), col(Notification.origin), col(Notification.state)).where(
            col(Notification.program_id) == program.id,
            col(Notification.member_id).in_([message.member_id for message in messages]),
            col(Notification.origin).in_({message.origin for message in messages}),
        )
    )
    states = {(member_id, origin): state for member_id, origin, state in rows}
    return [
        (message.member_id, "shown" if states[message.member_id, message.origin] == "shown" else "suppressed")
        for message in messages
    ]
