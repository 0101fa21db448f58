"""One style's dictionary in `pass.json`: its groups of fields, within the room that the phone has for them.

The cards of a program have the same fields with other values. What stands around the values is checked and written
once for each such layout, and kept; the next card costs its values.

Sources: developer.apple.com/documentation/walletpasses/passfields, …/creating-a-generic-pass (field limits)
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import call
from typing import Final, NamedTuple

from passes.apple.fields import (
    SHAPE,
    TEXT_CHARACTERS_MAX,
    Shape,
    Writer,
    around_value,
    check_value,
    more_of,
    shape_of,
    value_of,
)
from passes.apple.model import PassStyle
from passes.apple.semantics import is_writable
from passes.content import PassContentError, PassField

FIELDS_MAX: Final = 60
LAYOUTS_KEPT: Final = 512
"""About 5 kB each. A program has one for each language and each set of challenges and vouchers on a card."""
TRANSIT_TYPES: Final = {
    "air": "PKTransitTypeAir",
    "boat": "PKTransitTypeBoat",
    "bus": "PKTransitTypeBus",
    "generic": "PKTransitTypeGeneric",
    "train": "PKTransitTypeTrain",
}
GROUPS: Final = {
    "header": "headerFields",
    "primary": "primaryFields",
    "secondary": "secondaryFields",
    "auxiliary": "auxiliaryFields",
    "back": "backFields",
    "footer": "footerFields",
    "additional_info": "additionalInfoFields",
}
POSTER: Final = "posterGeneric"

_VALUE: Final = "\0"
"""Stands for a value until there is one: JSON escapes such a character, so that no text has it."""
_ROW_IS_SHARED: Final = (PassStyle.STORE_CARD, PassStyle.COUPON, PassStyle.GENERIC)


def style_text(counts: tuple[int, ...], fields: tuple[PassField, ...], frame: Frame) -> str:
    """Return the member `frame.style` of `pass.json`.

    `fields` are those of all groups in the order of `GROUPS`, `counts` says how many each group has.

    Raises `PassContentError` naming the field as ``<where>.back[2].value``.
    """
    values = [*map(value_of, fields)]
    layout = _layout(counts, tuple(map(shape_of, fields)), tuple(map(type, values)), frame)
    try:
        written = [*map(call, layout.writers, values)]
        for index, item in enumerate(fields):
            if item.link is not None or item.semantics is not None:
                written[index] += more_of(item, layout.groups[index], frame.style)
    except PassContentError:
        _refuse(fields, layout, frame)
        raise
    pieces = layout.pieces.copy()
    pieces[1::2] = written
    text = "".join(pieces)
    # As long as the whole is shorter than a text may be, no text in it is too long.
    if len(text) > TEXT_CHARACTERS_MAX or not (text.isascii() or is_writable(text)):
        _refuse(fields, layout, frame)
    return text


def _refuse(fields: tuple[PassField, ...], layout: _Layout, frame: Frame) -> None:
    """Raise `PassContentError` with the name of the first field whose value is wrong, if there is one."""
    for item, write, group, place in zip(fields, layout.writers, layout.groups, layout.places, strict=True):
        try:
            check_value(item.value)
            write(item.value)
            more_of(item, group, frame.style)
        except PassContentError as error:
            raise PassContentError(f"{place}.{error.where}", error.rule) from error


class Frame(NamedTuple):
    """What a style's dictionary is beside its fields."""

    style: str
    where: str = "fields"
    """Our name of it, for errors."""
    transit_type: str | None = None
    has_square_code: bool = False
    """Whether the code that phones show is square."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The fields of a style without their values."""

    pieces: list[str]
    """Every second one is empty, for a value."""
    writers: tuple[Writer, ...]
    groups: tuple[str, ...]
    """Apple's name of the group that each field is in."""
    places: tuple[str, ...]
    """Ours of each field, ``fields.back[2]``."""


@lru_cache(maxsize=LAYOUTS_KEPT)
def _layout(
    counts: tuple[int, ...],
    shapes: tuple[Shape, ...],
    types: tuple[Hashable, ...],
    frame: Frame,
) -> _Layout:
    """Check and write what is around the values. Every argument is hashable, and equal ones are the same text."""
    style, where = frame.style, frame.where
    fields = [dict(zip(SHAPE, shape, strict=True)) for shape in shapes]
    groups = [group for group, count in zip(GROUPS.values(), counts, strict=True) for _ in range(count)]
    places = [f"{where}.{name}[{n}]" for name, count in zip(GROUPS, counts, strict=True) for n in range(count)]
    written: dict[str, list[str]] = {}
    writers: list[Writer] = []
    for shape, value_type, group, place in zip(shapes, types, groups, places, strict=True):
        try:
            before, write, after = around_value(shape, value_type, group, style)
        except PassContentError as error:
            raise PassContentError(f"{place}.{error.where}", error.rule) from error
        written.setdefault(group, []).append(f"{before}{_VALUE}{after}")
        writers.append(write)
    _check_keys([field["key"] for field in fields], where, places)
    has_rows = any(field["row"] == 1 for field in fields)  # fields of another kind of pass have none
    _check_room(dict(zip(GROUPS, counts, strict=True)), frame, has_rows=has_rows)
    members = [f'"{group}":[{",".join(items)}]' for group, items in written.items()]
    members += _transit(frame)
    text = f'"{style}":{{{",".join(members)}}}'
    pieces = [""] * (2 * len(fields) + 1)
    pieces[::2] = text.split(_VALUE)
    return _Layout(pieces, tuple(writers), tuple(groups), tuple(places))


def _check_keys(keys: Sequence[str], where: str, places: Sequence[str]) -> None:
    if len(keys) > FIELDS_MAX:
        raise PassContentError(where, f"a pass has at most {FIELDS_MAX} fields, this one {len(keys)}")
    seen: set[str] = set()
    for key, place in zip(keys, places, strict=True):
        if key in seen:
            raise PassContentError(f"{place}.key", f"{key!r} is already a field's key; keys are unique in a pass")
        seen.add(key)


def _check_room(count: Mapping[str, int], frame: Frame, *, has_rows: bool) -> None:
    style, where = frame.style, frame.where
    is_boarding = style == PassStyle.BOARDING_PASS
    room = {
        "header": 3,
        "primary": 2 if is_boarding else 1,
        "secondary": 4,
        "auxiliary": 8 if has_rows else 5 if is_boarding else 4,
        "footer": 1 if style == POSTER else 0,
        "additional_info": FIELDS_MAX if style == PassStyle.EVENT_TICKET else 0,
    }
    for name, limit in room.items():
        if count[name] > limit:
            raise PassContentError(f"{where}.{name}", f"{style} has room for {limit} such fields, not {count[name]}")
    shared = count["secondary"] + count["auxiliary"]
    if frame.has_square_code and style in _ROW_IS_SHARED and shared > 4:
        raise PassContentError(
            f"{where}.auxiliary", f"beside a square code secondary and auxiliary fields share 4 places, not {shared}"
        )


def _transit(frame: Frame) -> list[str]:
    where, transit_type = f"{frame.where}.transit_type", frame.transit_type
    if (transit_type is not None) != (frame.style == PassStyle.BOARDING_PASS):
        raise PassContentError(where, "a boarding pass has a transit type, other passes have none")
    if transit_type is None:
        return []
    if transit_type not in TRANSIT_TYPES:
        raise PassContentError(where, f"one of {', '.join(TRANSIT_TYPES)}")
    return [f'"transitType":"{TRANSIT_TYPES[transit_type]}"']
