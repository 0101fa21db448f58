"""The ``pass`` section of a program file: what cards look like, for whom and when (``mission.md`` W4). Pure.

A look holds for levels, for how far a stamp card or another challenge has come, and for days of the year; the first
that holds is shown, and what it leaves out is as in the ``pass`` section itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from passes.colors import LARGE_TEXT_CONTRAST_MIN, TEXT_CONTRAST_MIN, contrast
from wallet_server.programs.fields import MINOR_MAX, Code, Color, Texts
from wallet_server.programs.rule import DateRange
from wallet_server.programs.tiers import TierLevel

LOOKS_MAX: Final = 40
DATES_OF_LOOK_MAX: Final = 20
CAPTION_CHARACTERS_MAX: Final = 40

StripKind = Literal["plain", "stamps", "progress", "season"]
Glyph = Literal["star", "heart", "cup", "leaf", "tick", "gift", "flower", "drop", "paw", "crown", "bag", "scissors"]
Motif = Literal["hills", "snow", "blossom", "sun", "leaves", "stars", "hearts"]
PictureHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The name of an uploaded picture: the SHA-256 of the file that was kept, in hex (``programs/pictures.py``)."""
TextPart = Literal["foreground", "label"]
_TEXTS: Final[tuple[TextPart, ...]] = ("foreground", "label")
Place = tuple[str | int, ...]
"""Where in the file something stands."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StripPhoto(_Part):
    """An uploaded photo behind what a strip shows; the point at ``x``, ``y`` stays in sight where it is cut."""

    picture: PictureHash
    x: Annotated[int, Field(ge=0, le=100)] = 50
    """Percent from the left."""
    y: Annotated[int, Field(ge=0, le=100)] = 50
    """Percent from the top."""


class Strip(_Part):
    """The picture on the upper half of a card, and at the foot of Google's.

    ``stamps`` draws the stamps of a challenge, ``progress`` a bar towards a challenge's goal or, without a challenge,
    towards the next level; ``season`` its motif alone, ``plain`` calm hills or a photo alone.
    """

    kind: StripKind
    challenge: Code | None = None
    glyph: Glyph | None = None
    """What a stamp shows, a star by itself; the last of a card is always a gift. On a bar, what stands at its goal."""
    motif: Motif | None = None
    """What lies behind it, calm hills by themselves."""
    photo: StripPhoto | None = None
    """Lies behind it in the place of the motif."""

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "stamps" and self.challenge is None:
            raise ValueError("stamps needs the challenge whose stamps are drawn")
        if self.kind in ("plain", "season") and self.challenge is not None:
            raise ValueError(f"{self.kind} shows no challenge")
        if self.kind == "season" and self.motif in (None, "hills"):
            raise ValueError("season needs a motif, such as snow")
        if self.kind == "season" and self.photo is not None:
            raise ValueError("season shows its motif; a photo alone is a strip of kind plain")
        return self

    def completed_by(self, own: Strip) -> Strip:
        """The strip of a look on cards whose ``own`` one is the section's: what it leaves out is as there.

        What lies behind is one thing: who names a motif or a photo has chosen it, who names neither keeps the
        section's. The sign is that of the section where both draw the same stamps or the same bar.
        """
        kept: dict[str, object] = {}
        if self.motif is None and self.photo is None:
            kept |= {"motif": own.motif, "photo": own.photo}
        if self.glyph is None and (self.kind, self.challenge) == (own.kind, own.challenge):
            kept["glyph"] = own.glyph
        return self.model_copy(update=kept)


class ChallengeReached(_Part):
    """How far a challenge has come in its running window, in units of its target; both bounds are included."""

    code: Code
    at_least: Annotated[int, Field(ge=0, le=MINOR_MAX)] | None = None
    at_most: Annotated[int, Field(ge=0, le=MINOR_MAX)] | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most, or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} is above at_most {self.at_most}, so nothing is in between")
        return self

    def holds(self, progress: Mapping[str, int]) -> bool:
        """Whether the challenge has come so far; a challenge that is not there has not."""
        here = progress.get(self.code)
        if here is None:
            return False
        return (self.at_least is None or here >= self.at_least) and (self.at_most is None or here <= self.at_most)


class LookConditions(_Part):
    """What must hold, all of it; nothing at all always holds."""

    tiers: Annotated[list[Code], Field(min_length=1, max_length=50)] | None = None
    challenge: ChallengeReached | None = None
    dates: Annotated[list[DateRange], Field(min_length=1, max_length=DATES_OF_LOOK_MAX)] | None = None
    """Days of the program's own zone."""

    def holds(self, facts: LookFacts) -> bool:
        """Whether a card with these facts has the look."""
        if self.tiers is not None and facts.tier not in self.tiers:
            return False
        if self.challenge is not None and not self.challenge.holds(facts.progress):
            return False
        if self.dates is None:
            return True
        today = facts.today
        return today is not None and any(part.covers(today) for part in self.dates)


def _check_captions(texts: dict[str, str]) -> dict[str, str]:
    for language, text in texts.items():
        if len(text) > CAPTION_CHARACTERS_MAX or "\n" in text:
            raise ValueError(f"the text in {language} must be one line of at most {CAPTION_CHARACTERS_MAX} characters")
    return texts


class LookTexts(_Part):
    """Words that a look draws. Numbers stay in the fields of the card: a picture is shared by many members."""

    caption: Annotated[Texts, AfterValidator(_check_captions)] | None = None


class Look(_Part):
    """What changes for some cards; colours, strip and parts of it that are missing are those of the section."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
    """For the panel; members never see it."""
    when: LookConditions = LookConditions()
    background: Color | None = None
    """Without it the level's colour, and without that the one of the ``pass`` section."""
    foreground: Color | None = None
    label: Color | None = None
    accent: Color | None = None
    """Filled stamps and bars; ``label`` where it is missing."""
    strip: Strip | None = None
    texts: LookTexts = LookTexts()


@dataclass(frozen=True, slots=True)
class NamedPicture:
    """A picture that a look names: where in the file, by which hash, and what for."""

    at: Place
    sha256: str
    slot: str


class PassLook(_Part):
    """How the program's passes look."""

    background: Color = "#1f3a5f"
    foreground: Color = "#ffffff"
    label: Color = "#c9d6e8"
    accent: Color | None = None
    """Filled stamps and bars; ``label`` where it is missing."""
    organization: Annotated[str, StringConstraints(min_length=1, max_length=60)] | None = None
    description: Texts | None = None
    logo: PictureHash | None = None
    """An uploaded picture in the place of the drawn name."""
    icon: PictureHash | None = None
    """An uploaded picture in the place of the drawn initials: lock screen, mail, and Google's logo."""
    stamps: Code | None = None
    """The challenge whose stamps are drawn on the strip: short for a ``strip`` of stars."""
    strip: Strip | None = None
    looks: Annotated[list[Look], Field(max_length=LOOKS_MAX)] = []
    """The first that holds is shown."""

    @model_validator(mode="after")
    def _check_strip(self) -> Self:
        if self.stamps is not None and self.strip is not None:
            raise ValueError("stamps and strip both say what is drawn: give one of them")
        return self

    @property
    def own_strip(self) -> Strip:
        """What is drawn where no look says otherwise."""
        if self.strip is not None:
            return self.strip
        return Strip(kind="plain") if self.stamps is None else Strip(kind="stamps", challenge=self.stamps)

    @property
    def strips(self) -> tuple[Strip, ...]:
        """All that is drawn on any card."""
        return (self.own_strip, *(look.strip for look in self.looks if look.strip is not None))

    @property
    def pictures(self) -> tuple[NamedPicture, ...]:
        """All that was uploaded and is named here."""
        brand = (("logo", self.logo), ("icon", self.icon))
        named = [NamedPicture(("pass", slot), sha256, slot) for slot, sha256 in brand if sha256 is not None]
        strips = [(("pass",), self.strip), *((("pass", "looks", at), look.strip) for at, look in enumerate(self.looks))]
        for place, strip in strips:
            if strip is not None and strip.photo is not None:
                named.append(NamedPicture((*place, "strip", "photo", "picture"), strip.photo.picture, "photo"))
        return tuple(named)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookFacts:
    """What a look asks about a card.

    ``tier_color`` is the level's own colour. ``progress`` has each challenge's code with what is shown of it, in units
    of its target. ``today`` is the day in the program's zone; without it no look with dates holds.
    """

    tier: str | None = None
    tier_color: str | None = None
    progress: Mapping[str, int] = field(default_factory=dict)
    today: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedLook:
    """What is shown: every colour given. ``index`` is the look's place in the list; none: the section's own."""

    background: str
    foreground: str
    label: str
    accent: str
    strip: Strip
    caption: Mapping[str, str] = field(default_factory=dict)
    index: int | None = None
    name: str = ""


def choose_look(section: PassLook, facts: LookFacts) -> ResolvedLook:
    """The first look that holds, completed by the section; the section's own if none holds."""
    for index, look in enumerate(section.looks):
        if look.when.holds(facts):
            return resolved(section, look, index, facts.tier_color)
    return resolved(section, None, None, facts.tier_color)


def resolved(section: PassLook, look: Look | None, index: int | None, tier_color: str | None) -> ResolvedLook:
    """A look (none: the section's own) on a card of a level with this colour."""
    label = (look.label if look else None) or section.label
    return ResolvedLook(
        background=(look.background if look else None) or tier_color or section.background,
        foreground=(look.foreground if look else None) or section.foreground,
        label=label,
        accent=(look.accent if look else None) or section.accent or label,
        strip=look.strip.completed_by(section.own_strip) if look and look.strip else section.own_strip,
        caption=(look.texts.caption if look else None) or {},
        index=index,
        name=look.name if look else "",
    )


@dataclass(frozen=True, slots=True)
class LowContrast:
    """A text that is hard to read (below 4.5 to 1): ``tier`` is the level whose colour lies behind it, if one does."""

    at: Place
    part: TextPart
    tier: str | None
    color: str
    background: str
    ratio: float


def low_contrasts(section: PassLook, levels: Sequence[TierLevel]) -> tuple[LowContrast, ...]:
    """Every text of every look, on every background that it can have, that is hard to read (WCAG 2.2, 1.4.3)."""
    found: dict[tuple[Place, str, str], LowContrast] = {}
    for index, look in ((None, None), *enumerate(section.looks)):
        at: Place = ("pass",) if index is None else ("pass", "looks", index)
        for tier, color in _tier_colors(look, levels):
            shown = resolved(section, look, index, color)
            for part in _TEXTS:
                text = shown.foreground if part == "foreground" else shown.label
                ratio = contrast(text, shown.background)
                if ratio < TEXT_CONTRAST_MIN:
                    behind = tier if shown.background == color else None
                    low = LowContrast(at, part, behind, text, shown.background, ratio)
                    found.setdefault((at, part, shown.background), low)
    return tuple(found.values())


def _tier_colors(look: Look | None, levels: Sequence[TierLevel]) -> Iterator[tuple[str | None, str | None]]:
    wanted = look.when.tiers if look is not None else None
    if not levels:
        yield None, None
    for level in levels:
        if wanted is None or level.code in wanted:
            yield level.code, level.color


def look_problems(
    section: PassLook, levels: Sequence[TierLevel], challenges: Mapping[str, str]
) -> Iterator[tuple[Place, str]]:
    """What in the section does not go with the rest of the file: where, and what is wrong.

    ``challenges`` are codes with their kind. A text below 3 to 1 is refused in a look: nobody could read it.
    """
    if section.stamps is not None:
        yield from _challenge_problems(("pass", "stamps"), section.stamps, challenges, stamps=True)
    yield from _strip_problems(("pass", "strip"), section.strip, levels, challenges)
    codes = {level.code for level in levels}
    names: set[str] = set()
    always: str | None = None
    for index, look in enumerate(section.looks):
        at: Place = ("pass", "looks", index)
        if look.name in names:
            yield (*at, "name"), f"{look.name!r} is there twice"
        names.add(look.name)
        if always is not None:
            yield at, f"{look.name!r} is never seen, because {always!r} before it always holds"
        if look.when == LookConditions():
            always = look.name
        yield from _unknown_tiers((*at, "when", "tiers"), look.when.tiers or (), codes)
        if look.when.challenge is not None:
            yield from _challenge_problems((*at, "when", "challenge", "code"), look.when.challenge.code, challenges)
        yield from _strip_problems((*at, "strip"), look.strip, levels, challenges)
    for low in low_contrasts(section, levels):
        if low.part == "foreground" and low.ratio < LARGE_TEXT_CONTRAST_MIN and len(low.at) > 1:
            on = f"the colour of level {low.tier!r}, {low.background}," if low.tier else low.background
            yield (
                low.at,
                (
                    f"text in {low.color} on {on} has a contrast of {low.ratio:.1f} to 1 and cannot be read;"
                    f" {LARGE_TEXT_CONTRAST_MIN:g} is the least, {TEXT_CONTRAST_MIN:g} is good"
                ),
            )


def _unknown_tiers(at: Place, tiers: Sequence[str], known: Collection[str]) -> Iterator[tuple[Place, str]]:
    for number, tier in enumerate(tiers):
        if tier not in known:
            yield (*at, number), f"{tier!r} is not defined in this file"


def _strip_problems(
    at: Place, strip: Strip | None, levels: Sequence[TierLevel], challenges: Mapping[str, str]
) -> Iterator[tuple[Place, str]]:
    if strip is None:
        return
    if strip.challenge is not None:
        stamps = strip.kind == "stamps"
        yield from _challenge_problems((*at, "challenge"), strip.challenge, challenges, stamps=stamps)
    elif strip.kind == "progress" and len(levels) < 2:
        yield at, "progress without a challenge goes towards the next level, and this program has none"


def _challenge_problems(
    at: Place, code: str, challenges: Mapping[str, str], *, stamps: bool = False
) -> Iterator[tuple[Place, str]]:
    if code not in challenges:
        yield at, f"{code!r} is not defined in this file"
    elif stamps and challenges[code] != "stamps":
        yield at, f"challenge {code!r} is not of kind stamps"
