"""What became of passes, in a reader's words. Pure."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import Any, Final

from wallet_server.i18n import Translator, gettext_noop
from wallet_server.issuance.delivery import PassState

STATES: Final = {
    PassState.CURRENT: gettext_noop("Up to date"),
    PassState.QUEUED: gettext_noop("Waits to be sent"),
    PassState.FAILED: gettext_noop("Refused"),
    PassState.ACCEPTED: gettext_noop("Phone told"),
    PassState.STALE: gettext_noop("Not fetched"),
    PassState.REMOVED: gettext_noop("Removed"),
    PassState.NEW: gettext_noop("Never added"),
    PassState.VOIDED: gettext_noop("Void"),
}
"""In the order of the table."""
MEANINGS: Final = {
    PassState.CURRENT: gettext_noop("The card shows the newest balance."),
    PassState.QUEUED: gettext_noop("A change is on its way to Apple or Google."),
    PassState.FAILED: gettext_noop("Apple or Google does not take the change; it is tried again."),
    PassState.ACCEPTED: gettext_noop("The phone will fetch the card as soon as it can."),
    PassState.STALE: gettext_noop("The phone was told long ago and has not fetched: it is off, or cannot reach us."),
    PassState.REMOVED: gettext_noop("Was on a phone, and is on none now."),
    PassState.NEW: gettext_noop("The member has a card, but in no wallet."),
    PassState.VOIDED: gettext_noop("Ended by you or the member."),
}
TONES: Final = {
    PassState.CURRENT: "success",
    PassState.QUEUED: "info",
    PassState.FAILED: "danger",
    PassState.ACCEPTED: "info",
    PassState.STALE: "warning",
    PassState.REMOVED: "secondary",
    PassState.NEW: "secondary",
    PassState.VOIDED: "secondary",
}
WALLETS: Final = {"apple": "Apple Wallet", "google": "Google Wallet"}
HAPPENINGS: Final = {
    "given_out": gettext_noop("Card given out"),
    "installed": gettext_noop("First added to a phone"),
    "registered": gettext_noop("A phone holds it since"),
    "changed": gettext_noop("Newest change"),
    "behind": gettext_noop("First change that the phone does not show yet"),
    "accepted": gettext_noop("Taken by Apple or Google"),
    "refused": gettext_noop("Refused, and tried again since"),
    "fetched": gettext_noop("Fetched by the phone"),
    "removed_deleted": gettext_noop("Removed from the last phone"),
    "removed_unreachable": gettext_noop("Apple says that the last phone is gone"),
    "removed_voided": gettext_noop("The card is no longer valid, and its phones are forgotten"),
    "voided": gettext_noop("Card ended"),
}


def story_words(t: Translator) -> dict[str, Any]:
    """What ``panel/_pass_truth.html`` needs beside the stories."""
    return {
        "pass_words": STATES,
        "pass_meanings": MEANINGS,
        "pass_tones": TONES,
        "pass_wallets": WALLETS,
        "pass_happenings": HAPPENINGS,
        "duration": lambda time: duration(time, t),
    }


def duration(time: timedelta | None, t: Translator) -> str:
    """A lag in its largest unit: “3 s”, “2 min”, “5 h”, “2 d”; a dash for none."""
    if time is None:
        return "–"
    seconds = ceil(time.total_seconds())  # never “0 s”
    if seconds < 90:
        return t.gettext("%(number)s s", number=t.number(seconds))
    minutes = round(seconds / 60)
    if minutes < 90:
        return t.gettext("%(number)s min", number=t.number(minutes))
    hours = round(minutes / 60)
    if hours < 36:
        return t.gettext("%(number)s h", number=t.number(hours))
    return t.gettext("%(number)s d", number=t.number(round(hours / 24)))
