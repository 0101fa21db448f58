"""What has happened to a member, as a row of work carries it to the place where words are found for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from wallet_server.notifications.governor import URGENCY, Kind
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.table import tier_table

WINS_MAX: Final = 5
"""Completed challenges that one message names."""


@dataclass(frozen=True, slots=True)
class Win:
    """A challenge that was completed; ``voucher`` is the product that it brings for nothing, if one."""

    challenge: str
    voucher: str | None = None


@dataclass(frozen=True, slots=True)
class Noticed:
    """What one change, or several together, did to a member that is worth a word.

    ``points`` and ``pending`` are differences. ``balance``: the points changed in a way that is told by what there
    is now. ``tier`` is the code of a level that was reached.
    """

    points: int = 0
    pending: int = 0
    balance: bool = False
    tier: str | None = None
    wins: tuple[Win, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._balance_changed or self.tier is not None or self.wins)

    @property
    def _balance_changed(self) -> bool:
        return bool(self.points) or self.pending > 0 or self.balance

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is in it, the most urgent first."""
        if self.tier is None and not self.wins:  # as after almost every purchase
            return ("balance",) if self._balance_changed else ()
        there: dict[Kind, bool] = {
            "balance": self._balance_changed,
            "tier": self.tier is not None,
            "challenge": any(win.voucher is None for win in self.wins),
            "voucher": any(win.voucher is not None for win in self.wins),
        }
        return tuple(sorted((kind for kind, is_there in there.items() if is_there), key=URGENCY.__getitem__))

    def without_balance(self) -> Noticed:
        """What is left to say on the morning after: a balance of yesterday is none."""
        return replace(self, points=0, pending=0, balance=False)

    def and_then(self, later: Noticed) -> Noticed:
        """Both together; of two levels the later one is held. What cancels out is told by what there is now."""
        points = self.points + later.points
        return Noticed(
            points=points,
            pending=self.pending + later.pending,
            balance=self.balance or later.balance or (not points and bool(self.points)),
            tier=later.tier or self.tier,
            wins=(*self.wins, *(win for win in later.wins if win not in self.wins))[:WINS_MAX],
        )

    def document(self) -> dict[str, Any]:
        """As JSON, without what is not there."""
        found: dict[str, Any] = {}
        for name in ("points", "pending", "balance", "tier"):
            if value := getattr(self, name):
                found[name] = value
        if self.wins:
            found["wins"] = [[win.challenge, win.voucher] for win in self.wins[:WINS_MAX]]
        return found

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Noticed:
        """From :meth:`document`."""
        return cls(
            points=document.get("points", 0),
            pending=document.get("pending", 0),
            balance=document.get("balance", False),
            tier=document.get("tier"),
            wins=tuple(Win(challenge, voucher) for challenge, voucher in document.get("wins", ())),
        )


def risen(program: ProgramDefinition, before: str | None, after: str | None) -> str | None:
    """The level after, if it is a higher one. A level that was lost is shown, but nobody's phone rings for it."""
    if before is None or after == before:
        return None
    table = tier_table(program)
    old, new = table.index(before), table.index(after)
    return after if new is not None and (old is None or new > old) else None
