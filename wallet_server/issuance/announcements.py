"""The work that a changed pass asks for: its push, and what its member may be told of the change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlmodel import Session

from wallet_server.db import new_id
from wallet_server.outbox import services as outbox

PASS_CHANGED: Final = "pass.changed"  # noqa: S105 - a topic, not a password
PUSH_QUEUE: Final = "push"
PASSES_PER_ROW_MAX: Final = 500

ID_ORDER: Final = attrgetter("int")
"""The order of ids, said to ``sorted``: an id itself compares in Python, and thousands take their time."""

Notes = Mapping[UUID, Mapping[str, Any]]
"""What has happened to each member, as JSON: ``notifications.facts.Noticed``."""


def announce(session: Session, program_id: UUID, pass_ids: Sequence[UUID], now: datetime, *, priority: int = 0) -> None:
    """Have these passes pushed after the commit, at most 200 in a row of the outbox."""
    announce_changes(session, program_id, dict.fromkeys(pass_ids), now, priority=priority, notes={})


def announce_changes(
    session: Session,
    program_id: UUID,
    passes: Mapping[UUID, UUID | None],
    now: datetime,
    *,
    priority: int,
    notes: Notes,
) -> None:
    """Write the work for passes (with their members), and what has happened to those of its members."""
    works = []
    change = new_id().hex  # what is decided about a member's note is decided once, however often it is read
    for part in _parts(sorted(passes, key=ID_ORDER)):
        payload: dict[str, Any] = {"v": 1, "pass_ids": [str(pass_id) for pass_id in part]}
        owners = {owner for pass_id in part if (owner := passes[pass_id]) is not None} if notes else ()
        said = {str(owner): notes[owner] for owner in owners if owner in notes}
        if said:
            payload |= {"change": change, "notes": said}
        works.append(
            outbox.Work(topic=PASS_CHANGED, queue=PUSH_QUEUE, program_id=program_id, payload=payload, priority=priority)
        )
    outbox.add_many(session, works, now=now)


def _parts(pass_ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(pass_ids), PASSES_PER_ROW_MAX):
        yield pass_ids[start : start + PASSES_PER_ROW_MAX]
