"""The pictures of a program's cards, drawn from its look. Pure, and slow enough to be kept by the caller."""

from __future__ import annotations

from dataclasses import dataclass

from passes.artwork import NAME_CHARACTERS_MAX, SCALES, Look, icon_png, logo_png, strip_of, strip_png
from passes.content import Colors, Picture, Scaled, StampCard


@dataclass(frozen=True, slots=True)
class Brand:
    """What all cards of one look share."""

    icon: Scaled
    logo: Scaled


def look_of(name: str, colors: Colors) -> Look:
    """The look to draw; ``name`` is the program's in the reader's language."""
    return Look(
        name=name[:NAME_CHARACTERS_MAX],
        background=colors.background,
        foreground=colors.foreground,
        accent=colors.label,
    )


def draw_brand(name: str, colors: Colors) -> Brand:
    """Icon and logo."""
    look = look_of(name, colors)
    return Brand(
        icon=Scaled(*(Picture.of(icon_png(look, scale)) for scale in SCALES)),
        logo=Scaled(*(Picture.of(logo_png(look, scale)) for scale in SCALES)),
    )


def draw_strip(name: str, colors: Colors, stamps: StampCard | None) -> Scaled:
    """The strip, with the stamps as they stand."""
    art = strip_of(look_of(name, colors), stamps)
    return Scaled(*(Picture.of(strip_png(art, scale)) for scale in SCALES))
