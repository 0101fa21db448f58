"""Logos, icons and photos that people bring: PNG, JPEG or WebP in, drawn anew; what they hid in the file stays outside.

A picture is measured before it is decoded, so that a small file which unpacks to gigabytes is only a wrong size.
What is kept is one master for the largest screen; the smaller ones are made of it. Of a photo the whole is kept,
so that another part of it can be chosen later.

Sizes: Apple's logo up to 160 x 50 points, its icon 38 x 38 (developer.apple.com/documentation/walletpasses);
Google's logo 660 x 660 pixels under a circular mask (developers.google.com/wallet/retail/loyalty-cards/resources).
"""

from __future__ import annotations

import io
import warnings
from typing import Final, Literal

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from passes.artwork.brand import GOOGLE_LOGO_PIXELS, ICON_POINTS, LOGO_POINTS
from passes.artwork.paint import png
from passes.colors import rgb
from passes.content import PassContentError, Picture, Scaled

Slot = Literal["logo", "icon", "photo"]

FILE_BYTES_MAX: Final = {"logo": 900_000, "icon": 900_000, "photo": 8_000_000}
"""Of a file that is brought."""
SIDE_PIXELS_MAX: Final = 9_000
PIXELS_MAX: Final = 12_500_000
"""As many as a telephone's usual photo has."""
JPEG_PIXELS_MAX: Final = 25_000_000
"""A JPEG of a photo is decoded at a part of its size."""
ICON_PIXELS_MIN: Final = 3 * ICON_POINTS[0]
LOGO_HEIGHT_MIN: Final = 50
PHOTO_PIXELS_MIN: Final = (750, 288)
"""What a strip has on a screen of two pixels a point."""
PHOTO_PIXELS_KEPT: Final = (1_200, 460)
"""A kept photo is as small as it can be while it still covers this: a strip on the largest screen, and Google's."""
PHOTO_SIDE_KEPT_MAX: Final = 2_400
PHOTO_THUMBNAIL_PIXELS: Final = (560, 360)
FORMATS: Final = ("PNG", "JPEG", "WEBP")
_PHOTO_QUALITY: Final = 90
_LARGEST: Final = 3
_MASTER: Final = {"logo": (_LARGEST * LOGO_POINTS[0], _LARGEST * LOGO_POINTS[1]), "icon": GOOGLE_LOGO_PIXELS}
_MASK_INSET: Final = 0.7
"""Side of the largest square in Google's circle, as a share of the logo's."""


def brought_master(data: bytes, slot: Slot) -> bytes:
    """Return the file to keep: a PNG, or a JPEG of a photo that nothing shines through.

    Raises `PassContentError` with a sentence for whoever brought the file.
    """
    image = _opened(data, slot)
    if slot == "photo":
        return _photo_master(image)
    box = _MASTER[slot]
    if slot == "icon":
        side = min(image.size)
        if side < ICON_PIXELS_MIN:
            raise _refused(slot, f"it is {side} pixels wide or high; at least {ICON_PIXELS_MIN} are needed")
        return png(ImageOps.fit(image, (min(side, box[0]),) * 2, Image.Resampling.LANCZOS))
    drawn = image.getchannel("A").getbbox()  # empty margins would make it small on the card
    if drawn is None:
        raise _refused(slot, "nothing is on it: every pixel is transparent")
    image = image.crop(drawn)
    if image.height < LOGO_HEIGHT_MIN and image.width < box[0] // _LARGEST:
        raise _refused(slot, f"it is {image.height} pixels high; at least {LOGO_HEIGHT_MIN} are needed")
    image.thumbnail(box, Image.Resampling.LANCZOS)
    return png(image)


def _photo_master(image: Image.Image) -> bytes:
    least_width, least_height = PHOTO_PIXELS_MIN
    if image.width < least_width or image.height < least_height:
        raise _refused(
            "photo",
            f"it is {image.width} x {image.height} pixels; at least {least_width} x {least_height} are needed",
        )
    width, height = PHOTO_PIXELS_KEPT
    share = min(1.0, max(width / image.width, height / image.height))
    # Of a very wide or high one the far ends are cut off: no card would show them.
    size = (min(PHOTO_SIDE_KEPT_MAX, round(image.width * share)), min(PHOTO_SIDE_KEPT_MAX, round(image.height * share)))
    image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if image.getchannel("A").getextrema() != (255, 255):
        return png(image)
    return _jpeg(image.convert("RGB"))


def photo_thumbnail(master: bytes) -> bytes:
    """Return a kept photo as a small JPEG, on white where it is transparent."""
    image = _on(_kept(master), "#ffffff")
    image.thumbnail(PHOTO_THUMBNAIL_PIXELS, Image.Resampling.LANCZOS)
    return _jpeg(image)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_PHOTO_QUALITY, optimize=True)
    return buffer.getvalue()


def brought_logo(master: bytes) -> Scaled:
    """Return a kept logo at the three scales, as large as its place allows."""
    image = _kept(master)
    share = min(LOGO_POINTS[0] / image.width, LOGO_POINTS[1] / image.height)
    width, height = max(1, int(image.width * share)), max(1, int(image.height * share))
    return Scaled(*(_resized(image, (width * scale, height * scale)) for scale in (1, 2, 3)))


def brought_icon(master: bytes, background: str) -> Scaled:
    """Return a kept icon at the three scales, on the card's colour (``#RRGGBB``) where it is transparent."""
    image = _on(_kept(master), background)
    width, height = ICON_POINTS
    return Scaled(*(_resized(image, (width * scale, height * scale)) for scale in (1, 2, 3)))


def brought_google_logo(master: bytes, background: str) -> bytes:
    """Return Google's square logo. A circle is cut out of it: a transparent icon is put inside, another fills it."""
    kept = _kept(master)
    image = _on(kept, background)
    if kept.getchannel("A").getextrema() == (255, 255):
        return png(image.resize(GOOGLE_LOGO_PIXELS, Image.Resampling.LANCZOS))
    square = Image.new("RGB", GOOGLE_LOGO_PIXELS, rgb(background))
    side = round(GOOGLE_LOGO_PIXELS[0] * _MASK_INSET)
    inset = (GOOGLE_LOGO_PIXELS[0] - side) // 2
    square.paste(image.resize((side, side), Image.Resampling.LANCZOS), (inset, inset))
    return png(square)


def _opened(data: bytes, slot: Slot) -> Image.Image:
    if len(data) > FILE_BYTES_MAX[slot]:
        raise _refused(slot, f"the file has more than {FILE_BYTES_MAX[slot] // 1000} kB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            found = Image.open(io.BytesIO(data), formats=FORMATS)
            # Only the header has been read until here.
            is_jpeg = found.format in ("JPEG", "MPO")
            most = JPEG_PIXELS_MAX if slot == "photo" and is_jpeg else PIXELS_MAX
            if max(found.size) > SIDE_PIXELS_MAX or found.width * found.height > most:
                raise _refused(slot, f"{found.width} x {found.height} pixels are too many")
            # In a telephone's JPEG the further pictures are the depth or the brightness of the first.
            if not is_jpeg and getattr(found, "n_frames", 1) != 1:
                raise _refused(slot, "it moves; a card shows one picture")
            if slot == "photo":
                share = max(PHOTO_PIXELS_KEPT) / min(found.size)
                found.draft("RGB", (round(found.width * share), round(found.height * share)))
            found.load()
            return _in_srgb(ImageOps.exif_transpose(found)).convert("RGBA")
    except PassContentError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _refused(slot, "its pixels are too many") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _refused(slot, "it is no PNG, JPEG or WebP picture, or it is damaged") from error


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the picture in the colours that a card has; telephones take photos in a wider range of them."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, found, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image  # a profile that does not go with its picture
    return converted if converted is not None else image


def _kept(master: bytes) -> Image.Image:
    return Image.open(io.BytesIO(master), formats=("PNG", "JPEG")).convert("RGBA")


def _on(image: Image.Image, background: str) -> Image.Image:
    ground = Image.new("RGBA", image.size, (*rgb(background), 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int]) -> Picture:
    return Picture.of(png(image.resize(size, Image.Resampling.LANCZOS)))


def _refused(slot: Slot, why: str) -> PassContentError:
    return PassContentError(slot, why)
