"""The designer's form: everything as typed, out of a browser and out of the look in force. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from babel.numbers import get_currency_precision
from werkzeug.datastructures import MultiDict

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Challenge
from wallet_server.programs.look import (
    DATES_OF_LOOK_MAX,
    LOOKS_MAX,
    Look,
    Strip,
)

COLORS: Final = ("background", "foreground", "label", "accent")
PHOTO: Final = ("photo", "photo_x", "photo_y")
DRAWN: Final = ("strip_kind", "strip_challenge", "glyph")
STRIP: Final = (*DRAWN, "motif", *PHOTO)
PICTURES: Final = ("logo", "icon")
SECTION_TEXTS: Final = (*COLORS, *STRIP, *PICTURES, "organization")
LOOK_TEXTS: Final = (*COLORS, *STRIP, "name", "reached", "at_least", "at_most")
NAME_CHARACTERS_MAX: Final = 60
TEXT_CHARACTERS_MAX: Final = 500

PHOTO_OF_LOOK: Final = re.compile(r"look_(\d{1,2})_photo")
MIDDLE: Final = "50"

Texts = Mapping[str, str]


@dataclass(frozen=True)
class LookRow:
    """One look as typed; ``days`` are pairs of first and last."""

    texts: Texts
    captions: Texts
    tiers: tuple[str, ...] = ()
    days: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")


@dataclass(frozen=True)
class LookForm:
    """Everything as typed, made from version ``version`` of the program."""

    version: int
    texts: Texts
    descriptions: Texts
    looks: tuple[LookRow, ...] = ()

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    def fields(self) -> Iterator[tuple[str, str]]:
        """Names and values as :func:`read_form` reads them."""
        yield "version", str(self.version)
        yield from self.texts.items()
        yield from ((f"description_{code}", text) for code, text in self.descriptions.items())
        for place, row in enumerate(self.looks):
            prefix = f"look_{place}_"
            yield from ((prefix + name, row[name]) for name in LOOK_TEXTS)
            yield from ((f"{prefix}caption_{code}", text) for code, text in row.captions.items())
            yield from ((f"{prefix}tiers", tier) for tier in row.tiers)
            for number, (first, last) in enumerate(row.days):
                yield f"{prefix}day_{number}_from", first
                yield f"{prefix}day_{number}_to", last

    @property
    def uploads(self) -> tuple[str, ...]:
        """The fields that take a picture: ``logo``, ``icon``, ``photo``, and ``look_0_photo`` for the first look."""
        return (*PICTURES, "photo", *(f"look_{place}_photo" for place in range(len(self.looks))))

    def with_picture(self, field: str, sha256: str) -> LookForm:
        """With an uploaded picture in one of its ``uploads``; without one if it is empty."""
        in_look = PHOTO_OF_LOOK.fullmatch(field)
        if in_look is None:
            texts = self.texts if field in PICTURES else _with_photo(self.texts, sha256)
            return replace(self, texts={**texts, field: sha256})
        rows = list(self.looks)
        row = rows[int(in_look[1])]
        # What a look draws over its photo is what all cards have, until somebody says otherwise.
        texts = row.texts if row["strip_kind"] else {**row.texts, **{name: self[name] for name in DRAWN}}
        rows[int(in_look[1])] = replace(row, texts={**_with_photo(texts, sha256), "photo": sha256})
        return replace(self, looks=tuple(rows))

    def with_another(self) -> LookForm:
        """One more look, at the top: the first that holds is shown."""
        return replace(self, looks=(LookRow({}, {}), *self.looks)[:LOOKS_MAX])

    def without(self, place: int) -> LookForm:
        """Without the look at a place; a place that there is not changes nothing."""
        return replace(self, looks=tuple(row for index, row in enumerate(self.looks) if index != place))

    def moved(self, place: int, by: int) -> LookForm:
        """The look at a place and its neighbour changed over; at an end nothing moves."""
        rows, there = list(self.looks), place + by
        if 0 <= place < len(rows) and 0 <= there < len(rows):
            rows[place], rows[there] = rows[there], rows[place]
        return replace(self, looks=tuple(rows))


def read_form(values: MultiDict[str, str], languages: Sequence[str]) -> LookForm:
    """The form as a browser sent it; what is too long for any field is cut."""
    version = values.get("version", "")
    rows = []
    for place in range(LOOKS_MAX):
        prefix = f"look_{place}_"
        if prefix + "name" not in values:
            break
        days = []
        for number in range(DATES_OF_LOOK_MAX):
            at = f"{prefix}day_{number}"
            if f"{at}_from" not in values:
                break
            days.append((_line(values, f"{at}_from", 10), _line(values, f"{at}_to", 10)))
        days = [pair for pair in days if any(pair)]  # the page adds an empty one to fill in
        rows.append(
            LookRow(
                {name: _line(values, prefix + name, 80) for name in LOOK_TEXTS},
                {code: _line(values, f"{prefix}caption_{code}", 80) for code in languages},
                tuple(values.getlist(prefix + "tiers"))[:50],
                tuple(days),
            )
        )
    return LookForm(
        version=int(version) if re.fullmatch(r"[0-9]{1,9}", version) else 0,
        texts={name: _line(values, name, 80) for name in SECTION_TEXTS},
        descriptions={
            code: values.get(f"description_{code}", "").strip()[: TEXT_CHARACTERS_MAX + 1] for code in languages
        },
        looks=tuple(rows),
    )


def _line(values: MultiDict[str, str], name: str, most: int) -> str:
    return " ".join(values.get(name, "").split())[:most]


def form_of(program: ProgramDefinition) -> LookForm:
    """The form of the look in force."""
    look = program.file.look
    return LookForm(
        version=program.version,
        texts={
            **{name: getattr(look, name) or "" for name in (*COLORS, *PICTURES, "organization")},
            **_strip_texts(look.own_strip),
        },
        descriptions={code: (look.description or {}).get(code, "") for code in program.languages},
        looks=tuple(_row(one, program) for one in look.looks),
    )


def _strip_texts(strip: Strip | None) -> dict[str, str]:
    if strip is None:
        return {}
    texts: dict[str, str] = {"strip_kind": strip.kind, "glyph": strip.glyph or "", "motif": strip.motif or ""}
    if strip.photo is not None:
        texts |= {"photo": strip.photo.picture, "photo_x": str(strip.photo.x), "photo_y": str(strip.photo.y)}
    return {**texts, "strip_challenge": strip.challenge or ""}


def _with_photo(texts: Texts, sha256: str) -> Texts:
    """The picture for another photo, cut around its middle; a season alone gives way to it."""
    kind = "plain" if sha256 and texts.get("strip_kind") == "season" else texts.get("strip_kind", "")
    return {**texts, "strip_kind": kind, "photo_x": MIDDLE, "photo_y": MIDDLE}


def _row(look: Look, program: ProgramDefinition) -> LookRow:
    texts = {"name": look.name, **{name: getattr(look, name) or "" for name in COLORS}, **_strip_texts(look.strip)}
    if reached := look.when.challenge:
        texts["reached"] = reached.code
        for name in ("at_least", "at_most"):
            amount = getattr(reached, name)
            texts[name] = "" if amount is None else _amount_text(amount, program.challenge(reached.code), program)
    return LookRow(
        texts,
        {code: (look.texts.caption or {}).get(code, "") for code in program.languages},
        tuple(look.when.tiers or ()),
        tuple((days.from_, days.to or "") for days in look.when.dates or ()),
    )


def _amount_text(amount: int, challenge: Challenge | None, program: ProgramDefinition) -> str:
    if challenge is None or challenge.metric != "spend_minor":
        return str(amount)
    precision = get_currency_precision(program.currency)
    whole, rest = divmod(amount, 10**precision)
    return f"{whole}.{rest:0{precision}d}" if precision else str(whole)
