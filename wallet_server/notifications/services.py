"""The governor's doors: others tell what has happened, or ask to show a message; it decides and writes down why.

What has happened (:func:`tell`) travels in the row of work that refreshes the pass, so that a purchase pays nothing
for it; the worker decides when it refreshes (:mod:`wallet_server.notifications.settling`). What somebody wants to
say (:func:`ask`) is decided at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import among, insert_free_rows, new_id
from wallet_server.issuance.services import passes_changed
from wallet_server.notifications.facts import Noticed, risen
from wallet_server.notifications.governor import Kind, MemberState, Policy, Verdict, Wish, decide
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import NOTIFICATION, member_states
from wallet_server.notifications.wording import TEXT_CHARACTERS_MAX
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.models import TierChange

TIER_CHANGE: sa.Table = TierChange.__table__  # type: ignore[attr-defined]
WANTED_MAX: Final = 1_000
"""Messages that are decided in one call."""
MESSAGE_PRIORITY: Final = 10
"""After the updates that purchases ask for (0): somebody at a till waits for those."""
PRUNED_MAX: Final = 5_000


@dataclass(frozen=True)
class Wanted:
    """A message that somebody wants to show a member.

    ``origin`` (``campaign:<id>``) is what makes it unique for the member; ``text`` is plain, in the member's
    language, and is never evaluated in any way. After ``expires_at`` it is not put onto the card any more; what is
    on it by then stays until ``ends_at``, or without that until there is other news.
    """

    member_id: UUID
    origin: str
    text: str
    kind: Literal["promotion", "reminder"] = "promotion"
    expires_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What became of a message.

    ``reason`` says why it was suppressed or deferred: ``no_consent``, ``no_pass`` (nobody holds a pass of the
    member), ``quiet_hours`` …; ``already`` means that it had been decided before: ``state`` is the decision of that
    time. ``until`` is when to ask again about a deferred one.
    """

    state: Literal["shown", "suppressed", "deferred"]
    reason: str = ""
    until: datetime | None = None


def tell(
    session: Session,
    program: ProgramDefinition,
    noticed: Mapping[UUID, Noticed],
    now: datetime,
    *,
    priority: int = 0,
) -> None:
    """Mark the passes of these members as changed, and let their phones say what has happened.

    Costs nothing beside ``passes_changed``: what is to be said travels in the same row of work. A change that is
    not worth a word (an empty :class:`Noticed`) is shown in silence.
    """
    notes = {member_id: said.document() for member_id, said in noticed.items() if said}
    passes_changed(session, program, noticed.keys(), now, priority=priority, notes=notes)


def tell_tiers(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime, *, priority: int = 0
) -> None:
    """As :func:`tell`, of members whose level the clock, or a new tier table, has changed at this moment."""
    table = TIER_CHANGE.c
    session.flush()
    steps = session.connection().execute(
        sa.select(table.member_id, table.from_tier, table.to_tier).where(
            table.program_id == program.id, among(session, table.member_id, sorted(member_ids)), table.at == now
        )
    )
    tiers = {row.member_id: risen(program, row.from_tier, row.to_tier) for row in steps}
    noticed = {member_id: Noticed(tier=tiers.get(member_id)) for member_id in member_ids}
    tell(session, program, noticed, now, priority=priority)


def ask(session: Session, program: ProgramDefinition, wanted: Sequence[Wanted], now: datetime) -> dict[UUID, Decision]:
    """Decide about messages and put those that are allowed onto the passes; one message per member a call.

    Consent, pass, hours and limits are looked at here, in the transaction that writes the decision (invariant
    C6). A message is decided once per member and origin, also when two workers ask at the same time (invariant
    C2): the second one waits for the first and is told ``already``. Only a deferred one may be asked about again,
    from ``until`` on.
    """
    assert len(wanted) <= WANTED_MAX, f"{len(wanted)} messages were to be decided at once"
    by_member = {message.member_id: message for message in wanted}
    assert len(by_member) == len(wanted), "one message per member a call"
    if not wanted:
        return {}
    before = _decided_before(session, program, wanted)
    states = member_states(session, program, by_member, now)
    policy = Policy.of(program.file.notifications)
    decided: dict[UUID, Decision] = {}
    verdicts: dict[UUID, Verdict] = {}
    for member_id, message in sorted(by_member.items()):
        state, deferred_until = before.get(member_id, (None, None))
        if state is not None and state != "deferred":
            decided[member_id] = Decision(_told(state), "already")
        elif deferred_until is not None and deferred_until > now:
            decided[member_id] = Decision("deferred", "already", deferred_until)
        else:
            wish = Wish(message.kind, message.expires_at)
            nobody = MemberState(zone=program.time_zone)
            verdicts[member_id] = decide(states.get(member_id, nobody), wish, policy, now)
    new = [_row(program, by_member[id_], verdict, now) for id_, verdict in verdicts.items() if id_ not in before]
    old = [_row(program, by_member[id_], verdict, now) for id_, verdict in verdicts.items() if id_ in before]
    written = set(insert_undecided(session, new)) | {row["member_id"] for row in old if _renew(session, row)}
    late = _decided_before(session, program, [by_member[id_] for id_ in verdicts if id_ not in written])
    for member_id, verdict in verdicts.items():
        if member_id in late:
            state, until = late[member_id]
            decided[member_id] = Decision(_told(state), "already", until)
        else:
            decided[member_id] = Decision(STATES[verdict.action], verdict.reason, verdict.until)
    shown = sorted(member_id for member_id in written if verdicts[member_id].action == "show")
    if shown:
        passes_changed(session, program, shown, now, priority=MESSAGE_PRIORITY)
    return {member_id: decided[member_id] for member_id in sorted(by_member)}


STATES: Final[Mapping[str, Literal["shown", "suppressed", "deferred"]]] = {
    "show": "shown",
    "drop": "suppressed",
    "defer": "deferred",
}


def _told(state: str) -> Literal["shown", "suppressed", "deferred"]:
    """A row's state as a decision; what was merged into another message is on the pass with it."""
    return "deferred" if state == "deferred" else "suppressed" if state == "suppressed" else "shown"


def verdict_values(verdict: Verdict, now: datetime) -> dict[str, Any]:
    """A verdict as columns of its row."""
    shown = verdict.action == "show"
    return {
        "state": STATES[verdict.action],
        "reason": verdict.reason,
        "decided_at": now,
        "shown_at": now if shown else None,
        "deferred_until": verdict.until,
        "speaks": verdict.speaks,
        "at_google": verdict.at_google,
    }


def _row(program: ProgramDefinition, message: Wanted, verdict: Verdict, now: datetime) -> dict[str, Any]:
    kind: Kind = message.kind
    return {
        "id": new_id(),
        "program_id": program.id,
        "member_id": message.member_id,
        "origin": message.origin,
        "kind": kind,
        "facts": {},
        "text": message.text[:TEXT_CHARACTERS_MAX],
        "expires_at": message.expires_at,
        "ends_at": message.ends_at,
        **verdict_values(verdict, now),
    }


def insert_undecided(session: Session, rows: Sequence[dict[str, Any]]) -> list[UUID]:
    """Write rows whose member and origin are free; the members of those that were."""
    member_of = {row["id"]: row["member_id"] for row in rows}
    return [member_of[row_id] for row_id in insert_free_rows(session, Notification, rows, key=["member_id", "origin"])]


def _renew(session: Session, row: Mapping[str, Any]) -> bool:
    """Decide a deferred message anew; false if somebody else has meanwhile."""
    values = {name: value for name, value in row.items() if name not in ("id", "program_id", "member_id", "origin")}
    renewed = session.connection().execute(
        sa.update(NOTIFICATION)
        .where(
            NOTIFICATION.c.program_id == row["program_id"],
            NOTIFICATION.c.member_id == row["member_id"],
            NOTIFICATION.c.origin == row["origin"],
            NOTIFICATION.c.state == "deferred",
        )
        .values(values)
        .returning(NOTIFICATION.c.id)
    )
    return renewed.first() is not None


def _decided_before(
    session: Session, program: ProgramDefinition, messages: Sequence[Wanted]
) -> dict[UUID, tuple[str, datetime | None]]:
    """State and end of the wait, by member, of messages that there are already."""
    if not messages:
        return {}
    rows = session.execute(
        sa.select(
            col(Notification.member_id),
            col(Notification.origin),
            col(Notification.state),
            col(Notification.deferred_until),
        ).where(
            col(Notification.program_id) == program.id,
            col(Notification.member_id).in_([message.member_id for message in messages]),
            col(Notification.origin).in_({message.origin for message in messages}),
        )
    )
    found = {(row.member_id, row.origin): (row.state, row.deferred_until) for row in rows}
    return {
        message.member_id: found[message.member_id, message.origin]
        for message in messages
        if (message.member_id, message.origin) in found
    }


def prune(session: Session, before: datetime) -> int:
    """Forget decisions of before a moment, at most 5,000 at once; how many. Campaigns keep theirs.

    What the pass still shows stays: the newest of each member's messages that were shown.
    """
    newer = NOTIFICATION.alias("newer")
    overtaken = (
        sa.exists()
        .where(newer.c.member_id == NOTIFICATION.c.member_id, newer.c.state == "shown")
        .where(newer.c.kind.not_in(("promotion", "reminder")), newer.c.shown_at > NOTIFICATION.c.shown_at)
    )
    old = (
        sa.select(NOTIFICATION.c.id)
        .where(NOTIFICATION.c.kind.not_in(("promotion", "reminder")), NOTIFICATION.c.decided_at < before)
        .where(NOTIFICATION.c.state != "deferred", sa.or_(NOTIFICATION.c.state != "shown", overtaken))
        .limit(PRUNED_MAX)
    )
    session.flush()
    gone = session.connection().execute(
        sa.delete(NOTIFICATION).where(NOTIFICATION.c.id.in_(old)).returning(NOTIFICATION.c.id)
    )
    return len(gone.all())
