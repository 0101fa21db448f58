"""What was found: a part, how it is, one sentence, and one cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """How a part is."""

    GOOD = "good"
    NOTE = "note"
    """It works; somebody should know this."""
    BROKEN = "broken"
    """Members or tills will notice, or do already."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one part; everything but the good has a cure."""

    part: str
    level: Level
    sentence: str
    cure: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return {"part": self.part, "level": self.level.value, "sentence": self.sentence, "cure": self.cure}


@dataclass(frozen=True, slots=True)
class Presence:
    """What is seen of the running server: whether its parts run, and when each queue's workers were heard."""

    running: bool | None
    """``None``: it cannot be told from here."""
    queue_problem: str = ""
    """Why Valkey does not answer; empty if it does, or is not ours to ask."""
    heartbeats: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    """The workers of each queue; empty where they cannot be asked."""


def good(part: str, sentence: str) -> Finding:
    """All is well."""
    return Finding(part, Level.GOOD, sentence)


def note(part: str, sentence: str, cure: str) -> Finding:
    """Something to know."""
    return Finding(part, Level.NOTE, sentence, cure)


def broken(part: str, sentence: str, cure: str) -> Finding:
    """Something to mend."""
    return Finding(part, Level.BROKEN, sentence, cure)
