"""Every text that a person reads is in both catalogues, whole: nothing missing, empty, fuzzy, or left over."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
LOCALE = ROOT / "wallet_server" / "locale"
PLURALS = {
    "ru": "(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14) ? 1 : 2)",
    "mk": "(n%10==1 && n%100!=11 ? 0 : 1)",  # CLDR's; Babel's own default is wrong
}
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%%|%@")


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> set[str | tuple[str, ...]]:
    """What the sources ask for, read by the command of `make messages`."""
    path = tmp_path_factory.mktemp("catalogues") / "messages.pot"
    command = re.search(r"pybabel (extract .+) -o ", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert command is not None
    arguments = ["-q", *command[1].split(), "-o", str(path), "."]
    subprocess.run([sys.executable, "-m", "babel.messages.frontend", *arguments], cwd=ROOT, check=True)
    with path.open("rb") as file:
        return {message.id for message in read_po(file) if message.id}


def catalogue(language: str) -> Catalog:
    with (LOCALE / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=language)


def test_there_are_texts(extracted: set[str | tuple[str, ...]]) -> None:
    assert len(extracted) > 300


@pytest.mark.parametrize("language", ["ru", "mk"])
def test_nothing_is_missing_or_left_over(language: str, extracted: set[str | tuple[str, ...]]) -> None:
    known = {message.id for message in catalogue(language) if message.id}
    assert sorted(map(str, extracted - known)) == []
    assert sorted(map(str, known - extracted)) == []


@pytest.mark.parametrize("language", ["ru", "mk"])
def test_nothing_is_empty_fuzzy_or_broken(language: str) -> None:
    found = catalogue(language)
    for message in found:
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        assert not list(message.check(found)), message.id
        originals = message.id if isinstance(message.id, tuple | list) else (message.id,)
        texts = message.string if isinstance(message.string, tuple | list) else (message.string,)
        assert all(text.strip() for text in texts), message.id
        for text in texts:
            assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(originals[-1])), message.id


@pytest.mark.parametrize("language", ["ru", "mk"])
def test_plural_forms_follow_the_language(language: str) -> None:
    found = catalogue(language)
    assert found.plural_expr.replace(" ", "") == PLURALS[language].replace(" ", "")
    for message in found:
        if isinstance(message.id, tuple | list):
            assert len(message.string) == found.num_plurals, message.id
