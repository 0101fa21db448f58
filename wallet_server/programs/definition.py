"""A program's definition as the rest of the server reads it: frozen, of one version, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final
from uuid import UUID

from wallet_server.errors import NotFoundError
from wallet_server.i18n import localized
from wallet_server.programs.file import (
    Challenge,
    OutletSection,
    ProgramFile,
    ProgramSection,
)
from wallet_server.programs.points import PointsSettings
from wallet_server.programs.rule import Rule
from wallet_server.programs.tiers import TierLevel

EVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class OutletRef:
    """An outlet with its row's id; ``zone`` is its own time zone, or the program's."""

    id: UUID
    section: OutletSection
    zone: str


@dataclass(frozen=True, eq=False)
class ProgramDefinition:
    """One version of a program.

    ``file`` is the published document; its catalog is empty, because products are read from their table
    (``queries.categories_asked``). ``outlets`` are the open ones by code, ``closed_outlets`` those that
    only history still names; ``parents`` is each category of the catalog with its parent. The version is in force
    since ``published_at``.
    """

    id: UUID
    slug: str
    version: int
    file: ProgramFile
    outlets: Mapping[str, OutletRef]
    closed_outlets: Mapping[str, OutletRef]
    parents: Mapping[str, str | None]
    published_at: datetime = EVER

    @property
    def section(self) -> ProgramSection:
        """Who the program is."""
        return self.file.program

    @property
    def points(self) -> PointsSettings:
        """The program settings of ``bonus-processing.md``."""
        return self.file.program.points

    @property
    def currency(self) -> str:
        """ISO 4217 code; all money is in its minor unit."""
        return self.file.program.currency

    @property
    def time_zone(self) -> str:
        """IANA zone of the program, for outlets without their own."""
        return self.file.program.time_zone

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the program, the default first."""
        return tuple(self.file.program.languages)

    @property
    def default_language(self) -> str:
        """The language of somebody who has not said."""
        return self.file.program.languages[0]

    def name(self, language: str) -> str:
        """The program's name for a reader."""
        return localized(self.section.name, language, self.languages)

    def outlet(self, code: str) -> OutletRef:
        """An open outlet; raises ``NotFoundError(unknown_outlet)``."""
        found = self.outlets.get(code)
        if found is None:
            raise NotFoundError("unknown_outlet", f"there is no open outlet {code!r} in this program")
        return found

    def outlet_by_id(self, outlet_id: UUID) -> OutletRef:
        """An outlet that a row points at, open or closed; raises ``NotFoundError(unknown_outlet)``."""
        found = self._outlets_by_id.get(outlet_id)
        if found is None:
            raise NotFoundError("unknown_outlet", "there is no such outlet in this program")
        return found

    def challenge(self, code: str) -> Challenge | None:
        """A challenge of this version; ``None`` for one that only history still names."""
        return self._challenges.get(code)

    def level(self, code: str) -> TierLevel | None:
        """A tier level of this version; ``None`` for one that only history still names."""
        return self._levels.get(code)

    def rule(self, name: str) -> Rule | None:
        """A rule of this version; ``None`` for one that only history still names."""
        return self._rules.get(name)

    @property
    def first_level(self) -> TierLevel | None:
        """The level that everybody holds; ``None`` in a program without tiers."""
        return self.file.tiers.levels[0] if self.file.tiers.levels else None

    def ancestors(self, category: str) -> tuple[str, ...]:
        """The category and all that it is part of, itself first; one that the catalog does not know is alone."""
        chain = [category]
        parent = self.parents.get(category)
        while parent is not None:  # ends: a file with a cycle is refused
            chain.append(parent)
            parent = self.parents.get(parent)
        return tuple(chain)

    @cached_property
    def _outlets_by_id(self) -> dict[UUID, OutletRef]:
        return {ref.id: ref for ref in (*self.outlets.values(), *self.closed_outlets.values())}

    @cached_property
    def _challenges(self) -> dict[str, Challenge]:
        return {challenge.code: challenge for challenge in self.file.challenges}

    @cached_property
    def _levels(self) -> dict[str, TierLevel]:
        return {level.code: level for level in self.file.tiers.levels}

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        return {rule.name: rule for rule in self.file.rules}
