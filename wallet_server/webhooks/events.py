"""The events that are told to others, and the message that tells of one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from wallet_server.i18n import gettext_noop

MESSAGE_VERSION: Final = 1
"""Of the message's shape: members are added under the same number, never renamed."""
ALL_EVENTS: Final = "*"
TEST_EVENT: Final = "webhook.test"
"""Told to one webhook because somebody pressed the button."""
EVENTS: Final[Mapping[str, str]] = {
    "member.enrolled": gettext_noop("Somebody became a member"),
    "member.left": gettext_noop("A member left and is to be forgotten"),
    "purchase.recorded": gettext_noop("A purchase was recorded"),
    "purchase.refunded": gettext_noop("Goods were returned"),
    "visit.recorded": gettext_noop("A visit was recorded"),
    "points.adjusted": gettext_noop("Points were corrected by hand"),
    "points.expired": gettext_noop("Points expired"),
    "hold.placed": gettext_noop("Points were set aside"),
    "hold.captured": gettext_noop("Points set aside were used"),
    "hold.released": gettext_noop("Points set aside were given back"),
    "tier.changed": gettext_noop("A member moved to another tier"),
    "challenge.completed": gettext_noop("A challenge was completed"),
    "voucher.issued": gettext_noop("A voucher was issued"),
    "voucher.redeemed": gettext_noop("A voucher was redeemed"),
    "program.published": gettext_noop("A new version of the program was published"),
}
"""Every event by its name, past tense, with what it says to a reader. ``docs/webhooks.md`` lists their data."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. ``subject`` is the member's id, or the program's where it is nobody's in particular.

    Events of one subject reach each webhook in the order in which they were emitted. ``data`` is JSON: ids,
    numbers and codes, never a name, a phone number or another thing that says who somebody is.
    """

    name: str
    subject: UUID
    data: Mapping[str, Any]


def message(message_id: UUID, event: Event, *, program: str, now: datetime) -> dict[str, Any]:
    """The document that the receiver gets; ``program`` is the program's slug, ``now`` when it was written down."""
    return {
        "version": MESSAGE_VERSION,
        "id": str(message_id),
        "type": event.name,
        "occurred_at": now.isoformat(),
        "program": program,
        "data": dict(event.data),
    }


def is_wanted(event: str, chosen: list[str]) -> bool:
    """Whether a webhook with these events is told of this one."""
    return ALL_EVENTS in chosen or event in chosen
