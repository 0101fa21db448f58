"""Is this a PNG, and does it fit its place on the pass? Read from its chunks; nothing is decoded.

The picture data stays compressed, so a few bytes that would unpack to gigabytes are only a wrong size here.

Sources: the PNG specification (ISO/IEC 15948) for the chunks; for the sizes
developer.apple.com/documentation/walletpasses/creating-the-source-for-a-pass and Apple's open pass builder.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from passes.content import LocalImages, PassContentError, PassImages, Scaled

PNG_BYTES_MAX: Final = 4 * 1024 * 1024
PIXELS_MAX: Final = 4096
"""Width and height of any picture; the largest place of a pass has 1134 by 1536."""
CHUNKS_MAX: Final = 10_000

_START: Final = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">II")
_BIT_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

# slot -> the largest width and height in points, and whether a picture may be smaller
_SIZES: Final = {
    "logo": ((160, 50),),
    "thumbnail": ((90, 90),),
    "background": ((345, 505), (180, 220)),
    "footer": ((286, 15),),
    "artwork": ((358, 448),),
    "primaryLogo": ((126, 30),),
    "secondaryLogo": ((135, 12),),
}
_STRIPS: Final = {"storeCard": (375, 144), "coupon": (375, 144), "eventTicket": (375, 98)}
_OTHER_STRIP: Final = (375, 123)
_SMALLER_IS_FINE: Final = ("logo", "footer", "primaryLogo", "secondaryLogo", "thumbnail")
ICON_POINTS_MIN: Final = 29
ICON_POINTS_MAX: Final = 100
_SLOTS_OF_STYLE: Final = {
    "storeCard": ("logo", "strip"),
    "coupon": ("logo", "strip"),
    "generic": ("logo", "thumbnail", "artwork", "primaryLogo", "secondaryLogo"),
    "eventTicket": ("logo", "strip", "background", "thumbnail", "artwork", "primaryLogo", "secondaryLogo"),
    "boardingPass": ("logo", "footer", "primaryLogo"),
}


class NotPng(ValueError):
    """The bytes are no PNG image; the message is the sentence why."""


def png_size(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, after a walk over the chunks and their sums.

    Raises `NotPng`.
    """
    if not data.startswith(_START):
        raise NotPng("it does not start like a PNG image")
    if len(data) > PNG_BYTES_MAX:
        raise NotPng(f"it has more than {PNG_BYTES_MAX // 1024 // 1024} MB")
    chunks = _chunks(data)
    kind, header = next(chunks, (b"", b""))
    if kind != b"IHDR" or len(header) != 13:
        raise NotPng("its header is missing")
    width, height = _HEADER.unpack_from(header)
    depth, color, compression, filters, interlace = header[8:]
    if not (0 < width <= PIXELS_MAX and 0 < height <= PIXELS_MAX):
        raise NotPng(f"its size {width}x{height} is not 1 to {PIXELS_MAX} pixels a side")
    if depth not in _BIT_DEPTHS.get(color, ()) or compression or filters or interlace > 1:
        raise NotPng("its header names an unknown kind of pixels")
    kinds = [kind for kind, _ in chunks]
    if kinds[-1:] != [b"IEND"] or b"IDAT" not in kinds:
        raise NotPng("it ends before its picture does")
    if kinds.count(b"IEND") != 1 or b"IHDR" in kinds:
        raise NotPng("it holds several images")
    return width, height


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, count = len(_START), 0
    while at < len(data):
        count += 1
        if at + 12 > len(data) or count > CHUNKS_MAX:
            raise NotPng("its chunks are damaged")
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise NotPng("it ends before its picture does")
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise NotPng("the sum of one of its chunks is wrong")
        yield data[at + 4 : at + 8], data[at + 8 : end]
        at = end + 4


def check_images(where: str, images: LocalImages, style: str) -> None:
    """Check that the pictures are PNGs that fit their places on a pass of this style, at all three scales.

    Phones fill the place and crop what is over, so another shape loses its edges: that is refused here rather than
    seen there. Raises `PassContentError` naming the slot and the scale.
    """
    for slot, scaled in images.slots():
        place = f"{where}.{slot}"
        if slot != "icon" and slot not in _SLOTS_OF_STYLE[style]:
            raise PassContentError(place, f"a pass of the style {style} shows no such picture")
        width, height = check_scales(place, scaled)
        _check_points(place, slot, style, width, height)
    if isinstance(images, PassImages) and images.strip is not None and images.background is not None:
        raise PassContentError(f"{where}.background", "an event ticket has a strip, or a background and a thumbnail")


def check_scales(where: str, scaled: Scaled) -> tuple[int, int]:
    """Return a picture's width and height in points; its larger forms are two and three times as large.

    Raises `PassContentError` naming the scale.
    """
    sizes = list(_sizes(where, scaled))
    width, height = sizes[0]
    for scale, (wide, high) in zip((2, 3), sizes[1:], strict=True):
        if not (_is_about(wide, scale * width) and _is_about(high, scale * height)):
            raise PassContentError(
                f"{where}@{scale}x", f"{wide}x{high} is not {scale} times the plain picture's {width}x{height}"
            )
    return width, height


def _sizes(where: str, scaled: Scaled) -> Iterator[tuple[int, int]]:
    for name, picture in (("", scaled.x1), ("@2x", scaled.x2), ("@3x", scaled.x3)):
        try:
            yield png_size(picture.data)
        except NotPng as problem:
            raise PassContentError(f"{where}{name}", f"this is no PNG image: {problem}") from problem


def _is_about(pixels: int, wanted: int) -> bool:
    """Text drawn anew at each scale is a pixel or two wider or narrower; no eye sees one in fifty."""
    return abs(pixels - wanted) <= max(2, wanted // 50)


def _check_points(where: str, slot: str, style: str, width: int, height: int) -> None:
    if slot == "icon":
        if width != height or not ICON_POINTS_MIN <= width <= ICON_POINTS_MAX:
            raise PassContentError(where, f"an icon is a square of {ICON_POINTS_MIN} points or more, best 38")
        return
    allowed = (_STRIPS.get(style, _OTHER_STRIP),) if slot == "strip" else _SIZES[slot]
    said = " or ".join(f"{wide}x{high}" for wide, high in allowed)
    if slot in _SMALLER_IS_FINE:
        wide, high = allowed[0]
        if width > wide or height > high:
            raise PassContentError(where, f"at most {said} points, not {width}x{height}")
    elif (width, height) not in allowed:
        raise PassContentError(where, f"{said} points, not {width}x{height}")
    if slot == "thumbnail" and not 2 / 3 <= width / height <= 3 / 2:
        raise PassContentError(where, "a thumbnail's sides are 2:3 to 3:2")
