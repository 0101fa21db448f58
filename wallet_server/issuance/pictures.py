"""The pictures of a program's cards, drawn from its looks. Pure, and slow enough to be kept by the caller."""

from __future__ import annotations

from dataclasses import dataclass

from passes.artwork import SCALES, Look, StripArt, icon_png, logo_png, strip_png
from passes.content import Picture, Scaled


@dataclass(frozen=True, slots=True)
class Brand:
    """What all cards of one look share."""

    icon: Scaled
    logo: Scaled


def draw_brand(look: Look) -> Brand:
    """Icon and logo."""
    return Brand(
        icon=Scaled(*(Picture.of(icon_png(look, scale)) for scale in SCALES)),
        logo=Scaled(*(Picture.of(logo_png(look, scale)) for scale in SCALES)),
    )


def draw_strip(art: StripArt) -> Scaled:
    """The strip in its state."""
    return Scaled(*(Picture.of(strip_png(art, scale)) for scale in SCALES))


def size_of_strip(pictures: Scaled) -> int:
    """How many bytes the three pictures hold."""
    return sum(len(picture.data) for picture in (pictures.x1, pictures.x2, pictures.x3))


def size_of_brand(brand: Brand) -> int:
    """How many bytes icon and logo hold."""
    return size_of_strip(brand.icon) + size_of_strip(brand.logo)
