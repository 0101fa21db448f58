"""Which tier a member has reached: pure, over the program's tier table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from wallet_server.programs.tiers import Reach, Threshold, TierLevel


@dataclass(frozen=True, slots=True)
class Standing:
    """What tiers ask of a member. ``tier`` is the code held now (None: none yet); money in the minor unit."""

    tier: str | None = None
    spend_minor: int = 0
    purchases: int = 0
    points_earned: int = 0
    first_visit_at: datetime | None = None
    last_visit_at: datetime | None = None
    marketing: bool = False


def reached(levels: Sequence[TierLevel], standing: Standing) -> str | None:
    """The tier that a member holds with this standing: the highest reached, and never below the one held.

    A tier that the program no longer has is left for the highest one reached. ``None`` where the program has no
    tiers at all.
    """
    codes = [level.code for level in levels]
    held = codes.index(standing.tier) if standing.tier in codes else 0
    for index in range(len(levels) - 1, held, -1):
        reach = levels[index].reach
        if reach is not None and _is_reached(reach, standing):
            return codes[index]
    return codes[held] if codes else None


def _is_reached(reach: Reach, standing: Standing) -> bool:
    if reach.any:
        return any(_is_met(threshold, standing) for threshold in reach.any)
    return all(_is_met(threshold, standing) for threshold in reach.all)


def _is_met(threshold: Threshold, standing: Standing) -> bool:
    if threshold.spend_minor is not None:
        return standing.spend_minor >= threshold.spend_minor
    return threshold.purchases is not None and standing.purchases >= threshold.purchases
