"""What the simulated phones say: the diary in the reader's language, the screens in the phone's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from babel.dates import format_date

from wallet_server.i18n import Translator, gettext_noop

SENTENCES: Final[Mapping[str, str]] = {
    "added": gettext_noop("The phone was unpacked."),
    "installed": gettext_noop("The pass of %(card)s was added to Wallet."),
    "install_failed": gettext_noop("The pass could not be downloaded: %(why)s"),
    "install_refused": gettext_noop("The phone refused the pass. %(why)s"),
    "registered": gettext_noop("The phone registered for updates of %(card)s (status %(status)s)."),
    "registration_refused": gettext_noop("The server refused to register the phone for %(card)s (status %(status)s)."),
    "unregistered": gettext_noop("The phone told the server that it needs no more updates of %(card)s."),
    "removed": gettext_noop("The pass of %(card)s was deleted."),
    "push": gettext_noop("A push arrived from Apple."),
    "nothing_new": gettext_noop("The server said that no pass has changed."),
    "not_modified": gettext_noop("The pass of %(card)s is still the newest."),
    "updated": gettext_noop("The pass of %(card)s was updated."),
    "update_refused": gettext_noop("The phone refused the new version of %(card)s and told the server so. %(why)s"),
    "odd_answer": gettext_noop("The server's answer was not understood: %(why)s"),
    "unreachable": gettext_noop("The server could not be reached: %(why)s"),
    "airplane_on": gettext_noop("Airplane mode was turned on."),
    "airplane_off": gettext_noop("Airplane mode was turned off."),
    "token_renewed": gettext_noop("The phone got a new push token and registers again."),
    "updates_on": gettext_noop("Automatic updates of %(card)s were turned on."),
    "updates_off": gettext_noop("Automatic updates of %(card)s were turned off."),
    "set": gettext_noop("Set: %(what)s is now %(value)s."),
    "google_saved": gettext_noop("The card of %(card)s was saved to Google Wallet."),
    "google_refused": gettext_noop("Google Wallet refused the card: %(why)s"),
    "google_removed": gettext_noop("The card of %(card)s was removed from Google Wallet."),
    "google_notified": gettext_noop("Google Wallet notified: %(title)s"),
}
"""Kind of a diary's line → sentence."""

BEHAVIOURS: Final[Mapping[str, str]] = {
    "normal": gettext_noop("as usual"),
    "gone": gettext_noop("410 gone"),
    "bad_token": gettext_noop("400 bad token"),
    "throttled": gettext_noop("429 too many"),
    "down": gettext_noop("503 unavailable"),
    "broken": gettext_noop("500 broken"),
    "silent": gettext_noop("no answer"),
    "lost": gettext_noop("200, then lost"),
}
_WARNINGS: Final = frozenset(
    {
        "install_failed",
        "install_refused",
        "registration_refused",
        "update_refused",
        "odd_answer",
        "unreachable",
        "google_refused",
    }
)


def sentence(event: Mapping[str, Any], t: Translator) -> str:
    """One line of the diary; a kind of another version is shown as it is."""
    if event["kind"] == "changed":
        return t.ngettext(
            "The server named %(num)s changed pass (tag %(tag)s).",
            "The server named %(num)s changed passes (tag %(tag)s).",
            event["details"]["count"],
            tag=event["details"]["tag"],
        )
    text = SENTENCES.get(event["kind"])
    return t.gettext(text, **event["details"]) if text else str(event["kind"])


def is_warning(event: Mapping[str, Any]) -> bool:
    """Whether the line deserves a look."""
    return event["kind"] in _WARNINGS


def screen_words(t: Translator) -> dict[str, str]:
    """The phone's own texts, in the phone's language."""
    return {
        "wallet": t.gettext("Wallet"),
        "done": t.gettext("Done"),
        "details": t.gettext("Pass Details"),
        "updates": t.gettext("Automatic Updates"),
        "remove": t.gettext("Remove Pass"),
        "updated": t.gettext("Updated"),
        "now": t.gettext("now"),
        "nearby": t.gettext("nearby"),
        "no_cards": t.gettext("No cards yet"),
        "void": t.gettext("This pass is no longer valid"),
        "messages": t.gettext("Messages"),
    }


def long_date(moment: datetime, t: Translator) -> str:
    """The lock screen's date: weekday, day and month."""
    skeletons = {"en": "EEEE, MMMM d", "ru": "EEEE, d MMMM", "mk": "EEEE, d MMMM"}
    text = format_date(moment.date(), skeletons[t.language], locale=t.locale)
    return text[:1].upper() + text[1:]


def clock_time(moment: datetime, t: Translator) -> str:
    """The big clock: no AM or PM, no leading zero where people write none."""
    return f"{moment.hour % 12 or 12}:{moment:%M}" if t.language == "en" else f"{moment:%H:%M}"


def age(moment: datetime, now: datetime, t: Translator) -> str:
    """How old a banner is, in the few letters that a lock screen has for it."""
    minutes = int((now - moment).total_seconds() // 60)
    if minutes < 1:
        return t.gettext("now")
    if minutes < 60:
        return t.gettext("%(count)sm ago", count=minutes)
    if minutes < 24 * 60:
        return t.gettext("%(count)sh ago", count=minutes // 60)
    return t.gettext("%(count)sd ago", count=minutes // (24 * 60))
