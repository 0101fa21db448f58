"""The strip of a card in its state: stamps, a bar towards a goal, a season or a photo, with a line of text.

Stamps and bars stand on whole pixels of every screen, so that their edges are sharp and one stamp is as the other.

A strip holds no number that only one member has: bars go in steps, amounts stand in the card's fields. So a program
has a few hundred strips at most, however many members it has, and each is drawn once (see `StripArt.digest`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from itertools import pairwise

from PIL import Image

from passes.artwork.motifs import MOTIFS, Box, Palette, free_width, paint_motif
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
    palette_png,
    paste_glyph,
    png,
    readable_on,
    ring,
    shadow,
    write,
)
from passes.artwork.photo import Photo, Zone, cropped, shaded
from passes.colors import LARGE_TEXT_CONTRAST_MIN, TEXT_CONTRAST_MIN, Rgb, contrast_of, rgb
from passes.content import HEX_COLOR, PassContentError, StampCard
from passes.glyphs import GLYPHS

STRIP_POINTS = (375, 144)
GOOGLE_HERO_PIXELS = (1032, 336)
CAPTION_CHARACTERS_MAX = 60
BAR_STEPS_MAX = 100
DRAWING = 2
"""The number of this way of drawing: it is part of every digest, so raise it when pictures come out differently."""

_STAMPS_PER_ROW_MAX = 6
_STAMPS_PER_ROW_CROWDED_MAX = 10
_GOAL_GLYPH = "gift"
_MARGIN_POINTS = 20
_BAR_POINTS = 16
_GOAL_POINTS = 42
_PIECES_MAX = 10
"""A bar of no more steps is in pieces, that can be counted."""
_PIECE_GAP_POINTS = 4
_EDGE_STEPS = 10
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

    `caption` is the line of text, in one language. A `photo` lies in the place of the motif; its file is given to
    whoever draws. Raises `PassContentError` for anything that cannot be drawn.
    """

    background: str
    foreground: str
    accent: str
    motif: str = "hills"
    glyph: str = "star"
    stamps: StampCard | None = None
    bar: GoalBar | None = None
    caption: str = ""
    photo: Photo | None = None

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
        if self.photo is not None and not (0 <= self.photo.x <= 100 and 0 <= self.photo.y <= 100):
            raise PassContentError("strip.photo", "the point that stays in sight is given in percent, 0 to 100")

    @property
    def digest(self) -> str:
        """A name for the picture: 32 hexadecimal digits of a hash of what it is drawn from."""
        return hashlib.sha256(repr((DRAWING, astuple(self))).encode()).hexdigest()[:32]


def strip_png(art: StripArt, scale: int, photo: bytes | None = None) -> bytes:
    """Return the picture behind the upper half of an Apple card.

    `photo` is the kept file of `art.photo`; without it the motif is drawn.
    """
    return _drawn(art, STRIP_POINTS[0] * scale, STRIP_POINTS[1] * scale, photo)


def google_hero_png(art: StripArt, photo: bytes | None = None) -> bytes:
    """Return the wide picture at the foot of a Google card, in the same state as the strip."""
    return _drawn(art, *GOOGLE_HERO_PIXELS, photo)


def _drawn(art: StripArt, width: int, height: int, photo: bytes | None) -> bytes:
    if photo is None:
        art = replace(art, photo=None)
    caption = _placed_caption(art, width, height) if art.caption else None
    stamps = placed_stamps(art, width, height) if art.stamps is not None else ()
    if photo is None or art.photo is None:
        image = _motif(art, (width, height), caption, stamps)
    else:
        photographed = cropped(photo, art.photo, (width, height), rgb(art.background))
        image = _shaded(photographed, art, caption, stamps)
    if caption is not None:
        write(image, (caption.left, caption.baseline), caption.line)
    for number, circle in enumerate(stamps, start=1):
        _stamp(image, art, circle, number)
    if art.bar is not None:
        _goal_bar(image, art, art.bar)
    return png(image) if art.photo is None else palette_png(image, _flat_colors(art))


def _motif(
    art: StripArt, size: tuple[int, int], caption: _PlacedLine | None, stamps: tuple[Circle, ...]
) -> Image.Image:
    background = rgb(art.background)
    # It begins in the card's own colour, so that no seam shows below the header.
    image = ground(*size, background, mix(background, BLACK, 0.13))
    clear = [circle.box for circle in stamps]
    if caption is not None:
        clear.append(caption.box)
    if art.bar is not None:
        clear.append(_bar_box(art, *size))
    paint_motif(
        image, art.motif, Palette(background, rgb(art.foreground), rgb(art.accent), _strength(art), tuple(clear))
    )
    return image


def _strength(art: StripArt) -> float:
    if art.stamps is None and art.bar is None:
        return 1.0
    return 0.45 if art.motif == "hills" else 0.62


def _shaded(image: Image.Image, art: StripArt, caption: _PlacedLine | None, stamps: tuple[Circle, ...]) -> Image.Image:
    """Shade a photo for what stands over it: as much in all states of a card."""
    background, foreground, accent = rgb(art.background), rgb(art.foreground), rgb(art.accent)
    zones = []
    if caption is not None:
        zones.append(Zone(caption.box, caption.line.color, TEXT_CONTRAST_MIN))
    if stamps:
        around = _around([circle.box for circle in stamps])
        zones += [Zone(around, color, LARGE_TEXT_CONTRAST_MIN) for color in (foreground, accent)]
    if art.bar is not None:
        zones.append(Zone(_bar_box(art, *image.size), foreground, LARGE_TEXT_CONTRAST_MIN))
    # A line of text alone leaves the right of the photo as it is.
    fades = caption.box[2] if caption is not None and len(zones) == 1 else None
    return shaded(image, background, zones, fades_from=fades)


def _flat_colors(art: StripArt) -> list[Rgb]:
    """Return the colours of stamps, bars and words, and those of their smooth edges."""
    background, foreground, accent = rgb(art.background), rgb(art.foreground), rgb(art.accent)
    paper = mix(accent, WHITE, 0.10)
    ink = readable_on(accent, background, foreground, least=LARGE_TEXT_CONTRAST_MIN)
    ways = ((background, foreground), (paper, ink), (background, accent), (accent, paper))
    return [mix(one, other, step / _EDGE_STEPS) for one, other in ways for step in range(_EDGE_STEPS + 1)]


# -- text ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _PlacedLine:
    """A line with the left end of its baseline, in pixels."""

    line: Line
    left: float
    baseline: float

    @property
    def box(self) -> Box:
        size = self.line.font.size
        right = self.left + self.line.font.getlength(self.line.text)
        return self.left, self.baseline - 0.85 * size, right, self.baseline + 0.3 * size


def _placed_caption(art: StripArt, width: int, height: int) -> _PlacedLine:
    unit = height / STRIP_POINTS[1]
    alone = art.stamps is None and art.bar is None
    size, baseline = (25.0, 82.0) if alone else (18.0, 52.0) if art.bar is not None else (14.5, 25.0)
    left, weight = _MARGIN_POINTS * unit, 700 if alone else 600
    free = free_width(art.motif) if alone and art.photo is None else 1.0
    room = width * free - (left if alone else 2 * left)
    font = font_of(size * unit, weight=weight)
    while font.size > 0.72 * size * unit and font.getlength(art.caption) > room:
        font = font_of(font.size * 0.95, weight=weight)
    text = cut(art.caption, font, room)
    if art.stamps is not None:
        left = (width - font.getlength(text)) / 2
    background = rgb(art.background)
    color = readable_on(background, rgb(art.foreground))
    line = Line(text, font, color, mix(background, BLACK, 0.06), halo_strength=1.0 if art.photo is None else 0.4)
    return _PlacedLine(line, round(left), round(baseline * unit))


# -- a bar ----------------------------------------------------------------------------------------------


def _goal_circle(art: StripArt, width: int, height: int) -> Circle:
    """Return where the goal stands, at the end of the bar."""
    unit = height / STRIP_POINTS[1]
    badge = round(_GOAL_POINTS * unit)
    left, top = round(width - _MARGIN_POINTS * unit) - badge, round((92 if art.caption else 76) * unit - badge / 2)
    return Circle(left + badge / 2, top + badge / 2, badge)


def _bar_box(art: StripArt, width: int, height: int) -> Box:
    circle = _goal_circle(art, width, height)
    left, top, _, bottom = _track(circle, height)
    return min(left, circle.box[0]), min(top, circle.box[1]), circle.box[2], max(bottom, circle.box[3])


def _track(circle: Circle, height: int) -> Box:
    """Return where the bar lies, which ends under the goal."""
    unit = height / STRIP_POINTS[1]
    thick = round(_BAR_POINTS * unit)
    thick += round(circle.diameter - thick) % 2  # so that it is in the middle of the goal to the pixel
    return round(_MARGIN_POINTS * unit), circle.y - thick / 2, circle.x, circle.y + thick / 2


def _goal_bar(image: Image.Image, art: StripArt, goal: GoalBar) -> None:
    width, height = image.size
    background, foreground, accent = rgb(art.background), rgb(art.foreground), rgb(art.accent)
    circle = _goal_circle(art, width, height)
    track = _track(circle, height)
    pieces = _pieces(track, circle, goal.steps, round(_PIECE_GAP_POINTS * height / STRIP_POINTS[1]))
    for number, piece in enumerate(pieces, start=1):
        if len(pieces) > 1 and number <= goal.done:
            _filled_bar(image, piece, accent)
            continue
        if art.photo is not None:
            bar(image, piece, background, alpha=190)
        bar(image, piece, foreground, alpha=_track_alpha(background, foreground, accent))
    if len(pieces) == 1 and goal.done:
        left, top, right, bottom = track
        if goal.done < goal.steps:
            # One step is seen as a step, though a bar as short as it is high would be a dot; and the end of the way
            # is not hidden under the goal.
            first = left + bottom - top
            right = round(first + (circle.box[0] - first) * goal.done / goal.steps)
        _filled_bar(image, (left, top, right, bottom), accent)
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
        ring(image, circle, foreground, alpha=seen_alpha(background, foreground, 210))
        paste_glyph(image, goal.glyph, circle.scaled(0.52), foreground, alpha=220)


def _pieces(track: Box, circle: Circle, steps: int, gap: int) -> list[Box]:
    """Return the parts of a bar: one for each of a few steps, before the goal; else one, that ends under it."""
    if not 1 < steps <= _PIECES_MAX:
        return [track]
    left, top, _, bottom = track
    room = circle.box[0] - left
    edges = [round(left + room * number / steps) for number in range(steps + 1)]
    return [(start, top, end - gap, bottom) for start, end in pairwise(edges)]


def _filled_bar(image: Image.Image, box: Box, accent: Rgb) -> None:
    bar(image, box, accent)
    left, top, right, bottom = box
    thick = bottom - top
    inset = thick * 0.24
    shine = (left + inset, top + inset * 0.7, right - inset, top + thick * 0.38)
    if shine[2] - shine[0] > shine[3] - shine[1]:
        bar(image, shine, WHITE, alpha=64)


def _track_alpha(background: Rgb, foreground: Rgb, accent: Rgb) -> int:
    """Return how strong the way that is still to go is: as strong as it can be beside what is done."""
    below = mix(background, BLACK, 0.08)  # where the bar lies, the ground has become darker
    for alpha in (80, 68, 56, 46):
        if contrast_of(mix(below, foreground, alpha / 255), accent) >= LARGE_TEXT_CONTRAST_MIN:
            return alpha
    return 38


# -- stamps ---------------------------------------------------------------------------------------------


def placed_stamps(art: StripArt, width: int, whole: int) -> tuple[Circle, ...]:
    """Return where the stamps go: rows of circles in the middle of what a line of text leaves."""
    assert art.stamps is not None
    height = round(whole * (1 - (_CAPTION_POINTS * 0.92 / STRIP_POINTS[1] if art.caption else 0)))
    rows = _rows(art.stamps.total)
    columns = max(rows)
    margin = 0.055 * height if len(rows) > 1 else 0.0
    cell = min(width * 0.92 / columns, (height * 0.90 - margin * (len(rows) - 1)) / len(rows))
    cell = min(cell, whole * 0.52)
    side, down = int(cell * 0.82), int(cell + margin)
    # A few stamps spread out a little; a full row uses the width it has.
    across = int(min(cell * 1.18, width * 0.92 / columns))
    top = whole - height + round((height - down * (len(rows) - 1) - side) / 2)
    circles = []
    for row, count in enumerate(rows):
        left = round((width - across * (count - 1) - side) / 2)
        circles += [
            Circle(left + column * across + side / 2, top + row * down + side / 2, side) for column in range(count)
        ]
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
    disc(image, circle, background, alpha=200 if art.photo else 70 if art.motif == "hills" else 190)
    ring(image, circle, foreground, alpha=seen_alpha(background, foreground, 210 if is_goal else 120))
    paste_glyph(image, glyph, circle.scaled(0.50), foreground, alpha=200 if is_goal else 84)


def seen_alpha(background: Rgb, foreground: Rgb, least: int) -> int:
    """Return how strong a thin line has to be, so that it is seen on the card's colour."""
    for alpha in range(least, 255, 5):
        if contrast_of(mix(background, foreground, alpha / 255), background) >= LARGE_TEXT_CONTRAST_MIN:
            return alpha
    return 255


def _around(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
