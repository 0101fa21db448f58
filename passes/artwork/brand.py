"""Icon and logos, drawn from a program's name, colours and mark."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from passes.artwork.paint import Circle, cut, disc, font_of, lit_ground, paste_glyph, png, readable_on
from passes.colors import LARGE_TEXT_CONTRAST_MIN, rgb
from passes.content import HEX_COLOR, PassContentError
from passes.glyphs import GLYPHS

ICON_POINTS = (38, 38)
LOGO_POINTS = (160, 50)
GOOGLE_LOGO_PIXELS = (660, 660)
NAME_CHARACTERS_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a program looks like. Colours are ``#RRGGBB``; `glyph` is one of `passes.glyphs.GLYPHS`.

    `accent` paints the mark beside the name; without it the foreground does.
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


def icon_png(look: Look, scale: int) -> bytes:
    """Return the icon for lock screen and mail: the initials on the program's colour."""
    image = lit_ground(ICON_POINTS[0] * scale, ICON_POINTS[1] * scale, rgb(look.background))
    _initials(image, look, size=0.50 * image.height)
    return png(image)


def logo_png(look: Look, scale: int) -> bytes:
    """Return the name as a wordmark with its mark, on nothing; the card's colour shows through."""
    return png(_wordmark(look, LOGO_POINTS[0] * scale, LOGO_POINTS[1] * scale))


def google_logo_png(look: Look) -> bytes:
    """Return the square logo for Google, whose circular mask leaves the middle."""
    image = lit_ground(*GOOGLE_LOGO_PIXELS, rgb(look.background))
    _initials(image, look, size=0.40 * image.height)
    return png(image)


def _initials(image: Image.Image, look: Look, *, size: float) -> None:
    words = [word for word in look.name.replace("-", " ").split() if word[0].isalnum()] or [look.name.strip()]
    text = "".join(word[0] for word in words[:2]).upper()
    color = readable_on(rgb(look.background), rgb(look.accent or look.foreground), rgb(look.foreground))
    width, height = image.size
    font = font_of(size, weight=700)
    left, top, right, bottom = font.getbbox(text)
    if right - left > 0.74 * width:
        font = font_of(size * 0.74 * width / (right - left), weight=700)
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
    circle = Circle(mark / 2 + 1, height / 2, mark)
    disc(image, circle, accent)
    ink = readable_on(accent, background, foreground, least=LARGE_TEXT_CONTRAST_MIN)  # as on the stamps
    paste_glyph(image, look.glyph, circle.scaled(0.60), ink)
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
        font = font_of(height * factor, weight=600)
        if font.getlength(name) <= width:
            return [name], font
    words = name.split()
    splits = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    for factor in (0.36, 0.32, 0.28, 0.25):
        font = font_of(height * factor, weight=600)
        if font.getlength(name) <= width:
            return [name], font
        widest = {pair: max(font.getlength(line) for line in pair) for pair in splits}
        best = min(widest, key=widest.__getitem__, default=None)
        if best is not None and widest[best] <= width:
            return list(best), font
    font = font_of(height * 0.25, weight=600)
    first = 1
    while first < len(words) and font.getlength(" ".join(words[: first + 1])) <= width:
        first += 1
    lines = [" ".join(words[:first]), " ".join(words[first:])]
    return [cut(line, font, width) for line in lines if line], font
