"""The pictures of a card, drawn from a program's look: icon, logo and strip at three scales.

All of it is geometry and one font, so a program looks finished before anybody has uploaded a picture. The
same look and state give the same bytes; drawing takes tens of milliseconds, so cache by
(`Look`, `StampCard`): both are hashable.

Sizes in points: icon 38 x 38, logo up to 160 x 50, strip of a store card 375 x 144; Google's logo is square
and gets a circular mask, its hero image is 1032 x 336 pixels.
Sources: developer.apple.com/documentation/walletpasses/building-a-pass (images);
developers.google.com/wallet/retail/loyalty-cards/resources/brand-guidelines.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import fontpkg_noto_sans
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from passes.colors import TEXT_CONTRAST_MIN, Rgb, contrast_of, rgb
from passes.content import HEX_COLOR, PassContentError, PassImages, Picture, Scaled, StampCard
from passes.glyphs import GLYPHS, glyph_mask

ICON_POINTS = (38, 38)
LOGO_POINTS = (160, 50)
STRIP_POINTS = (375, 144)
GOOGLE_LOGO_PIXELS = (660, 660)
GOOGLE_HERO_PIXELS = (1032, 336)
SCALES = (1, 2, 3)

NAME_CHARACTERS_MAX = 60
_STAMPS_PER_ROW_MAX = 6
_STAMPS_PER_ROW_CROWDED_MAX = 10


@dataclass(frozen=True, slots=True)
class _Circle:
    """A circle in pixels."""

    x: float
    y: float
    diameter: float

    def scaled(self, factor: float) -> _Circle:
        return _Circle(self.x, self.y, self.diameter * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a program looks like. Colours are ``#RRGGBB``; `glyph` is one of `passes.glyphs.GLYPHS`.

    `accent` paints filled stamps and the mark beside the name; without it the foreground does.
    Raises `PassContentError` for anything that cannot be drawn.
    """

    name: str
    background: str
    foreground: str
    accent: str = ""
    glyph: str = "star"

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > NAME_CHARACTERS_MAX:
            raise PassContentError("look.name", f"a name has 1 to {NAME_CHARACTERS_MAX} characters")
        if self.glyph not in GLYPHS:
            raise PassContentError("look.glyph", f"one of {', '.join(GLYPHS)}, not {self.glyph!r}")
        for field in ("background", "foreground", "accent"):
            color = getattr(self, field)
            if not HEX_COLOR.fullmatch(color) and (field, color) != ("accent", ""):
                raise PassContentError(f"look.{field}", f"a colour is written #RRGGBB, not {color!r}")


def pass_images(look: Look, stamps: StampCard | None = None) -> PassImages:
    """Return icon, logo and strip; the strip shows the stamps, or a calm pattern without them."""
    return PassImages(
        icon=Scaled(*(Picture.of(icon_png(look, scale)) for scale in SCALES)),
        logo=Scaled(*(Picture.of(logo_png(look, scale)) for scale in SCALES)),
        strip=Scaled(*(Picture.of(strip_png(look, stamps, scale)) for scale in SCALES)),
    )


def icon_png(look: Look, scale: int) -> bytes:
    """Return the icon for lock screen and mail: the initials on the program's colour."""
    width, height = _pixels(ICON_POINTS, scale)
    image = _lit_ground(width, height, rgb(look.background))
    _initials(image, look, size=0.50 * height)
    return _png(image)


def logo_png(look: Look, scale: int) -> bytes:
    """Return the name as a wordmark with its mark, on nothing; the card's colour shows through."""
    return _png(_wordmark(look, *_pixels(LOGO_POINTS, scale)))


def strip_png(look: Look, stamps: StampCard | None, scale: int) -> bytes:
    """Return the picture behind the card's upper half."""
    return _banner(look, stamps, *_pixels(STRIP_POINTS, scale))


def google_logo_png(look: Look) -> bytes:
    """Return the square logo for Google, whose circular mask leaves the middle."""
    width, height = GOOGLE_LOGO_PIXELS
    image = _lit_ground(width, height, rgb(look.background))
    _initials(image, look, size=0.40 * height)
    return _png(image)


def google_hero_png(look: Look, stamps: StampCard | None = None) -> bytes:
    """Return the wide picture at the foot of a Google card, in the same state as the strip."""
    return _banner(look, stamps, *GOOGLE_HERO_PIXELS)


# -- the strip ----------------------------------------------------------------------------------------


def _banner(look: Look, stamps: StampCard | None, width: int, height: int) -> bytes:
    # It begins in the card's own colour, so that no seam shows below the header.
    color = rgb(look.background)
    image = _ground(width, height, color, _mix(color, (0, 0, 0), 0.13))
    _hills(image, look, strength=1.0 if stamps is None else 0.45)
    if stamps is not None:
        _stamps(image, look, stamps)
    return _png(image)


def _hills(image: Image.Image, look: Look, *, strength: float) -> None:
    """Lay long translucent waves over the ground, the front ones stronger, like hills in haze."""
    width, height = image.size
    accent = rgb(look.accent or look.foreground)
    waves = ((0.50, 0.15, 0.85, 0.2, 0.055), (0.66, 0.13, 1.15, 2.4, 0.075), (0.84, 0.10, 0.95, 4.3, 0.10))
    for level, swing, length, shift, alpha in waves:
        mask = Image.new("L", (width * 2, height * 2), 0)
        edge = [
            (
                x,
                2 * height * (level + swing * math.sin(2 * math.pi * length * x / (2 * width) + shift)),
            )
            for x in range(0, 2 * width + 8, 8)
        ]
        fill = round(255 * alpha * strength)
        ImageDraw.Draw(mask).polygon([*edge, (2 * width + 8, 2 * height), (0, 2 * height)], fill=fill)
        image.paste(accent, (0, 0), mask.resize((width, height), Image.Resampling.BOX))


def _stamps(image: Image.Image, look: Look, stamps: StampCard) -> None:
    width, height = image.size
    rows = _rows(stamps.total)
    columns = max(rows)
    margin = 0.055 * height if len(rows) > 1 else 0.0
    cell = min(width * 0.92 / columns, (height * 0.90 - margin * (len(rows) - 1)) / len(rows))
    cell = min(cell, height * 0.52)
    diameter = cell * 0.82
    top = (height - cell * len(rows) - margin * (len(rows) - 1)) / 2
    number = 0
    for row, count in enumerate(rows):
        # A few stamps spread out a little; a full row uses the width it has.
        pitch = min(cell * 1.18, width * 0.92 / max(count, columns))
        left = (width - pitch * count) / 2
        for column in range(count):
            number += 1
            center = left + pitch * (column + 0.5), top + cell / 2 + row * (cell + margin)
            glyph = "gift" if number == stamps.total else look.glyph
            _stamp(image, look, _Circle(*center, diameter), glyph, filled=number <= stamps.filled)


def _rows(total: int) -> list[int]:
    """Return how many stamps each row has: even rows, the longer ones first."""
    per_row = _STAMPS_PER_ROW_MAX if total <= 2 * _STAMPS_PER_ROW_MAX else _STAMPS_PER_ROW_CROWDED_MAX
    if total == 5:
        return [5]
    count = math.ceil(total / per_row)
    base, longer = divmod(total, count)
    return [base + 1] * longer + [base] * (count - longer)


def _stamp(image: Image.Image, look: Look, circle: _Circle, glyph: str, *, filled: bool) -> None:
    background, foreground = rgb(look.background), rgb(look.foreground)
    accent = rgb(look.accent or look.foreground)
    if filled:
        _shadow(image, circle)
        _disc(image, circle, accent)
        _disc(image, circle.scaled(0.90), _mix(accent, (255, 255, 255), 0.10))
        _paste_glyph(image, glyph, circle.scaled(0.58), _readable_on(accent, background, foreground))
        return
    # What is still to come stays in the background, except for the reward at the end of the row.
    is_goal = glyph == "gift"
    _disc(image, circle, background, alpha=70)
    _ring(image, circle, foreground, alpha=210 if is_goal else 120)
    _paste_glyph(image, glyph, circle.scaled(0.50), foreground, alpha=200 if is_goal else 84)


def _disc(image: Image.Image, circle: _Circle, color: Rgb, *, alpha: int = 255) -> None:
    _paste_ellipse(image, circle, color, fill=alpha)


def _ring(image: Image.Image, circle: _Circle, color: Rgb, *, alpha: int) -> None:
    _paste_ellipse(image, circle, color, outline=alpha, width=max(1.0, circle.diameter * 0.035))


def _paste_ellipse(
    image: Image.Image,
    circle: _Circle,
    color: Rgb,
    *,
    fill: int | None = None,
    outline: int | None = None,
    width: float = 0.0,
) -> None:
    """Paint a circle with smooth edges at fractions of a pixel, through a mask four times too large."""
    unit = 4
    side = math.ceil(circle.diameter) + 2
    left, top = math.floor(circle.x - side / 2), math.floor(circle.y - side / 2)
    x, y, radius = (circle.x - left) * unit, (circle.y - top) * unit, circle.diameter * unit / 2
    mask = Image.new("L", (side * unit, side * unit), 0)
    ImageDraw.Draw(mask).ellipse(
        (x - radius, y - radius, x + radius, y + radius), fill=fill, outline=outline, width=round(width * unit)
    )
    image.paste(color, (left, top), mask.resize((side, side), Image.Resampling.BOX))


def _shadow(image: Image.Image, circle: _Circle) -> None:
    blur = circle.diameter * 0.06
    side = math.ceil(circle.diameter + blur * 6)
    inset = (side - circle.diameter) / 2
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).ellipse((inset, inset, side - inset, side - inset), fill=90)
    mask = mask.filter(ImageFilter.GaussianBlur(blur))
    left, top = round(circle.x - side / 2), round(circle.y - side / 2 + circle.diameter * 0.045)
    image.paste((0, 0, 0), (left, top), mask)


def _paste_glyph(image: Image.Image, name: str, circle: _Circle, color: Rgb, *, alpha: int = 255) -> None:
    side = max(1, round(circle.diameter))
    mask = glyph_mask(name, side).point([round(value * alpha / 255) for value in range(256)])
    image.paste(color, (round(circle.x - side / 2), round(circle.y - side / 2)), mask)


# -- names --------------------------------------------------------------------------------------------


def _initials(image: Image.Image, look: Look, *, size: float) -> None:
    words = [word for word in look.name.replace("-", " ").split() if word[0].isalnum()] or [look.name.strip()]
    text = "".join(word[0] for word in words[:2]).upper()
    color = _readable_on(rgb(look.background), rgb(look.accent or look.foreground), rgb(look.foreground))
    width, height = image.size
    font = _font(size, weight=700)
    left, top, right, bottom = font.getbbox(text)
    if right - left > 0.74 * width:
        font = _font(size * 0.74 * width / (right - left), weight=700)
        left, top, right, bottom = font.getbbox(text)
    # Centred by its ink: a capital has no descender, and by its line it would hang low.
    origin = ((width - (right - left)) / 2 - left, (height - (bottom - top)) / 2 - top)
    ImageDraw.Draw(image).text(origin, text, font=font, fill=color)


def _wordmark(look: Look, width: int, height: int) -> Image.Image:
    accent = rgb(look.accent or look.foreground)
    background, foreground = rgb(look.background), rgb(look.foreground)
    mark = height * 0.64
    gap = height * 0.18
    lines, font = _fit_name(" ".join(look.name.split()), width - mark - gap, height)
    line_height = font.size * 1.16
    image = Image.new("RGBA", (width, height), (*foreground, 0))
    circle = _Circle(mark / 2 + 1, height / 2, mark)
    _disc(image, circle, accent)
    _paste_glyph(image, look.glyph, circle.scaled(0.60), _readable_on(accent, background, foreground))
    draw = ImageDraw.Draw(image)
    cap_top, cap_bottom = font.getbbox("H")[1], font.getbbox("H")[3]
    first = height / 2 - (cap_top + cap_bottom) / 2 - line_height * (len(lines) - 1) / 2
    right = 0.0
    for index, line in enumerate(lines):
        draw.text((mark + gap, first + line_height * index), line, font=font, fill=(*foreground, 255))
        right = max(right, mark + gap + font.getlength(line))
    # Trimmed to its ink: iOS scales a logo to the height it has, and empty width would push it smaller.
    return image.crop((0, 0, min(width, math.ceil(right) + 1), height))


def _fit_name(name: str, width: float, height: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Return the lines and the largest font with which the name fits: one line, then two, then cut."""
    for factor in (0.46, 0.42, 0.38):
        font = _font(height * factor, weight=600)
        if font.getlength(name) <= width:
            return [name], font
    words = name.split()
    splits = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    for factor in (0.36, 0.32, 0.28, 0.25):
        font = _font(height * factor, weight=600)
        if font.getlength(name) <= width:
            return [name], font
        widest = {pair: max(font.getlength(line) for line in pair) for pair in splits}
        best = min(widest, key=widest.__getitem__, default=None)
        if best is not None and widest[best] <= width:
            return list(best), font
    font = _font(height * 0.25, weight=600)
    first = 1
    while first < len(words) and font.getlength(" ".join(words[: first + 1])) <= width:
        first += 1
    lines = [" ".join(words[:first]), " ".join(words[first:])]
    return [_cut(line, font, width) for line in lines if line], font


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…"


def _font(size: float, *, weight: int) -> ImageFont.FreeTypeFont:
    path = fontpkg_noto_sans.ROOT / "files" / "NotoSans[wdth,wght].ttf"
    font = ImageFont.truetype(str(path), max(1.0, size))
    font.set_variation_by_axes([weight, 100])
    return font


# -- colours and pixels -------------------------------------------------------------------------------


def _lit_ground(width: int, height: int, color: Rgb) -> Image.Image:
    """Return the colour with a little light from above: flat colour looks like a missing picture."""
    return _ground(width, height, _mix(color, (255, 255, 255), 0.07), _mix(color, (0, 0, 0), 0.07))


def _ground(width: int, height: int, above: Rgb, below: Rgb) -> Image.Image:
    slope = Image.linear_gradient("L").resize((width, height), Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", (width, height), below), Image.new("RGB", (width, height), above), slope)


def _readable_on(ground: Rgb, *candidates: Rgb) -> Rgb:
    """Return the first candidate that stands out from `ground`, or the best of them, black and white."""
    for color in candidates:
        if contrast_of(ground, color) >= TEXT_CONTRAST_MIN:
            return color
    return max((*candidates, (255, 255, 255), (17, 17, 17)), key=lambda color: contrast_of(ground, color))


def _mix(color: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def _pixels(points: tuple[int, int], scale: int) -> tuple[int, int]:
    return points[0] * scale, points[1] * scale


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
