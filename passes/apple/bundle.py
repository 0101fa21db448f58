"""Lay a pass's files, their manifest and the signature into one `.pkpass`.

The zip is written by hand: names, order and times are fixed and nothing is compressed (PNGs do not shrink,
and deflate costs ten times the signature), so that the same content signed at the same second gives the
same bytes. Pictures are shared by many passes: they bring the sums that were computed when they were drawn, and
their part of the zip and of the manifest is laid out once.

Source: developer.apple.com/documentation/walletpasses/building-a-pass (files, manifest with SHA-1).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from passes.apple.pass_json import JsonObject, pass_json
from passes.apple.signing import Signer
from passes.content import PassContent, PassContentError, PassImages, Picture

MIME_TYPE = "application/vnd.apple.pkpass"
LAID_OUT_KEPT: Final = 32
"""Sets of pictures whose zip entries are kept: about a third of a megabyte each."""
LINES_KEPT: Final = 16_384
"""Lines of `pass.strings` that are kept; most are the same on every pass of a program."""
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_DOS_TIME, _DOS_DATE = 0, (0 << 9) | (1 << 5) | 1  # 1980-01-01, the zip format's own zero
_LOCAL_HEADER = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL_HEADER = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_STRING_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        '"': '\\"',
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        # What is left of the control characters would end or confuse old parsers.
        **{chr(code): f"\\U{code:04x}" for code in (*range(9), 11, 12, *range(14, 32), 127)},
    }
)


def signed_pass(content: PassContent, signer: Signer, *, now: datetime, allow_http: bool = False) -> bytes:
    """Return the `.pkpass` of `content`, signed at `now`.

    Raises `PassContentError` for content that Apple's rules forbid and `CertificateProblem` outside the
    certificate's validity.
    """
    document = pass_json(content, pass_type_id=signer.pass_type_id, team_id=signer.team_id, allow_http=allow_http)
    if content.images is None:
        raise PassContentError("images.icon", "iOS refuses a pass without an icon")
    files: list[tuple[str, Picture]] = [("pass.json", Picture.of(_to_json(document)))]
    for language in sorted(content.translations):
        strings = pass_strings(content.translations[language])
        if not _LANGUAGE.fullmatch(language):
            raise PassContentError("translations", f"a language is a tag such as en or sr-Latn, not {language!r}")
        files.append((f"{language}.lproj/pass.strings", Picture.of(strings)))
    return bundle(files, signer, now=now, pictures=_pictures_laid_out(content.images))


def bundle(
    files: Iterable[tuple[str, Picture]], signer: Signer, *, now: datetime, pictures: LaidOut | None = None
) -> bytes:
    """Return the zip of `pictures` and `files`, their manifest and its signature, in this order."""
    pictures = pictures or LaidOut.of(())
    members = list(files)
    sums = b",".join(filter(None, (pictures.sums, _sums(members))))
    manifest = b"{" + sums + b"}"
    signature = signer.sign(manifest, now=now)
    members.append(("manifest.json", Picture.of(manifest)))
    members.append(("signature", Picture.of(signature)))
    return stored_zip(members, pictures)


@dataclass(frozen=True, slots=True)
class LaidOut:
    """Members at the front of a zip, laid out once for many passes: only what comes after them differs."""

    entries: bytes = field(repr=False)
    directory: bytes = field(repr=False)
    count: int
    sums: bytes = field(repr=False)
    """Their part of the manifest."""

    @classmethod
    def of(cls, members: Iterable[tuple[str, Picture]]) -> LaidOut:
        files = list(members)
        entries, directory = _entries(files, offset=0)
        return cls(b"".join(entries), b"".join(directory), len(files), _sums(files))


@lru_cache(maxsize=LAID_OUT_KEPT)
def _pictures_laid_out(images: PassImages) -> LaidOut:
    return LaidOut.of(images.files())


def _to_json(document: JsonObject) -> bytes:
    return _JSON.encode(document).encode()


def _sums(members: Iterable[tuple[str, Picture]]) -> bytes:
    return ",".join(f'"{name}":"{file.sha1}"' for name, file in members).encode("ascii")


def pass_strings(translations: Mapping[str, str]) -> bytes:
    r"""Return a `pass.strings` file: UTF-8 without a byte order mark, one ``"text" = "translation";`` a line.

    Quotes, backslashes, line ends and control characters are escaped; a text cut at an unescaped quote is
    the classic fault of pass libraries.

    Source: developer.apple.com/documentation/walletpasses/creating-the-source-for-a-pass (localisation).
    """
    try:
        return "".join([_strings_line(text, translations[text]) for text in sorted(translations)]).encode()
    except UnicodeEncodeError as error:
        raise PassContentError("translations", "a text holds half a character (a lone surrogate)") from error


@lru_cache(maxsize=LINES_KEPT)
def _strings_line(text: str, translation: str) -> str:
    return f'"{text.translate(_STRING_ESCAPES)}" = "{translation.translate(_STRING_ESCAPES)}";\n'


def stored_zip(members: Iterable[tuple[str, Picture]], front: LaidOut | None = None) -> bytes:
    """Return a zip of uncompressed members behind `front`. Names are ASCII; sizes stay far below zip64's limits."""
    front = front or LaidOut.of(())
    parts, directory = _entries(members, offset=len(front.entries))
    central = b"".join((front.directory, *directory))
    offset = len(front.entries) + sum(map(len, parts))
    count = front.count + len(directory)
    return b"".join(
        (front.entries, *parts, central, _END.pack(b"PK\x05\x06", 0, 0, count, count, len(central), offset, 0))
    )


def _entries(members: Iterable[tuple[str, Picture]], *, offset: int) -> tuple[list[bytes], list[bytes]]:
    """The members with their headers, in pieces, and their rows of the directory."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    for name, file in members:
        encoded, size = name.encode("ascii"), len(file.data)
        sizes = (_DOS_TIME, _DOS_DATE, file.crc32, size, size, len(encoded))
        local = _LOCAL_HEADER.pack(b"PK\x03\x04", 10, 0, 0, *sizes, 0)
        directory.append(_CENTRAL_HEADER.pack(b"PK\x01\x02", 20, 10, 0, 0, *sizes, 0, 0, 0, 0, 0, offset) + encoded)
        parts += (local, encoded, file.data)
        offset += len(local) + len(encoded) + size
    return parts, directory
