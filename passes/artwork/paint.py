"""Paint for pictures: grounds, circles, bars, shadows, pictograms and text, with smooth edges at every size."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import fontpkg_noto_sans
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from passes.colors import TEXT_CONTRAST_MIN, Rgb, contrast_of
from passes.glyphs import glyph_mask

WHITE: Rgb = (255, 255, 255)
BLACK: Rgb = (0, 0, 0)
NEARLY_BLACK: Rgb = (17, 17, 17)
_OVERSAMPLE = 4


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle in pixels."""

    x: float
    y: float
    diameter: float

    def scaled(self, factor: float) -> Circle:
        return Circle(self.x, self.y, self.diameter * factor)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        radius = self.diameter / 2
        return self.x - radius, self.y - radius, self.x + radius, self.y + radius


def ground(width: int, height: int, above: Rgb, below: Rgb) -> Image.Image:
    """Return a picture that goes from one colour at its top to another at its foot."""
    slope = Image.linear_gradient("L").resize((width, height), Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", (width, height), below), Image.new("RGB", (width, height), above), slope)


def lit_ground(width: int, height: int, color: Rgb) -> Image.Image:
    """Return the colour with a little light from above: flat colour looks like a missing picture."""
    return ground(width, height, mix(color, WHITE, 0.07), mix(color, BLACK, 0.07))


def disc(image: Image.Image, circle: Circle, color: Rgb, *, alpha: int = 255) -> None:
    _paste_ellipse(image, circle, color, fill=alpha)


def ring(image: Image.Image, circle: Circle, color: Rgb, *, alpha: int) -> None:
    _paste_ellipse(image, circle, color, outline=alpha, width=max(1.0, circle.diameter * 0.035))


def _paste_ellipse(
    image: Image.Image,
    circle: Circle,
    color: Rgb,
    *,
    fill: int | None = None,
    outline: int | None = None,
    width: float = 0.0,
) -> None:
    unit = _OVERSAMPLE
    side = math.ceil(circle.diameter) + 2
    left, top = math.floor(circle.x - side / 2), math.floor(circle.y - side / 2)
    x, y, radius = (circle.x - left) * unit, (circle.y - top) * unit, circle.diameter * unit / 2
    mask = Image.new("L", (side * unit, side * unit), 0)
    ImageDraw.Draw(mask).ellipse(
        (x - radius, y - radius, x + radius, y + radius), fill=fill, outline=outline, width=round(width * unit)
    )
    image.paste(color, (left, top), mask.resize((side, side), Image.Resampling.BOX))


def shadow(image: Image.Image, circle: Circle) -> None:
    """Lay a soft shadow below a circle."""
    blur = circle.diameter * 0.06
    side = math.ceil(circle.diameter + blur * 6)
    inset = (side - circle.diameter) / 2
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).ellipse((inset, inset, side - inset, side - inset), fill=90)
    mask = mask.filter(ImageFilter.GaussianBlur(blur))
    left, top = round(circle.x - side / 2), round(circle.y - side / 2 + circle.diameter * 0.045)
    image.paste(BLACK, (left, top), mask)


def bar(image: Image.Image, box: Sequence[float], color: Rgb, *, alpha: int = 255) -> None:
    """Paint a bar with round ends; `box` is left, top, right, bottom in pixels."""
    unit = _OVERSAMPLE
    left, top, right, bottom = box
    x, y = math.floor(left), math.floor(top)
    width, height = math.ceil(right) - x, math.ceil(bottom) - y
    mask = Image.new("L", (width * unit, height * unit), 0)
    ImageDraw.Draw(mask).rounded_rectangle(
        ((left - x) * unit, (top - y) * unit, (right - x) * unit - 1, (bottom - y) * unit - 1),
        radius=(bottom - top) * unit / 2,
        fill=alpha,
    )
    image.paste(color, (x, y), mask.resize((width, height), Image.Resampling.BOX))


def paste_glyph(image: Image.Image, name: str, circle: Circle, color: Rgb, *, alpha: int = 255) -> None:
    side = max(1, round(circle.diameter))
    side += (round(2 * circle.x) - side) % 2  # in the middle to the pixel
    image.paste(
        color, (round(circle.x - side / 2), round(circle.y - side / 2)), faded(glyph_mask(name, side), alpha / 255)
    )


def faded(mask: Image.Image, share: float) -> Image.Image:
    """Return the mask with that share of its strength."""
    return mask.point([round(value * share) for value in range(256)])


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text with its colour and that of the soft halo that keeps whatever lies behind out of its way."""

    text: str
    font: ImageFont.FreeTypeFont
    color: Rgb
    halo: Rgb
    halo_strength: float = 1.0


def write(image: Image.Image, at: tuple[float, float], line: Line) -> None:
    """Write a line; `at` is the left end of its baseline, in pixels."""
    text, font = line.text, line.font
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    spread = max(2.0, font.size * 0.22)
    margin = math.ceil(spread * 3)
    x, y = math.floor(at[0] + left) - margin, math.floor(at[1] + top) - margin
    mask = Image.new("L", (math.ceil(right - left) + 2 * margin + 1, math.ceil(bottom - top) + 2 * margin + 1), 0)
    ImageDraw.Draw(mask).text((at[0] - x, at[1] - y), text, font=font, fill=255, anchor="ls")
    around = mask.filter(ImageFilter.GaussianBlur(spread)).point([min(235, value * 3) for value in range(256)])
    image.paste(line.halo, (x, y), faded(around, line.halo_strength))
    image.paste(line.color, (x, y), mask)


def cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return the text, or as much of it as fits and an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…"


def font_of(size: float, *, weight: int) -> ImageFont.FreeTypeFont:
    path = fontpkg_noto_sans.ROOT / "files" / "NotoSans[wdth,wght].ttf"
    font = ImageFont.truetype(str(path), max(1.0, size))
    font.set_variation_by_axes([weight, 100])
    return font


def readable_on(behind: Rgb, *candidates: Rgb, least: float = TEXT_CONTRAST_MIN) -> Rgb:
    """Return the first candidate that stands out from `behind`, or the best of them, black and white."""
    for color in candidates:
        if contrast_of(behind, color) >= least:
            return color
    return max((*candidates, WHITE, NEARLY_BLACK), key=lambda color: contrast_of(behind, color))


def mix(color: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def palette_png(image: Image.Image, flat: Sequence[Rgb]) -> bytes:
    """Return a photo as a PNG of 256 colours, a third as large: a card's pictures travel with each of its changes.

    `flat` are the colours of what stands over it: they are kept as they are, and the photo has the others.
    """
    found = image.quantize(256 - len(flat), method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found, *(part for color in flat for part in color)])
    return png(image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
