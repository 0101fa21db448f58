"""What lies behind a strip: hills, snow, blossom, sun, leaves, stars, hearts.

A motif is placed by a sequence that fills the plane evenly and never repeats, so that a strip has the same picture at
every scale and in every run. It keeps to the background: text and stamps stand in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from passes.artwork.paint import Circle, disc, faded
from passes.colors import Rgb, luminance
from passes.glyphs import glyph_mask

POINTS_HIGH = 144
"""Motifs are laid out for a strip of this height."""
_AIR_POINTS = 3
"""Between a piece of a motif and what stands in front: squeezed in between, it would look like dirt."""
_PLASTIC = 1.32471795724474602596  # the R2 sequence (M. Roberts, 2018) steps by its powers


Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a motif; `strength` from 0 to 1, 1 where nothing but text stands in front.

    No pictogram is laid into the boxes of `clear`: half a snowflake behind a word is worse than none.
    """

    background: Rgb
    foreground: Rgb
    accent: Rgb
    strength: float
    clear: tuple[Box, ...] = ()

    @property
    def light(self) -> Rgb:
        """The colour of snow and stars: what is lighter than the ground, and the accent on a light one."""
        return self.foreground if luminance(self.foreground) > luminance(self.background) else self.accent


def paint_motif(image: Image.Image, name: str, palette: Palette) -> None:
    """Paint a motif of `MOTIFS` over the ground. Raises `KeyError` for an unknown name."""
    MOTIFS[name](image, palette)


def free_width(name: str) -> float:
    """Return the share of the width, from the left, that a motif leaves to a line of text."""
    return 0.56 if name == "sun" else 1.0


def _hills(image: Image.Image, palette: Palette) -> None:
    """Long translucent waves, the front ones stronger, like hills in haze."""
    waves = ((0.50, 0.15, 0.85, 0.2, 0.055), (0.66, 0.13, 1.15, 2.4, 0.075), (0.84, 0.10, 0.95, 4.3, 0.10))
    for level, swing, length, shift, alpha in waves:
        _wave(image, palette.accent, (level, swing, length, shift), alpha * palette.strength)


def _wave(image: Image.Image, color: Rgb, shape: tuple[float, float, float, float], alpha: float) -> None:
    level, swing, length, shift = shape
    width, height = image.size
    mask = Image.new("L", (width * 2, height * 2), 0)
    edge = [
        (x, 2 * height * (level + swing * math.sin(2 * math.pi * length * x / (2 * width) + shift)))
        for x in range(0, 2 * width + 8, 8)
    ]
    ImageDraw.Draw(mask).polygon([*edge, (2 * width + 8, 2 * height), (0, 2 * height)], fill=round(255 * alpha))
    image.paste(color, (0, 0), mask.resize((width, height), Image.Resampling.BOX))


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where one piece lies, in shares of the picture; `depth` from 0 (far) to 1 (near), `turn` in degrees."""

    x: float
    y: float
    depth: float
    turn: float


def _scattered(count: int, seed: float) -> Iterator[_Spot]:
    for index in range(1, count + 1):
        depth = (seed + index * 0.6180339887) % 1
        yield _Spot(
            (seed + index / _PLASTIC) % 1,
            (seed * 1.7 + index / _PLASTIC**2) % 1,
            depth,
            360 * ((seed + index * 0.7548776662) % 1),
        )


@dataclass(frozen=True, slots=True)
class _Strewn:
    """A pictogram that is strewn: `points` is its smallest and its largest size."""

    glyph: str
    count: int
    seed: float
    points: tuple[float, float]
    turned: bool = True


def _scatter(image: Image.Image, strewn: _Strewn, color: Rgb, alpha: float, clear: Sequence[Box]) -> list[Box]:
    """Strew a pictogram, near ones larger and stronger; returns where they lie."""
    width, height = image.size
    unit = height / POINTS_HIGH
    taken: list[Box] = []
    for spot in _scattered(strewn.count, strewn.seed):
        smallest, largest = strewn.points
        side = max(3, round((smallest + (largest - smallest) * spot.depth**2) * unit))
        x, y, reach = spot.x * width, spot.y * height, side * 0.5 + _AIR_POINTS * unit
        if any(_touches(box, x, y, reach) for box in clear):
            continue
        mask = glyph_mask(strewn.glyph, side)
        if strewn.turned:
            mask = mask.rotate(spot.turn, Image.Resampling.BICUBIC, expand=True)
        at = round(x - mask.width / 2), round(y - mask.height / 2)
        image.paste(color, at, faded(mask, alpha * (0.45 + 0.55 * spot.depth)))
        taken.append((x - side / 2, y - side / 2, x + side / 2, y + side / 2))
    return taken


@dataclass(frozen=True, slots=True)
class _Dots:
    """Small dots: `points` is the smallest size, and how much larger near ones are."""

    count: int
    seed: float
    points: tuple[float, float]


def _touches(box: Box, x: float, y: float, radius: float) -> bool:
    left, top, right, bottom = box
    return left - radius < x < right + radius and top - radius < y < bottom + radius


def _dots(image: Image.Image, palette: Palette, dots: _Dots, taken: Sequence[Box]) -> None:
    """Strew small dots, none upon a piece of the motif."""
    width, height = image.size
    unit = height / POINTS_HIGH
    for spot in _scattered(dots.count, dots.seed):
        x, y, size = spot.x * width, spot.y * height, (dots.points[0] + dots.points[1] * spot.depth) * unit
        if not any(_touches(box, x, y, size) for box in (*palette.clear, *taken)):
            alpha = round(255 * palette.strength * (0.24 + 0.40 * spot.depth))
            disc(image, Circle(x, y, size), palette.light, alpha=alpha)


def _snow(image: Image.Image, palette: Palette) -> None:
    _wave(image, palette.light, (0.86, 0.05, 0.9, 3.6), 0.16 * palette.strength)
    _wave(image, palette.light, (0.94, 0.04, 1.3, 1.0), 0.26 * palette.strength)
    flakes = _Strewn("snowflake", 17, 0.11, (9, 36))
    taken = _scatter(image, flakes, palette.light, 0.50 * palette.strength, palette.clear)
    _dots(image, palette, _Dots(44, 0.37, (1.2, 2.4)), taken)


def _blossom(image: Image.Image, palette: Palette) -> None:
    _wave(image, palette.accent, (0.80, 0.08, 0.9, 4.0), 0.08 * palette.strength)
    _scatter(image, _Strewn("petal", 24, 0.53, (6, 12)), palette.accent, 0.40 * palette.strength, palette.clear)
    _scatter(image, _Strewn("flower", 15, 0.21, (12, 38)), palette.accent, 0.46 * palette.strength, palette.clear)


def _sun(image: Image.Image, palette: Palette) -> None:
    if palette.strength >= 1:
        _whole_sun(image, palette)
    else:
        _sunbeams(image, palette)
    waves = (((0.76, 0.035, 2.2, 0.4), 0.10), ((0.85, 0.03, 2.6, 2.2), 0.13), ((0.93, 0.025, 3.0, 4.1), 0.16))
    for shape, alpha in waves:
        _wave(image, palette.light, shape, alpha * palette.strength)


def _sunbeams(image: Image.Image, palette: Palette) -> None:
    """Wide beams over the whole strip: half a sun behind a stamp would be a stain."""
    width, height = image.size
    unit = 2
    mask = Image.new("L", (width * unit, height * unit), 0)
    draw = ImageDraw.Draw(mask)
    x, y, far = width * unit / 2, height * unit * 1.35, width * unit * 1.5
    beams = 22
    for beam in range(beams):
        angle = math.pi * (1 + (beam + 0.25) / beams)
        wide = math.pi / beams / 2
        ends = [(x + far * math.cos(angle + to), y + far * math.sin(angle + to)) for to in (0, wide)]
        draw.polygon([(x, y), *ends], fill=round(255 * 0.12 * palette.strength))
    image.paste(palette.light, (0, 0), mask.resize((width, height), Image.Resampling.BOX))


def _whole_sun(image: Image.Image, palette: Palette) -> None:
    width, height = image.size
    center_x, center_y, radius = width * 0.83, height * 0.42, height * 0.22
    unit = 2
    mask = Image.new("L", (width * unit, height * unit), 0)
    draw = ImageDraw.Draw(mask)
    for ray in range(16):
        angle = 2 * math.pi * ray / 16
        begin, end, wide = radius * 1.25, radius * (1.45 if ray % 2 else 1.62), 0.05
        corners = [(begin, -wide), (begin, wide), (end, wide * 0.55), (end, -wide * 0.55)]
        turned = [(center_x + out * math.cos(angle + to), center_y + out * math.sin(angle + to)) for out, to in corners]
        draw.polygon([(x * unit, y * unit) for x, y in turned], fill=255)
    rays = mask.resize((width, height), Image.Resampling.BOX)
    for size, alpha in ((4.6, 0.05), (3.6, 0.06)):
        disc(image, Circle(center_x, center_y, radius * size), palette.light, alpha=round(255 * alpha))
    image.paste(palette.accent, (0, 0), faded(rays, 0.81))
    disc(image, Circle(center_x, center_y, radius * 2.1), palette.accent, alpha=242)


def _leaves(image: Image.Image, palette: Palette) -> None:
    _wave(image, palette.accent, (0.86, 0.06, 0.9, 2.0), 0.10 * palette.strength)
    _scatter(image, _Strewn("leaf", 24, 0.71, (11, 38)), palette.accent, 0.46 * palette.strength, palette.clear)


def _stars(image: Image.Image, palette: Palette) -> None:
    sparkles = _Strewn("sparkle", 20, 0.29, (8, 30), turned=False)
    taken = _scatter(image, sparkles, palette.accent, 0.60 * palette.strength, palette.clear)
    _dots(image, palette, _Dots(44, 0.83, (1.0, 1.6)), taken)


def _hearts(image: Image.Image, palette: Palette) -> None:
    _wave(image, palette.accent, (0.84, 0.07, 0.9, 0.6), 0.08 * palette.strength)
    _scatter(image, _Strewn("heart", 22, 0.47, (9, 36)), palette.accent, 0.40 * palette.strength, palette.clear)


MOTIFS: dict[str, Callable[[Image.Image, Palette], None]] = {
    "hills": _hills,
    "snow": _snow,
    "blossom": _blossom,
    "sun": _sun,
    "leaves": _leaves,
    "stars": _stars,
    "hearts": _hearts,
}
