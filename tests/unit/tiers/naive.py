"""Tiers a second time, written from the rules in words alone: day by day, everything counted anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any


@dataclass
class Bought:
    """A purchase, a visit (``spend`` None), or one that was refunded."""

    day: date
    spend: int | None
    gone: bool = False


@dataclass
class Naive:
    """One member under a table of levels ``{"any"|"all": [{"spend_minor": …} | {"purchases": …} | {"visits": …}]}``."""

    levels: list[dict[str, Any] | None]
    window: str
    days: int
    grace: int
    today: date
    tier: int = 0
    grace_until: date | None = None
    protected_until: date | None = None
    rows: list[Bought] = field(default_factory=list)

    def _counts(self, first: date | None, end: date | None) -> dict[str, int]:
        rows = [
            row
            for row in self.rows
            if not row.gone and (first is None or row.day >= first) and (end is None or row.day < end)
        ]
        return {
            "spend_minor": sum(row.spend or 0 for row in rows),
            "purchases": sum(row.spend is not None for row in rows),
            "visits": len(rows),
        }

    def _windows(self) -> list[dict[str, int]]:
        year = self.today.year
        if self.window == "calendar_year":
            return [
                self._counts(date(year, 1, 1), None),
                self._counts(date(year - 1, 1, 1), date(year, 1, 1)),
            ]
        if self.window == "rolling_days":
            return [self._counts(self.today - timedelta(days=self.days) + timedelta(days=1), None)]
        return [self._counts(None, None)]

    def best(self) -> int:
        found = 0
        for index, reach in enumerate(self.levels):
            for counts in self._windows():
                if reach is None:
                    continue
                [(quantifier, thresholds)] = reach.items()
                met = [counts[name] >= value for threshold in thresholds for name, value in threshold.items()]
                if (any if quantifier == "any" else all)(met):
                    found = max(found, index)
        return found

    def _rise(self) -> bool:
        best = self.best()
        if best >= self.tier:
            self.tier, self.grace_until = best, None
            return True
        return False

    def buy(self, day: date, spend: int | None) -> None:
        self.rows.append(Bought(day, spend))
        self._rise()

    def refund(self, index: int) -> None:
        self.rows[index].gone = True
        if not self._rise() and self.grace_until is None and self.protected_until is None:
            self.tier = self.best()

    def grant(self, tier: int, until: date) -> None:
        if tier > self.tier:
            self.tier, self.protected_until, self.grace_until = tier, until, None
        elif tier == self.tier:
            self.protected_until, self.grace_until = max(until, self.protected_until or until), None

    def sleep(self, days: int) -> None:
        for _ in range(days):
            self.today += timedelta(days=1)
            self._midnight()

    def _midnight(self) -> None:
        ended = self.protected_until is not None and self.today >= self.protected_until
        if ended:
            self.protected_until = None
        if self._rise() or self.protected_until is not None:
            return
        if ended:
            self.tier, self.grace_until = self.best(), None
            return
        if self.grace_until is None:
            self.grace_until = self.today + timedelta(days=self.grace)
        if self.today >= self.grace_until:
            self.tier, self.grace_until = self.best(), None
