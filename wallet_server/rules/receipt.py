"""What goes into the bonus engine and what comes out: frozen values, no session, no clock.

Money is an integer in the minor unit of the program's currency, points are integers, percents are exact
fractions (``Fraction(5, 2)`` is 2.5 %).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Literal
from uuid import UUID

from wallet_server.rules.numbers import line_amount_minor

NOTHING = Fraction(0)

TraceStep = Mapping[str, Any]
"""``{"rule", "family", "line", "matched", "effect", "why"}``; ``line`` is None for the whole receipt.

``kind`` says what the step is: ``program`` (base percents), ``validity`` (a short-term program outside its time),
``outlet``, ``rule``, ``tier`` or ``own`` (rules that were looked at, with ``compared``: each condition with what it
wants and what it found), ``percent`` (how the coefficients made a line's percent), ``cap`` (what ``max_points``
took) and ``rounding``. ``why`` is short English; :func:`wallet_server.rules.sentences.sentence` makes a sentence for
a reader. Stored for good: it only grows.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt; ``line`` counts from 1, ``categories`` is the line's own and all it is part of."""

    line: int
    quantity_thousandths: int
    unit_price_minor: int
    sku: str | None = None
    categories: tuple[str, ...] = ()
    cost_minor: int | None = None
    """What one unit costs the shop, as the catalog says; only filled in where a rule asks for the margin."""

    @property
    def amount_minor(self) -> int:
        """Before discounts."""
        return line_amount_minor(self.quantity_thousandths, self.unit_price_minor)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the till knows. ``outlet`` is a code of the program, ``occurred_at`` aware."""

    outlet: str
    occurred_at: datetime
    lines: tuple[Line, ...]
    payment_type: str | None = None


@dataclass(frozen=True, slots=True)
class OwnCoefficient:
    """An individual percent on a member's card, for the network (``outlet`` None) or one outlet, until ``ends_at``."""

    percent: Fraction
    outlet: str | None = None
    ends_at: datetime | None = None
    redeem_max_percent: Fraction | None = None


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What the rules may ask of the member, as it was before this receipt.

    ``purchases`` are those recorded before. ``joined_at``, ``birthday``, ``cards``, ``segments`` and ``tags``
    are only filled in where a rule of the program asks for them (:attr:`wallet_server.rules.book.RuleBook.asks`).
    """

    member_id: UUID
    spendable: int
    carried: Fraction = Fraction(0)
    tier: str | None = None
    purchases: int = 0
    joined_at: datetime | None = None
    birthday: date | None = None
    cards: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    own: tuple[OwnCoefficient, ...] = ()


@dataclass(frozen=True, slots=True)
class LineTerms:
    """What the rules say about one line."""

    earn_percent: Fraction
    redeem_percent: Fraction
    discount_minor: int = 0
    points: Fraction = NOTHING
    """Fixed points of this line, on top of its percent."""
    earns: bool = True
    """False where a rule says ``none``: then the line earns nothing at all."""


@dataclass(frozen=True, slots=True)
class PointsCap:
    """The lines at these places (from 0) earn at most ``points`` together."""

    rule: str
    family: str
    points: int
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rules say about a receipt: one :class:`LineTerms` a line, and what concerns several or all.

    ``caps`` are applied in their order; ``receipt_points`` belong to no line, and no cap touches them.
    """

    lines: tuple[LineTerms, ...]
    receipt_max_percents: tuple[Fraction, ...] = ()
    caps: tuple[PointsCap, ...] = ()
    receipt_points: int = 0
    trace: tuple[TraceStep, ...] = ()
    earns: bool = True
    """False outside the program's validity: nothing at all is earned, and what was carried stays."""


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """What became of one line."""

    line: int
    amount_minor: int
    discount_minor: int
    earn_percent: Fraction
    redeem_percent: Fraction
    points_earned: int
    paid_with_points_minor: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What a receipt brings and costs. ``total_minor`` is before discounts; ``carried`` is for the next receipt.

    ``points_earned`` are the points of the lines and ``receipt_points``, which belong to the whole receipt.
    """

    total_minor: int
    discount_minor: int
    redeemable_points: int
    points_redeemed: int
    money_due_minor: int
    points_earned: int
    receipt_points: int
    carried: Fraction
    lines: tuple[QuoteLine, ...]
    trace: tuple[TraceStep, ...]


RedeemPoints = int | Literal["max"]
