"""The pictures of a program's cards, drawn from its looks. Pure, and slow enough to be kept by the caller."""

from __future__ import annotations

from dataclasses import dataclass

from passes.artwork import SCALES, Look, StripArt, google_logo_png, icon_png, logo_png, strip_png
from passes.artwork.brought import brought_google_logo, brought_icon, brought_logo
from passes.content import Picture, Scaled


@dataclass(frozen=True, slots=True)
class Brand:
    """What all cards of one look share."""

    icon: Scaled
    logo: Scaled


def draw_brand(look: Look, *, logo: bytes | None = None, icon: bytes | None = None) -> Brand:
    """Icon and logo; those that were brought are used instead of drawn ones."""
    return Brand(
        icon=brought_icon(icon, look.background)
        if icon is not None
        else Scaled(*(Picture.of(icon_png(look, scale)) for scale in SCALES)),
        logo=brought_logo(logo)
        if logo is not None
        else Scaled(*(Picture.of(logo_png(look, scale)) for scale in SCALES)),
    )


def draw_google_logo(look: Look, *, icon: bytes | None = None) -> bytes:
    """Google's square logo."""
    return google_logo_png(look) if icon is None else brought_google_logo(icon, look.background)


def draw_strip(art: StripArt, photo: bytes | None = None) -> Scaled:
    """The strip in its state; ``photo`` is the file of the photo that lies behind it."""
    return Scaled(*(Picture.of(strip_png(art, scale, photo)) for scale in SCALES))


def size_of_strip(pictures: Scaled) -> int:
    """How many bytes the three pictures hold."""
    return sum(len(picture.data) for picture in (pictures.x1, pictures.x2, pictures.x3))


def size_of_brand(brand: Brand) -> int:
    """How many bytes icon and logo hold."""
    return size_of_strip(brand.icon) + size_of_strip(brand.logo)
