"""The pictures of a card: icon, logo and strip at three scales.

All of it is geometry and one font, so a program looks finished before anybody has uploaded a picture. The
same look and state give the same bytes; drawing takes tens of milliseconds, so keep what was drawn: `Look` and
`StripArt` are hashable, and `StripArt.digest` names a picture by its content.

Sizes in points: icon 38 x 38, logo up to 160 x 50, strip of a store card 375 x 144; Google's logo is square
and gets a circular mask, its hero image is 1032 x 336 pixels.
Sources: developer.apple.com/documentation/walletpasses/building-a-pass (images);
developers.google.com/wallet/retail/loyalty-cards/resources/brand-guidelines.
"""

from __future__ import annotations

from passes.artwork.brand import (
    GOOGLE_LOGO_PIXELS,
    ICON_POINTS,
    LOGO_POINTS,
    NAME_CHARACTERS_MAX,
    Look,
    google_logo_png,
    icon_png,
    logo_png,
)
from passes.artwork.motifs import MOTIFS
from passes.artwork.photo import Photo
from passes.artwork.strips import GOOGLE_HERO_PIXELS, STRIP_POINTS, GoalBar, StripArt, google_hero_png, strip_png
from passes.content import PassImages, Picture, Scaled, StampCard

__all__ = [
    "GOOGLE_HERO_PIXELS",
    "GOOGLE_LOGO_PIXELS",
    "ICON_POINTS",
    "LOGO_POINTS",
    "MOTIFS",
    "NAME_CHARACTERS_MAX",
    "SCALES",
    "STRIP_POINTS",
    "GoalBar",
    "Look",
    "Photo",
    "StripArt",
    "google_hero_png",
    "google_logo_png",
    "icon_png",
    "logo_png",
    "pass_images",
    "strip_of",
    "strip_png",
]

SCALES = (1, 2, 3)


def strip_of(look: Look, stamps: StampCard | None = None) -> StripArt:
    """Return the strip of a look: the stamps, or a calm pattern without them."""
    return StripArt(
        background=look.background,
        foreground=look.foreground,
        accent=look.accent or look.foreground,
        glyph=look.glyph,
        stamps=stamps,
    )


def pass_images(look: Look, stamps: StampCard | None = None) -> PassImages:
    """Return icon, logo and strip."""
    art = strip_of(look, stamps)
    return PassImages(
        icon=Scaled(*(Picture.of(icon_png(look, scale)) for scale in SCALES)),
        logo=Scaled(*(Picture.of(logo_png(look, scale)) for scale in SCALES)),
        strip=Scaled(*(Picture.of(strip_png(art, scale)) for scale in SCALES)),
    )
