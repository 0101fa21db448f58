"""Which fields a card at Google shows where: the rows of the front, beside the code, the details and the list.

A field is named by its path, ``object.loyaltyPoints.balance`` or ``class.textModulesData['hours']``.

Source: developers.google.com/wallet/reference/rest/v1/ClassTemplateInfo
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from passes.content import PassContentError
from passes.google.parts import JsonObject, at_most

CARD_ROWS_MAX = 3
DETAILS_MAX = 50
PATHS_MAX = 10
"""Ours, as the number of details: Google names neither."""

_PATH = re.compile(r"(object|class)(\.[A-Za-z][A-Za-z0-9]*(\['[A-Za-z0-9_-]+'\])?)+")
_ROWS = {
    1: ("oneItem", ("item",)),
    2: ("twoItems", ("startItem", "endItem")),
    3: ("threeItems", ("startItem", "middleItem", "endItem")),
}


class DateFormat(StrEnum):
    """How a field that is a date is shown.

    Source: developers.google.com/wallet/reference/rest/v1/ClassTemplateInfo (DateFormat)
    """

    DATE_TIME = "DATE_TIME"
    DATE_ONLY = "DATE_ONLY"
    TIME_ONLY = "TIME_ONLY"
    DATE_TIME_YEAR = "DATE_TIME_YEAR"
    DATE_YEAR = "DATE_YEAR"
    YEAR_MONTH = "YEAR_MONTH"
    YEAR_MONTH_DAY = "YEAR_MONTH_DAY"


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field of the object or the class.

    Source: developers.google.com/wallet/reference/rest/v1/ClassTemplateInfo (FieldReference)
    """

    path: str
    date_format: DateFormat | None = None

    def written(self, where: str) -> JsonObject:
        if not _PATH.fullmatch(self.path):
            raise PassContentError(where, f"a path is object.… or class.… with names between dots, not {self.path!r}")
        reference: JsonObject = {"fieldPath": self.path}
        if self.date_format is not None:
            reference["dateFormat"] = self.date_format.value
        return reference


@dataclass(frozen=True, slots=True, init=False)
class Selected:
    """Fields of which the first that says something is shown: ``Selected("object.accountName", "object.accountId")``.

    Source: developers.google.com/wallet/reference/rest/v1/ClassTemplateInfo (FieldSelector)
    """

    fields: tuple[FieldPath, ...]

    def __init__(self, *fields: FieldPath | str) -> None:
        paths = tuple(FieldPath(field) if isinstance(field, str) else field for field in fields)
        object.__setattr__(self, "fields", paths)

    def written(self, where: str) -> JsonObject:
        if not self.fields:
            raise PassContentError(where, "at least one field")
        at_most(where, self.fields, PATHS_MAX, "fields")
        return {"fields": [field.written(f"{where}[{place}]") for place, field in enumerate(self.fields)]}


@dataclass(frozen=True, slots=True)
class Item:
    """One place of a row; with a second value it reads "first / second".

    Source: developers.google.com/wallet/reference/rest/v1/ClassTemplateInfo (TemplateItem)
    """

    first: Selected
    second: Selected | None = None

    def written(self, where: str) -> JsonObject:
        item: JsonObject = {"firstValue": self.first.written(f"{where}.first")}
        if self.second is not None:
            item["secondValue"] = self.second.written(f"{where}.second")
        return item


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTemplate:
    """The layout of a program's cards.

    `rows` are at most three of one to three items; `above_code` is one or two fields, `below_code` one. `details`
    replaces what Google lists on the details; `list_first` and `list_second` are the lines of the card in the list.

    Source: developers.google.com/wallet/reference/rest/v1/ClassTemplateInfo
    """

    rows: tuple[tuple[Item, ...], ...] = ()
    above_code: tuple[Selected, ...] = ()
    below_code: Selected | None = None
    details: tuple[Item, ...] = ()
    list_first: Selected | None = None
    list_second: Selected | None = None

    def written(self, where: str) -> JsonObject:
        at_most(f"{where}.rows", self.rows, CARD_ROWS_MAX, "rows")
        rows = [_row(f"{where}.rows[{place}]", row) for place, row in enumerate(self.rows)]
        info: JsonObject = {"cardTemplateOverride": {"cardRowTemplateInfos": rows}}
        at_most(f"{where}.above_code", self.above_code, 2, "fields above the code")
        section: JsonObject = {}
        for place, (name, fields) in enumerate(
            zip(("firstTopDetail", "secondTopDetail"), self.above_code, strict=False)
        ):
            section[name] = {"fieldSelector": fields.written(f"{where}.above_code[{place}]")}
        if self.below_code is not None:
            section["firstBottomDetail"] = {"fieldSelector": self.below_code.written(f"{where}.below_code")}
        if section:
            info["cardBarcodeSectionDetails"] = section
        if self.details:
            at_most(f"{where}.details", self.details, DETAILS_MAX, "details")
            info["detailsTemplateOverride"] = {
                "detailsItemInfos": [
                    {"item": item.written(f"{where}.details[{place}]")} for place, item in enumerate(self.details)
                ]
            }
        lines: JsonObject = {}
        if self.list_first is not None:
            lines["firstRowOption"] = {"fieldOption": self.list_first.written(f"{where}.list_first")}
        if self.list_second is not None:
            lines["secondRowOption"] = self.list_second.written(f"{where}.list_second")
        if lines:
            info["listTemplateOverride"] = lines
        return info


def _row(where: str, items: tuple[Item, ...]) -> JsonObject:
    if len(items) not in _ROWS:
        raise PassContentError(where, f"a row has one to {len(_ROWS)} items, not {len(items)}")
    name, places = _ROWS[len(items)]
    return {name: {place: item.written(f"{where}.{place}") for place, item in zip(places, items, strict=True)}}
