"""One field of a pass -> its text in `pass.json`.

The same field of thousands of passes differs in its value only: what is around the value is checked and written once,
and kept.

Source: developer.apple.com/documentation/walletpasses/passfieldcontent
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from html.parser import HTMLParser
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any, Final

from passes.apple.semantics import is_writable, semantics_json
from passes.content import FieldValue, PassContentError, PassField, w3c_date

TEXT_CHARACTERS_MAX: Final = 4_000
NUMBER_MAX: Final = 2**53
"""Phones read numbers as doubles: beyond this a balance would be shown wrong."""
FIELDS_KEPT: Final = 4_096
"""Texts around values that are kept; labels are short."""

TO_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
quoted: Final[Callable[[str], str]] = encode_basestring
"""A text as JSON: what `TO_JSON` does, without the way there."""

_CURRENCY = re.compile(r"[A-Z]{3}")
_WEB_LINK = re.compile(r"https?://[^\s/][^\s]*")
_PLAIN_LINK = re.compile(r"https?://[\w.:-]+[\w./:@?=%+~-]*", re.ASCII)
_WITHOUT_MARKUP = re.compile(r'[^&<>"]*')
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

Shape = tuple[Any, ...]
"""What `SHAPE` names of one field."""
Writer = Callable[[Any], str]
"""Writes a value as JSON; raises `PassContentError`. Texts are for `check_value` to check, or all of them at once."""

SHAPE: Final = PassField._fields[1:-2]
"""What of a field is the same on thousands of passes: all but its value, its link and what its value means."""
shape_of: Final[Callable[[PassField], Shape]] = itemgetter(slice(1, -2))
"""What `SHAPE` names of a field."""
value_of: Final[Callable[[PassField], FieldValue]] = itemgetter(0)


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
    value_type: Any = type(item.value)
    before, write, after = around_value(shape_of(item), value_type, group, style)
    check_value(item.value)
    return f"{before}{write(item.value)}{more_of(item, group, style)}{after}"


def check_value(value: FieldValue) -> None:
    """Check what a `Writer` leaves open: the length of a text. Raises `PassContentError`."""
    if isinstance(value, str):
        text("value", value)


def more_of(item: PassField, group: str, style: str) -> str:
    """Return the members that follow the value and differ from card to card. Raises `PassContentError`."""
    more = ""
    if item.link is not None and group in _WITH_LINKS and item.attributed_value is None:
        more = f',"attributedValue":{quoted(_link(item.link, item.value))}'
    if item.semantics is not None:
        more += f',"semantics":{TO_JSON(semantics_json("semantics", item.semantics, style=style))}'
    return more


@lru_cache(maxsize=FIELDS_KEPT)
def around_value(shape: Shape, value_type: Hashable, group: str, style: str) -> tuple[str, Writer, str]:
    """Return the text before a value of this type in a field of this shape, what writes it, and the text after it.

    Both raise `PassContentError`.
    """
    kind = _kind(value_type)
    item = PassField(value=_EXAMPLES[kind], **dict(zip(SHAPE, shape, strict=True)))
    head: dict[str, object] = {"key": required_text("key", item.key)}
    if item.label:
        head["label"] = text("label", item.label)
    tail = TO_JSON(_options(item, group, style))
    return f'{TO_JSON(head)[:-1]},"value":', _WRITERS[kind], f",{tail[1:]}" if len(tail) > len("{}") else "}"


def _kind(value_type: Hashable) -> type[Any]:
    """Return the kind of value that this type is or is derived from (an `IntEnum`)."""
    if isinstance(value_type, type) and not issubclass(value_type, bool):
        for kind in _WRITERS:
            if issubclass(value_type, kind):
                return kind
    raise PassContentError("value", "a value is a text, a number or a date, not true or false")


def _options(item: PassField, group: str, style: str) -> dict[str, object]:
    entry: dict[str, object] = {}
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
    if item.attributed_value is not None:
        if group not in _WITH_LINKS:
            raise PassContentError("attributed_value", "links work on the back of the pass only")
        _Markup().check(text("attributed_value", item.attributed_value))
        entry["attributedValue"] = item.attributed_value
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
    return entry


def _whole_number(value: Any) -> str:
    if not -NUMBER_MAX < value < NUMBER_MAX:
        raise PassContentError("value", "a whole number has at most 53 bits: phones read numbers as doubles")
    return int.__repr__(value)


def _fraction(value: Any) -> str:
    if not math.isfinite(value):
        raise PassContentError("value", "a number must be finite: JSON has no NaN or infinity")
    return float.__repr__(value)


def _date_value(value: Any) -> str:
    return f'"{w3c_date("value", value)}"'


_WRITERS: Final[Mapping[type[Any], Writer]] = {
    str: quoted,
    int: _whole_number,
    float: _fraction,
    datetime: _date_value,
}
_EXAMPLES: Final[Mapping[type[Any], Any]] = {str: "", int: 0, float: 0.0, datetime: datetime(2026, 1, 1, tzinfo=UTC)}


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


def _link(link: str, value: object) -> str:
    shown = str(value)
    if not (_PLAIN_LINK.fullmatch(link) and len(link) <= TEXT_CHARACTERS_MAX):
        if not _WEB_LINK.fullmatch(text("link", link)):
            raise PassContentError("link", "a link is an http or https address")
        link = html.escape(link, quote=False).replace('"', "&quot;")
    if not _WITHOUT_MARKUP.fullmatch(shown):
        shown = html.escape(shown, quote=False)
    return f'<a href="{link}">{shown}</a>'


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


def required_text(where: str, value: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """Check a text that must say something. Raises `PassContentError`."""
    if not value.strip():
        raise PassContentError(where, "this text is required and must not be empty")
    return text(where, value, characters_max)


def text(where: str, value: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """Check the length of a text, and that it can be written as UTF-8. Raises `PassContentError`."""
    if len(value) > characters_max:
        raise PassContentError(where, f"a text has at most {characters_max} characters")
    if not (value.isascii() or is_writable(value)):
        raise PassContentError(where, "the text holds half a character (a lone surrogate)")
    return value
