"""What a person sees of an Apple pass: texts in the phone's language, numbers and dates in its format.

Pure: an opened pass, a language and a time zone in; a face, or the lock screen's message, out.

Source: developer.apple.com/documentation/walletpasses/passfieldcontent; what phones do when several values
change at once is from reports, collected in the project's protocol notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from html.parser import HTMLParser
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal, format_percent, format_scientific

from passes.apple.pass_rules import FIELD_GROUPS, STYLES

GENERIC_MESSAGES: Final[Mapping[str, str]] = {
    "en": "Store card changed",
    "ru": "Карта магазина изменена",
    "mk": "Картичката е променета",
}
"""What the phone itself says when it has no single sentence of the pass's to show."""

_FRONT_GROUPS: Final = ("headerFields", "primaryFields", "secondaryFields", "auxiliaryFields")
_STYLES: Final = {
    "PKDateStyleShort": "short",
    "PKDateStyleMedium": "medium",
    "PKDateStyleLong": "long",
    "PKDateStyleFull": "full",
}
_RGB = re.compile(r"rgb\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)")
_HEX = re.compile(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_LINK_SCHEMES: Final = ("https://", "http://", "tel:", "mailto:")


@dataclass(frozen=True, slots=True)
class PassFile:
    """The parts of an opened pass that a face needs; ``strings`` is language → literal → text."""

    pass_json: Mapping[str, Any]
    strings: Mapping[str, Mapping[str, str]]

    def text(self, literal: str, language: str) -> str:
        """What a phone set to ``language`` shows for a text of the pass."""
        for tag in (language, language.split("-", maxsplit=1)[0]):
            if literal in self.strings.get(tag, {}):
                return self.strings[tag][literal]
        return literal

    @property
    def style(self) -> str:
        """The kind of pass, such as ``storeCard``."""
        return next((style for style in STYLES if style in self.pass_json), "generic")


@dataclass(frozen=True, slots=True)
class FaceLink:
    """A link in a text on the back."""

    text: str
    address: str | None
    """``None``: plain text between links."""


@dataclass(frozen=True, slots=True)
class FaceField:
    """One field as it is read. ``parts`` is the value with its links; on the front it has one part."""

    key: str
    label: str
    value: str
    alignment: str
    parts: tuple[FaceLink, ...]


@dataclass(frozen=True, slots=True)
class FaceCode:
    """The code that tills scan."""

    kind: str
    """``QR``, ``PDF417``, ``Aztec`` or ``Code128``."""
    message: str
    encoding: str
    caption: str


@dataclass(frozen=True, slots=True)
class Face:
    """Front and back of a card. Colours are ``rrggbb``."""

    style: str
    organization: str
    description: str
    logo_text: str
    background: str
    foreground: str
    label: str
    header: tuple[FaceField, ...]
    primary: tuple[FaceField, ...]
    secondary: tuple[FaceField, ...]
    auxiliary: tuple[FaceField, ...]
    back: tuple[FaceField, ...]
    code: FaceCode | None
    voided: bool


@dataclass(frozen=True, slots=True)
class FacePlace:
    """A spot near which the card lies on the lock screen, with what it says there."""

    latitude: float
    longitude: float
    text: str


def places_of(card: PassFile, language: str) -> tuple[FacePlace, ...]:
    """Where the card suggests itself.

    Source: developer.apple.com/documentation/walletpasses/pass/locations
    """
    return tuple(
        FacePlace(place["latitude"], place["longitude"], card.text(place.get("relevantText", ""), language))
        for place in card.pass_json.get("locations", ())
    )


def face_of(card: PassFile, language: str, zone: str) -> Face:
    """Return the card as a phone in this language (``mk``) and time zone (IANA name) shows it."""
    document = card.pass_json
    fields = {group: tuple(_fields(card, group, language, zone)) for group in FIELD_GROUPS}
    foreground = _color(document.get("foregroundColor"), "ffffff")
    return Face(
        style=card.style,
        organization=card.text(str(document.get("organizationName", "")), language),
        description=card.text(str(document.get("description", "")), language),
        logo_text=card.text(str(document.get("logoText", "")), language),
        background=_color(document.get("backgroundColor"), "3a3a3c"),
        foreground=foreground,
        label=_color(document.get("labelColor"), foreground),
        header=fields["headerFields"],
        primary=fields["primaryFields"],
        secondary=fields["secondaryFields"],
        auxiliary=fields["auxiliaryFields"],
        back=fields["backFields"],
        code=_code(card, language),
        voided=document.get("voided") is True,
    )


def values_of(card: PassFile, language: str, zone: str) -> dict[str, str]:
    """Return field key → shown value, for all fields."""
    return {field.key: field.value for group in FIELD_GROUPS for field in _fields(card, group, language, zone)}


def lock_screen_message(old: PassFile, new: PassFile, language: str, zone: str) -> str | None:
    """Return what the lock screen says of an update; ``None`` if it says nothing.

    Old and new values are compared field by field. One changed value with a change message: that message,
    with the new value in the place of ``%@``. Several, or a message without ``%@``: the phone's own phrase.
    A field that was not there before is silent.
    """
    before = values_of(old, language, zone)
    messages: list[str] = []
    for group in FIELD_GROUPS:
        for item in _raw_fields(new, group):
            key, message = str(item["key"]), item.get("changeMessage")
            value = _shown(new, item, language, zone)
            if message is None or key not in before or before[key] == value:
                continue
            text = new.text(str(message), language)
            messages.append(text.replace("%@", value) if "%@" in text else "")
    if not messages:
        return None
    if len(messages) == 1 and messages[0].strip():
        return messages[0]
    return GENERIC_MESSAGES.get(language.split("-", maxsplit=1)[0], GENERIC_MESSAGES["en"])


def front_changes(old: PassFile, new: PassFile, language: str, zone: str) -> list[tuple[str, str, str]]:
    """Return (label or key, old value, new value) of every value that changed, for the phone's diary."""
    before = values_of(old, language, zone)
    return [
        (field.label or field.key, before.get(field.key, ""), field.value)
        for group in FIELD_GROUPS
        for field in _fields(new, group, language, zone)
        if before.get(field.key) != field.value
    ]


def _raw_fields(card: PassFile, group: str) -> Iterator[Mapping[str, Any]]:
    yield from card.pass_json.get(card.style, {}).get(group, ())


def _fields(card: PassFile, group: str, language: str, zone: str) -> Iterator[FaceField]:
    for item in _raw_fields(card, group):
        value = _shown(card, item, language, zone)
        attributed = item.get("attributedValue") if group not in _FRONT_GROUPS else None
        yield FaceField(
            key=str(item["key"]),
            label=card.text(str(item.get("label", "")), language),
            value=value,
            alignment=str(item.get("textAlignment", "")).removeprefix("PKTextAlignment").lower(),
            parts=_links(card.text(str(attributed), language)) if attributed else (FaceLink(value, None),),
        )


def _shown(card: PassFile, item: Mapping[str, Any], language: str, zone: str) -> str:
    value = item.get("value", "")
    locale = _locale(language)
    if isinstance(value, str):
        if "dateStyle" in item or "timeStyle" in item:
            return _moment(value, item, locale, zone)
        return card.text(value, language)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    if "currencyCode" in item:
        return str(format_currency(number, str(item["currencyCode"]), locale=locale))
    style = item.get("numberStyle")
    if style == "PKNumberStylePercent":
        return str(format_percent(number, locale=locale))
    if style == "PKNumberStyleScientific":
        return str(format_scientific(number, locale=locale))
    return str(format_decimal(number, locale=locale))


def _moment(value: str, item: Mapping[str, Any], locale: Locale, zone: str) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    if not item.get("ignoresTimeZone"):
        moment = moment.astimezone(ZoneInfo(zone))
    date_style = _STYLES.get(str(item.get("dateStyle")))
    time_style = _STYLES.get(str(item.get("timeStyle")))
    if date_style and time_style:
        return str(format_datetime(moment.replace(tzinfo=None), date_style, locale=locale))
    if date_style:
        return str(format_date(moment.date(), date_style, locale=locale))
    if time_style:
        return str(format_time(moment.time(), "short" if time_style == "short" else "medium", locale=locale))
    return value


def _code(card: PassFile, language: str) -> FaceCode | None:
    document = card.pass_json
    known = ("PKBarcodeFormatQR", "PKBarcodeFormatPDF417", "PKBarcodeFormatAztec", "PKBarcodeFormatCode128")
    for code in (*document.get("barcodes", ()), *([document["barcode"]] if "barcode" in document else ())):
        if code.get("format") in known:
            return FaceCode(
                kind=str(code["format"]).removeprefix("PKBarcodeFormat"),
                message=str(code["message"]),
                encoding=str(code.get("messageEncoding", "iso-8859-1")),
                caption=card.text(str(code.get("altText", "")), language),
            )
    return None


def _color(value: object, default: str) -> str:
    text = str(value or "")
    if match := _RGB.fullmatch(text):
        return "".join(f"{min(int(part), 255):02x}" for part in match.groups())
    if match := _HEX.fullmatch(text):
        digits = match[1].lower()
        return digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    return default


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale.parse("en")


class _LinkParser(HTMLParser):
    """Reads the only markup that a back field may hold: ``<a href="…">``."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[FaceLink] = []
        self._address: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            address = dict(attrs).get("href") or ""
            self._address = address if address.startswith(_LINK_SCHEMES) else None

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._address = None

    def handle_data(self, data: str) -> None:
        self.parts.append(FaceLink(data, self._address))


def _links(markup: str) -> tuple[FaceLink, ...]:
    parser = _LinkParser()
    parser.feed(markup)
    parser.close()
    return tuple(parser.parts)
