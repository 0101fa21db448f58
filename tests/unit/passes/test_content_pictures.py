"""Pictures fit their places, are PNGs, and lie in the right folders."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passes.apple.bundle import signed_pass
from passes.apple.model import Pass, PassFields, PassStyle
from passes.apple.pictures import NotPng, check_images, png_size
from passes.artwork import Look, pass_images
from passes.content import LocalImages, PassContentError, PassImages, Picture, Scaled, StampCard
from tests.unit.passes.cards import IMAGES, NOW, a_card, a_png, pictures

ICON = pictures(38, 38)
PNG = a_png(38, 38)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, color: int = 0, rest: bytes = b"\0\0\0") -> bytes:
    return chunk(b"IHDR", struct.pack(">LLBB", width, height, depth, color) + rest)


START, END, DATA = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b""), chunk(b"IDAT", b"x")


def test_the_size_is_read_without_decoding():
    assert png_size(a_png(160, 50)) == (160, 50)
    bomb = zlib.compress(b"\0" * 50_000_000)  # what it unpacks to does not matter: nobody unpacks it
    assert png_size(START + header(38, 38) + chunk(b"IDAT", bomb) + END) == (38, 38)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        START,
        START + END,
        PNG[:-1],
        PNG[:-12],
        PNG[:40],
        PNG + b"x",
        PNG + PNG,
        PNG.replace(b"IDAT", b"IDAT"[::-1]),
        PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:],
        START + header(0, 5) + DATA + END,
        START + header(5, 4097) + DATA + END,
        START + header(5, 5, depth=3) + DATA + END,
        START + header(5, 5, color=1) + DATA + END,
        START + header(5, 5, rest=b"\1\0\0") + DATA + END,
        START + header(5, 5, rest=b"\0\0\2") + DATA + END,
        START + header(5, 5) + END,
        START + header(5, 5) + DATA,
        START + header(5, 5) + header(5, 5) + DATA + END,
        START + header(5, 5) + DATA * 10_001 + END,
        START + header(5, 5) + chunk(b"IDAT", b"x" * (4 * 1024 * 1024)) + END,
        START + DATA + header(5, 5) + END,
    ],
)
def test_what_is_no_png_is_told_apart(data):
    with pytest.raises(NotPng):
        png_size(data)


@given(st.integers(0, len(PNG) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at, change):
    with pytest.raises(NotPng):
        png_size(PNG[:at] + bytes([PNG[at] ^ change]) + PNG[at + 1 :])


def test_our_own_artwork_fits():
    look = Look(name="Cafe Ohrid", background="#1F3A5F", foreground="#FFFFFF")
    for stamps in (None, StampCard(filled=3, total=8)):
        check_images("images", pass_images(look, stamps), "storeCard")


@pytest.mark.parametrize(
    ("where", "style", "images"),
    [
        ("images.icon", "storeCard", PassImages(icon=pictures(28, 28))),
        ("images.icon", "storeCard", PassImages(icon=pictures(38, 40))),
        ("images.logo", "storeCard", PassImages(icon=ICON, logo=pictures(161, 50))),
        ("images.strip", "storeCard", PassImages(icon=ICON, strip=pictures(375, 98))),
        ("images.strip", "eventTicket", PassImages(icon=ICON, strip=pictures(375, 144))),
        ("images.strip", "generic", PassImages(icon=ICON, strip=pictures(375, 123))),
        ("images.thumbnail", "storeCard", PassImages(icon=ICON, thumbnail=pictures(90, 90))),
        ("images.thumbnail", "generic", PassImages(icon=ICON, thumbnail=pictures(90, 50))),
        ("images.footer", "boardingPass", PassImages(icon=ICON, footer=pictures(286, 16))),
        ("images.artwork", "generic", PassImages(icon=ICON, artwork=pictures(100, 100))),
        (
            "images.background",
            "eventTicket",
            PassImages(icon=ICON, strip=pictures(375, 98), background=pictures(180, 220)),
        ),
        ("images.icon@2x", "storeCard", PassImages(icon=Scaled(ICON.x1, ICON.x1, ICON.x3))),
        ("images.icon@3x", "storeCard", PassImages(icon=Scaled(ICON.x1, ICON.x2, Picture.of(a_png(111, 114))))),
        ("images.icon@3x", "storeCard", PassImages(icon=Scaled(ICON.x1, ICON.x2, Picture.of(b"GIF89a")))),
    ],
)
def test_a_picture_that_does_not_fit_is_named(where, style, images):
    with pytest.raises(PassContentError) as caught:
        check_images("images", images, style)
    assert caught.value.where == where


def test_a_pixel_that_rounding_leaves_over_is_fine():
    odd = Scaled(*(Picture.of(a_png(*size)) for size in ((50, 33), (101, 66), (151, 100))))
    check_images("images", PassImages(icon=ICON, logo=odd), "storeCard")


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def test_a_picture_is_at_the_top_or_in_the_languages(signer):
    logos = {language: LocalImages(logo=pictures(160, 50)) for language in ("mk", "ru")}
    card = a_card(images=PassImages(icon=ICON), localized_images=logos)
    made = names(signed_pass(card, signer, now=NOW))
    assert len(set(made)) == len(made)
    assert {"mk.lproj/logo@2x.png", "ru.lproj/logo.png", "mk.lproj/pass.strings"} < set(made)
    assert "logo.png" not in made
    for where, changes in (
        ("localized_images.mk.logo", {"images": IMAGES}),
        ("localized_images", {"localized_images": {"../x": logos["mk"]}}),
        ("localized_images", {"localized_images": {"MK": logos["mk"], "mk": logos["mk"]}}),
        ("localized_images.mk.strip", {"localized_images": {"mk": LocalImages(strip=pictures(9, 9))}}),
        ("translations", {"translations": {"MK": {"a": "b"}, "mk": {"a": "b"}}}),
        ("translations", {"translations": {f"a{chr(97 + n // 26)}-{n:04}": {} for n in range(41)}}),
        ("translations.mk", {"translations": {"mk": {str(n): "" for n in range(1001)}}}),
    ):
        with pytest.raises(PassContentError) as caught:
            signed_pass(replace(card, **changes), signer, now=NOW)
        assert caught.value.where == where


def test_a_pass_that_no_phone_would_take_is_too_large(signer):
    big = Picture.of(START + header(38, 38) + chunk(b"IDAT", b"x" * 4_000_000) + END)
    icon = Scaled(
        big,
        *(
            Picture.of(START + header(38 * scale, 38 * scale) + chunk(b"IDAT", b"x" * 4_000_000) + END)
            for scale in (2, 3)
        ),
    )
    logo = Scaled(
        *(
            Picture.of(START + header(160 * scale, 50 * scale) + chunk(b"IDAT", b"x" * 4_000_000) + END)
            for scale in (1, 2, 3)
        )
    )
    card = Pass(
        serial_number="big",
        organization_name="x",
        description="x",
        style=PassStyle.GENERIC,
        fields=PassFields(),
        images=PassImages(icon=icon, logo=logo),
    )
    with pytest.raises(PassContentError, match="16 MB"):
        signed_pass(card, signer, now=NOW)
