"""What the governor has decided about a campaign, in words for its page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wallet_server.campaigns.decision_queries import Decided
from wallet_server.i18n import Translator, gettext_noop
from wallet_server.web.panel.member_messages import REASONS

STATES: Final[Mapping[str, str]] = {
    "shown": gettext_noop("On the card"),
    "deferred": gettext_noop("Put off"),
    "merged": gettext_noop("Part of another message"),
    "suppressed": gettext_noop("Not shown"),
}
DROPPED: Final[Mapping[str, str]] = {
    "no_consent": gettext_noop("did not agree to messages"),
    "no_pass": gettext_noop("have the card on no phone"),
    "expired": gettext_noop("had to wait for too long"),
    "quiet_hours": gettext_noop("quiet hours to the end of the campaign"),
    "day_limit": gettext_noop("had enough promotions for a day"),
    "week_limit": gettext_noop("had enough promotions for a week"),
    "just_told": gettext_noop("were told something else"),
    "left": gettext_noop("Left the program"),
}
"""Why members were not shown a message, after “12 members …”."""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One line: what was decided, why, and of how many. A part of the line before it has no ``members``."""

    what: str
    why: str
    members: int | None
    apple: int
    google: int


def decision_rows(decided: Sequence[Decided], t: Translator, zone: str) -> list[DecisionRow]:
    """The decisions in the order given; moments are told in the program's ``zone``."""
    return [row for one in decided for row in _rows(one, t, zone)]


def _rows(one: Decided, t: Translator, zone: str) -> Iterator[DecisionRow]:
    yield DecisionRow(t.gettext(STATES[one.state]), _why(one, t, zone), one.members, one.apple, one.google)
    if one.state != "shown":
        return
    yield DecisionRow(t.gettext("the phone says it"), "", None, one.aloud_apple, one.aloud_google)
    silent = one.apple - one.aloud_apple, one.google - one.aloud_google
    if any(silent):
        why = t.gettext("the day's messages were used up")
        yield DecisionRow(t.gettext("in silence"), why, None, *silent)


def _why(one: Decided, t: Translator, zone: str) -> str:
    words = (DROPPED if one.state == "suppressed" else REASONS).get(one.reason, "")
    parts = [t.gettext(words)] if words else []
    if one.until is not None:
        parts.append(t.gettext("until %(date)s", date=t.datetime(one.until, zone, "short")))
    return ", ".join(parts)
