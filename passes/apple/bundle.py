"""Lay a pass's files, their manifest and the signature into one `.pkpass`.

The zip is written by hand: names, order and times are fixed and nothing is compressed (PNGs do not shrink,
and deflate costs ten times the signature), so that the same content signed at the same second gives the
same bytes. Pictures are shared by many passes: they bring the sums that were computed when they were drawn, and
their part of the zip and of the manifest is laid out once.

Source: developer.apple.com/documentation/walletpasses/building-a-pass (files, manifest with SHA-1).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple
from zlib import crc32

from passes.apple.enrolment import personalization_files
from passes.apple.localization import Strings, image_files, pass_strings, strings_files, strings_of
from passes.apple.model import Pass
from passes.apple.pass_json import pass_text
from passes.apple.pictures import check_images
from passes.apple.signing import SignatureMemory, Signer
from passes.content import LocalImages, PassContent, PassContentError, PassImages, Picture

MIME_TYPE = "application/vnd.apple.pkpass"
LAID_OUT_KEPT: Final = 32
"""Sets of pictures whose zip entries are kept: about a third of a megabyte each."""
STRINGS_KEPT: Final = 256
"""Sets of translations whose zip entries are kept: about 10 kB each."""
BUNDLE_BYTES_MAX: Final = 16 * 1024 * 1024

_DOS_TIME, _DOS_DATE = 0, (0 << 9) | (1 << 5) | 1  # 1980-01-01, the zip format's own zero
# What every member's headers start with: version, no flags, stored, the time.
_LOCAL_START = struct.pack("<4sHHHHH", b"PK\x03\x04", 10, 0, 0, _DOS_TIME, _DOS_DATE)
_CENTRAL_START = struct.pack("<4sHHHHHH", b"PK\x01\x02", 20, 10, 0, 0, _DOS_TIME, _DOS_DATE)
_LOCAL = struct.Struct("<14sLLLH2x")  # sum, size and size again, length of the name; nothing extra
_CENTRAL = struct.Struct("<16sLLLH12xL")  # the same; nothing extra, no comment, no attributes; the place
_END = struct.Struct("<4s4xHHLL2x")
_local, _central = _LOCAL.pack, _CENTRAL.pack


def signed_pass(
    content: PassContent | Pass,
    signer: Signer,
    *,
    now: datetime,
    allow_http: bool = False,
    memory: SignatureMemory | None = None,
) -> bytes:
    """Return the `.pkpass` of `content`, signed at `now`, or as it was signed before if `memory` knows it.

    Raises `PassContentError` for content that Apple's rules forbid and `CertificateProblem` outside the
    certificate's validity.
    """
    text = pass_text(content, pass_type_id=signer.pass_type_id, team_id=signer.team_id, allow_http=allow_http)
    if content.images is None:
        raise PassContentError("images.icon", "iOS refuses a pass without an icon")
    style, form = "storeCard", []
    if isinstance(content, Pass):
        style, form = content.style.value, personalization_files(content)
    localized = tuple(sorted(content.localized_images.items())) if content.localized_images else ()
    front = _front(content.images, localized, style, strings_of(content.translations))
    if form:
        front = front.followed_by(form)
    data = text.encode()
    closing = f'{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"}}'.encode()
    sha256 = front.sha256.copy()
    sha256.update(closing)
    signature = signer.sign_digest(sha256.digest(), now=now, memory=memory)
    members = [
        (b"pass.json", data, crc32(data)),
        (b"manifest.json", front.manifest + closing, crc32(closing, front.crc32)),
        (b"signature", signature, _signature_crc32(signature, signer)),
    ]
    return _within_limit(_zip(front, members))


def bundle(files: Iterable[tuple[str, Picture]], signer: Signer, *, now: datetime) -> bytes:
    """Return the zip of `files`, their manifest and its signature, in this order."""
    laid_out = LaidOut.of(files)
    manifest = f"{{{laid_out.sums[:-1]}}}".encode()
    signature = signer.sign(manifest, now=now)
    members = [
        (b"manifest.json", manifest, crc32(manifest)),
        (b"signature", signature, _signature_crc32(signature, signer)),
    ]
    return _within_limit(_zip(Front.of((laid_out,)), members))


_Member = tuple[bytes, bytes, int]
"""A file's name, what is in it, and its CRC-32."""


def _signature_crc32(signature: bytes, signer: Signer) -> int:
    return crc32(signature[signer.head_bytes :], signer.head_crc32)


def _within_limit(made: bytes) -> bytes:
    if len(made) > BUNDLE_BYTES_MAX:
        raise PassContentError("images", f"a pass has at most {BUNDLE_BYTES_MAX // 1024 // 1024} MB")
    return made


class LaidOut(NamedTuple):
    """Neighbours in a zip, laid out once for many passes. `directory` counts on the place that they lie at."""

    entries: bytes
    directory: bytes
    members: int
    sums: str
    """Their part of the manifest, with a comma behind each."""

    @classmethod
    def of(cls, members: Iterable[tuple[str, Picture]], *, offset: int = 0) -> LaidOut:
        files = list(members)
        entries: list[bytes] = []
        directory: list[bytes] = []
        _lay_out(_members(files), offset, entries, directory)
        return cls(b"".join(entries), b"".join(directory), len(files), _sums(files))


class Front(NamedTuple):
    """What stands before a pass's own files: its pictures and texts, and its manifest as far as `pass.json`'s sum."""

    parts: tuple[LaidOut, ...]
    directory: bytes
    members: int
    end: int
    """Where in the zip the next file starts."""
    manifest: bytes
    crc32: int
    sha256: hashlib._Hash

    @classmethod
    def of(cls, parts: tuple[LaidOut, ...]) -> Front:
        manifest = f'{{{"".join([part.sums for part in parts])}"pass.json":"'.encode()
        return cls(
            parts,
            directory=b"".join([part.directory for part in parts]),
            members=sum([part.members for part in parts]),
            end=sum([len(part.entries) for part in parts]),
            manifest=manifest,
            crc32=crc32(manifest),
            sha256=hashlib.sha256(manifest),
        )

    def followed_by(self, files: Iterable[tuple[str, Picture]]) -> Front:
        """Return this with more files behind it."""
        return Front.of((*self.parts, LaidOut.of(files, offset=self.end)))


_Localized = tuple[tuple[str, LocalImages], ...]


@lru_cache(maxsize=LAID_OUT_KEPT)
def _front(images: PassImages, localized: _Localized, style: str, strings: Strings) -> Front:
    pictures = _pictures_laid_out(images, localized, style)
    if not strings:
        return Front.of((pictures,))
    return Front.of((pictures, _strings_laid_out(strings, len(pictures.entries))))


@lru_cache(maxsize=LAID_OUT_KEPT)
def _pictures_laid_out(images: PassImages, localized: _Localized, style: str) -> LaidOut:
    """Check the pictures and lay them out."""
    check_images("images", images, style)
    for language, pictures in localized:
        check_images(f"localized_images.{language}", pictures, style)
    return LaidOut.of(image_files(images, dict(localized)))


@lru_cache(maxsize=STRINGS_KEPT)
def _strings_laid_out(strings: Strings, offset: int) -> LaidOut:
    return LaidOut.of(strings_files(strings), offset=offset)


def _sums(members: Iterable[tuple[str, Picture]]) -> str:
    return "".join([f'"{name}":"{file.sha1}",' for name, file in members])


def _members(files: Iterable[tuple[str, Picture]]) -> list[_Member]:
    return [(name.encode("ascii"), file.data, file.crc32) for name, file in files]


def stored_zip(files: Iterable[tuple[str, Picture]]) -> bytes:
    """Return a zip of uncompressed files. Names are ASCII; sizes stay far below zip64's limits."""
    return _zip(Front.of(()), _members(files))


def _zip(front: Front, members: list[_Member]) -> bytes:
    """Return the zip of `members` behind `front`."""
    pieces = [part.entries for part in front.parts]
    directory = [front.directory]
    end = _lay_out(members, front.end, pieces, directory)
    rows = b"".join(directory)
    count = front.members + len(members)
    pieces += (rows, _END.pack(b"PK\x05\x06", count, count, len(rows), end))
    return b"".join(pieces)


def _lay_out(members: list[_Member], offset: int, entries: list[bytes], directory: list[bytes]) -> int:
    """Add the members with their headers, and their rows of the directory; return where they end."""
    for name, data, crc in members:
        size, length = len(data), len(name)
        entries += (_local(_LOCAL_START, crc, size, size, length), name, data)
        directory += (_central(_CENTRAL_START, crc, size, size, length, offset), name)
        offset += _LOCAL.size + length + size
    return offset


__all__ = ["BUNDLE_BYTES_MAX", "MIME_TYPE", "LaidOut", "bundle", "pass_strings", "signed_pass", "stored_zip"]
