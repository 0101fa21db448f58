"""Which look a card has, and which strip is drawn for it. Pure.

A strip is drawn from a :class:`StripState`: the look, the level, the language and how far a goal is done. It has no
number that only one member has, so a program has few strips, and the address of Google's picture can say the state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from passes.artwork import GoalBar, Look, Photo, StripArt
from passes.artwork.brand import NAME_CHARACTERS_MAX
from passes.artwork.strips import CAPTION_CHARACTERS_MAX
from passes.content import Colors, StampCard
from wallet_server.challenges.progress import ChallengeState
from wallet_server.i18n import Translator, localized, translator
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.look import LookFacts, ResolvedLook, Strip, choose_look, resolved
from wallet_server.programs.tiers import TierLevel

STAMPS_MAX: Final = 30
BAR_STEPS: Final = 40
"""A bar towards a goal of more units than these moves in so many steps."""
STRIPS_KNOWN_MAX: Final = 2_000
_HERO: Final = re.compile(r"hero-(own|\d{1,2})-(none|\d{1,2})-([a-z]{2})(?:-(\d{1,2})-of-(\d{1,2}))?")


@dataclass(frozen=True, slots=True)
class StripState:
    """All that tells two strips of a program version apart.

    ``look`` is the place of the look in the file (none: the section's own), ``level`` that of the level. ``done`` of
    ``steps`` are stamps or steps of a bar; no steps: nothing is counted.
    """

    look: int | None
    level: int | None
    language: str
    done: int = 0
    steps: int = 0

    @property
    def hero_name(self) -> str:
        """The name of Google's picture in this state; :func:`state_of_hero` reads it."""
        look = "own" if self.look is None else self.look
        level = "none" if self.level is None else self.level
        counted = f"-{self.done}-of-{self.steps}" if self.steps else ""
        return f"hero-{look}-{level}-{self.language}{counted}"


def card_look(
    program: ProgramDefinition, tier: str | None, challenges: Sequence[ChallengeState], today: date | None
) -> ResolvedLook:
    """The look of a card: ``today`` is the day in the program's zone."""
    level = _level(program, tier)
    facts = LookFacts(
        tier=level.code if level else tier,
        tier_color=level.color if level else None,
        progress={state.code: state.progress for state in challenges},
        today=today,
    )
    return choose_look(program.file.look, facts)


def everyones_look(program: ProgramDefinition, today: date | None) -> ResolvedLook:
    """The look of the program itself, of no card: what only a level or a challenge brings is not in it."""
    return choose_look(program.file.look, LookFacts(today=today))


def colors_of(look: ResolvedLook) -> Colors:
    """The three colours of a card."""
    return Colors(background=look.background, foreground=look.foreground, label=look.label)


def brand_of(program: ProgramDefinition, look: ResolvedLook, language: str) -> Look:
    """What icon and logo are drawn from. The mark beside the name is that of the program's own stamps, in all looks."""
    return Look(
        name=program.name(language)[:NAME_CHARACTERS_MAX],
        background=look.background,
        foreground=look.foreground,
        accent=look.accent,
        glyph=program.file.look.own_strip.glyph or "star",
    )


def strip_state(
    program: ProgramDefinition,
    look: ResolvedLook,
    *,
    tier: str | None,
    challenges: Sequence[ChallengeState],
    language: str,
    tier_done: int | None = None,
) -> StripState:
    """The state of a card's strip. ``tier_done`` is how much of the way to the next level is done, of 40 steps."""
    levels = program.file.tiers.levels
    level = _level(program, tier)
    steps = _steps(program, look.strip)
    done = 0
    if steps and look.strip.challenge is None:
        is_top = level is not None and level.code == levels[-1].code
        done = steps if is_top else min(tier_done or 0, steps)
    elif steps:
        state = next((state for state in challenges if state.code == look.strip.challenge), None)
        # A target that was changed meanwhile is that of the file.
        done = max(0, min(state.progress * steps // state.target, steps)) if state else 0
    return StripState(look.index, levels.index(level) if level else None, language, done, steps)


def _steps(program: ProgramDefinition, strip: Strip) -> int:
    """How many stamps or steps of a bar a strip has; 0 where it counts nothing."""
    if strip.kind == "progress" and strip.challenge is None:
        return BAR_STEPS if program.file.tiers.levels else 0
    challenge = program.challenge(strip.challenge) if strip.challenge else None
    if challenge is None:
        return 0
    if strip.kind == "stamps":
        return challenge.target if challenge.target <= STAMPS_MAX else 0
    return min(challenge.target, BAR_STEPS)


def state_of_hero(program: ProgramDefinition, name: str) -> StripState | None:
    """The state that a picture's name asks for; none for one that no card of this program can have."""
    found = _HERO.fullmatch(name)
    if found is None:
        return None
    look = None if found[1] == "own" else int(found[1])
    level = None if found[2] == "none" else int(found[2])
    state = StripState(look, level, found[3], int(found[4] or 0), int(found[5] or 0))
    is_known = (
        (look is None or look < len(program.file.look.looks))
        and (level is None or level < len(program.file.tiers.levels))
        and state.language in program.languages
    )
    if not is_known or state.done > state.steps or state.steps != _steps(program, look_of_strip(program, state).strip):
        return None
    return state


def stamps_of(look: ResolvedLook, state: StripState) -> StampCard | None:
    """The stamps on a strip; none where it shows something else."""
    if look.strip.kind != "stamps" or not state.steps:
        return None
    return StampCard(filled=state.done, total=state.steps)


@lru_cache(maxsize=STRIPS_KNOWN_MAX)
def strip_art(program: ProgramDefinition, state: StripState) -> StripArt:
    """What a strip is drawn from; made once for each state of a program version."""
    look = look_of_strip(program, state)
    stamps, photo = stamps_of(look, state), look.strip.photo
    bar = None
    if look.strip.kind == "progress" and state.steps:
        glyph = look.strip.glyph or ("gift" if look.strip.challenge else "crown")
        bar = GoalBar(state.done, state.steps, glyph)
    return StripArt(
        background=look.background,
        foreground=look.foreground,
        accent=look.accent,
        motif=look.strip.motif or "hills",
        glyph=look.strip.glyph or "star",
        stamps=stamps,
        bar=bar,
        caption=_caption(program, look, state)[:CAPTION_CHARACTERS_MAX],
        photo=Photo(photo.picture, photo.x, photo.y) if photo else None,
    )


def look_of_strip(program: ProgramDefinition, state: StripState) -> ResolvedLook:
    """The look that a strip belongs to."""
    section, levels = program.file.look, program.file.tiers.levels
    look = None if state.look is None else section.looks[state.look]
    return resolved(section, look, state.look, None if state.level is None else levels[state.level].color)


def _caption(program: ProgramDefinition, look: ResolvedLook, state: StripState) -> str:
    t = translator(state.language)
    if look.caption:
        return localized(look.caption, t.language, program.languages)
    if look.strip.kind != "progress" or not state.steps:
        return ""
    challenge = program.challenge(look.strip.challenge) if look.strip.challenge else None
    if challenge is not None:
        return localized(challenge.name, t.language, program.languages)
    return _way_words(program, state, t)


def _way_words(program: ProgramDefinition, state: StripState, t: Translator) -> str:
    levels = program.file.tiers.levels
    held = state.level or 0
    if held + 1 >= len(levels):
        return localized(levels[held].name, t.language, program.languages)
    return t.gettext("On the way to %(level)s", level=localized(levels[held + 1].name, t.language, program.languages))


def _level(program: ProgramDefinition, tier: str | None) -> TierLevel | None:
    """The level held, the first for who has none yet; none for a level that only history still names."""
    return program.level(tier) if tier else program.first_level


def asks_way(program: ProgramDefinition) -> bool:
    """Whether any look draws the way to the next level: it has to be read then."""
    return any(strip.kind == "progress" and strip.challenge is None for strip in program.file.look.strips)
