"""The strip of a card in its state: stamps, a bar towards a goal, or a season, with a line of text.

A strip holds no number that only one member has: bars go in steps, amounts stand in the card's fields. So a program
has a few hundred strips at most, however many members it has, and each is drawn once (see `StripArt.digest`).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import astuple, dataclass

from PIL import Image

from passes.artwork.motifs import MOTIFS, Palette, free_width, paint_motif
from passes.artwork.paint import (
    BLACK,
    WHITE,
    Circle,
    Line,
    bar,
    cut,
    disc,
    font_of,
    ground,
    mix,
    paste_glyph,
    png,
    readable_on,
    ring,
    shadow,
    write,
)
from passes.colors import LARGE_TEXT_CONTRAST_MIN, rgb
from passes.content import HEX_COLOR, PassContentError, StampCard
from passes.glyphs import GLYPHS

STRIP_POINTS = (375, 144)
GOOGLE_HERO_PIXELS = (1032, 336)
CAPTION_CHARACTERS_MAX = 60
BAR_STEPS_MAX = 100
DRAWING = 1
"""The number of this way of drawing: it is part of every digest, so raise it when pictures come out differently."""

_STAMPS_PER_ROW_MAX = 6
_STAMPS_PER_ROW_CROWDED_MAX = 10
_GOAL_GLYPH = "gift"
_MARGIN_POINTS = 20
_BAR_POINTS = 15
_GOAL_POINTS = 42
_CAPTION_POINTS = 33
"""What a line above stamps takes of the height."""


@dataclass(frozen=True, slots=True)
class GoalBar:
    """How far the way to a goal is done: `done` of `steps`; `glyph` stands at the goal."""

    done: int
    steps: int
    glyph: str = _GOAL_GLYPH


@dataclass(frozen=True, slots=True, kw_only=True)
class StripArt:
    """All that a strip is drawn from; equal ones are the same bytes. Colours are ``#RRGGBB``.

    `caption` is the line of text, in one language. Raises `PassContentError` for anything that cannot be drawn.
    """

    background: str
    foreground: str
    accent: str
    motif: str = "hills"
    glyph: str = "star"
    stamps: StampCard | None = None
    bar: GoalBar | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        for field in ("background", "foreground", "accent"):
            if not HEX_COLOR.fullmatch(getattr(self, field)):
                raise PassContentError(f"strip.{field}", f"a colour is written #RRGGBB, not {getattr(self, field)!r}")
        if self.motif not in MOTIFS:
            raise PassContentError("strip.motif", f"one of {', '.join(MOTIFS)}, not {self.motif!r}")
        for where, glyph in (("glyph", self.glyph), *((("bar.glyph", self.bar.glyph),) if self.bar else ())):
            if glyph not in GLYPHS:
                raise PassContentError(f"strip.{where}", f"one of {', '.join(GLYPHS)}, not {glyph!r}")
        if self.stamps is not None and self.bar is not None:
            raise PassContentError("strip.bar", "a strip shows stamps or a bar, not both")
        if self.bar is not None and not 0 <= self.bar.done <= self.bar.steps <= BAR_STEPS_MAX:
            raise PassContentError("strip.bar", f"a bar has at most {BAR_STEPS_MAX} steps, and not more done")
        if len(self.caption) > CAPTION_CHARACTERS_MAX:
            raise PassContentError("strip.caption", f"at most {CAPTION_CHARACTERS_MAX} characters")

    @property
    def digest(self) -> str:
        """A name for the picture: 32 hexadecimal digits of a hash of what it is drawn from."""
        return hashlib.sha256(repr((DRAWING, astuple(self))).encode()).hexdigest()[:32]


def strip_png(art: StripArt, scale: int) -> bytes:
    """Return the picture behind the upper half of an Apple card."""
    return _drawn(art, STRIP_POINTS[0] * scale, STRIP_POINTS[1] * scale)


def google_hero_png(art: StripArt) -> bytes:
    """Return the wide picture at the foot of a Google card, in the same state as the strip."""
    return _drawn(art, *GOOGLE_HERO_PIXELS)


def _drawn(art: StripArt, width: int, height: int) -> bytes:
    # It begins in the card's own colour, so that no seam shows below the header.
    background = rgb(art.background)
    image = ground(width, height, background, mix(background, BLACK, 0.13))
    caption = _placed_caption(art, width, height) if art.caption else None
    stamps = _placed_stamps(art, width, height) if art.stamps is not None else ()
    clear = [circle.box for circle in stamps]
    if caption is not None:
        clear.append(caption.box)
    if art.bar is not None:
        clear.append(_bar_box(art, width, height))
    paint_motif(
        image, art.motif, Palette(background, rgb(art.foreground), rgb(art.accent), _strength(art), tuple(clear))
    )
    if caption is not None:
        write(image, (caption.left, caption.baseline), caption.line)
    for number, circle in enumerate(stamps, start=1):
        _stamp(image, art, circle, number)
    if art.bar is not None:
        _goal_bar(image, art, art.bar)
    return png(image)


def _strength(art: StripArt) -> float:
    if art.stamps is None and art.bar is None:
        return 1.0
    return 0.45 if art.motif == "hills" else 0.62


# -- text ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _PlacedLine:
    """A line with the left end of its baseline, in pixels."""

    line: Line
    left: float
    baseline: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        size = self.line.font.size
        right = self.left + self.line.font.getlength(self.line.text)
        return self.left, self.baseline - 0.85 * size, right, self.baseline + 0.3 * size


def _placed_caption(art: StripArt, width: int, height: int) -> _PlacedLine:
    unit = height / STRIP_POINTS[1]
    alone = art.stamps is None and art.bar is None
    size, baseline = (25.0, 82.0) if alone else (18.0, 52.0) if art.bar is not None else (14.5, 25.0)
    left, weight = _MARGIN_POINTS * unit, 700 if alone else 600
    # Stamps and bars have a pale sun behind them, over which text may go.
    room = (width * free_width(art.motif) if alone else width) - (left if alone else 2 * left)
    font = font_of(size * unit, weight=weight)
    while font.size > 0.72 * size * unit and font.getlength(art.caption) > room:
        font = font_of(font.size * 0.95, weight=weight)
    text = cut(art.caption, font, room)
    if art.stamps is not None:
        left = (width - font.getlength(text)) / 2
    background = rgb(art.background)
    color = readable_on(background, rgb(art.foreground))
    return _PlacedLine(Line(text, font, color, mix(background, BLACK, 0.06)), left, baseline * unit)


# -- a bar ----------------------------------------------------------------------------------------------


def _goal_circle(art: StripArt, width: int, height: int) -> Circle:
    """Return where the goal stands, at the end of the bar."""
    unit = height / STRIP_POINTS[1]
    badge = _GOAL_POINTS * unit
    return Circle(width - _MARGIN_POINTS * unit - badge / 2, (92 if art.caption else 76) * unit, badge)


def _bar_box(art: StripArt, width: int, height: int) -> tuple[float, float, float, float]:
    left, circle, thick = 0.0, _goal_circle(art, width, height), _BAR_POINTS * height / STRIP_POINTS[1]
    return left, circle.y - thick / 2, circle.box[2], circle.y + thick / 2


def _goal_bar(image: Image.Image, art: StripArt, goal: GoalBar) -> None:
    width, height = image.size
    unit = height / STRIP_POINTS[1]
    background, foreground, accent = rgb(art.background), rgb(art.foreground), rgb(art.accent)
    circle = _goal_circle(art, width, height)
    end, middle, thick = circle.x, circle.y, _BAR_POINTS * unit
    left = _MARGIN_POINTS * unit
    track = (left, middle - thick / 2, end, middle + thick / 2)
    bar(image, track, BLACK, alpha=36)
    bar(image, track, foreground, alpha=72)
    if goal.done:
        # A bar as short as it is thick would be a dot; one step is seen as a step.
        reach = max(thick, (end - left) * goal.done / goal.steps)
        bar(image, (left, middle - thick / 2, left + reach, middle + thick / 2), accent)
        inset = thick * 0.24
        shine = (left + inset, middle - thick / 2 + inset * 0.7, left + reach - inset, middle - thick * 0.12)
        if shine[2] - shine[0] > shine[3] - shine[1]:
            bar(image, shine, WHITE, alpha=64)
    reached = goal.done >= goal.steps
    shadow(image, circle)
    disc(image, circle, mix(background, BLACK, 0.10))
    if reached:
        disc(image, circle, accent)
        disc(image, circle.scaled(0.90), mix(accent, WHITE, 0.10))
        paste_glyph(
            image,
            goal.glyph,
            circle.scaled(0.58),
            readable_on(accent, background, foreground, least=LARGE_TEXT_CONTRAST_MIN),
        )
    else:
        ring(image, circle, foreground, alpha=210)
        paste_glyph(image, goal.glyph, circle.scaled(0.52), foreground, alpha=220)


# -- stamps ---------------------------------------------------------------------------------------------


def _placed_stamps(art: StripArt, width: int, whole: int) -> tuple[Circle, ...]:
    """Return where the stamps go: rows of circles in the middle of what a line of text leaves."""
    assert art.stamps is not None
    height = whole * (1 - (_CAPTION_POINTS * 0.92 / STRIP_POINTS[1] if art.caption else 0))
    rows = _rows(art.stamps.total)
    columns = max(rows)
    margin = 0.055 * height if len(rows) > 1 else 0.0
    cell = min(width * 0.92 / columns, (height * 0.90 - margin * (len(rows) - 1)) / len(rows))
    cell = min(cell, whole * 0.52)
    first = whole - height + (height - cell * len(rows) - margin * (len(rows) - 1)) / 2
    circles = []
    for row, count in enumerate(rows):
        # A few stamps spread out a little; a full row uses the width it has.
        pitch = min(cell * 1.18, width * 0.92 / max(count, columns))
        left = (width - pitch * count) / 2
        y = first + cell / 2 + row * (cell + margin)
        circles += [Circle(left + pitch * (column + 0.5), y, cell * 0.82) for column in range(count)]
    return tuple(circles)


def _rows(total: int) -> list[int]:
    """Return how many stamps each row has: even rows, the longer ones first."""
    per_row = _STAMPS_PER_ROW_MAX if total <= 2 * _STAMPS_PER_ROW_MAX else _STAMPS_PER_ROW_CROWDED_MAX
    if total == 5:
        return [5]
    count = math.ceil(total / per_row)
    base, longer = divmod(total, count)
    return [base + 1] * longer + [base] * (count - longer)


def _stamp(image: Image.Image, art: StripArt, circle: Circle, number: int) -> None:
    assert art.stamps is not None
    background, foreground, accent = rgb(art.background), rgb(art.foreground), rgb(art.accent)
    is_goal = number == art.stamps.total
    glyph = _GOAL_GLYPH if is_goal else art.glyph
    if number <= art.stamps.filled:
        shadow(image, circle)
        disc(image, circle, accent)
        disc(image, circle.scaled(0.90), mix(accent, WHITE, 0.10))
        color = readable_on(accent, background, foreground, least=LARGE_TEXT_CONTRAST_MIN)
        paste_glyph(image, glyph, circle.scaled(0.58), color)
        return
    # What is still to come stays in the background, except for the reward at the end of the row.
    disc(image, circle, background, alpha=70 if art.motif == "hills" else 190)
    ring(image, circle, foreground, alpha=210 if is_goal else 120)
    paste_glyph(image, glyph, circle.scaled(0.50), foreground, alpha=200 if is_goal else 84)
