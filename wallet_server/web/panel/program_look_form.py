"""The designer's form: everything as typed, out of a browser and out of the look in force. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
STRIP: Final = ("strip_kind", "strip_challenge", "glyph", "motif")
PICTURES: Final = ("logo", "icon")
SECTION_TEXTS: Final = (*COLORS, *STRIP, *PICTURES, "organization")
LOOK_TEXTS: Final = (*COLORS, *STRIP, "name", "reached", "at_least", "at_most")
NAME_CHARACTERS_MAX: Final = 60
TEXT_CHARACTERS_MAX: Final = 500

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

    def with_picture(self, slot: str, sha256: str) -> LookForm:
        """With an uploaded picture as its logo or icon; without one if it is empty."""
        return replace(self, texts={**self.texts, slot: sha256})

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
    texts = {"strip_kind": strip.kind, "glyph": strip.glyph or "", "motif": strip.motif}
    return {**texts, "strip_challenge": strip.challenge or ""}


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
