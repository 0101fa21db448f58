"""The tier table of one program version made ready: goals as numbers, windows as days. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.tiers import Bought, Reach, Threshold

TABLES_MAX: Final = 64

GoalKind = Literal["spend_minor", "purchases", "visits", "points_earned", "tenure_days", "bought"]
KINDS: Final[tuple[GoalKind, ...]] = (
    "spend_minor",
    "purchases",
    "visits",
    "points_earned",
    "tenure_days",
    "bought",
)
BoughtLine = tuple[str | None, str | None, int]
"""Sku, category and quantity in thousandths of a line of a receipt."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted over some time, without what was refunded. ``bought`` in thousandths, one a set of products."""

    spend_minor: int = 0
    purchases: int = 0
    visits: int = 0
    points_earned: int = 0
    bought: tuple[int, ...] = ()

    def plus(self, other: Counts, sign: int = 1) -> Counts:
        """Both together; without ``other`` for the sign -1."""
        longest = max(len(self.bought), len(other.bought))
        mine, others = (part.bought + (0,) * (longest - len(part.bought)) for part in (self, other))
        return Counts(
            self.spend_minor + sign * other.spend_minor,
            self.purchases + sign * other.purchases,
            self.visits + sign * other.visits,
            self.points_earned + sign * other.points_earned,
            tuple(one + sign * two for one, two in zip(mine, others, strict=True)),
        )


NOTHING: Final = Counts()


@dataclass(frozen=True, slots=True)
class Goal:
    """One threshold. ``target`` in the unit of its kind (thousandths for ``bought``, whose set is ``place``)."""

    kind: GoalKind
    target: int
    place: int = 0

    def missing(self, counts: Counts, tenure_days: int) -> int:
        """How much is still needed; 0 when it is met."""
        if self.kind == "tenure_days":
            have = tenure_days
        elif self.kind == "bought":
            have = counts.bought[self.place] if self.place < len(counts.bought) else 0
        else:
            have = getattr(counts, self.kind)
        return max(0, self.target - have)


@dataclass(frozen=True, slots=True)
class Step:
    """A level: the first has no goals and is everybody's."""

    code: str
    any: bool
    goals: tuple[Goal, ...]
    grace_days: int

    def is_met(self, counts: Counts, tenure_days: int) -> bool:
        """Whether this is enough for the level."""
        met = (goal.missing(counts, tenure_days) == 0 for goal in self.goals)
        return any(met) if self.any else all(met)


@dataclass(frozen=True, slots=True)
class ProductSet:
    """The products that one ``bought`` asks for; ``categories`` with all their sub-categories."""

    skus: frozenset[str]
    categories: frozenset[str]

    def has(self, sku: str | None, category: str | None) -> bool:
        """Whether a line of a receipt counts."""
        return (sku is not None and sku in self.skus) or (category is not None and category in self.categories)


@dataclass(frozen=True, slots=True)
class Span:
    """Business dates from ``first`` up to, but without, ``end``; ``None`` is open."""

    first: date | None
    end: date | None = None

    def has(self, day: date) -> bool:
        """Whether the day belongs to it."""
        return (self.first is None or self.first <= day) and (self.end is None or day < self.end)


@dataclass(frozen=True, eq=False)
class TierTable:
    """All levels of a program, lowest first, with what has to be counted for them."""

    steps: tuple[Step, ...]
    kind: Literal["lifetime", "calendar_year", "rolling_days"]
    days: int
    zone: ZoneInfo
    sets: tuple[ProductSet, ...]
    asks: frozenset[str]
    """The kinds of goals that there are."""

    def index(self, code: str | None) -> int | None:
        """Place of a level; ``None`` for one that the program does not have (any more)."""
        return next((index for index, step in enumerate(self.steps) if step.code == code), None)

    @property
    def counts_days(self) -> bool:
        """Whether receipts and visits have to be read: the statistics do not know what was in a window."""
        return self.kind != "lifetime" and not self.asks <= {"tenure_days", "bought"}

    def today(self, now: datetime) -> date:
        """The local day in the program's zone."""
        return now.astimezone(self.zone).date()

    def midnight(self, day: date) -> datetime:
        """The moment at which a day begins in the program's zone."""
        return datetime.combine(day, time(), tzinfo=self.zone).astimezone(UTC)

    def spans(self, today: date) -> tuple[Span, ...]:
        """The windows that count today, the running one first. A level is reached if one of them reaches it."""
        if self.kind == "calendar_year":
            year = date(today.year, 1, 1)
            return (Span(year), Span(date(today.year - 1, 1, 1), year))
        if self.kind == "rolling_days":
            return (Span(today - timedelta(days=self.days - 1)),)
        return (Span(None),)

    def bought(self, lines: Iterable[BoughtLine]) -> tuple[int, ...]:
        """What these lines bring to each set of products, in thousandths."""
        if not self.sets:
            return ()
        found = [0] * len(self.sets)
        for sku, category, quantity in lines:
            for place, products in enumerate(self.sets):
                if products.has(sku, category):
                    found[place] += quantity
        return tuple(found)


@lru_cache(maxsize=TABLES_MAX)
def tier_table(program: ProgramDefinition) -> TierTable:
    """The table of a program version; made once."""
    sets: dict[ProductSet, int] = {}
    tiers = program.file.tiers
    steps = tuple(
        Step(
            level.code,
            bool(level.reach and level.reach.any),
            tuple(_goals(program, level.reach, sets)),
            level.grace_days,
        )
        for level in tiers.levels
    )
    return TierTable(
        steps=steps,
        kind=tiers.window.kind,
        days=tiers.window.days or 0,
        zone=ZoneInfo(program.time_zone),
        sets=tuple(sets),
        asks=frozenset(goal.kind for step in steps for goal in step.goals),
    )


def _goals(program: ProgramDefinition, reach: Reach | None, sets: dict[ProductSet, int]) -> Iterator[Goal]:
    for threshold in (*reach.any, *reach.all) if reach else ():
        kind = _kind(threshold)
        if kind == "bought":
            assert threshold.bought is not None
            place = sets.setdefault(_product_set(program, threshold.bought), len(sets))
            yield Goal("bought", threshold.bought.quantity * 1000, place)
        else:
            yield Goal(kind, getattr(threshold, kind))


def _kind(threshold: Threshold) -> GoalKind:
    return next(kind for kind in KINDS if getattr(threshold, kind) is not None)


def _product_set(program: ProgramDefinition, bought: Bought) -> ProductSet:
    wanted = frozenset(bought.categories)
    # A category that only tills know is not in the catalog, and has no sub-categories.
    below = {code for code in program.parents if not wanted.isdisjoint(program.ancestors(code))} if wanted else set()
    return ProductSet(frozenset(bought.skus), wanted | below)
