from __future__ import annotations

import io

import pytest
from PIL import Image

from passes.artwork import (
    GOOGLE_HERO_PIXELS,
    GOOGLE_LOGO_PIXELS,
    Look,
    google_hero_png,
    google_logo_png,
    icon_png,
    logo_png,
    pass_images,
    strip_of,
    strip_png,
)
from passes.colors import contrast
from passes.content import PassContentError, StampCard
from passes.glyphs import GLYPHS, glyph_mask

LOOK = Look(name="Кафе Охрид", background="#1F3A5F", foreground="#FFFFFF", accent="#F2C14E", glyph="cup")
ACCENT = (242, 193, 78)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_every_picture_has_its_size_at_every_scale():
    images = pass_images(LOOK, StampCard(filled=3, total=5))
    sizes = {name: opened(picture.data).size for name, picture in images.files()}
    for scale, suffix in ((1, ""), (2, "@2x"), (3, "@3x")):
        assert sizes[f"icon{suffix}.png"] == (38 * scale, 38 * scale)
        assert sizes[f"strip{suffix}.png"] == (375 * scale, 144 * scale)
        width, height = sizes[f"logo{suffix}.png"]
        assert height == 50 * scale
        assert width <= 160 * scale
    assert opened(google_logo_png(LOOK)).size == GOOGLE_LOGO_PIXELS
    assert opened(google_hero_png(strip_of(LOOK))).size == GOOGLE_HERO_PIXELS


def test_the_same_state_gives_the_same_bytes_and_another_state_others():
    stamps = StampCard(filled=3, total=5)
    assert strip_png(strip_of(LOOK, stamps), 1) == strip_png(strip_of(LOOK, StampCard(filled=3, total=5)), 1)
    pictures = {strip_png(strip_of(LOOK, StampCard(filled=filled, total=5)), 1) for filled in range(6)}
    assert len(pictures | {strip_png(strip_of(LOOK), 1)}) == 7


def accent_pixels(stamps: StampCard) -> int:
    """Count the pixels in the filled stamps' rim, which is the accent colour unmixed."""
    image = opened(strip_png(strip_of(LOOK, stamps), 2)).convert("RGB")
    return sum(count for count, color in image.getcolors(1 << 20) if color == ACCENT)


@pytest.mark.parametrize("total", [1, 2, 5, 6, 7, 10, 12, 13, 24, 30])
def test_each_further_stamp_shows_more_of_the_accent(total):
    counts = [accent_pixels(StampCard(filled=filled, total=total)) for filled in (0, total // 2, total)]
    assert counts[0] == 0
    assert counts[2] > 0
    assert counts == sorted(counts)


@pytest.mark.parametrize("total", range(1, 31))
def test_no_stamp_touches_the_edge(total):
    image = opened(strip_png(strip_of(LOOK, StampCard(filled=total, total=total)), 1)).convert("RGB")
    width, height = image.size
    edge = {image.getpixel((x, y)) for x in range(width) for y in (0, height - 1)}
    edge |= {image.getpixel((x, y)) for y in range(height) for x in (0, width - 1)}
    assert all(red < 120 for red, _green, _blue in edge), "the yellow of a stamp reaches the edge"


def test_a_strip_begins_in_the_card_s_own_colour():
    image = opened(strip_png(strip_of(LOOK), 1)).convert("RGB")
    assert {image.getpixel((x, 0)) for x in range(0, 375, 25)} == {(31, 58, 95)}


@pytest.mark.parametrize(
    "name",
    [
        "X",
        "Кафе Охрид",
        "Green Basket Grocery",
        "A very long program name of a chain of shops, all of it",
        "Supercalifragilisticexpialidocious",
        "& Co.",
        "  ***  ",
        "Ѓорѓи-Ќосе",
    ],
)
def test_any_name_fits(name):
    look = Look(name=name, background="#FFFFFF", foreground="#111111")
    logo = opened(logo_png(look, 2))
    assert logo.mode == "RGBA"
    assert logo.size[0] <= 320
    assert logo.getchannel("A").getbbox() is not None
    icon = opened(icon_png(look, 3)).convert("L")
    # The ink keeps clear of the edge: all that is dark lies inside.
    ink = icon.point([255 if value < 128 else 0 for value in range(256)]).getbbox()
    assert ink is not None
    assert ink[0] > 5
    assert ink[2] < 114 - 5


def test_the_picture_is_readable_where_colours_are_not():
    """White on white would vanish; the initials then take the colour that can be seen."""
    look = Look(name="Ana", background="#FFFFFF", foreground="#FFFFFF", accent="#FFFFEE")
    assert opened(icon_png(look, 2)).convert("L").getextrema()[0] < 60


@pytest.mark.parametrize("glyph", sorted(GLYPHS))
def test_a_glyph_fills_its_square_without_touching_it(glyph):
    box = glyph_mask(glyph, 64).point([255 if value > 8 else 0 for value in range(256)]).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert min(left, top) >= 1
    assert max(right, bottom) <= 63
    assert max(right - left, bottom - top) >= 40


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("look.name", {"name": " "}),
        ("look.name", {"name": "x" * 61}),
        ("look.glyph", {"glyph": "skull"}),
        ("look.background", {"background": "blue"}),
        ("look.foreground", {"foreground": ""}),
        ("look.accent", {"accent": "#12"}),
    ],
)
def test_a_look_that_cannot_be_drawn_is_refused(where, changes):
    with pytest.raises(PassContentError) as caught:
        Look(**{"name": "A", "background": "#000000", "foreground": "#FFFFFF", **changes})
    assert caught.value.where == where


def test_contrast_is_measured_as_by_wcag():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)
