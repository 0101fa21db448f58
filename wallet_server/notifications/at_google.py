"""Which messages Google Wallet is still to be told, and what became of that.

Google does not tell two messages with one id apart, so each is sent by one worker at a time, and a message that may
have arrived is looked for before it is sent again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.db import among
from wallet_server.notifications.governor import DAY, AtGoogle
from wallet_server.notifications.queries import NOTIFICATION
from wallet_server.outbox.services import LEASE

MESSAGES_MAX: Final = 3
"""At once for one card; what is older is no news any more."""


@dataclass(frozen=True, slots=True)
class Due:
    """A message to be told, and how. ``may_be_there``: somebody has begun to tell it before."""

    id: UUID
    text: str
    way: AtGoogle
    may_be_there: bool
    ends_at: datetime | None = None
    """Google takes it off the card by itself then."""

    @property
    def message_id(self) -> str:
        """The id at Google; letters and digits."""
        return f"m{self.id.hex}"


@dataclass(frozen=True, slots=True)
class Taken:
    """Messages by member, the oldest first, that are the caller's for one lease; and members of whom some are not."""

    due: Mapping[UUID, Sequence[Due]]
    elsewhere: frozenset[UUID]
    """Another worker is telling these a message just now, or has died doing it: their cards wait."""


def take(session: Session, member_ids: Collection[UUID], now: datetime) -> Taken:
    """Take what is to be told to these members now; of too many messages the older ones are told no more."""
    table = NOTIFICATION.c
    wanted = (
        sa.select(table.id, table.member_id, table.text, table.at_google, table.google_begun_at, table.ends_at)
        .where(among(session, table.member_id, sorted(set(member_ids))), table.state == "shown")
        .where(table.shown_at > now - DAY, table.at_google != "nothing", table.google_told_at.is_(None))
        .where(sa.or_(table.ends_at.is_(None), table.ends_at > now))
        .order_by(table.id)
        .with_for_update()
    )
    session.flush()
    found: defaultdict[UUID, list[Due]] = defaultdict(list)
    elsewhere: set[UUID] = set()
    for row in session.connection().execute(wanted):
        begun = row.google_begun_at
        if begun is not None and begun > now - LEASE:
            elsewhere.add(row.member_id)
        found[row.member_id].append(Due(row.id, row.text, row.at_google, begun is not None, row.ends_at))
    free = {member_id: mine for member_id, mine in found.items() if member_id not in elsewhere}
    due = {member_id: mine[-MESSAGES_MAX:] for member_id, mine in free.items()}
    late = [one.id for mine in free.values() for one in mine[:-MESSAGES_MAX]]
    if late:
        session.connection().execute(
            sa.update(NOTIFICATION).where(among(session, table.id, late)).values(at_google="nothing")
        )
    ids = [one.id for mine in due.values() for one in mine]
    if ids:
        session.connection().execute(
            sa.update(NOTIFICATION).where(among(session, table.id, ids)).values(google_begun_at=now)
        )
    return Taken(due, frozenset(elsewhere))


def told(session: Session, notified: Mapping[UUID, bool], now: datetime) -> None:
    """Note what Google took, by message: with a notice, or in silence because the day's notices were used up."""
    table = NOTIFICATION.c
    for loud in (True, False):
        ids = sorted(message_id for message_id, was_loud in notified.items() if was_loud is loud)
        if not ids:
            continue
        values: dict[str, object] = {"google_told_at": now}
        if not loud:
            values["at_google"] = sa.case((table.at_google == "notice", "text"), else_=table.at_google)
            values["reason"] = sa.case((sa.and_(table.at_google == "notice", table.reason == ""), "google_limit"),
                                       else_=table.reason)  # fmt: skip
        session.connection().execute(sa.update(NOTIFICATION).where(among(session, table.id, ids)).values(values))


def give_back(session: Session, message_ids: Collection[UUID], now: datetime) -> None:
    """Free messages that could not be told, or not surely: the next try looks whether they are there."""
    if message_ids:
        session.connection().execute(
            sa.update(NOTIFICATION)
            .where(among(session, NOTIFICATION.c.id, sorted(message_ids)))
            .values(google_begun_at=now - LEASE)
        )
