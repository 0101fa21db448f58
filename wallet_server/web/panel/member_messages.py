"""What a member was told, or was not, and why, in words for the member's page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wallet_server.i18n import Translator, gettext_noop
from wallet_server.notifications.models import Notification

KINDS: Final[Mapping[str, str]] = {
    "balance": gettext_noop("Balance changed"),
    "tier": gettext_noop("Level reached"),
    "challenge": gettext_noop("Challenge completed"),
    "voucher": gettext_noop("Reward won"),
    "reminder": gettext_noop("Reminder"),
    "promotion": gettext_noop("Promotion"),
}
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "shown": (gettext_noop("On the card"), "success"),
    "ended": (gettext_noop("Off the card since its end"), "secondary"),
    "merged": (gettext_noop("Part of another message"), "secondary"),
    "deferred": (gettext_noop("Waits"), "warning"),
    "suppressed": (gettext_noop("Not shown"), "secondary"),
}
"""Word and colour."""
REASONS: Final[Mapping[str, str]] = {
    "no_consent": gettext_noop("did not agree to messages"),
    "no_pass": gettext_noop("the card is on no phone"),
    "quiet_hours": gettext_noop("it was night for the member"),
    "day_limit": gettext_noop("enough promotions for one day"),
    "week_limit": gettext_noop("enough promotions for one week"),
    "just_told": gettext_noop("another message was on its way"),
    "expired": gettext_noop("it had waited for too long"),
    "overtaken": gettext_noop("it was no longer true"),
    "apple_limit": gettext_noop("enough messages on an iPhone for one day"),
    "google_limit": gettext_noop("the three notices of Google's day were used up"),
    "joined": gettext_noop("said together with the message before it"),
    "left": gettext_noop("Left the program"),
}
"""Why, by what the governor writes down."""


@dataclass(frozen=True, slots=True)
class MessageView:
    """One decision as it is read."""

    title: str
    kind: str
    state: str
    tone: str
    """The colour of the state's badge."""
    at: datetime
    details: tuple[str, ...]


def message_views(rows: Sequence[Notification], t: Translator, zone: str) -> list[MessageView]:
    """The decisions in the order given; moments are told in the program's ``zone``."""
    return [_view(row, t, zone) for row in rows]


def _view(row: Notification, t: Translator, zone: str) -> MessageView:
    ended = row.state == "shown" and row.ended_at is not None
    state, tone = STATES["ended" if ended else row.state]
    return MessageView(
        title=row.text or t.gettext(KINDS[row.kind]),
        kind=t.gettext(KINDS[row.kind]) if row.text else "",
        state=t.gettext(state),
        tone=tone,
        at=row.decided_at,
        details=tuple(_details(row, t, zone)),
    )


def _details(row: Notification, t: Translator, zone: str) -> Iterator[str]:
    if row.deferred_until is not None:
        yield t.gettext("until %(date)s", date=t.datetime(row.deferred_until, zone, "short"))
    if row.reason in REASONS:
        yield t.gettext(REASONS[row.reason])
    if row.state != "shown":
        return
    if row.speaks:
        yield t.gettext("iPhone: on the lock screen")
    if row.at_google in ("balance", "notice"):
        yield (
            t.gettext("Google Wallet: with a notice") if row.google_told_at else t.gettext("Google Wallet: on its way")
        )
    if not row.speaks and row.at_google not in ("balance", "notice"):
        yield t.gettext("in silence")
