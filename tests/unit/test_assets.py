"""Front-end files: what is copied, under which names, and what is said when something is missing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from wallet_server import assets
from wallet_server.assets import AssetError, build_assets, load_manifest, main

SUBSETS = {subset: f"U+{number}00-{number}FF" for number, subset in enumerate(assets.FONT_SUBSETS)}
ICON = """<svg xmlns="http://www.w3.org/2000/svg" width="24" viewBox="0 0 24 24" fill="none" stroke="currentColor"
  stroke-width="2" class="icon">
  <path stroke="none" d="M0 0h24v24H0z" fill="none" />
  <path d="M5 12l-2 0l9 -9" />
</svg>"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A node_modules that has every file on the list, with content of our own."""
    folder = tmp_path / "node_modules"
    for asset in assets.COPIES:
        write(folder / asset.source, f"content of {asset.name}")
    write(folder / assets.FONT_PACKAGE / "unicode.json", json.dumps(SUBSETS))
    for subset in assets.FONT_SUBSETS:
        write(folder / assets.FONT_PACKAGE / f"files/inter-{subset}-wght-normal.woff2", f"font {subset}")
    for name in assets.ICONS:
        kind = "filled" if name.endswith("-filled") else "outline"
        write(folder / f"@tabler/icons/icons/{kind}/{name.removesuffix('-filled')}.svg", ICON)
    return folder


def test_every_file_is_copied_under_a_name_with_its_hash(packages: Path, tmp_path: Path):
    target = tmp_path / "vendor"

    manifest = build_assets(packages, target)

    assert {"htmx.js", "idiomorph.js", "tabler.css", "tabler.js", "echarts.js", "inter.css", "icons.svg"} <= set(
        manifest
    )
    for name, file_name in manifest.items():
        content = (target / file_name).read_bytes()
        stem, suffix = name.rsplit(".", 1)
        assert file_name == f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
    assert (target / manifest["htmx.js"]).read_text() == "content of htmx.js"
    assert load_manifest(target / "manifest.json") == manifest


def test_a_second_build_gives_the_same_and_a_changed_file_a_new_name(packages: Path, tmp_path: Path):
    target = tmp_path / "vendor"
    first = build_assets(packages, target)
    assert build_assets(packages, target) == first

    write(packages / "htmx.org/dist/htmx.min.js", "a newer htmx")
    second = build_assets(packages, target)

    assert second["htmx.js"] != first["htmx.js"]
    assert {**second, "htmx.js": ""} == {**first, "htmx.js": ""}
    assert {path.name for path in target.iterdir()} == {*second.values(), "manifest.json"}


def test_the_font_sheet_names_the_hashed_files_beside_it(packages: Path, tmp_path: Path):
    manifest = build_assets(packages, tmp_path / "vendor")

    sheet = (tmp_path / "vendor" / manifest["inter.css"]).read_text()

    assert sheet.count("@font-face") == len(assets.FONT_SUBSETS)
    for subset, letters in SUBSETS.items():
        assert f'src: url("{manifest[f"inter-{subset}.woff2"]}") format("woff2");' in sheet
        assert f"unicode-range: {letters};" in sheet


def test_the_sprite_holds_each_icon_once_and_only_what_is_drawn(packages: Path, tmp_path: Path):
    manifest = build_assets(packages, tmp_path / "vendor")

    sprite = ElementTree.parse(tmp_path / "vendor" / manifest["icons.svg"]).getroot()

    assert [symbol.get("id") for symbol in sprite] == list(assets.ICONS)
    for symbol in sprite:
        assert symbol.get("viewBox") == "0 0 24 24"
        assert symbol.get("fill") == "none"
        assert symbol.get("stroke") == "currentColor"
        assert [path.get("d") for path in symbol] == ["M5 12l-2 0l9 -9"]


@pytest.mark.parametrize(
    "missing",
    [
        "echarts/dist/echarts.common.min.js",
        "@fontsource-variable/inter/unicode.json",
        "@fontsource-variable/inter/files/inter-cyrillic-wght-normal.woff2",
        "@tabler/icons/icons/outline/wallet.svg",
    ],
)
def test_a_missing_file_is_named_and_the_old_set_stays(packages: Path, tmp_path: Path, missing: str):
    target = tmp_path / "vendor"
    before = build_assets(packages, target)
    (packages / missing).unlink()

    with pytest.raises(AssetError, match="make setup") as caught:
        build_assets(packages, target)

    assert missing in str(caught.value)
    assert load_manifest(target / "manifest.json") == before


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("@fontsource-variable/inter/unicode.json", "{", "is not JSON"),
        ("@fontsource-variable/inter/unicode.json", "{}", "has no subset latin"),
        ("@tabler/icons/icons/outline/x.svg", "<svg", "x.svg is not an SVG"),
    ],
)
def test_a_package_of_another_shape_is_refused(packages: Path, tmp_path: Path, path: str, content: str, sentence: str):
    write(packages / path, content)
    with pytest.raises(AssetError, match=sentence):
        build_assets(packages, tmp_path / "vendor")


def test_loading_without_a_manifest_says_make_setup(tmp_path: Path):
    with pytest.raises(AssetError, match="Run `make setup`"):
        load_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("content", ["", "[]", '{"htmx.js": 1}', '{"htmx.js": "htmx.gone.js"}', "\ufffd{"])
def test_a_broken_manifest_says_make_setup(tmp_path: Path, content: str):
    write(tmp_path / "manifest.json", content)
    with pytest.raises(AssetError, match="Run `make setup`"):
        load_manifest(tmp_path / "manifest.json")


def test_the_command_copies_and_reports(packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--node-modules", str(packages), "--target", str(tmp_path / "vendor")]

    assert main(options) == 0
    assert "11 files" in capsys.readouterr().out

    shutil.rmtree(packages)
    assert main(options) == 1
    assert "make setup" in capsys.readouterr().err


def test_the_installed_packages_have_every_file_on_the_list(tmp_path: Path):
    """The real packages, not the made-up ones: a new version may move a file or rename an icon."""
    manifest = build_assets(assets.NODE_MODULES, tmp_path)

    assert b"htmx" in (tmp_path / manifest["htmx.js"]).read_bytes()
    assert (tmp_path / manifest["inter-cyrillic.woff2"]).read_bytes()[:4] == b"wOF2"
    # A page under our content security policy may load nothing from elsewhere.
    style = (tmp_path / manifest["tabler.css"]).read_text()
    assert "@import" not in style
    assert "url(http" not in style.replace('"', "").replace("'", "")
