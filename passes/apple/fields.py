"""One field of a pass -> its text in `pass.json`.

Most fields say the same on thousands of passes, and a balance differs in its number only: what surrounds the value
is written and checked once and kept by value.

Source: developer.apple.com/documentation/walletpasses/passfieldcontent
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from html.parser import HTMLParser
from operator import attrgetter
from typing import Any, Final
from urllib.parse import urlsplit

from passes.apple.semantics import is_writable, semantics_json
from passes.content import PassContentError, PassField, w3c_date

TEXT_CHARACTERS_MAX: Final = 4_000
NUMBER_MAX: Final = 2**53
"""Phones read numbers as doubles: beyond this a balance would be shown wrong."""
FIELDS_KEPT: Final = 4_096
"""Fields that are kept; a text of 4,000 characters would make the worst of them 50 MB."""

TO_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

_CURRENCY = re.compile(r"[A-Z]{3}")
_ALIGNMENTS: Final = {
    "left": "PKTextAlignmentLeft",
    "center": "PKTextAlignmentCenter",
    "right": "PKTextAlignmentRight",
    "natural": "PKTextAlignmentNatural",
}
_NUMBER_STYLES: Final = {
    "decimal": "PKNumberStyleDecimal",
    "percent": "PKNumberStylePercent",
    "scientific": "PKNumberStyleScientific",
    "spell_out": "PKNumberStyleSpellOut",
}
_DATE_STYLES: Final = {
    "none": "PKDateStyleNone",
    "short": "PKDateStyleShort",
    "medium": "PKDateStyleMedium",
    "long": "PKDateStyleLong",
    "full": "PKDateStyleFull",
}
_DETECTORS: Final = {
    "phone": "PKDataDetectorTypePhoneNumber",
    "link": "PKDataDetectorTypeLink",
    "address": "PKDataDetectorTypeAddress",
    "calendar": "PKDataDetectorTypeCalendarEvent",
}
_WITHOUT_ALIGNMENT: Final = ("backFields", "primaryFields")
_WITH_LINKS: Final = ("backFields", "additionalInfoFields")

_SURROUNDINGS: Final = (
    "key",
    "label",
    "change_message",
    "alignment",
    "currency_code",
    "number_style",
    "date_style",
    "time_style",
    "attributed_value",
    "link",
    "detectors",
    "ignores_time_zone",
    "is_relative",
    "row",
)
_surroundings = attrgetter(*_SURROUNDINGS)


def fields_text(where: str, items: Sequence[PassField], group: str, style: str) -> str:
    """Return the JSON text of one group's fields (``backFields``), checked.

    Raises `PassContentError` naming the field as ``<where>[0].value``.
    """
    made: list[str] = []
    try:
        for item in items:
            made.append(_field_text(item, group, style))  # noqa: PERF401 - its length tells which one failed
    except PassContentError as error:
        raise PassContentError(f"{where}[{len(made)}].{error.where}", error.rule) from error
    return f"[{','.join(made)}]"


def fields_json(where: str, items: Sequence[PassField], group: str, style: str) -> list[Any]:
    """Return one group's fields as JSON objects. Raises `PassContentError`."""
    made: list[Any] = json.loads(fields_text(where, items, group, style))
    return made


def _field_text(item: PassField, group: str, style: str) -> str:
    value = item.value
    kind = type(value)
    if item.semantics is None:
        # Equal values of these two are the same text; of floats and dates they need not be (0.0 and -0.0).
        if kind is int and -NUMBER_MAX < value < NUMBER_MAX and item.link is None:  # type: ignore[operator]
            before, after = _around_number(_surroundings(item), group, style)
            return f"{before}{value}{after}"
        if kind is str:
            return _with_text(_surroundings(item), value, group, style)
    return TO_JSON(_field(item, group, style))


@lru_cache(maxsize=FIELDS_KEPT)
def _around_number(surroundings: tuple[Any, ...], group: str, style: str) -> tuple[str, str]:
    item = PassField(value=0, **dict(zip(_SURROUNDINGS, surroundings, strict=True)))
    entry = _field(item, group, style)
    names = list(entry)
    at = names.index("value")
    before = TO_JSON({name: entry[name] for name in names[:at]})
    after = TO_JSON({name: entry[name] for name in names[at + 1 :]})
    return f'{before[:-1]},"value":', f",{after[1:]}" if len(after) > len("{}") else "}"


@lru_cache(maxsize=FIELDS_KEPT)
def _with_text(surroundings: tuple[Any, ...], value: str, group: str, style: str) -> str:
    return TO_JSON(_field(PassField(value=value, **dict(zip(_SURROUNDINGS, surroundings, strict=True))), group, style))


def _field(item: PassField, group: str, style: str) -> dict[str, object]:
    entry: dict[str, object] = {"key": required_text("key", item.key)}
    if item.label:
        entry["label"] = text("label", item.label)
    entry["value"] = _value(item.value)
    if item.change_message is not None:
        if "%@" not in item.change_message:
            raise PassContentError("change_message", "a change message contains %@, which becomes the new value")
        entry["changeMessage"] = text("change_message", item.change_message)
    if item.alignment is not None:
        if group in _WITHOUT_ALIGNMENT:
            raise PassContentError("alignment", "primary fields and fields on the back have no alignment")
        entry["textAlignment"] = choice("alignment", item.alignment, _ALIGNMENTS)
    entry.update(_number_format(item))
    entry.update(_date_format(item))
    entry.update(_links(item, group))
    if item.detectors is not None:
        if group != "backFields":
            raise PassContentError("detectors", "data detectors work on the back of the pass only")
        entry["dataDetectorTypes"] = [choice("detectors", name, _DETECTORS) for name in item.detectors]
    if item.row is not None:
        if group != "auxiliaryFields" or style != "eventTicket":
            raise PassContentError("row", "rows are for the auxiliary fields of event tickets")
        if item.row not in (0, 1):
            raise PassContentError("row", "a row is 0 or 1")
        entry["row"] = int(item.row)
    if item.semantics is not None:
        entry["semantics"] = semantics_json("semantics", item.semantics, style=style)
    return entry


def _value(value: object) -> str | int | float:
    if isinstance(value, datetime):
        return w3c_date("value", value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PassContentError("value", "a value is a text, a number or a date, not true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise PassContentError("value", "a number must be finite: JSON has no NaN or infinity")
    if isinstance(value, int) and not -NUMBER_MAX < value < NUMBER_MAX:
        raise PassContentError("value", "a whole number has at most 53 bits: phones read numbers as doubles")
    return text("value", value) if isinstance(value, str) else value


def _number_format(item: PassField) -> dict[str, object]:
    if item.currency_code is None and item.number_style is None:
        return {}
    if item.currency_code is not None and item.number_style is not None:
        raise PassContentError("number_style", "a number has a currency or a style, not both")
    if not isinstance(item.value, int | float):
        raise PassContentError("value", "a formatted number must be a number, not a text")
    if item.currency_code is not None:
        if not _CURRENCY.fullmatch(item.currency_code):
            raise PassContentError("currency_code", "a currency is its ISO 4217 code, such as EUR")
        return {"currencyCode": item.currency_code}
    assert item.number_style is not None
    return {"numberStyle": choice("number_style", item.number_style, _NUMBER_STYLES)}


def _date_format(item: PassField) -> dict[str, object]:
    if item.date_style is None and item.time_style is None:
        if item.ignores_time_zone or item.is_relative:
            name = "ignores_time_zone" if item.ignores_time_zone else "is_relative"
            raise PassContentError(name, "this is for dates that have a date style and a time style")
        return {}
    if item.date_style is None or item.time_style is None:
        raise PassContentError("date_style", "date and time style come together")
    if not isinstance(item.value, datetime):
        raise PassContentError("value", "date styles need a date with its time zone")
    entry: dict[str, object] = {
        "dateStyle": choice("date_style", item.date_style, _DATE_STYLES),
        "timeStyle": choice("time_style", item.time_style, _DATE_STYLES),
    }
    if item.ignores_time_zone:
        entry["ignoresTimeZone"] = True
    if item.is_relative:
        entry["isRelative"] = True
    return entry


def _links(item: PassField, group: str) -> dict[str, object]:
    if item.attributed_value is not None:
        if group not in _WITH_LINKS:
            raise PassContentError("attributed_value", "links work on the back of the pass only")
        _Markup().check(text("attributed_value", item.attributed_value))
        return {"attributedValue": item.attributed_value}
    if item.link is None or group not in _WITH_LINKS:
        return {}
    text("link", item.link)
    try:
        scheme = urlsplit(item.link).scheme
    except ValueError as error:
        raise PassContentError("link", "a link is an http or https address") from error
    if scheme not in ("https", "http"):
        raise PassContentError("link", "a link is an http or https address")
    shown = html.escape(str(item.value), quote=False)
    return {"attributedValue": f'<a href="{html.escape(item.link)}">{shown}</a>'}


class _Markup(HTMLParser):
    """The only markup that Wallet shows is ``<a href="…">``."""

    def check(self, markup: str) -> None:
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a" or not dict(attrs).get("href"):
            raise PassContentError("attributed_value", 'the only markup is <a href="…">')

    def handle_endtag(self, tag: str) -> None:
        if tag != "a":
            raise PassContentError("attributed_value", 'the only markup is <a href="…">')


def choice(where: str, name: str, table: dict[str, str]) -> str:
    """Look a word of ours up in Apple's. Raises `PassContentError`."""
    if name not in table:
        raise PassContentError(where, f"one of {', '.join(table)}, not {name!r}")
    return table[name]


def required_text(where: str, value: str) -> str:
    """Check a text that must say something. Raises `PassContentError`."""
    if not value.strip():
        raise PassContentError(where, "this text is required and must not be empty")
    return text(where, value)


def text(where: str, value: str) -> str:
    """Check the length of a text, and that it can be written as UTF-8. Raises `PassContentError`."""
    if len(value) > TEXT_CHARACTERS_MAX:
        raise PassContentError(where, f"a text has at most {TEXT_CHARACTERS_MAX} characters")
    if not is_writable(value):
        raise PassContentError(where, "the text holds half a character (a lone surrogate)")
    return value
