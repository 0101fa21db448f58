"""Words for what the ledger and the challenges keep as codes, in a reader's language. Pure."""

from __future__ import annotations

import re
from typing import Final

from wallet_server.i18n import Translator, gettext_noop
from wallet_server.ledger.queries import EntryRow
from wallet_server.programs.file import Challenge

ACCOUNTS: Final = {
    "spendable": gettext_noop("to spend"),
    "pending": gettext_noop("on the way"),
    "held": gettext_noop("set aside"),
    "owed": gettext_noop("owed"),
}
KINDS: Final = {
    "earn": gettext_noop("Earned"),
    "redeem": gettext_noop("Spent"),
    "reward": gettext_noop("Reward"),
    "adjust": gettext_noop("Correction"),
    "expire": gettext_noop("Expired"),
    "release": gettext_noop("Ready to spend"),
}
ROLES: Final = {
    "owner": gettext_noop("owner"),
    "manager": gettext_noop("manager"),
    "cashier": gettext_noop("cashier"),
}
_RECEIPT: Final = re.compile(r"Receipt (\S.*)")
_FIXED_REASONS: Final = {"Points became spendable": gettext_noop("Points became spendable")}


def entry_reason(entry: EntryRow, t: Translator) -> str:
    """Why the points moved: our own sentences translated, what people wrote as they wrote it."""
    receipt = _RECEIPT.fullmatch(entry.reason)
    if receipt:
        return t.gettext("Receipt %(number)s", number=receipt.group(1))
    fixed = _FIXED_REASONS.get(entry.reason)
    return t.gettext(fixed) if fixed else entry.reason


def account_name(account: str, t: Translator) -> str:
    """A member's account in a word or two."""
    name = ACCOUNTS.get(account)
    return t.gettext(name) if name else account


def kind_name(kind: str, t: Translator) -> str:
    """What kind of event a posting is."""
    name = KINDS.get(kind)
    return t.gettext(name) if name else kind


def role_name(role: str, t: Translator) -> str:
    """A role of staff."""
    name = ROLES.get(role)
    return t.gettext(name) if name else role


def signed(points: int, t: Translator) -> str:
    """A change of points with its sign: “+25”, “−10” (with a real minus, which screen readers know)."""
    return f"+{t.number(points)}" if points > 0 else f"\N{MINUS SIGN}{t.number(-points)}"


def amount_of(value: int, challenge: Challenge, currency: str, t: Translator) -> str:
    """Progress or target of a challenge in its own unit."""
    return t.money(value, currency) if challenge.metric == "spend_minor" else t.number(value)
