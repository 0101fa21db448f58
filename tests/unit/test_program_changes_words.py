"""Changes of a program in the words of people: each difference has a heading, what was and what is."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.factories import CAFE, edited
from wallet_server.i18n import translator
from wallet_server.programs.diff import differences
from wallet_server.programs.file import Catalog, Challenge, OutletSection, ProgramFile, ProgramSection, SegmentSection
from wallet_server.programs.rule import Earn, Redeem
from wallet_server.programs.tiers import Tiers
from wallet_server.web.panel.program_changes_labels import LABELS
from wallet_server.web.panel.program_changes_words import ChangeWords, change_reader

SEGMENT = {"code": "s", "name": "Quiet ones", "when": {"tiers": ["silver"]}}


def cafe(path: str = "", value: Any = None) -> ProgramFile:
    """The café, with the value at a path set, or taken out where it is None."""
    return ProgramFile.model_validate(edited({**CAFE, "segments": [SEGMENT]}, path, value))


def told(old: ProgramFile, new: ProgramFile, language: str = "en") -> list[ChangeWords]:
    reader = change_reader(old, new, translator(language))
    return [reader.told(one) for one in differences(old, new)]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("program.points.base_percent", "2.5", ("Program · Points · percent that comes back", "1", "2.5")),
        ("program.points.point_value_minor", 50, ("Program · Points · value of a point", "MKD 1.00", "MKD 0.50")),
        ("program.points.earn_on_points_part", True, ("Program · Points · what points pay earns too", "no", "yes")),
        ("program.points.rounding", "up",
         ("Program · Points · rounding", "Parts of a point are cut off", "A part of a point counts as one")),
        ("program.points.expiry", {"kind": "rolling_days", "days": 365},
         ("Program · Points · end of points", "none", "so many days, days: 365")),
        ("program.points.zeroing", [{"name": "Year", "month": 12, "day": 31, "carry_over": {"max_points": 1000}}],
         ("New: Setting to zero “Year”", "", "month: 12 · day: 31 · what stays: points at most: 1,000")),
        ("program.name.en", "Cafe", ("Program · name · English", "Cafe Ohrid", "Cafe")),
        ("program.validity", {"ends_at": "2027-01-01T00:00:00"},
         ("Program · when the program runs", "none", "until: Jan 1, 2027 00:00")),
        ("outlets.2", {"code": "C", "name": "Bar C", "receipt_max_percent": "12.5"},
         ("New: Outlet “Bar C”", "", "percent of a receipt that points may pay: 12.5")),
        ("outlets.1", None, ("Closed: Outlet “Restaurant B”", "", "")),
        ("outlets.0.partner", {"company": "Books Ltd", "settlement_percent": 80},
         ("Outlet “Restaurant A” · partner", "none", "company: Books Ltd, percent of settlement: 80")),
        ("catalog.products.0.price_minor", 1, ("Product “Cappuccino” · price", "MKD 300.00", "MKD 0.01")),
        ("tiers.window", {"kind": "calendar_year"},
         ("Tiers · time that counts",
          "Counted since the member joined. A level once reached is kept.",
          "Counted in a calendar year. A level reached is kept to the end of the next year.")),
        ("tiers.levels.1.reach", {"all": [{"spend_minor": 500}, {"bought": {"quantity": 2, "skus": ["tea"]}}]},
         ("Level “Silver” · reached by", "any of: spent: MKD 10,000.00; purchases: 10",
          "all of: spent: MKD 5.00; bought: quantity: 2, products: tea")),
        ("challenges.0.target", 4, ("Challenge “Three visits, one dinner” · target", "3", "4")),
        ("challenges.0.repeat", "once",
         ("Challenge “Three visits, one dinner” · how often", "again and again", "once")),
        ("segments.0.when", {}, ("Segment “Quiet ones” · condition · tiers", "silver", "none")),
        ("segments.0", None, ("No longer in the file, but kept: Segment “Quiet ones”", "", "")),
        ("pass.background", "#000000", ("Look of the card · background", "#1f3a5f", "#000000")),
    ],
)  # fmt: skip
def test_each_change_is_told_with_what_was_and_what_is(path: str, value: Any, words: tuple[str, str, str]) -> None:
    [found] = told(cafe(), cafe(path, value))
    assert (
        tuple(text.replace("\N{NO-BREAK SPACE}", " ") for text in (found.heading, found.before, found.after)) == words
    )


def test_another_order_and_many_products_are_told() -> None:
    turned = {**CAFE, "outlets": list(reversed(CAFE["outlets"]))}
    [found] = told(ProgramFile.model_validate(CAFE), ProgramFile.model_validate(turned))
    assert found == ChangeWords("Another order: Outlets", "Restaurant A, Restaurant B", "Restaurant B, Restaurant A")
    products = [*CAFE["catalog"]["products"], *({"sku": f"P{number}"} for number in range(1021))]
    many = {**CAFE, "catalog": {**CAFE["catalog"], "products": products}}
    [found] = told(ProgramFile.model_validate(CAFE), ProgramFile.model_validate(many))
    assert found == ChangeWords("Products: 1,021 new, 0 changed, 0 removed")


def test_long_values_are_cut() -> None:
    [found] = told(cafe(), cafe("segments.0.when.tags", [f"tag-{number}" for number in range(100)]))
    assert len(found.after) == 200
    assert found.after.endswith("…")


def keys(model: type[BaseModel]) -> Iterator[str]:
    """All keys of a part of the file and of the parts inside it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        yield from _keys_of(field.annotation)


def _keys_of(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from keys(annotation)
    for inner in typing.get_args(annotation):
        yield from _keys_of(inner)


def test_every_key_has_a_name_for_people() -> None:
    # A level's earning and paying are told by the words of rules.
    by_words = {*Earn.model_fields, *Redeem.model_fields}
    sections = (ProgramSection, OutletSection, Catalog, Tiers, Challenge, SegmentSection)
    found = {key for section in sections for key in keys(section)}
    aside = {"slug", "levels", "products", "uuid", "major", "minor", "zeroing"}
    assert found - by_words - aside - {*LABELS} == set()
