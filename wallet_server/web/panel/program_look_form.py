"""The designer's form: what was typed, and the ``pass`` section that it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, get_args

from babel.numbers import get_currency_precision
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.editing import with_look
from wallet_server.programs.fields import COLOR_PATTERN
from wallet_server.programs.file import Challenge, ProgramFile
from wallet_server.programs.look import (
    CAPTION_CHARACTERS_MAX,
    DATES_OF_LOOK_MAX,
    LOOKS_MAX,
    Glyph,
    Look,
    Motif,
    PassLook,
    Strip,
    StripKind,
)
from wallet_server.programs.rule import DateRange
from wallet_server.web.forms import parse_decimal, parse_money

GLYPHS: Final = get_args(Glyph)
MOTIFS: Final = get_args(Motif)
KINDS: Final = get_args(StripKind)
COLORS: Final = ("background", "foreground", "label", "accent")
STRIP: Final = ("strip_kind", "strip_challenge", "glyph", "motif")
PICTURES: Final = ("logo", "icon")
SECTION_TEXTS: Final = (*COLORS, *STRIP, *PICTURES, "organization")
LOOK_TEXTS: Final = (*COLORS, *STRIP, "name", "reached", "at_least", "at_most")
NAME_CHARACTERS_MAX: Final = 60
TEXT_CHARACTERS_MAX: Final = 500
EMPTY_RANGES: Final = 1
"""How many empty rows for days each look has."""
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
    "bounds": gettext_noop("Say from where, up to where, or both."),
    "order": gettext_noop("The first number is above the second."),
    "day": gettext_noop("Write a day such as 2026-12-24, or 12-24 for each year."),
    "days": gettext_noop("Write both days with their year, or both without, the earlier first."),
    "looks": gettext_noop("A program has at most %(most)s looks."),
}

Texts = Mapping[str, str]


@dataclass(frozen=True)
class Problem:
    """What is wrong: a sentence of ``REFUSALS``, or what the program file says in English."""

    code: str
    most: int = 0
    detail: str = ""


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
            "motif": self.choice(f"{prefix}motif", texts.get("motif") or MOTIFS[0], MOTIFS),
        }
        if kind == "season" and found["motif"] == "hills":
            self.problems[f"{prefix}motif"] = Problem("motif")
        if kind in ("stamps", "progress"):
            challenge = texts.get("strip_challenge", "")
            if kind == "stamps" and challenge not in {one.code for one in stamp_cards(self.program)}:
                self.problems[f"{prefix}strip_challenge"] = Problem("stamps")
            if challenge:
                found["challenge"] = challenge
        return found

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


def _own_strip(strip: dict[str, Any] | None, old: PassLook) -> dict[str, Any]:
    """The section's picture, said as shortly as the file does: what draws the same stays as it was written."""
    assert strip is not None
    try:
        wanted = Strip.model_validate(strip)
    except ValidationError:
        return {}  # one of the fields has been refused
    if wanted == old.own_strip:
        return {"stamps": old.stamps, "strip": old.strip}
    if wanted == Strip(kind="plain"):
        return {}
    return {"strip": wanted}


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
