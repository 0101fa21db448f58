"""Small pictograms, drawn from geometry so that no icon font is needed: star, heart, cup, leaf, tick, gift.

A glyph is a mask: 255 where it is. It is drawn four times too large and reduced, which makes its edges smooth
at every size, and two calls with the same size give the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image, ImageDraw

_OVERSAMPLE = 4

Draw = ImageDraw.ImageDraw
Point = tuple[float, float]


def glyph_mask(name: str, size: int) -> Image.Image:
    """Return the `size` x `size` mask ("L") of a glyph of `GLYPHS`. Raises `KeyError` for an unknown name."""
    side = max(1, size) * _OVERSAMPLE
    mask = Image.new("L", (side, side), 0)
    GLYPHS[name](ImageDraw.Draw(mask), float(side))
    return mask.resize((max(1, size), max(1, size)), Image.Resampling.LANCZOS)


def _scaled(points: list[Point], side: float) -> list[Point]:
    return [(x * side, y * side) for x, y in points]


def _star(draw: Draw, side: float) -> None:
    # Ten corners; the round caps over them take the sharpness away.
    cap = 0.045
    outer, inner = 0.47 - cap, 0.215
    corners = [
        (
            0.5 + radius * math.sin(math.pi * step / 5),
            0.525 - radius * math.cos(math.pi * step / 5),
        )
        for step in range(10)
        for radius in (inner if step % 2 else outer,)
    ]
    _rounded_polygon(draw, side, corners, cap)


def _rounded_polygon(draw: Draw, side: float, corners: list[Point], cap: float) -> None:
    points = _scaled(corners, side)
    draw.polygon(points, fill=255)
    width = round(2 * cap * side)
    draw.line([*points, points[0]], fill=255, width=width)
    for x, y in points:
        draw.ellipse((x - cap * side, y - cap * side, x + cap * side, y + cap * side), fill=255)


def _heart(draw: Draw, side: float) -> None:
    points = []
    for step in range(180):
        angle = 2 * math.pi * step / 180
        x = 16 * math.sin(angle) ** 3
        y = 13 * math.cos(angle) - 5 * math.cos(2 * angle) - 2 * math.cos(3 * angle) - math.cos(4 * angle)
        points.append((0.5 + x / 37, 0.47 - y / 37))
    draw.polygon(_scaled(points, side), fill=255)


def _cup(draw: Draw, side: float) -> None:
    draw.ellipse(_box(0.60, 0.40, 0.90, 0.70, side), fill=255)
    draw.ellipse(_box(0.67, 0.47, 0.83, 0.63, side), fill=0)
    draw.rounded_rectangle(
        _box(0.16, 0.36, 0.74, 0.78, side), radius=0.17 * side, fill=255, corners=(False, False, True, True)
    )
    draw.rounded_rectangle(_box(0.12, 0.84, 0.78, 0.91, side), radius=0.035 * side, fill=255)
    for center in (0.33, 0.45, 0.57):
        wave = [(center + 0.028 * math.sin(2 * math.pi * step / 24), 0.09 + 0.19 * step / 24) for step in range(25)]
        draw.line(_scaled(wave, side), fill=255, width=round(0.045 * side), joint="curve")


def _leaf(draw: Draw, side: float) -> None:
    blade: list[Point] = []
    for step in range(61):
        along = step / 60
        blade.append((0.14 + 0.72 * along, 0.86 - 0.72 * along + 0.40 * math.sin(math.pi * along) ** 1.15))
    for step in range(61):
        along = 1 - step / 60
        blade.append((0.14 + 0.72 * along, 0.86 - 0.72 * along - 0.40 * math.sin(math.pi * along) ** 1.15))
    # The bulge goes along the diagonal's normal, which turns the lens into a leaf.
    turned = [(x + (y - (1 - x)) * 0.45, y - (y - (1 - x)) * 0.45) for x, y in blade]
    draw.polygon(_scaled(turned, side), fill=255)
    draw.line(_scaled([(0.10, 0.90), (0.66, 0.34)], side), fill=0, width=round(0.045 * side))
    draw.line(_scaled([(0.08, 0.92), (0.20, 0.80)], side), fill=255, width=round(0.06 * side))


def _tick(draw: Draw, side: float) -> None:
    points = _scaled([(0.18, 0.53), (0.41, 0.75), (0.82, 0.28)], side)
    width = 0.14 * side
    draw.line(points, fill=255, width=round(width), joint="curve")
    for x, y in points:
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)


def _gift(draw: Draw, side: float) -> None:
    line = round(0.065 * side)
    draw.ellipse(_box(0.27, 0.09, 0.50, 0.31, side), outline=255, width=line)
    draw.ellipse(_box(0.50, 0.09, 0.73, 0.31, side), outline=255, width=line)
    draw.rounded_rectangle(_box(0.10, 0.29, 0.90, 0.46, side), radius=0.04 * side, fill=255)
    draw.rounded_rectangle(_box(0.16, 0.50, 0.84, 0.90, side), radius=0.04 * side, fill=255)
    draw.rectangle(_box(0.465, 0.28, 0.535, 0.92, side), fill=0)


def _box(left: float, top: float, right: float, bottom: float, side: float) -> tuple[float, ...]:
    return (left * side, top * side, right * side, bottom * side)


GLYPHS: dict[str, Callable[[Draw, float], None]] = {
    "star": _star,
    "heart": _heart,
    "cup": _cup,
    "leaf": _leaf,
    "tick": _tick,
    "gift": _gift,
}
