"""Words for what the ledger and the challenges keep as codes, in a reader's language. Pure."""

from __future__ import annotations

import re
from typing import Final

from wallet_server.errors import DomainError
from wallet_server.i18n import Translator, gettext_noop
from wallet_server.ledger.departure import LEFT
from wallet_server.ledger.expiry import EXPIRED
from wallet_server.ledger.holds import CAPTURED, FREED, HELD
from wallet_server.ledger.postings import DEBT_PAID
from wallet_server.ledger.queries import EntryRow, LotRow
from wallet_server.members.models import Member
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
    "hold": gettext_noop("Set aside"),
    "capture": gettext_noop("Spent from what was set aside"),
    "unhold": gettext_noop("No longer set aside"),
    "zero": gettext_noop("Set to zero"),
    "take_back": gettext_noop("Taken back"),
    "return": gettext_noop("Returned"),
    "reissue": gettext_noop("Returned anew"),
    "debt": gettext_noop("Debt paid"),
}
ROLES: Final = {
    "owner": gettext_noop("owner"),
    "manager": gettext_noop("manager"),
    "cashier": gettext_noop("cashier"),
}
REFUSALS: Final = {
    "insufficient_points": gettext_noop("The member does not have that many points."),
    "redeem_limit_exceeded": gettext_noop("Less of this receipt may be paid with points."),
    "duplicate_receipt": gettext_noop("This receipt has been recorded before."),
    "unknown_card": gettext_noop("There is no such card in this program."),
    "card_blocked": gettext_noop("This card is blocked."),
    "member_left": gettext_noop("This member has left the program."),
    "unknown_outlet": gettext_noop("Choose the outlet."),
    "voucher_used": gettext_noop("This voucher has been redeemed before."),
    "voucher_expired": gettext_noop("This voucher has expired."),
    "idempotency_in_progress": gettext_noop("This is being recorded right now. Look at the history in a moment."),
    "idempotency_mismatch": gettext_noop("This form has been sent before with other content. Nothing was changed."),
    "validation": gettext_noop("Something in the form is missing or wrong."),
}
FIELDS: Final = {
    "amount": gettext_noop("Enter an amount or choose a product."),
    "sku": gettext_noop("Choose a product that has a price."),
    "quantity": gettext_noop("A quantity is a number with at most three decimals."),
    "redeem_points": gettext_noop("Points to use are a whole number."),
}
"""What is wrong with a field of the purchase form."""
_RECEIPT: Final = re.compile(r"Receipt (\S.*)")
_REFUND: Final = re.compile(r"Refund (\S.*?) of receipt (\S.*)")
_FIXED_REASONS: Final = {
    "Points became spendable": gettext_noop("Points became spendable"),
    DEBT_PAID: gettext_noop("Debt paid"),
    EXPIRED: gettext_noop("Points expired"),
    HELD: gettext_noop("Points set aside"),
    CAPTURED: gettext_noop("Points set aside were used"),
    FREED: gettext_noop("Points set aside are free again"),
    LEFT: gettext_noop("Left the program"),
}
"""Reasons of the ledger itself; a zeroing's is the name of its rule, which the owner wrote."""


def person_name(member: Member, t: Translator) -> str:
    """What staff call a member: by name, else by what is known."""
    if member.left_at is not None:
        return t.gettext("Somebody who has left")
    return member.name or member.phone or member.email or member.external_id or "–"


def entry_reason(entry: EntryRow | LotRow, t: Translator) -> str:
    """Why the points moved: our own sentences translated, what people wrote as they wrote it."""
    receipt = _RECEIPT.fullmatch(entry.reason)
    if receipt:
        return t.gettext("Receipt %(number)s", number=receipt.group(1))
    refund = _REFUND.fullmatch(entry.reason)
    if refund:
        return t.gettext("Refund %(refund)s of receipt %(number)s", refund=refund.group(1), number=refund.group(2))
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


def refusal_sentence(error: DomainError, t: Translator) -> str:
    """A refusal in a sentence for staff; the English detail where there is no sentence of its own."""
    of_field = FIELDS.get(error.extra.get("field", "")) if error.code == "validation" else None
    if of_field:
        return t.gettext(of_field)
    return refusal_of_code(error.code, t) or error.detail


def refusal_of_code(code: str, t: Translator) -> str:
    """The sentence of a refusal's code; empty if it has none."""
    sentence = REFUSALS.get(code)
    return t.gettext(sentence) if sentence else ""
