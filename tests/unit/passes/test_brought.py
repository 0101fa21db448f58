"""Pictures that people bring: drawn anew, measured before they are decoded, at all three scales."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from passes.apple.pictures import check_images, png_size
from passes.artwork.brought import brought_google_logo, brought_icon, brought_logo, brought_master
from passes.content import LocalImages, PassContentError, PassImages


def picture(
    width: int, height: int, color: tuple[int, ...] = (200, 30, 60, 255), kind: str = "PNG", **more: Any
) -> bytes:
    image = Image.new("RGBA", (width, height), color)
    buffer = io.BytesIO()
    (image.convert("RGB") if kind == "JPEG" else image).save(buffer, kind, **more)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("size", [(480, 150), (60, 50), (1000, 100), (300, 300), (4000, 900)])
def test_a_logo_fits_its_place_at_three_scales(size: tuple[int, int]) -> None:
    master = brought_master(picture(*size), "logo")
    assert max(png_size(master)[0] / 480, png_size(master)[1] / 150) <= 1
    icon = brought_icon(brought_master(picture(200, 200), "icon"), "#112233")
    logo = brought_logo(master)
    check_images("images", PassImages(icon=icon, logo=logo), "storeCard")
    assert LocalImages(logo=logo).logo is logo


def test_an_icon_is_a_square_on_the_cards_colour() -> None:
    image = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (140, 90, 160, 110))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    master = brought_master(buffer.getvalue(), "icon")
    assert png_size(master) == (200, 200)
    icon = brought_icon(master, "#112233")
    assert [png_size(one.data) for one in (icon.x1, icon.x2, icon.x3)] == [(38, 38), (76, 76), (114, 114)]
    assert opened(icon.x3.data).convert("RGB").getpixel((3, 3)) == (0x11, 0x22, 0x33)
    google = opened(brought_google_logo(master, "#112233")).convert("RGB")
    assert (google.size, google.getpixel((2, 2))) == ((660, 660), (0x11, 0x22, 0x33))
    filled = brought_google_logo(brought_master(picture(200, 200), "icon"), "#112233")
    assert opened(filled).convert("RGB").getpixel((2, 2)) == (200, 30, 60)  # the circle cuts its corners off


def test_what_is_hidden_in_a_file_is_not_kept_and_a_photograph_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    exif[0x010E] = "where the owner lives"
    turned = brought_master(picture(200, 400, kind="JPEG", exif=exif), "logo")
    width, height = png_size(turned)
    assert width > height
    assert b"where the owner" not in turned
    assert brought_master(picture(300, 100, kind="PNG"), "logo") == brought_master(picture(300, 100), "logo")


def test_empty_margins_do_not_make_a_logo_small() -> None:
    image = Image.new("RGBA", (1000, 1000), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (100, 450, 900, 550))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert png_size(brought_master(buffer.getvalue(), "logo")) == (480, 60)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises ``width`` times ``height`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "slot", "why"),
    [
        (b"", "logo", "no PNG, JPEG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "logo", "no PNG, JPEG or WebP"),
        (picture(200, 200)[:-40], "icon", "no PNG, JPEG or WebP"),
        (picture(200, 200, kind="GIF"), "icon", "no PNG, JPEG or WebP"),
        (bomb(60_000, 60_000), "logo", "too many"),
        (bomb(4_000, 4_000), "logo", "too many"),
        (bomb(300, 300), "icon", "damaged"),
        (picture(100, 100), "icon", "at least 114"),
        (picture(100, 20), "logo", "at least 50"),
        (picture(100, 100, (1, 1, 1, 0)), "logo", "every pixel is transparent"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 900_001, "logo", "more than 900 kB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_what_cannot_be_used_is_refused_with_the_reason(data: bytes, slot: Any, why: str) -> None:
    with pytest.raises(PassContentError, match=why):
        brought_master(data, slot)
