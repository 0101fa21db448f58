"""The form of a segment: what was typed, and the condition that it means. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wallet_server.errors import DomainError
from wallet_server.segments.condition import DAYS_MAX, TAGS_MAX, Condition, Range

VISITS_MAX: Final = 1_000
NAME_LENGTH_MAX: Final = 120
TIERS_MAX: Final = 100
CODE_LENGTH_MAX: Final = 50
TAGS_LENGTH_MAX: Final = 2_000
_WHOLE_NUMBER: Final = re.compile(r"\d{1,6}")
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NOT_IN_A_CODE: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class SegmentForm:
    """Everything as typed, so that a refused form comes back as it was."""

    key: str = ""
    name: str = ""
    tiers: tuple[str, ...] = ()
    visits_from: str = ""
    visits_to: str = ""
    days_from: str = ""
    days_to: str = ""
    tags: str = ""

    def condition(self) -> Condition:
        """What the form asks for. Raises ``DomainError(validation)`` whose ``field`` names the bad part."""
        return Condition(
            tiers=list(self.tiers) or None,
            tags=_tags(self.tags),
            visits_last_30_days=_range(self.visits_from, self.visits_to, "visits", VISITS_MAX),
            days_since_last_visit=_range(self.days_from, self.days_to, "days", DAYS_MAX),
        )

    def code(self) -> str:
        """The code of a new segment: readable, and the same however often this form is sent."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode().lower()
        stem = _NOT_IN_A_CODE.sub("-", plain).strip("-")[:CODE_LENGTH_MAX].rstrip("-")
        return f"{stem or 'segment'}-{self.key[-8:]}"


def _tags(text: str) -> list[str] | None:
    tags = list(dict.fromkeys(text.replace(",", " ").split()))
    if len(tags) > TAGS_MAX or not all(_TAG.fullmatch(tag) for tag in tags):
        raise DomainError("validation", f"tags: {text[:40]!r} are not at most {TAGS_MAX} words", field="tags")
    return tags or None


def _range(least: str, most: str, field: str, limit: int) -> Range | None:
    if not least and not most:
        return None
    at_least, at_most = _number(least, field, limit), _number(most, field, limit)
    if at_least is not None and at_most is not None and at_least > at_most:
        raise DomainError("validation", f"{field}: from {at_least} is more than to {at_most}", field=f"{field}_order")
    return Range(at_least=at_least, at_most=at_most)


def _number(text: str, field: str, limit: int) -> int | None:
    if not text:
        return None
    if not _WHOLE_NUMBER.fullmatch(text) or int(text) > limit:
        raise DomainError("validation", f"{field}: {text[:20]!r} is no whole number from 0 to {limit}", field=field)
    return int(text)


def read_form(values: Mapping[str, str], tiers: Sequence[str], *, key: str = "") -> SegmentForm:
    """The form as a browser sent it; what is too long is cut."""

    def typed(name: str) -> str:
        return values.get(name, "").strip()[:20]

    return SegmentForm(
        key=key,
        name=values.get("name", "").strip()[: NAME_LENGTH_MAX + 1],
        tags=values.get("tags", "").strip()[: TAGS_LENGTH_MAX + 1],
        tiers=tuple(dict.fromkeys(tier[:63] for tier in tiers[:TIERS_MAX])),
        visits_from=typed("visits_from"),
        visits_to=typed("visits_to"),
        days_from=typed("days_from"),
        days_to=typed("days_to"),
    )


def form_of(name: str, condition: Condition) -> SegmentForm:
    """The form of a saved segment."""
    visits, days = condition.visits_last_30_days, condition.days_since_last_visit
    return SegmentForm(
        name=name,
        tiers=tuple(condition.tiers or ()),
        tags=", ".join(condition.tags or ()),
        visits_from=_typed(visits.at_least if visits else None),
        visits_to=_typed(visits.at_most if visits else None),
        days_from=_typed(days.at_least if days else None),
        days_to=_typed(days.at_most if days else None),
    )


def _typed(number: int | None) -> str:
    return "" if number is None else str(number)
