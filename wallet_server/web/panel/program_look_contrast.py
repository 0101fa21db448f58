"""Which text stands on which ground of a card, and how well it is read there (WCAG 2.2, 1.4.3 and 1.4.11). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from passes.colors import LARGE_TEXT_CONTRAST_MIN, TEXT_CONTRAST_MIN, contrast
from wallet_server.i18n import Translator, gettext_noop, localized
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.look import Look, PassLook, ResolvedLook, resolved
from wallet_server.web.looks import google_ink

VERY_GOOD: Final = 7.0
"""Level AAA."""
PARTS: Final = {
    "foreground": gettext_noop("Values"),
    "label": gettext_noop("Labels"),
    "accent": gettext_noop("Stamps and bars"),
    "google": gettext_noop("Google's text"),
}
VERDICTS: Final = {
    "AAA": gettext_noop("very good (AAA)"),
    "AA": gettext_noop("good (AA)"),
    "large": gettext_noop("only for large text"),
    "fails": gettext_noop("hard to read"),
    "seen": gettext_noop("easy to see"),
    "unseen": gettext_noop("hard to see"),
}
FAILING: Final = frozenset({"large", "fails", "unseen"})


@dataclass(frozen=True)
class Reading:
    """One kind of text on its ground."""

    part: str
    color: str
    ratio: float
    verdict: str

    @property
    def fails(self) -> bool:
        """Whether somebody should choose another colour."""
        return self.verdict in FAILING


@dataclass(frozen=True)
class Ground:
    """One background with all that stands on it; ``names`` are the looks and levels that have it."""

    names: tuple[str, ...]
    background: str
    readings: tuple[Reading, ...]

    @property
    def fails(self) -> bool:
        """Whether anything on it is hard to read."""
        return any(reading.fails for reading in self.readings)


def grounds_of(look: PassLook, program: ProgramDefinition, t: Translator) -> tuple[Ground, ...]:
    """Every combination of colours that a card of the program can have, each once, those to look after first."""
    names: dict[tuple[str, str, str, str], list[str]] = {}
    for one in (None, *look.looks):
        for level, shown in _shown(look, one, program, t):
            title = (one.name if one else "") or t.gettext("The card")
            name = f"{title}, {level}" if level else title
            names.setdefault((shown.background, shown.foreground, shown.label, shown.accent), []).append(name)
    found = [
        Ground(tuple(dict.fromkeys(called)), colors[0], tuple(_readings(*colors))) for colors, called in names.items()
    ]
    return tuple(sorted(found, key=lambda ground: not ground.fails))


def _shown(
    section: PassLook, look: Look | None, program: ProgramDefinition, t: Translator
) -> Iterator[tuple[str, ResolvedLook]]:
    """The look as each level has it; levels without a colour of their own are one."""
    wanted = look.when.tiers if look is not None else None
    index = section.looks.index(look) if look is not None else None
    plain = False
    for level in program.file.tiers.levels:
        if wanted is not None and level.code not in wanted:
            continue
        own = level.color if look is None or look.background is None else None
        if own is not None:
            yield localized(level.name, t.language, program.languages), resolved(section, look, index, own)
        elif not plain:
            plain = True
            yield "", resolved(section, look, index, None)
    if not program.file.tiers.levels:
        yield "", resolved(section, look, index, None)


def _readings(background: str, foreground: str, label: str, accent: str) -> Iterator[Reading]:
    for part, color in (("foreground", foreground), ("label", label)):
        ratio = contrast(color, background)
        yield Reading(part, color, ratio, _text_verdict(ratio))
    ratio = contrast(accent, background)
    yield Reading("accent", accent, ratio, "seen" if ratio >= LARGE_TEXT_CONTRAST_MIN else "unseen")
    # Google chooses black or white by itself; only the background is ours.
    ink = f"#{google_ink(background.lower()[1:])}"
    ratio = contrast(ink, background)
    yield Reading("google", ink, ratio, _text_verdict(ratio))


def _text_verdict(ratio: float) -> str:
    if ratio >= VERY_GOOD:
        return "AAA"
    if ratio >= TEXT_CONTRAST_MIN:
        return "AA"
    return "large" if ratio >= LARGE_TEXT_CONTRAST_MIN else "fails"
