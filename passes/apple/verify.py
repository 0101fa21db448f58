"""What an iPhone checks before it takes a pass, done in the same spirit: refuse, and say why.

`open_pass` is the simulator's install step and the tests' referee. It trusts nothing of the file: not its
size, its names, its sums, its dates or its certificates.

Sources: developer.apple.com/documentation/walletpasses/building-a-pass, …/pass and
…/distributing-and-updating-a-pass; RFC 5652 (CMS); reasons reported from phones' logs, collected in the project's
protocol notes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from passes.apple.cms import SignatureProblem, verify_signature
from passes.apple.pass_rules import PassJsonProblem, check_pass_json
from passes.apple.pictures import NotPng, png_size

BUNDLE_BYTES_MAX = 16 * 1024 * 1024
PASSES_BYTES_MAX = 150 * 1000 * 1000
PASSES_MAX = 10
UNPACKED_BYTES_MAX = 48 * 1024 * 1024
FILES_MAX = 200

_STRINGS_ENTRY = re.compile(
    r'\s*(?:/\*.*?\*/\s*|//[^\n]*\n\s*)*"((?:[^"\\]|\\.)*)"\s*=\s*"((?:[^"\\]|\\.)*)"\s*;', re.DOTALL
)
_ESCAPE = re.compile(r"\\(?:U([0-9a-fA-F]{4})|(.))", re.DOTALL)
_LOCALIZED = re.compile(r"([A-Za-z-]{2,16}|[A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)\.lproj/([^/]+)")


class PassRefused(Exception):
    """The pass would not be installed. `code` is stable, the message is the sentence why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class OpenedPass:
    """An accepted pass. `strings` and `localized_images` are by language, image names are file names."""

    pass_json: Mapping[str, object]
    strings: Mapping[str, Mapping[str, str]]
    images: Mapping[str, bytes] = field(repr=False)
    localized_images: Mapping[str, Mapping[str, bytes]] = field(repr=False)
    signed_at: datetime

    def text(self, literal: str, language: str) -> str:
        """Return what a phone set to `language` shows for a text of the pass."""
        for tag in (language, language.split("-", maxsplit=1)[0]):
            if literal in self.strings.get(tag, {}):
                return self.strings[tag][literal]
        return literal


def open_pass(data: bytes, *, trusted_roots: Sequence[x509.Certificate], now: datetime) -> OpenedPass:
    """Return the pass in a `.pkpass`, or raise `PassRefused`."""
    if len(data) > BUNDLE_BYTES_MAX:
        raise PassRefused("too_large", f"The file is larger than {BUNDLE_BYTES_MAX // 1024 // 1024} MB.")
    files = _unpack(data, bytes_max=UNPACKED_BYTES_MAX)
    for name in ("pass.json", "manifest.json", "signature"):
        if name not in files:
            folder = next((path.split("/", 1)[0] for path in files if path.endswith(f"/{name}")), None)
            if folder is not None and not folder.endswith(".lproj"):
                raise PassRefused(
                    "nested_folder",
                    f"The files lie in the folder {folder!r}; they must be at the top of the zip.",
                )
            raise PassRefused("missing_file", f"{name} is missing.")
    _check_manifest(files)
    document = _json_object("pass.json", files["pass.json"])
    signed_at = _check_signature(files, document, trusted_roots, now)
    try:
        check_pass_json(document)
    except PassJsonProblem as problem:
        raise PassRefused(problem.code, str(problem)) from problem
    _check_icon(files)
    strings: dict[str, dict[str, str]] = {}
    images: dict[str, bytes] = {}
    localized: dict[str, dict[str, bytes]] = {}
    for name, content in files.items():
        match = _LOCALIZED.fullmatch(name)
        if match and match[2] == "pass.strings":
            strings[match[1]] = parse_strings(content)
        elif match and name.endswith(".png"):
            localized.setdefault(match[1], {})[match[2]] = content
        elif name.endswith(".png") and "/" not in name:
            images[name] = content
    return OpenedPass(document, strings, images, localized, signed_at)


def open_passes(data: bytes, *, trusted_roots: Sequence[x509.Certificate], now: datetime) -> tuple[OpenedPass, ...]:
    """Return the passes of a `.pkpasses` in its order, or raise `PassRefused`: one bad pass spoils all."""
    if len(data) > PASSES_BYTES_MAX:
        raise PassRefused("too_large", f"The file is larger than {PASSES_BYTES_MAX // 1000 // 1000} MB.")
    files = _unpack(data, bytes_max=PASSES_BYTES_MAX)
    if not files:
        raise PassRefused("missing_file", "The file holds no pass.")
    if len(files) > PASSES_MAX:
        raise PassRefused("too_many_files", f"The file holds more than {PASSES_MAX} passes.")
    return tuple(open_pass(content, trusted_roots=trusted_roots, now=now) for content in files.values())


def parse_strings(content: bytes) -> dict[str, str]:
    """Return the entries of a `pass.strings` file (UTF-8, or UTF-16 with its mark).

    Raises `PassRefused` (``bad_strings``) for text that is not entries.
    """
    try:
        is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise PassRefused("bad_strings", "A pass.strings file is neither UTF-8 nor UTF-16.") from error
    entries: dict[str, str] = {}
    position = 0
    while match := _STRINGS_ENTRY.match(text, position):
        entries[_unescape(match[1])] = _unescape(match[2])
        position = match.end()
    if rest := text[position:].strip():
        raise PassRefused("bad_strings", f"A pass.strings file cannot be read from {rest[:30]!r} on.")
    return entries


def _unescape(text: str) -> str:
    simple = {"n": "\n", "r": "\r", "t": "\t"}
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else simple.get(match[2], match[2]), text)


def _unpack(data: bytes, *, bytes_max: int) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > FILES_MAX:
                raise PassRefused("too_many_files", f"The pass holds more than {FILES_MAX} files.")
            files: dict[str, bytes] = {}
            total = 0
            for member in members:
                _check_member(member, files)
                with archive.open(member) as stream:
                    # The size in the header is a claim; what is read is what counts.
                    content = stream.read(bytes_max - total + 1)
                total += len(content)
                if total > bytes_max:
                    raise PassRefused("too_large", "The pass unpacks to more than a phone would accept.")
                files[member.filename] = content
            return files
    # zipfile raises NotImplementedError for a kind of compression that it does not know.
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
        raise PassRefused("not_a_zip", "The file is not a readable zip archive.") from error


def _check_member(member: zipfile.ZipInfo, files: Mapping[str, bytes]) -> None:
    name = member.filename
    if member.flag_bits & 0x1:
        raise PassRefused("encrypted", f"{name} is encrypted.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise PassRefused("symlink", f"{name} is a symbolic link.")
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise PassRefused("bad_path", f"{name!r} points outside of the pass.")
    if name in files:
        raise PassRefused("duplicate_file", f"{name} is in the zip twice.")


def _json_object(name: str, content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise PassRefused("malformed_json", f"{name} is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise PassRefused("malformed_json", f"{name} is not a JSON object.")
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _check_manifest(files: Mapping[str, bytes]) -> None:
    manifest = _json_object("manifest.json", files["manifest.json"])
    present = files.keys() - {"manifest.json", "signature"}
    for name in sorted(present - manifest.keys()):
        raise PassRefused("unlisted_file", f"{name} is not listed in the manifest.")
    for name in sorted(manifest.keys() - present):
        raise PassRefused("missing_file", f"The manifest lists {name}, which is not in the pass.")
    for name in sorted(present):
        if hashlib.sha1(files[name], usedforsecurity=False).hexdigest() != manifest[name]:
            raise PassRefused("wrong_hash", f"The hash of {name} in the manifest is wrong.")


def _check_signature(
    files: Mapping[str, bytes],
    document: Mapping[str, object],
    trusted_roots: Sequence[x509.Certificate],
    now: datetime,
) -> datetime:
    try:
        return verify_signature(
            files["signature"],
            files["manifest.json"],
            trusted_roots=trusted_roots,
            pass_type_id=document.get("passTypeIdentifier"),
            team_id=document.get("teamIdentifier"),
            now=now,
        )
    except SignatureProblem as problem:
        raise PassRefused(problem.code, str(problem)) from problem


def _check_icon(files: Mapping[str, bytes]) -> None:
    icons = [name for name in ("icon.png", "icon@2x.png", "icon@3x.png") if name in files]
    if not icons:
        raise PassRefused("missing_icon", "The pass has no icon.png.")
    for name in sorted(name for name in files if name.endswith(".png")):
        try:
            png_size(files[name])
        except NotPng as problem:
            raise PassRefused("bad_image", f"{name} is not a PNG image: {problem}.") from problem
