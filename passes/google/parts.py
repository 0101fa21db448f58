"""What Google's classes and objects are made of: checked texts, ids, addresses, times, and texts in several languages.

Sources: developers.google.com/wallet/reference/rest/v1/LocalizedString, …/Image, …/TimeInterval and the fields of
…/loyaltyclass and …/loyaltyobject. Google recommends lengths for small screens and cuts what is longer; only what it
calls a limit is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from passes.content import PassContentError, w3c_date

JsonObject = dict[str, object]

TEXT_CHARACTERS_MAX = 5_000
"""Our own limit of a text for which Google names none, so that an object stays small."""
ID_CHARACTERS_MAX = 100
URI_CHARACTERS_MAX = 2_000
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

_ISSUER_ID = re.compile(r"[0-9]{1,20}")
_SUFFIX = re.compile(r"[A-Za-z0-9._-]{1,100}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f]+")


def resource_id(issuer_id: str, suffix: str) -> str:
    """Return ``<issuer>.<suffix>``, the id of a class or an object. Raises `PassContentError`."""
    if not _ISSUER_ID.fullmatch(issuer_id):
        raise PassContentError("issuer_id", "the issuer id is the number that Google's business console shows")
    if not _SUFFIX.fullmatch(suffix):
        raise PassContentError("suffix", "1 to 100 letters, digits, '.', '_' or '-'")
    return f"{issuer_id}.{suffix}"


@dataclass(frozen=True, slots=True)
class Words:
    """A card's texts and their translations, in Google's LocalizedString."""

    language: str
    translations: Mapping[str, Mapping[str, str]]

    def localized(self, name: str, text: str) -> JsonObject:
        """Return ``{name: LocalizedString}``, or nothing if no other language has this text."""
        others = self._others(text)
        if not others:
            return {}
        return {name: {**self.plain(text), "translatedValues": others}}

    def plain(self, text: str) -> JsonObject:
        return {"defaultValue": {"language": self.language, "value": text}}

    def whole(self, where: str, text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> JsonObject:
        """Return the LocalizedString of a text that Google has in this form only; the limit is each language's.

        The list of translations is always there: a PATCH replaces it, and leaves none of before.
        """
        others = self._others(checked(where, text, characters_max))
        for other in others:
            checked(f"{where} ({other['language']})", other["value"], characters_max)
        return {**self.plain(text), "translatedValues": others}

    def _others(self, text: str) -> list[dict[str, str]]:
        return [
            {"language": language, "value": words[text]}
            for language, words in sorted(self.translations.items())
            if language != self.language and text in words
        ]


def required(where: str, text: str) -> str:
    if not text.strip():
        raise PassContentError(where, "this text is required and must not be empty")
    return text


def checked(where: str, text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """Return a text that is there and no longer than this."""
    if len(required(where, text)) > characters_max:
        raise PassContentError(where, f"at most {characters_max} characters, not {len(text)}")
    return text


def https(where: str, url: str) -> str:
    # http is let through for servers that only a simulator talks to; Google itself fetches https alone.
    if not url.startswith(("https://", "http://")):
        raise PassContentError(where, f"an address starts with https://, not {url!r}")
    return url


def uri(where: str, address: str) -> str:
    """Return an address of any kind: a page, a map, a telephone, mail, an app; it needs a scheme."""
    if not _SCHEME.fullmatch(checked(where, address, URI_CHARACTERS_MAX)):
        raise PassContentError(where, f"an address has a scheme (https:, tel:, mailto:, geo:), not {address!r}")
    return address


def at_most(where: str, items: tuple[object, ...], most: int, what: str) -> None:
    if len(items) > most:
        raise PassContentError(where, f"Google takes at most {most} {what}, not {len(items)}")


def distinct(where: str, names: Iterable[str]) -> None:
    """Google does not look whether ids are used twice; what is named by them could not be told apart."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PassContentError(where, f"{name!r} is there twice")
        seen.add(name)


def int32(where: str, number: int) -> int:
    if isinstance(number, bool) or not -INT32_MAX - 1 <= number <= INT32_MAX:
        raise PassContentError(where, "a whole number of 32 bits")
    return number


def interval(prefix: str, start: datetime | None, end: datetime | None) -> JsonObject:
    """Return Google's TimeInterval, empty if neither end is known; `prefix` is what its ends lie in, with a dot."""
    found: JsonObject = {}
    if start is not None:
        found["start"] = {"date": w3c_date(f"{prefix}starts_at", start)}
    if end is not None:
        found["end"] = {"date": w3c_date(f"{prefix}ends_at", end)}
    if start is not None and end is not None and end < start:
        raise PassContentError(f"{prefix}ends_at", "an interval does not end before it starts")
    return found
