"""Who somebody is: contacts as we keep them, card numbers, referral codes. No I/O."""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final

import phonenumbers

from wallet_server.errors import DomainError

EMAIL_LENGTH_MAX: Final = 254
CONTACT_LENGTH_MAX: Final = 320
NAME_LENGTH_MAX: Final = 120
EXTERNAL_ID_LENGTH_MAX: Final = 120
BIRTHDAY_MIN: Final = date(1900, 1, 1)
CARD_DIGITS: Final = 16
CARD_PREFIX: Final = "9"
"""ISO/IEC 7812 leaves 9 to national use, so that no card of ours can be taken for a bank's."""
REFERRAL_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without characters that are read for another (0 O, 1 I L) or that make words (U)."""
REFERRAL_LENGTH: Final = 10

# Not RFC 5322 whole: what a person types into one field and what a mail server will take.
_EMAIL = re.compile(r"[^\s@<>()\[\]\\,;:\"]+@[^\s@.]+(\.[^\s@.]+)+")
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_CARD_NUMBER = re.compile(r"[A-Za-z0-9-]{4,32}")


@dataclass(frozen=True)
class Contact:
    """Exactly one of ``phone`` (E.164) and ``email`` (lower case)."""

    phone: str | None = None
    email: str | None = None


def invalid(field: str, detail: str) -> DomainError:
    """The refusal of one field."""
    return DomainError("validation", f"{field}: {detail}", field=field)


def parse_contact(text: str, country: str | None) -> Contact:
    """The one field of the enrol page: a phone number, or an e-mail address if it has an ``@``.

    ``country`` (ISO 3166) is that of numbers without a country code. Raises ``DomainError(validation)``.
    """
    return Contact(email=parse_email(text)) if "@" in text else Contact(phone=parse_phone(text, country))


def parse_phone(text: str, country: str | None) -> str:
    """A phone number in E.164, such as ``+38970123456``. Raises ``DomainError(validation)``."""
    text = unicodedata.normalize("NFKC", text).strip()
    if not text or len(text) > CONTACT_LENGTH_MAX:
        raise invalid("phone", "is not a phone number")
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not country:
            raise invalid("phone", "needs its country code, such as +389 70 123 456") from error
        raise invalid("phone", "is not a phone number") from error
    # An extension cannot be reached, and two people of one switchboard would become one member.
    if number.extension or not phonenumbers.is_valid_number(number):
        raise invalid("phone", "is not a number that can be called")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def parse_email(text: str) -> str:
    """An e-mail address in lower case. Raises ``DomainError(validation)``."""
    text = unicodedata.normalize("NFKC", text).strip().lower()
    # What nobody sees (a zero-width space) would make a second member of the same person.
    if len(text) > EMAIL_LENGTH_MAX or not text.isprintable() or not _EMAIL.fullmatch(text) or ".." in text:
        raise invalid("email", "is not an e-mail address")
    return text


def parse_name(text: str) -> str:
    """A name on one line, without control characters. Raises ``DomainError(validation)`` if it is too long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    name = " ".join(printable.split())
    if len(name) > NAME_LENGTH_MAX:
        raise invalid("name", f"is longer than {NAME_LENGTH_MAX} characters")
    return name


def parse_channel(text: str) -> str:
    """Where somebody joined, as it stands in the enrol page's address. Raises ``DomainError(validation)``."""
    channel = text.strip().lower()
    if not _CHANNEL.fullmatch(channel):
        raise invalid("channel", "is 1 to 63 of a-z, 0-9, - and _")
    return channel


def parse_external_id(text: str) -> str:
    """The person's id in the shop's system. Raises ``DomainError(validation)``."""
    external_id = text.strip()
    if not external_id or len(external_id) > EXTERNAL_ID_LENGTH_MAX or not external_id.isprintable():
        raise invalid("external_id", f"is 1 to {EXTERNAL_ID_LENGTH_MAX} printable characters")
    return external_id


def parse_card_number(text: str) -> str:
    """A card number that was in use before us. Raises ``DomainError(validation)``."""
    number = text.strip()
    if not _CARD_NUMBER.fullmatch(number):
        raise invalid("card_number", "is 4 to 32 letters, digits and dashes")
    return number


def check_birthday(birthday: date, today: date) -> date:
    """The same day, if somebody can have been born then. Raises ``DomainError(validation)``."""
    if not BIRTHDAY_MIN <= birthday <= today:
        raise invalid("birthday", f"is a day from {BIRTHDAY_MIN} to today")
    return birthday


def luhn_digit(digits: str) -> str:
    """The check digit (ISO/IEC 7812-1, annex B) that finds each mistyped digit and most swapped ones."""
    total = 0
    for index, character in enumerate(reversed(digits)):
        value = int(character) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def new_card_number() -> str:
    """16 digits: prefix, 14 at random, check digit."""
    body = CARD_PREFIX + "".join(secrets.choice("0123456789") for _ in range(CARD_DIGITS - 2))
    return body + luhn_digit(body)


def new_referral_code() -> str:
    """Ten characters that can be read aloud; about 5 x 10^14 of them."""
    return "".join(secrets.choice(REFERRAL_ALPHABET) for _ in range(REFERRAL_LENGTH))
