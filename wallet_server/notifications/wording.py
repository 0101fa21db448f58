"""Words for what has happened to a member, as a lock screen says them: “+25 points, 145 in all”. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from wallet_server.i18n import LocalizedText, Translator, localized, translator
from wallet_server.notifications.facts import Noticed, Win
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.projection import Next, need_words

TEXT_CHARACTERS_MAX: Final = 500
"""What a message holds; a lock screen shows less than half of it."""


@dataclass(frozen=True, slots=True)
class Background:
    """What there is besides the change: points to spend now, the way to the next level, products' names by sku."""

    balance: int = 0
    next_level: Next | None = None
    products: Mapping[str, LocalizedText] = field(default_factory=dict)


def sentences(program: ProgramDefinition, noticed: Noticed, behind: Background, language: str) -> str:
    """Everything that was noticed, as one message in one language."""
    t = translator(language if language in program.languages else program.default_language)
    parts = [*_points(noticed, behind, t), *(_won(program, win, behind, t) for win in noticed.wins)]
    if noticed.tier is not None:
        level = program.level(noticed.tier)
        name = localized(level.name if level else noticed.tier, t.language, program.languages)
        parts.append(t.gettext("Your level is %(level)s now.", level=name))
    elif noticed.points > 0 or noticed.pending:
        parts += _way_up(program, behind.next_level, t)
    return " ".join(parts)[:TEXT_CHARACTERS_MAX]


def _points(noticed: Noticed, behind: Background, t: Translator) -> Iterator[str]:
    if noticed.points:
        change = (
            t.ngettext("+%(num)s point", "+%(num)s points", noticed.points)
            if noticed.points > 0
            else t.ngettext("−%(num)s point", "−%(num)s points", -noticed.points)
        )
        yield t.gettext("%(change)s, %(total)s in all.", change=change, total=t.number(behind.balance))
    elif noticed.balance:
        yield t.gettext("You have %(points)s now.", points=t.points(behind.balance))
    if noticed.pending > 0:
        yield t.ngettext("%(num)s point is on its way.", "%(num)s points are on their way.", noticed.pending)


def _won(program: ProgramDefinition, win: Win, behind: Background, t: Translator) -> str:
    challenge = program.challenge(win.challenge)
    name = localized(challenge.name if challenge else win.challenge, t.language, program.languages)
    if win.voucher is None:
        return t.gettext("%(challenge)s completed.", challenge=name)
    product = localized(behind.products.get(win.voucher) or win.voucher, t.language, program.languages)
    return t.gettext("%(challenge)s completed: %(product)s for free.", challenge=name, product=product)


def _way_up(program: ProgramDefinition, found: Next | None, t: Translator) -> Iterator[str]:
    """The one thing that is missing; several would be too much for a lock screen."""
    if found is None or len(found.needs) != 1:
        return
    level = program.level(found.tier)
    name = localized(level.name if level else found.tier, t.language, program.languages)
    yield t.gettext(
        "%(needs)s more to reach %(tier)s.", needs=need_words(found.needs[0], t, program.currency), tier=name
    )
