"""The pictures of a program's cards, drawn from its look. Pure, and slow enough to be kept by the caller."""

from __future__ import annotations

from passes.artwork import NAME_CHARACTERS_MAX, Look, pass_images
from passes.content import Colors, PassImages, StampCard


def draw(name: str, colors: Colors, stamps: StampCard | None) -> PassImages:
    """Icon, logo and strip in the colours of a card; ``name`` is the program's in the reader's language."""
    look = Look(
        name=name[:NAME_CHARACTERS_MAX],
        background=colors.background,
        foreground=colors.foreground,
        accent=colors.label,
    )
    return pass_images(look, stamps)
