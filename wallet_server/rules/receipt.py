"""What goes into the bonus engine and what comes out: frozen values, no session, no clock.

Money is an integer in the minor unit of the program's currency, points are integers, percents are exact
fractions (``Fraction(5, 2)`` is 2.5 %).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Literal
from uuid import UUID

from wallet_server.rules.numbers import line_amount_minor

TraceStep = Mapping[str, Any]
"""``{"rule", "family", "line", "matched", "effect", "why"}``; ``line`` is None for the whole receipt."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt; ``line`` counts from 1, ``categories`` is the line's own and all it is part of."""

    line: int
    quantity_thousandths: int
    unit_price_minor: int
    sku: str | None = None
    categories: tuple[str, ...] = ()

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
class MemberFacts:
    """What the rules may ask of the member, as it was before this receipt; more when rules ask more."""

    member_id: UUID
    spendable: int
    carried: Fraction = Fraction(0)
    tier: str | None = None
    purchases: int = 0


@dataclass(frozen=True, slots=True)
class LineTerms:
    """What the rules say about one line."""

    earn_percent: Fraction
    redeem_percent: Fraction
    discount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rules say about a receipt: one :class:`LineTerms` a line, and limits of the whole."""

    lines: tuple[LineTerms, ...]
    receipt_max_percents: tuple[Fraction, ...] = ()
    trace: tuple[TraceStep, ...] = ()


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
    """What a receipt brings and costs. ``total_minor`` is before discounts; ``carried`` is for the next receipt."""

    total_minor: int
    discount_minor: int
    redeemable_points: int
    points_redeemed: int
    money_due_minor: int
    points_earned: int
    carried: Fraction
    lines: tuple[QuoteLine, ...]
    trace: tuple[TraceStep, ...]


RedeemPoints = int | Literal["max"]
