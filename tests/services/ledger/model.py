"""What the ledger should do, written a second time with dicts and lists: slow, small, and without a database.

Written from ``bonus-processing.md`` and the list of invariants. Of a point only is kept where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FOREVER = 10**9


@dataclass
class Lot:
    """An earning; ``name`` orders lots that expire together, ``sale`` is the purchase that brought it."""

    name: int
    left: int
    expires: int
    sale: int | None
    pending_until: int | None = None
    held: int = 0
    lost: int = 0

    @property
    def free(self) -> int:
        return 0 if self.pending_until is not None else self.left - self.held


@dataclass
class Hold:
    """Points set aside, and in which lots."""

    points: int
    expires: int
    lots: list[tuple[Lot, int]]


class Refused(Exception):
    """The ledger has to refuse this, and to change nothing."""


@dataclass
class Model:
    """One member. Moments are hours since the story began, at 16:30 of a day."""

    grace_days: int
    now: int = 0
    owed: int = 0
    lots: list[Lot] = field(default_factory=list)
    holds: dict[int, Hold] = field(default_factory=dict)
    paid: dict[int, list[tuple[Lot, int]]] = field(default_factory=dict)
    """What each sale took from lots and was not returned, in the order in which it took it."""
    forgiven: dict[int, int] = field(default_factory=dict)
    """Of each sale's expired points: those that a refund has booked as never earned."""

    @property
    def spendable(self) -> int:
        return sum(lot.free for lot in self.lots)

    @property
    def pending(self) -> int:
        return sum(lot.left for lot in self.lots if lot.pending_until is not None)

    @property
    def held(self) -> int:
        return sum(lot.held for lot in self.lots)

    def earn(
        self, name: int, points: int, *, expires: int = FOREVER, sale: int | None = None, pending: int = 0
    ) -> None:
        until = self.now + pending if pending else None
        self.lots.append(Lot(name, points, expires, sale, until))
        self._pay_debt()

    def redeem(self, points: int, sale: int | None = None) -> None:
        self._afford(points)
        taken = self._take(self.lots, points)
        if sale is not None:
            self.paid[sale] = taken

    def hold(self, name: int, points: int, hours: int) -> None:
        self._afford(points)
        aside = []
        for lot in self._in_order(self.lots):
            part = min(points - sum(share for _lot, share in aside), lot.free)
            if part:
                lot.held += part
                aside.append((lot, part))
        self.holds[name] = Hold(points, self.now + hours, aside)

    def capture(self, name: int, points: int) -> None:
        hold = self._open(name, points)
        for lot, share in hold.lots:
            lot.held -= share
            part = min(points, share)
            lot.left -= part
            points -= part
        del self.holds[name]
        self._pay_debt()

    def release(self, name: int) -> None:
        self._open(name)
        self._free(name)

    def adjust(self, name: int, points: int) -> None:
        if points > 0:
            self.earn(name, points)
        else:
            self.redeem(-points)

    def take_back(self, sale: int, points: int) -> tuple[int, int, int, int]:
        """Pending, spendable, owed, expired."""
        own = [lot for lot in self.lots if lot.sale == sale]
        pending = 0
        for lot in self._in_order(own):
            if lot.pending_until is not None:
                part = min(points - pending, lot.left)
                lot.left -= part
                pending += part
        rest = points - pending
        mine = min(rest, sum(lot.free for lot in own))
        self._take(own, mine)
        expired = min(rest - mine, sum(lot.lost for lot in own) - self.forgiven.get(sale, 0))
        self.forgiven[sale] = self.forgiven.get(sale, 0) + expired
        others = [lot for lot in self.lots if lot.sale != sale]
        foreign = min(rest - mine - expired, sum(lot.free for lot in others))
        self._take(others, foreign)
        owed = rest - mine - expired - foreign
        self.owed += owed
        return pending, mine + foreign, owed, expired

    def give_back(self, names: list[int], sale: int, points: int) -> tuple[int, int]:
        """Restored, reissued; ``names`` are for the lots that come anew."""
        restored = reissued = 0
        while points:
            lot, share = self.paid[sale][0]
            part = min(points, share)
            points -= part
            self.paid[sale][0] = (lot, share - part)
            if share == part:
                del self.paid[sale][0]
            if lot.expires <= self.now:
                midnight = self.now + 24 * self.grace_days + 8
                self.lots.append(Lot(names.pop(0), part, midnight, None))
                reissued += part
            else:
                lot.left += part
                restored += part
        self._pay_debt()
        return restored, reissued

    def tick(self, hours: int) -> None:
        """Time goes on, and the clock does what is due: releases, frees, expires."""
        self.now += hours
        waiting = [lot for lot in self.lots if lot.pending_until is not None and lot.pending_until <= self.now]
        for lot in sorted(waiting, key=lambda lot: (lot.pending_until, lot.name)):
            lot.pending_until = None
            self._pay_debt()
        over = [(hold.expires, name) for name, hold in self.holds.items() if hold.expires <= self.now]
        for _expires, name in sorted(over):
            self._free(name)
        for lot in self.lots:
            if lot.expires <= self.now and lot.free:
                lot.lost += lot.free
                lot.left -= lot.free

    def _open(self, name: int, points: int = 1) -> Hold:
        if name not in self.holds or not 1 <= points <= self.holds[name].points:
            raise Refused
        return self.holds[name]

    def _free(self, name: int) -> None:
        for lot, share in self.holds.pop(name).lots:
            lot.held -= share
        self._pay_debt()

    def _afford(self, points: int) -> None:
        if points > self.spendable:
            raise Refused

    def _pay_debt(self) -> None:
        paid = min(self.owed, self.spendable)
        self.owed -= paid
        self._take(self.lots, paid)

    def _take(self, lots: list[Lot], points: int) -> list[tuple[Lot, int]]:
        taken = []
        for lot in self._in_order(lots):
            part = min(points, lot.free)
            if part:
                lot.left -= part
                points -= part
                taken.append((lot, part))
        assert points == 0
        return taken

    @staticmethod
    def _in_order(lots: list[Lot]) -> list[Lot]:
        return sorted(lots, key=lambda lot: (lot.expires, lot.name))
