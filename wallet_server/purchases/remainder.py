"""What is left of a purchase, and what that is worth: the arithmetic of refunds. Pure.

Source: ``bonus-processing.md``, "Refunds". Everything here is a function of the purchase as recorded and of the
quantities that are left, never of the way that led there; a refund's effect is the difference of two of these. So
three refunds of 1.00 do what one of 3.00 does.

**Points.** What is left earns by the same rules, with the same facts of the member, as a receipt of its own. Where
the rules give that more than the whole purchase had brought, the difference is given, not taken.

**Money.** A line that is left is worth its amount less the same share of its discount, rounded half up. Points pay
the same share of it as of the whole line, exactly; whole points come back when enough of them are free (the fraction
stays with what is left), the money part is rounded up to the minor unit in favour of what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Final

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rules.engine import earned_with
from wallet_server.rules.numbers import line_amount_minor, rounded
from wallet_server.rules.receipt import Line, MemberFacts, Receipt, TraceStep
from wallet_server.rules.terms import terms_of

NOTHING: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class BoughtLine:
    """A line as it was recorded; ``categories`` is its own and all that it was part of then."""

    line: int
    quantity_thousandths: int
    unit_price_minor: int
    discount_minor: int
    paid_with_points_minor: int
    sku: str | None = None
    categories: tuple[str, ...] = ()
    cost_minor: int | None = None

    @property
    def amount_minor(self) -> int:
        """Before discounts."""
        return line_amount_minor(self.quantity_thousandths, self.unit_price_minor)

    def discounted_minor(self, left_thousandths: int) -> int:
        """What this much of the line was sold for, money and points together."""
        amount_minor = line_amount_minor(left_thousandths, self.unit_price_minor)
        if not self.discount_minor:
            return amount_minor
        return amount_minor - rounded(Fraction(self.discount_minor * amount_minor, self.amount_minor), "half_up")

    def paid_minor(self, left_thousandths: int) -> Fraction:
        """What points paid of this much of the line."""
        return Fraction(self.paid_with_points_minor * left_thousandths, self.quantity_thousandths)


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase as it was recorded. ``outlet`` is a code; ``facts`` are the member's before it."""

    outlet: str
    occurred_at: datetime
    payment_type: str | None
    money_due_minor: int
    points_redeemed: int
    facts: MemberFacts
    lines: tuple[BoughtLine, ...]


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left of a purchase.

    ``amount_minor`` is after discounts, ``money_minor`` the part of it that money paid, ``points_redeemed`` the
    points that pay the rest. ``points_earned`` is what it keeps of the points earned, ``carried`` the fraction of a
    point that it would have left on the card. ``trace`` says how its points were computed.
    """

    amount_minor: int
    money_minor: int
    points_redeemed: int
    points_earned: int
    carried: Fraction
    lines_minor: Mapping[int, int]
    trace: tuple[TraceStep, ...]


def remainder(program: ProgramDefinition, bought: Bought, left: Mapping[int, int]) -> Remainder:
    """What is left when so many thousandths of each line are; ``program`` is the purchase's own version."""
    lines = [line for line in bought.lines if left.get(line.line, 0)]
    worth = {line.line: line.discounted_minor(left[line.line]) for line in lines}
    paid = {line.line: line.paid_minor(left[line.line]) for line in lines}
    earned, carried, trace = _earned(program, bought, left, lines, paid)
    paid_in_all = sum(paid.values(), NOTHING)
    money = sum((max(worth[number] - paid[number], NOTHING) for number in worth), NOTHING)
    return Remainder(
        amount_minor=sum(worth.values()),
        money_minor=min(ceil(money), bought.money_due_minor),
        points_redeemed=min(ceil(paid_in_all / program.points.point_value_minor), bought.points_redeemed),
        points_earned=earned,
        carried=carried,
        lines_minor=worth,
        trace=trace,
    )


def _earned(
    program: ProgramDefinition,
    bought: Bought,
    left: Mapping[int, int],
    lines: list[BoughtLine],
    paid: Mapping[int, Fraction],
) -> tuple[int, Fraction, tuple[TraceStep, ...]]:
    """Points of what is left, the fraction that it carries, and why."""
    if not lines:
        return 0, bought.facts.carried, ()
    receipt = Receipt(
        outlet=bought.outlet,
        occurred_at=bought.occurred_at,
        payment_type=bought.payment_type,
        lines=tuple(
            Line(
                line=line.line,
                quantity_thousandths=left[line.line],
                unit_price_minor=line.unit_price_minor,
                sku=line.sku,
                categories=line.categories,
                cost_minor=line.cost_minor,
            )
            for line in lines
        ),
    )
    terms = terms_of(program, receipt, bought.facts)
    amounts = [
        Fraction(line.amount_minor - term.discount_minor)
        - (NOTHING if program.points.earn_on_points_part else paid[line.line])
        for line, term in zip(receipt.lines, terms.lines, strict=True)
    ]
    # Of a line that points paid in full, rounding may leave a minor unit less than they paid.
    amounts = [max(amount, NOTHING) for amount in amounts]
    earned, carried, steps = earned_with(program.points, terms, amounts, bought.facts.carried)
    return earned, carried, (*terms.trace, *steps)
