"""Lay a pass's files, their manifest and the signature into one `.pkpass`.

The zip is written by hand: names, order and times are fixed and nothing is compressed (PNGs do not shrink,
and deflate costs ten times the signature), so that the same content signed at the same second gives the
same bytes, and pictures bring the sums that were computed when they were drawn.

Source: developer.apple.com/documentation/walletpasses/building-a-pass (files, manifest with SHA-1).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from datetime import datetime

from passes.apple.pass_json import pass_json
from passes.apple.signing import Signer
from passes.content import PassContent, PassContentError, Picture

MIME_TYPE = "application/vnd.apple.pkpass"

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
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    files: list[tuple[str, Picture]] = [("pass.json", Picture.of(text.encode()))]
    for language in sorted(content.translations):
        strings = pass_strings(content.translations[language])
        if not _LANGUAGE.fullmatch(language):
            raise PassContentError("translations", f"a language is a tag such as en or sr-Latn, not {language!r}")
        files.append((f"{language}.lproj/pass.strings", Picture.of(strings)))
    files.extend(content.images.files())
    return bundle(files, signer, now=now)


def bundle(files: Iterable[tuple[str, Picture]], signer: Signer, *, now: datetime) -> bytes:
    """Return the zip of `files`, their manifest and its signature, in the given order."""
    members = list(files)
    manifest = json.dumps({name: file.sha1 for name, file in members}, separators=(",", ":")).encode()
    signature = signer.sign(manifest, now=now)
    members.append(("manifest.json", Picture.of(manifest)))
    members.append(("signature", Picture.of(signature)))
    return stored_zip(members)


def pass_strings(translations: Mapping[str, str]) -> bytes:
    r"""Return a `pass.strings` file: UTF-8 without a byte order mark, one ``"text" = "translation";`` a line.

    Quotes, backslashes, line ends and control characters are escaped; a text cut at an unescaped quote is
    the classic fault of pass libraries.

    Source: developer.apple.com/documentation/walletpasses/creating-the-source-for-a-pass (localisation).
    """
    lines = []
    for text in sorted(translations):
        key, value = text.translate(_STRING_ESCAPES), translations[text].translate(_STRING_ESCAPES)
        lines.append(f'"{key}" = "{value}";\n')
    try:
        return "".join(lines).encode()
    except UnicodeEncodeError as error:
        raise PassContentError("translations", "a text holds half a character (a lone surrogate)") from error


def stored_zip(members: Iterable[tuple[str, Picture]]) -> bytes:
    """Return a zip of uncompressed members. Names are ASCII; sizes stay far below zip64's limits."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name, file in members:
        encoded, size = name.encode("ascii"), len(file.data)
        local = _LOCAL_HEADER.pack(
            b"PK\x03\x04", 10, 0, 0, _DOS_TIME, _DOS_DATE, file.crc32, size, size, len(encoded), 0
        )
        directory.append(
            _CENTRAL_HEADER.pack(
                *(b"PK\x01\x02", 20, 10, 0, 0, _DOS_TIME, _DOS_DATE, file.crc32, size, size),
                *(len(encoded), 0, 0, 0, 0, 0, offset),
            )
            + encoded
        )
        parts += (local, encoded, file.data)
        offset += len(local) + len(encoded) + size
    central = b"".join(directory)
    end = _END.pack(b"PK\x05\x06", 0, 0, len(directory), len(directory), len(central), offset, 0)
    return b"".join((*parts, central, end))
