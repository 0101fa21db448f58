"""Small pictograms, drawn from geometry so that no icon font is needed.

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
    """Return the `size` x `size` mask ("L") of one of `GLYPHS` or `PIECES`. Raises `KeyError` for an unknown name."""
    side = max(1, size) * _OVERSAMPLE
    mask = Image.new("L", (side, side), 0)
    (GLYPHS.get(name) or PIECES[name])(ImageDraw.Draw(mask), float(side))
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


def _flower(draw: Draw, side: float) -> None:
    for petal in range(5):
        angle = 2 * math.pi * petal / 5
        x, y = 0.5 + 0.24 * math.sin(angle), 0.515 - 0.24 * math.cos(angle)
        draw.ellipse(_box(x - 0.205, y - 0.205, x + 0.205, y + 0.205, side), fill=255)
    draw.ellipse(_box(0.385, 0.40, 0.615, 0.63, side), fill=0)
    draw.ellipse(_box(0.43, 0.445, 0.57, 0.585, side), fill=255)


def _drop(draw: Draw, side: float) -> None:
    points: list[Point] = []
    for step in range(121):
        angle = 2 * math.pi * step / 120
        # A teardrop: the sine of the half angle draws one end of a circle to a point.
        points.append((0.5 + 0.40 * math.sin(angle) * math.sin(angle / 2) ** 1.6, 0.50 - 0.44 * math.cos(angle)))
    draw.polygon(_scaled(points, side), fill=255)
    draw.arc(_box(0.29, 0.42, 0.69, 0.82, side), 95, 170, fill=0, width=round(0.055 * side))


def _paw(draw: Draw, side: float) -> None:
    for x, y, wide, high in ((0.17, 0.42, 0.09, 0.12), (0.385, 0.22, 0.10, 0.135)):
        for center in (x, 1 - x):
            draw.ellipse(_box(center - wide, y - high, center + wide, y + high, side), fill=255)
    draw.ellipse(_box(0.31, 0.44, 0.69, 0.78, side), fill=255)
    for x in (0.36, 0.64):
        draw.ellipse(_box(x - 0.155, 0.60, x + 0.155, 0.90, side), fill=255)
    draw.rectangle(_box(0.40, 0.62, 0.60, 0.84, side), fill=255)


def _crown(draw: Draw, side: float) -> None:
    _rounded_polygon(
        draw,
        side,
        [(0.12, 0.30), (0.32, 0.52), (0.50, 0.18), (0.68, 0.52), (0.88, 0.30), (0.80, 0.68), (0.20, 0.68)],
        0.03,
    )
    draw.rounded_rectangle(_box(0.17, 0.76, 0.83, 0.86, side), radius=0.04 * side, fill=255)
    for x, y in ((0.12, 0.27), (0.50, 0.15), (0.88, 0.27)):
        draw.ellipse(_box(x - 0.06, y - 0.06, x + 0.06, y + 0.06, side), fill=255)


def _bag(draw: Draw, side: float) -> None:
    draw.arc(_box(0.33, 0.08, 0.67, 0.52, side), 180, 360, fill=255, width=round(0.065 * side))
    draw.polygon(_scaled([(0.20, 0.32), (0.80, 0.32), (0.87, 0.84), (0.13, 0.84)], side), fill=255)
    draw.rounded_rectangle(_box(0.13, 0.76, 0.87, 0.92, side), radius=0.07 * side, fill=255)
    draw.arc(_box(0.36, 0.26, 0.64, 0.60, side), 0, 180, fill=0, width=round(0.055 * side))


def _scissors(draw: Draw, side: float) -> None:
    width = round(0.085 * side)
    for x in (0.28, 0.72):
        draw.ellipse(_box(x - 0.15, 0.62, x + 0.15, 0.92, side), outline=255, width=round(0.07 * side))
        draw.line(
            _scaled([(x + (0.5 - x) * 0.34, 0.665), (1 - x + (x - 0.5) * 0.02, 0.09)], side), fill=255, width=width
        )
        tip = 1 - x + (x - 0.5) * 0.02
        draw.ellipse(_box(tip - 0.042, 0.05, tip + 0.042, 0.134, side), fill=255)
    draw.ellipse(_box(0.47, 0.435, 0.53, 0.495, side), fill=0)


def _snowflake(draw: Draw, side: float) -> None:
    width = max(1, round(0.05 * side))
    for arm in range(6):
        angle = math.pi * arm / 3
        along, across = (math.sin(angle), -math.cos(angle)), (math.cos(angle), math.sin(angle))

        def at(out: float, aside: float, along: Point = along, across: Point = across) -> Point:
            return 0.5 + out * along[0] + aside * across[0], 0.5 + out * along[1] + aside * across[1]

        draw.line(_scaled([at(0, 0), at(0.46, 0)], side), fill=255, width=width)
        for out, reach in ((0.20, 0.10), (0.31, 0.12)):
            for sign in (-1, 1):
                draw.line(_scaled([at(out, 0), at(out + reach * 0.9, sign * reach)], side), fill=255, width=width)


def _petal(draw: Draw, side: float) -> None:
    draw.chord(_box(0.10, 0.22, 1.10, 1.22, side), 185, 265, fill=255)
    draw.ellipse(_box(0.22, 0.30, 0.62, 0.78, side), fill=255)


def _sparkle(draw: Draw, side: float) -> None:
    points: list[Point] = []
    for step in range(96):
        angle = 2 * math.pi * step / 96
        # An astroid: four points with hollow sides.
        points.append((0.5 + 0.48 * math.cos(angle) ** 3, 0.5 + 0.48 * math.sin(angle) ** 3))
    draw.polygon(_scaled(points, side), fill=255)


def _box(left: float, top: float, right: float, bottom: float, side: float) -> tuple[float, ...]:
    return (left * side, top * side, right * side, bottom * side)


GLYPHS: dict[str, Callable[[Draw, float], None]] = {
    "star": _star,
    "heart": _heart,
    "cup": _cup,
    "leaf": _leaf,
    "tick": _tick,
    "gift": _gift,
    "flower": _flower,
    "drop": _drop,
    "paw": _paw,
    "crown": _crown,
    "bag": _bag,
    "scissors": _scissors,
}
"""What a stamp may show."""
PIECES: dict[str, Callable[[Draw, float], None]] = {"snowflake": _snowflake, "petal": _petal, "sparkle": _sparkle}
"""Parts of motifs."""
