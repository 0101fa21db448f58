"""Front-end files: from the npm packages in ``node_modules`` to ``var/static/vendor``.

Nothing is bundled and nothing third-party is committed. ``make setup`` installs the packages pinned in
``package-lock.json``; :func:`build_assets` copies the few files that pages use, each under a name with the
start of its SHA-256 (so that browsers may keep it for ever), and writes ``manifest.json``: logical name ->
file name.

Run as ``python -m wallet_server.assets [--node-modules DIR] [--target DIR]``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Read from packages whose hashes package-lock.json pins, not from strangers.
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
NODE_MODULES = ROOT / "node_modules"
VENDOR_DIR = ROOT / "var" / "static" / "vendor"
MANIFEST_NAME = "manifest.json"
HASH_LENGTH = 12
SVG = "http://www.w3.org/2000/svg"


class AssetError(Exception):
    """A front-end file is missing or unreadable; the message says what to do."""


@dataclass(frozen=True)
class Asset:
    """One file to copy: its logical name, where it is in ``node_modules``, and why a page needs it."""

    name: str
    source: str
    reason: str


COPIES: tuple[Asset, ...] = (
    Asset("htmx.js", "htmx.org/dist/htmx.min.js", "pages and fragments from one template"),
    Asset("idiomorph.js", "idiomorph/dist/idiomorph-ext.min.js", "swaps that keep focus and scroll"),
    Asset("tabler.css", "@tabler/core/dist/css/tabler.min.css", "the look of panel, till and member pages"),
    Asset("tabler.js", "@tabler/core/dist/js/tabler.min.js", "menus, dropdowns and dialogs of Tabler"),
    Asset(
        "echarts.js",
        "echarts/dist/echarts.common.min.js",
        "lines, bars and heat map of the owner's pages",
    ),
)

# Subsets of Inter for our three languages and members' names; the browser fetches them by unicode-range.
FONT_PACKAGE = "@fontsource-variable/inter"
FONT_SUBSETS = ("latin", "latin-ext", "cyrillic", "cyrillic-ext")

# Icons of Tabler in the sprite: <svg class="icon"><use href="{{ icons.svg }}#NAME"/></svg>.
# `outline/NAME.svg` unless the name ends in "-filled".
ICONS: tuple[str, ...] = tuple(
    """
    activity adjustments alert-circle alert-triangle arrow-back-up arrow-down arrow-left arrow-right
    arrow-up award ban battery-4 bell bolt brand-apple brand-google building-store calendar
    calendar-event cash category chart-bar chart-line check chevron-down chevron-left chevron-right
    chevron-up circle-check circle-x clipboard-list clock coffee coin coins copy credit-card crown
    device-mobile devices discount dots dots-vertical download edit external-link eye eye-off
    file-text filter flag flame gift heart help history home hourglass id-badge-2 info-circle key
    language link loader-2 lock login logout mail map-pin menu-2 message minus mood-smile moon note
    package percentage phone player-pause player-play player-stop plus qrcode receipt receipt-refund
    refresh rotate scan search send server settings share shield-check shopping-cart star
    star-filled sun tag target ticket trash trending-up trophy upload user user-check user-plus
    users users-group wallet wifi wifi-off world x
    """.split()
)


def build_assets(node_modules: Path, target: Path) -> dict[str, str]:
    """Copy every asset from ``node_modules`` into ``target`` and return the manifest that was written there.

    The manifest is written last and by renaming, so that a server that starts meanwhile sees either the old
    set or the new one. Files of an older set are removed after that.

    Raises :class:`AssetError` when a package or a file in it is missing.
    """
    target.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, str] = {}
    for asset in COPIES:
        manifest[asset.name] = _store(target, asset.name, _read(node_modules, asset.source))
    manifest.update(_build_fonts(node_modules, target))
    manifest["icons.svg"] = _store(target, "icons.svg", _build_sprite(node_modules, ICONS))

    staged = target / (MANIFEST_NAME + ".new")
    staged.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    staged.replace(target / MANIFEST_NAME)
    kept = {*manifest.values(), MANIFEST_NAME}
    for path in target.iterdir():
        if path.is_file() and path.name not in kept:
            path.unlink()
    return manifest


def load_manifest(path: Path = VENDOR_DIR / MANIFEST_NAME) -> dict[str, str]:
    """Read a manifest: logical name (``htmx.js``) -> file name beside it (``htmx.0123456789ab.js``).

    Raises :class:`AssetError`, naming ``make setup``, when it is missing or unreadable, or names a missing
    file.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AssetError(f"The front-end files are not there ({path}). Run `make setup`.") from None
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} cannot be read ({error}). Run `make setup`.") from error
    if not isinstance(manifest, dict) or not all(isinstance(value, str) for value in manifest.values()):
        raise AssetError(f"{path} is not a map of names to file names. Run `make setup`.")
    for name, file_name in manifest.items():
        if not (path.parent / file_name).is_file():
            raise AssetError(f"{name} is in {path}, but {file_name} is not there. Run `make setup`.")
    return manifest


def _read(node_modules: Path, source: str) -> bytes:
    path = node_modules / source
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror}). Run `make setup`.") from error


def _store(target: Path, name: str, content: bytes) -> str:
    stem, suffix = name.rsplit(".", 1)
    digest = hashlib.sha256(content).hexdigest()[:HASH_LENGTH]
    file_name = f"{stem}.{digest}.{suffix}"
    path = target / file_name
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
    return file_name


def _build_fonts(node_modules: Path, target: Path) -> dict[str, str]:
    """Copy the subsets of the variable font and write the style sheet that names them."""
    try:
        ranges: Mapping[str, str] = json.loads(_read(node_modules, f"{FONT_PACKAGE}/unicode.json"))
    except ValueError as error:
        raise AssetError(f"{FONT_PACKAGE}/unicode.json is not JSON ({error}). Run `make setup`.") from error
    manifest: dict[str, str] = {}
    faces: list[str] = []
    for subset in FONT_SUBSETS:
        if subset not in ranges:
            raise AssetError(f"{FONT_PACKAGE} has no subset {subset}; adjust FONT_SUBSETS.")
        name = f"inter-{subset}.woff2"
        content = _read(node_modules, f"{FONT_PACKAGE}/files/inter-{subset}-wght-normal.woff2")
        manifest[name] = _store(target, name, content)
        faces.append(
            "@font-face {\n"
            '  font-family: "Inter";\n'
            "  font-style: normal;\n"
            "  font-weight: 100 900;\n"
            "  font-display: swap;\n"
            f'  src: url("{manifest[name]}") format("woff2");\n'
            f"  unicode-range: {ranges[subset].replace(',', ', ')};\n"
            "}\n"
        )
    manifest["inter.css"] = _store(target, "inter.css", "".join(faces).encode())
    return manifest


def _build_sprite(node_modules: Path, icons: Sequence[str]) -> bytes:
    """Return one SVG with a ``<symbol id=NAME>`` per icon, so that a page asks once for all of them."""
    ElementTree.register_namespace("", SVG)
    sprite = ElementTree.Element(f"{{{SVG}}}svg")
    for name in icons:
        folder = "filled" if name.endswith("-filled") else "outline"
        source = f"@tabler/icons/icons/{folder}/{name.removesuffix('-filled')}.svg"
        try:
            icon = ElementTree.fromstring(_read(node_modules, source))  # noqa: S314 - see the import
        except ElementTree.ParseError as error:
            raise AssetError(f"{source} is not an SVG ({error}). Run `make setup`.") from error
        # <use> copies the drawing without the outer element, so the paint attributes move to the symbol.
        symbol = ElementTree.SubElement(sprite, f"{{{SVG}}}symbol", {"id": name})
        for attribute in ("viewBox", "fill", "stroke", "stroke-linecap", "stroke-linejoin"):
            if attribute in icon.attrib:
                symbol.set(attribute, icon.attrib[attribute])
        # Tabler draws an invisible 24 x 24 square first in each icon; it only makes the file longer.
        symbol.extend(child for child in icon if child.get("d") != "M0 0h24v24H0z")
        for element in symbol.iter():
            element.text = element.tail = None
    content: bytes = ElementTree.tostring(sprite, encoding="utf-8")
    return content + b"\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m wallet_server.assets", description="Copy front-end files.")
    parser.add_argument("--node-modules", type=Path, default=NODE_MODULES, metavar="DIR")
    parser.add_argument("--target", type=Path, default=VENDOR_DIR, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        manifest = build_assets(options.node_modules, options.target)
    except AssetError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum((options.target / name).stat().st_size for name in manifest.values())
    print(f"{len(manifest)} files, {size / 1_000_000:.1f} MB in {options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
