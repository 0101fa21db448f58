"""What the designer's form means: a ``pass`` section that goes with the rest of the file, or what is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, get_args

from pydantic import ValidationError

from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.editing import with_look
from wallet_server.programs.fields import COLOR_PATTERN
from wallet_server.programs.file import Challenge, ProgramFile
from wallet_server.programs.look import CAPTION_CHARACTERS_MAX, Glyph, Motif, PassLook, Strip, StripKind
from wallet_server.programs.rule import DateRange
from wallet_server.web.forms import parse_decimal, parse_money
from wallet_server.web.panel.program_look_form import (
    COLORS,
    MIDDLE,
    NAME_CHARACTERS_MAX,
    PHOTO,
    PICTURES,
    SECTION_TEXTS,
    STRIP,
    TEXT_CHARACTERS_MAX,
    LookForm,
    LookRow,
    Texts,
    form_of,
)

GLYPHS: Final = get_args(Glyph)
MOTIFS: Final = get_args(Motif)
KINDS: Final = get_args(StripKind)
REFUSALS: Final = {
    "color": gettext_noop("A colour is written #RRGGBB, such as #1f3a5f."),
    "choice": gettext_noop("Choose one of these."),
    "name": gettext_noop("Give the look a name of at most %(most)s characters."),
    "same_name": gettext_noop("Another look has this name."),
    "long": gettext_noop("At most %(most)s characters."),
    "picture": gettext_noop("This picture is not there any more. Upload it again."),
    "stamps": gettext_noop("Choose the stamp card whose stamps are drawn."),
    "motif": gettext_noop("Choose a motif of the season."),
    "amount": gettext_noop("Enter a whole number, zero or more."),
    "percent": gettext_noop("Enter a whole number from 0 to 100."),
    "bounds": gettext_noop("Say from where, up to where, or both."),
    "order": gettext_noop("The first number is above the second."),
    "day": gettext_noop("Write a day such as 2026-12-24, or 12-24 for each year."),
    "days": gettext_noop("Write both days with their year, or both without, the earlier first."),
}


@dataclass(frozen=True)
class Problem:
    """What is wrong: a sentence of ``REFUSALS``, or what the program file says in English."""

    code: str
    most: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Draft:
    """What the form means: the section and the whole file with it, or what is wrong with which field."""

    look: PassLook | None
    file: ProgramFile | None
    problems: Mapping[str, Problem] = field(default_factory=dict)


class _Reader:
    """Reads fields one after the other and keeps what is wrong with them."""

    def __init__(self, program: ProgramDefinition) -> None:
        self.program = program
        self.problems: dict[str, Problem] = {}

    def color(self, at: str, text: str, *, needed: bool = False) -> str | None:
        if not text and not needed:
            return None
        if not re.fullmatch(COLOR_PATTERN, text):
            self.problems[at] = Problem("color")
            return None
        return text.lower()

    def choice(self, at: str, text: str, among: Sequence[str]) -> str:
        if text not in among:
            self.problems[at] = Problem("choice")
            return among[0]
        return text

    def short(self, at: str, text: str, most: int) -> str | None:
        if len(text) > most:
            self.problems[at] = Problem("long", most)
        return text or None

    def picture(self, at: str, text: str) -> str | None:
        if text and not re.fullmatch(r"[0-9a-f]{64}", text):
            self.problems[at] = Problem("picture")
        return text or None

    def strip(self, prefix: str, texts: Texts, *, inherits: bool) -> dict[str, Any] | None:
        """The picture; ``None`` where a look leaves it to the section."""
        kind = texts.get("strip_kind", "")
        if inherits and not kind:
            return None
        kind = self.choice(f"{prefix}strip_kind", kind, KINDS)
        found: dict[str, Any] = {
            "kind": kind,
            "glyph": self.choice(f"{prefix}glyph", texts["glyph"], GLYPHS) if texts.get("glyph") else None,
            "motif": self.choice(f"{prefix}motif", texts["motif"], MOTIFS) if texts.get("motif") else None,
        }
        if kind == "season" and found["motif"] in (None, "hills"):
            self.problems[f"{prefix}motif"] = Problem("motif")
        if texts.get("photo") and kind != "season":
            at = {axis: self._percent(f"{prefix}photo_{axis}", texts.get(f"photo_{axis}") or MIDDLE) for axis in "xy"}
            found["photo"] = {"picture": self.picture(f"{prefix}photo", texts["photo"]), **at}
        if kind in ("stamps", "progress"):
            challenge = texts.get("strip_challenge", "")
            if kind == "stamps" and challenge not in {one.code for one in stamp_cards(self.program)}:
                self.problems[f"{prefix}strip_challenge"] = Problem("stamps")
            if challenge:
                found["challenge"] = challenge
        return found

    def _percent(self, at: str, text: str) -> int:
        if not re.fullmatch(r"\d{1,2}|100", text):
            self.problems[at] = Problem("percent")
            return int(MIDDLE)
        return int(text)

    def reached(self, prefix: str, row: LookRow) -> dict[str, Any] | None:
        """How far a challenge has to be."""
        code = row["reached"]
        if not code:
            return None
        challenge = self.program.challenge(code)
        if challenge is None:
            self.problems[f"{prefix}reached"] = Problem("choice")
            return None
        found: dict[str, Any] = {"code": code}
        for name in ("at_least", "at_most"):
            if row[name]:
                found[name] = self._amount(f"{prefix}{name}", row[name], challenge)
        if len(found) == 1:
            self.problems[f"{prefix}at_least"] = Problem("bounds")
        elif found.get("at_least", 0) > found.get("at_most", found.get("at_least", 0)):
            self.problems[f"{prefix}at_least"] = Problem("order")
        return found

    def _amount(self, at: str, text: str, challenge: Challenge) -> int:
        try:
            if challenge.metric == "spend_minor":
                return parse_money(text, self.program.currency, at)
            number = parse_decimal(text, at)
            if number == number.to_integral_value():
                return int(number)
        except DomainError:
            pass
        self.problems[at] = Problem("amount")
        return 0

    def days(self, prefix: str, row: LookRow) -> Iterator[dict[str, Any]]:
        """Days with a year hold once, days without each year."""
        for number, (first, last) in enumerate(row.days):
            if not first and not last:
                continue
            at = f"{prefix}day_{number}"
            yearly = re.fullmatch(r"\d\d-\d\d", first) is not None
            try:
                found = {"from": first, **({"to": last} if last else {}), **({"yearly": True} if yearly else {})}
                DateRange.model_validate(found)
            except ValidationError:
                # Nobody has written a wrong year on purpose; the other fault is a pair that does not go together.
                single = (first, last) if last else (first,)
                self.problems[at] = Problem("days" if all(map(_is_day, single)) else "day")
            else:
                yield found


def draft_of(form: LookForm, program: ProgramDefinition) -> Draft:
    """The section that the form means, or what is wrong with which field. The file is checked as a whole."""
    read = _Reader(program)
    document: dict[str, Any] = {name: read.color(name, form[name], needed=name != "accent") for name in COLORS}
    document |= {name: read.picture(name, form[name]) for name in PICTURES}
    document["organization"] = read.short("organization", form["organization"], NAME_CHARACTERS_MAX)
    document |= _own_strip(read.strip("", form.texts, inherits=False), program.file.look)
    kept = {code: text for code, text in (program.file.look.description or {}).items() if code not in form.descriptions}
    for code, text in form.descriptions.items():
        read.short(f"description_{code}", text, TEXT_CHARACTERS_MAX)
    document["description"] = {**kept, **{code: text for code, text in form.descriptions.items() if text}} or None
    document["looks"] = [_look(read, f"look_{place}_", row) for place, row in enumerate(form.looks)]
    names = [row["name"] for row in form.looks]
    for place, name in enumerate(names):
        if name in names[:place]:
            read.problems.setdefault(f"look_{place}_name", Problem("same_name"))
    if read.problems:
        return Draft(None, None, read.problems)
    try:
        look = PassLook.model_validate(document)
        return Draft(look, with_look(program.file, look))
    except ValidationError as error:
        return Draft(None, None, {_place_of(one): Problem("file", detail=one["msg"]) for one in error.errors()})


def mended(form: LookForm, problems: Mapping[str, Problem], program: ProgramDefinition) -> LookForm:
    """The form without what is wrong in it, for the preview: fields as they are in force, looks left out."""
    in_force = form_of(program)
    bad_rows = {int(found[1]) for at in problems if (found := re.match(r"look_(\d+)_", at))}
    fields = {at.removesuffix("_challenge").removesuffix("_kind") for at in problems}
    # The parts of a picture go together.
    names = [
        *(name for name in SECTION_TEXTS if name in problems),
        *(STRIP if {"strip", "glyph", "motif", *PHOTO} & fields else ()),
    ]
    return replace(
        form,
        texts={**form.texts, **{name: in_force[name] for name in names}},
        descriptions={
            code: in_force.descriptions[code] if f"description_{code}" in problems else text
            for code, text in form.descriptions.items()
        },
        looks=tuple(row for place, row in enumerate(form.looks) if place not in bad_rows),
    )


def _own_strip(strip: dict[str, Any] | None, old: PassLook) -> dict[str, Any]:
    """The section's picture, said as shortly as the file does: what draws the same stays as it was written."""
    assert strip is not None
    try:
        wanted = _shortly(Strip.model_validate(strip))
    except ValidationError:
        return {}  # one of the fields has been refused
    if wanted == _shortly(old.own_strip):
        return {"stamps": old.stamps, "strip": old.strip}
    if wanted == Strip(kind="plain"):
        return {}
    return {"strip": wanted}


def _shortly(strip: Strip) -> Strip:
    """Hills need no word in the section; in a look the word says that its photo is left out."""
    return strip.model_copy(update={"motif": None}) if strip.motif == "hills" else strip


def _look(read: _Reader, prefix: str, row: LookRow) -> dict[str, Any]:
    name = row["name"]
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        read.problems[f"{prefix}name"] = Problem("name", NAME_CHARACTERS_MAX)
    for code, text in row.captions.items():
        read.short(f"{prefix}caption_{code}", text, CAPTION_CHARACTERS_MAX)
    when = {
        "tiers": list(row.tiers) or None,
        "challenge": read.reached(prefix, row),
        "dates": list(read.days(prefix, row)) or None,
    }
    captions = {code: text for code, text in row.captions.items() if text}
    # Words in languages that the program has no longer stay as they are.
    same = next((look for look in read.program.file.look.looks if look.name == name), None)
    known = (same.texts.caption if same else None) or {}
    captions |= {code: text for code, text in known.items() if code not in row.captions}
    return {
        "name": name,
        "when": {key: value for key, value in when.items() if value},
        **{color: read.color(f"{prefix}{color}", row[color]) for color in COLORS},
        "strip": read.strip(prefix, row.texts, inherits=True),
        "texts": {"caption": captions or None},
    }


def _place_of(error: Any) -> str:
    """The field of the form nearest to a fault that only the whole file shows."""
    at = (error.get("ctx") or {}).get("at", ())
    if tuple(at[:2]) == ("pass", "looks") and len(at) > 2:
        return f"look_{at[2]}_form"
    if tuple(at[:2]) in (("pass", "strip"), ("pass", "stamps")):
        return "strip_challenge"
    return "form"


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text if len(text) == 10 else f"2028-{text}")  # a leap year has every day
    except ValueError:
        return False
    return True


def stamp_cards(program: ProgramDefinition) -> list[Challenge]:
    """The challenges whose stamps can be drawn."""
    return [challenge for challenge in program.file.challenges if challenge.kind == "stamps"]
