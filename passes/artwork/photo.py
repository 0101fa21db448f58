"""A photo behind a strip: the part of it that is shown, and the shade that keeps what stands over it readable."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from passes.artwork.motifs import Box
from passes.artwork.paint import BLACK, WHITE, mix
from passes.colors import Rgb, contrast_of, luminance

SHADE_MIN: Final = 0.12
"""Every photo is calmed so far, as a share of the card's colour over it."""
SHADE_MAX: Final = 0.92
_LIGHT: Final = 0.18
"""Relative luminance from which black is read better than white."""
_STEPS: Final = 40
_OUTLIERS: Final = 0.01
"""The share of pixels, the brightest or the darkest, that may be harder to read upon: sparkles, and single grains."""
_MEASURED_WIDTH: Final = 375
_FADES_OVER: Final = 0.4
"""Of the width."""


@dataclass(frozen=True, slots=True)
class Photo:
    """`digest` names the kept file; the point at `x`, `y` (percent from the left and the top) stays in sight."""

    digest: str
    x: int = 50
    y: int = 50


@dataclass(frozen=True, slots=True)
class Zone:
    """Where something stands over a photo, in pixels; its colour, and the contrast that it wants."""

    box: Box
    color: Rgb
    contrast: float


def cropped(master: bytes, photo: Photo, size: tuple[int, int], background: Rgb) -> Image.Image:
    """Return the largest part of a kept photo that has the shape of `size`, as near to its point as can be."""
    image: Image.Image = Image.open(io.BytesIO(master), formats=("JPEG", "PNG"))
    if image.mode != "RGB":
        ground = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    width = min(image.width, image.height * size[0] / size[1])
    height = min(image.height, image.width * size[1] / size[0])
    left = min(max(0.0, image.width * photo.x / 100 - width / 2), image.width - width)
    top = min(max(0.0, image.height * photo.y / 100 - height / 2), image.height - height)
    return image.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))


def shaded(
    image: Image.Image, background: Rgb, zones: Sequence[Zone], *, fades_from: float | None = None
) -> Image.Image:
    """Lay a deep shade of the card's colour (a pale one on light cards) over a photo, as the zones need it.

    It lies evenly over the whole: spots of it would look like stains. With `fades_from` it is less and less to the
    right of that pixel. How much is measured at one pixel a point, so that it is the same at every scale.
    """
    width, height = image.size
    small = image.resize((_MEASURED_WIDTH, round(_MEASURED_WIDTH * height / width)), Image.Resampling.BOX)
    share = _MEASURED_WIDTH / width
    alpha = SHADE_MIN
    for zone in zones:
        left, top, right, bottom = (round(value * share) for value in zone.box)
        part = small.crop((max(0, left), max(0, top), min(small.width, right), min(small.height, bottom)))
        alpha = max(alpha, shade_needed(part, background, zone.color, zone.contrast))
    over = Image.new("RGB", image.size, veil_of(background))
    if fades_from is None:
        return Image.blend(image, over, alpha)
    until = fades_from + _FADES_OVER * width
    row = Image.new("L", (width, 1))
    row.putdata([_faded(alpha, (x - fades_from) / (until - fades_from)) for x in range(width)])
    return Image.composite(over, image, row.resize(image.size))


def veil_of(background: Rgb) -> Rgb:
    """Return what is laid over a photo: deeper than the card itself (or paler), so that less of it is needed."""
    return mix(background, WHITE if luminance(background) > _LIGHT else BLACK, 0.4)


def _faded(alpha: float, way: float) -> int:
    """Return the strength, 0 to 255, on a soft way (0 to 1) from `alpha` to the least."""
    way = min(1.0, max(0.0, way))
    return round(255 * (alpha + (SHADE_MIN - alpha) * way * way * (3 - 2 * way)))


def shade_needed(part: Image.Image, background: Rgb, color: Rgb, least: float) -> float:
    """Return the smallest share of the card's colour with which `color` is read on this part of a photo."""
    veil = veil_of(background)
    worst = _extreme(part, brightest=luminance(color) > luminance(veil))
    for step in range(_STEPS + 1):
        share = max(SHADE_MIN, SHADE_MAX * step / _STEPS)
        if contrast_of(mix(worst, veil, share), color) >= least:
            return share
    return SHADE_MAX


def _extreme(part: Image.Image, *, brightest: bool) -> Rgb:
    """Return the brightest (or darkest) that each channel comes to, but for a few pixels: no pixel is harder."""
    found = []
    for channel in part.split():
        counts = channel.histogram()
        left = part.width * part.height * _OUTLIERS
        levels = range(255, -1, -1) if brightest else range(256)
        for level in levels:
            left -= counts[level]
            if left < 0:
                break
        found.append(level)
    red, green, blue = found
    return red, green, blue
