"""Photos behind strips: taken in with care, cut around their point, and shaded so that all over them is read."""

from __future__ import annotations

import io
from dataclasses import replace
from random import Random

import pytest
from PIL import Image, ImageCms

from passes.apple.pictures import png_size
from passes.artwork import GOOGLE_HERO_PIXELS, GoalBar, Photo, StripArt, google_hero_png, strip_png
from passes.artwork.brought import FILE_BYTES_MAX, PHOTO_PIXELS_KEPT, brought_master
from passes.artwork.photo import shade_needed, veil_of
from passes.colors import contrast_of, rgb
from passes.content import PassContentError, StampCard

PHOTO = Photo("ab" * 32)
DARK = StripArt(background="#0b4f6c", foreground="#ffffff", accent="#f6ddb0", photo=PHOTO)
LIGHT = StripArt(background="#f6efe4", foreground="#2b2118", accent="#b5472f", photo=PHOTO)


def file_of(image: Image.Image, kind: str = "JPEG", **more: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def busy(width: int, height: int) -> Image.Image:
    """Something with all colours, black and white in it, as a photo of a market has."""
    return Image.frombytes("RGB", (60, 40), Random(7).randbytes(60 * 40 * 3)).resize((width, height), 0)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


MASTER = brought_master(file_of(busy(1800, 1200)), "photo")


@pytest.mark.parametrize(
    ("kind", "size"),
    [("JPEG", (4000, 3000)), ("JPEG", (3000, 4000)), ("PNG", (750, 288)), ("WEBP", (1600, 900)), ("JPEG", (6000, 900))],
)
def test_a_photo_is_kept_as_large_as_the_largest_screen_shows_it(kind: str, size: tuple[int, int]) -> None:
    kept = Image.open(io.BytesIO(brought_master(file_of(Image.new("RGB", size, (90, 60, 30)), kind), "photo")))
    assert kept.format == "JPEG"
    assert kept.width >= min(size[0], PHOTO_PIXELS_KEPT[0])
    assert kept.height >= min(size[1], PHOTO_PIXELS_KEPT[1])
    assert kept.width * kept.height <= 2_400 * 1_600


def test_a_large_jpeg_of_a_telephone_is_taken_and_a_large_png_is_not() -> None:
    large = Image.new("RGB", (5600, 4200))
    assert Image.open(io.BytesIO(brought_master(file_of(large), "photo"))).width == 1200
    with pytest.raises(PassContentError, match="too many"):
        brought_master(file_of(large, "PNG"), "photo")


def test_what_a_photo_says_of_its_owner_is_not_kept_and_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    exif[0x010E] = "where the owner lives"
    sides = Image.new("RGB", (1600, 1200), (255, 0, 0))
    sides.paste((0, 0, 255), (800, 0, 1600, 1200))
    kept = brought_master(file_of(sides, exif=exif), "photo")
    image = Image.open(io.BytesIO(kept))
    assert image.size == (1200, 1600)
    assert (image.getpixel((600, 10))[0], image.getpixel((600, 1590))[2]) >= (250, 250)
    assert not image.getexif()
    assert b"where the owner" not in kept


def test_the_colours_of_a_photo_become_those_of_a_card() -> None:
    image = Image.new("RGB", (900, 600), (200, 120, 40))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = srgb.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")  # its red is blue
    kept = brought_master(file_of(image, quality=95, icc_profile=turned), "photo")
    red, _, blue = opened(kept).getpixel((5, 5))
    assert (red < 60, blue > 180) == (True, True)
    for profile in (srgb, b"no profile", srgb[:200]):
        kept = brought_master(file_of(image, quality=95, icc_profile=profile), "photo")
        assert opened(kept).getpixel((5, 5))[0] in range(196, 205)
        assert "icc_profile" not in Image.open(io.BytesIO(kept)).info


def test_of_a_jpeg_with_a_picture_of_its_depth_the_photo_is_taken() -> None:
    depth = Image.new("RGB", (300, 200))
    both = file_of(Image.new("RGB", (5000, 4000), (200, 120, 40)), "MPO", save_all=True, append_images=[depth])
    assert opened(brought_master(both, "photo")).getpixel((5, 5))[0] > 190


def test_what_is_transparent_shows_the_card() -> None:
    image = Image.new("RGBA", (900, 600), (0, 0, 0, 0))
    kept = brought_master(file_of(image, "PNG"), "photo")
    assert png_size(kept) == (900, 600)
    shown = opened(strip_png(DARK, 1, kept)).getpixel((10, 10))
    assert max(abs(a - b) for a, b in zip(shown, rgb("#0b4f6c"), strict=True)) < 16


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no picture", "no PNG, JPEG or WebP"),
        (file_of(busy(749, 600)), "749 x 600 pixels; at least 750 x 288"),
        (file_of(busy(900, 200)), "at least 750 x 288"),
        (file_of(busy(900, 600))[:9000], "damaged"),
        (b"\xff\xd8" + bytes(FILE_BYTES_MAX["photo"]), "more than 8000 kB"),
        (file_of(busy(900, 600), "WEBP", save_all=True, append_images=[Image.new("RGB", (900, 600))]), "it moves"),
    ],
    ids=["text", "narrow", "low", "cut", "large", "moving"],
)
def test_what_cannot_be_used_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(PassContentError, match=why):
        brought_master(data, "photo")


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_strip_has_its_size_at_every_scale_and_stays_small(scale: int) -> None:
    found = strip_png(replace(DARK, stamps=StampCard(filled=3, total=8)), scale, MASTER)
    assert png_size(found) == (375 * scale, 144 * scale)
    assert len(found) < 400_000
    assert png_size(google_hero_png(DARK, MASTER)) == GOOGLE_HERO_PIXELS


@pytest.mark.parametrize(("at", "seen"), [(0, (255, 0, 0)), (50, (0, 255, 0)), (100, (0, 0, 255))])
@pytest.mark.parametrize("upright", [True, False])
def test_the_chosen_point_stays_in_sight(at: int, seen: tuple[int, int, int], *, upright: bool) -> None:
    image = Image.new("RGB", (1200, 2400) if upright else (3000, 400), (0, 255, 0))
    width, height = image.size
    first, last = (
        ((0, 0, width, 500), (0, 1900, width, height)) if upright else ((0, 0, 900, 400), (2100, 0, 3000, 400))
    )
    image.paste((255, 0, 0), first)
    image.paste((0, 0, 255), last)
    master = brought_master(file_of(image, quality=95), "photo")
    art = replace(DARK, photo=replace(PHOTO, **{"y" if upright else "x": at}))
    middle = opened(strip_png(art, 1, master)).getpixel((187, 72))
    assert max(range(3), key=lambda channel: middle[channel]) == seen.index(255)


@pytest.mark.parametrize("art", [DARK, LIGHT, replace(DARK, background="#7d5a12", accent="#f5d585")])
@pytest.mark.parametrize(
    "ground", [busy(1800, 1200), *(Image.new("RGB", (900, 600), (v, v, v)) for v in (0, 128, 255))]
)
@pytest.mark.parametrize("state", [{}, {"stamps": StampCard(filled=3, total=8)}, {"bar": GoalBar(1, 3)}])
def test_words_over_any_photo_can_be_read(art: StripArt, ground: Image.Image, state: dict[str, object]) -> None:
    """The ground under the words: the same picture with a line of words of which only a dot is left."""
    master = brought_master(file_of(ground), "photo")
    words = replace(art, caption="ЖЖЖЖЖЖЖЖЖЖЖЖЖЖЖЖ", **state)
    with_words = opened(strip_png(words, 1, master))
    box = (40, 60, 200, 85) if not state else (120, 14, 255, 26) if "stamps" in state else (40, 38, 200, 54)
    ink = rgb(art.foreground)
    readings = sorted(contrast_of(pixel, ink) for pixel in with_words.crop(box).get_flattened_data())
    background = [one for one in readings if one > 1.8]  # the others are letters and their smooth edges
    assert background
    assert sum(one >= 3 for one in background) / len(background) > 0.8, "all but smooth edges"
    assert max(background) >= 4.5


def test_as_little_is_laid_over_a_photo_as_its_brightest_part_needs() -> None:
    white, ink, card = Image.new("RGB", (90, 30), (255, 255, 255)), rgb("#ffffff"), rgb("#0b4f6c")
    dim = Image.new("RGB", (90, 30), (30, 30, 30))
    needed = shade_needed(white, card, ink, 4.5)
    assert contrast_of(tuple(round(255 + (v - 255) * needed) for v in veil_of(card)), ink) >= 4.5
    assert shade_needed(white, card, ink, 3) < needed
    assert shade_needed(dim, card, ink, 4.5) < 0.2


def test_the_photo_is_the_same_in_all_states_of_a_card() -> None:
    means = []
    for filled in (0, 4, 8):
        strip = opened(strip_png(replace(DARK, stamps=StampCard(filled=filled, total=8)), 1, MASTER))
        means.append(strip.crop((0, 0, 40, 144)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    assert max(max(values) - min(values) for values in zip(*means, strict=True)) <= 2


def test_another_photo_or_point_is_another_picture_and_without_its_file_the_motif_is_drawn() -> None:
    others = [
        replace(DARK, photo=None),
        replace(DARK, photo=Photo("cd" * 32)),
        replace(DARK, photo=Photo("ab" * 32, 10)),
    ]
    assert len({art.digest for art in (DARK, *others)}) == 4
    assert strip_png(DARK, 1) == strip_png(replace(DARK, photo=None), 1)
    assert strip_png(DARK, 1, MASTER) == strip_png(DARK, 1, MASTER)
    with pytest.raises(PassContentError) as refused:
        replace(DARK, photo=Photo("ab" * 32, 101))
    assert refused.value.where == "strip.photo"
