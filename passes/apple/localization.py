r"""Texts and pictures of a pass by language: the `<language>.lproj` folders.

A `pass.strings` file is UTF-8 without a byte order mark, one ``"text" = "translation";`` a line. Quotes,
backslashes, line ends and control characters are escaped; a text cut at an unescaped quote is the classic fault
of pass libraries.

Source: developer.apple.com/documentation/walletpasses/creating-the-source-for-a-pass (localisation).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from passes.content import LocalImages, PassContentError, PassImages, Picture

LINES_KEPT: Final = 16_384
"""Lines that are kept; most are the same on every pass of a program."""
LANGUAGES_MAX: Final = 40
TEXTS_MAX: Final = 1_000

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_ESCAPES = str.maketrans(
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


def pass_strings(translations: Mapping[str, str]) -> bytes:
    """Return a `pass.strings` file. Raises `PassContentError`."""
    try:
        return "".join([_line(text, translations[text]) for text in sorted(translations)]).encode()
    except UnicodeEncodeError as error:
        raise PassContentError("translations", "a text holds half a character (a lone surrogate)") from error


@lru_cache(maxsize=LINES_KEPT)
def _line(text: str, translation: str) -> str:
    return f'"{text.translate(_ESCAPES)}" = "{translation.translate(_ESCAPES)}";\n'


Strings = tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
"""Language, texts, translations: translations as a value that can be looked up."""


def strings_of(translations: Mapping[str, Mapping[str, str]]) -> Strings:
    """Return translations as a value, languages in the order of the alphabet."""
    if not translations:
        return ()
    return tuple([(name, tuple(texts), tuple(texts.values())) for name, texts in sorted(translations.items())])


def strings_files(strings: Strings) -> list[tuple[str, Picture]]:
    """Return the `pass.strings` files of all languages. Raises `PassContentError`."""
    if len(strings) > LANGUAGES_MAX:
        raise PassContentError("translations", f"a pass has at most {LANGUAGES_MAX} languages")
    files: list[tuple[str, Picture]] = []
    for language, texts, translations in strings:
        check_language("translations", language)
        if len(texts) > TEXTS_MAX:
            raise PassContentError(f"translations.{language}", f"a language has at most {TEXTS_MAX} texts")
        content = pass_strings(dict(zip(texts, translations, strict=True)))
        files.append((f"{language}.lproj/pass.strings", Picture.of(content)))
    _check_folders("translations", [language for language, _, _ in strings])
    return files


def image_files(images: PassImages, localized: Mapping[str, LocalImages]) -> list[tuple[str, Picture]]:
    """Return the pictures of a pass and of its languages by name.

    Raises `PassContentError` for a slot that is filled at the top and in a language: which one a phone shows is
    open.
    """
    files = list(images.files())
    top = {slot for slot, _ in images.slots()}
    if len(localized) > LANGUAGES_MAX:
        raise PassContentError("localized_images", f"a pass has at most {LANGUAGES_MAX} languages")
    for language in sorted(localized):
        check_language("localized_images", language)
        for slot, _ in localized[language].slots():
            if slot in top:
                raise PassContentError(
                    f"localized_images.{language}.{slot}", "a picture is at the top of the pass or in the languages"
                )
        files += [(f"{language}.lproj/{name}", picture) for name, picture in localized[language].files()]
    _check_folders("localized_images", list(localized))
    return files


def check_language(where: str, language: str) -> None:
    """Raise `PassContentError` unless this is a language tag; it becomes the name of a folder."""
    if not _LANGUAGE.fullmatch(language):
        raise PassContentError(where, f"a language is a tag such as en or sr-Latn, not {language!r}")


def _check_folders(where: str, languages: list[str]) -> None:
    if len({language.lower() for language in languages}) < len(languages):
        raise PassContentError(where, "a language is said once; capital letters make no difference")
