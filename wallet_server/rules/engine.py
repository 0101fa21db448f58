"""The bonus engine: a receipt, a member and a program's version in, a quote with its trace out. Pure.

The formula is ``bonus-processing.md``, section "The formula" and those after it. Two steps: what the program says
about each line (:func:`wallet_server.rules.terms.terms_of`), and the arithmetic here, which knows no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Final

from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.points import PointsSettings
from wallet_server.rules.numbers import largest_remainder, rounded, shortest
from wallet_server.rules.receipt import (
    Line,
    LineTerms,
    MemberFacts,
    PointsCap,
    Quote,
    QuoteLine,
    Receipt,
    RedeemPoints,
    Terms,
    TraceStep,
)
from wallet_server.rules.terms import terms_of
from wallet_server.rules.trace import cap_step

__all__ = [
    "Line",
    "LineTerms",
    "MemberFacts",
    "Quote",
    "QuoteLine",
    "Receipt",
    "RedeemPoints",
    "Terms",
    "TraceStep",
    "earned_with",
    "quote",
    "settle",
]

EARNED_MAX: Final = 10**13
"""Points of one receipt. Only a mistaken rule brings more, and the ledger's integers end at 9 × 10^18."""


def quote(program: ProgramDefinition, receipt: Receipt, facts: MemberFacts, redeem_points: RedeemPoints = 0) -> Quote:
    """What a receipt brings and costs; changes nothing.

    Raises ``DomainError``: ``insufficient_points`` (more than the card has), ``redeem_limit_exceeded`` (more than
    may be paid, or fewer than the program's ``min_points``), ``points_limit`` (the rules multiply to more points
    than any receipt may earn), ``unknown_outlet``.
    """
    return settle(program.points, receipt, terms_of(program, receipt, facts), facts, redeem_points)


def settle(
    settings: PointsSettings, receipt: Receipt, terms: Terms, facts: MemberFacts, redeem_points: RedeemPoints = 0
) -> Quote:
    """The arithmetic of a receipt under given terms; raises as :func:`quote` does."""
    assert len(terms.lines) == len(receipt.lines), "each line has its terms"
    discounted = [
        line.amount_minor - term.discount_minor for line, term in zip(receipt.lines, terms.lines, strict=True)
    ]
    limits = [
        amount * term.redeem_percent.numerator // (100 * term.redeem_percent.denominator)
        for amount, term in zip(discounted, terms.lines, strict=True)
    ]
    payable_minor = min(
        (sum(limits), *(rounded(sum(discounted) * share / 100, "down") for share in terms.receipt_max_percents))
    )
    payable_points = payable_minor // settings.point_value_minor
    redeemable = min(payable_points, facts.spendable)
    if redeemable < settings.min_points:
        redeemable = 0
    points = redeemable if redeem_points == "max" else redeem_points
    _check_redemption(settings, points, payable_points, facts.spendable)
    paid = _spread(points * settings.point_value_minor, discounted, terms.lines, limits)

    earning = [
        amount if settings.earn_on_points_part else amount - paid_minor
        for amount, paid_minor in zip(discounted, paid, strict=True)
    ]
    if terms.earns:
        earned, carried, per_line, steps = _earn(settings, earning, terms, facts.carried)
    else:
        earned, carried, per_line, steps = 0, facts.carried, [0] * len(earning), []
    if earned + terms.receipt_points > EARNED_MAX:
        raise DomainError(
            "points_limit", f"a receipt earns at most {EARNED_MAX} points, and this one would earn {earned}"
        )
    total_minor = sum(line.amount_minor for line in receipt.lines)
    discount_minor = total_minor - sum(discounted)
    return Quote(
        total_minor=total_minor,
        discount_minor=discount_minor,
        redeemable_points=redeemable,
        points_redeemed=points,
        money_due_minor=total_minor - discount_minor - sum(paid),
        points_earned=earned + terms.receipt_points,
        receipt_points=terms.receipt_points,
        carried=carried,
        lines=tuple(
            QuoteLine(
                line=line.line,
                amount_minor=line.amount_minor,
                discount_minor=term.discount_minor,
                earn_percent=term.earn_percent,
                redeem_percent=term.redeem_percent,
                points_earned=line_points,
                paid_with_points_minor=paid_minor,
            )
            for line, term, line_points, paid_minor in zip(receipt.lines, terms.lines, per_line, paid, strict=True)
        ),
        trace=(*terms.trace, *steps),
    )


def _check_redemption(settings: PointsSettings, points: int, payable_points: int, spendable: int) -> None:
    if points == 0:
        return
    if points > spendable:
        raise DomainError(
            "insufficient_points",
            f"the card has {spendable} spendable points and {points} were asked for",
            status=409,
            spendable=spendable,
        )
    if points > payable_points:
        raise DomainError(
            "redeem_limit_exceeded",
            f"at most {payable_points} points may pay for this receipt and {points} were asked for",
            payable_points=payable_points,
        )
    if points < settings.min_points:
        raise DomainError(
            "redeem_limit_exceeded",
            f"a payment with points takes at least {settings.min_points} and {points} were asked for",
            min_points=settings.min_points,
        )


def _spread(paid_minor: int, amounts: list[int], terms: tuple[LineTerms, ...], limits: list[int]) -> list[int]:
    """The money that points pay, over the lines in proportion to amount x redeem percent."""
    if paid_minor == 0:
        return [0] * len(amounts)
    common = lcm(*(term.redeem_percent.denominator for term in terms))
    weights = [
        amount * term.redeem_percent.numerator * (common // term.redeem_percent.denominator)
        for amount, term in zip(amounts, terms, strict=True)
    ]
    return largest_remainder(paid_minor, [paid_minor * weight for weight in weights], sum(weights), limits)


def earned_with(
    settings: PointsSettings, terms: Terms, amounts_minor: Sequence[Fraction], carried: Fraction
) -> tuple[int, Fraction, tuple[TraceStep, ...]]:
    """What lines earn under given terms on exact amounts of money, one a line: for what a refund leaves.

    The points, those of the receipt among them, the fraction to carry, and the steps of the trace.
    """
    if not terms.earns:
        return 0, carried, ()
    parts = lcm(*(amount.denominator for amount in amounts_minor))
    amounts = [amount.numerator * (parts // amount.denominator) for amount in amounts_minor]
    earned, kept, _per_line, steps = _earn(settings, amounts, terms, carried, parts)
    return earned + terms.receipt_points, kept, tuple(steps)


def _earn(
    settings: PointsSettings, amounts: list[int], terms: Terms, carried: Fraction, parts: int = 1
) -> tuple[int, Fraction, list[int], list[TraceStep]]:
    """Points of the lines together, the fraction to carry, points of each line, and the steps of the trace.

    ``amounts`` are in the minor unit, or in so many ``parts`` of it.
    """
    # One denominator for all lines keeps the long sums in plain integers.
    common = lcm(*(line.earn_percent.denominator for line in terms.lines))
    denominator = 100 * settings.point_value_minor * common * parts
    numerators = [
        amount * line.earn_percent.numerator * (common // line.earn_percent.denominator)
        for amount, line in zip(amounts, terms.lines, strict=True)
    ]
    steps: list[TraceStep] = []
    if terms.caps or any(line.points for line in terms.lines):
        exact_lines = [
            Fraction(numerator, denominator) + line.points
            for numerator, line in zip(numerators, terms.lines, strict=True)
        ]
        steps += _cap(exact_lines, terms.caps)
        denominator = lcm(*(exact.denominator for exact in exact_lines))
        numerators = [exact.numerator * (denominator // exact.denominator) for exact in exact_lines]
    before = carried if settings.carry_fraction else Fraction(0)
    exact = Fraction(sum(numerators), denominator) + before
    earned = rounded(exact, settings.rounding)
    # Rounding up cuts nothing off, so nothing is kept then.
    kept = max(exact - earned, Fraction(0)) if settings.carry_fraction else Fraction(0)
    per_line = largest_remainder(earned, numerators, denominator, _room(earned, terms.lines))
    steps.append(
        {
            "rule": "rounding",
            "kind": "rounding",
            "family": "program",
            "line": None,
            "matched": True,
            "effect": {"rounding": settings.rounding, "exact": shortest(exact), "carried": shortest(kept)},
            "points": earned,
            "why": f"{shortest(exact)} points became {earned}",
        }
    )
    return earned, kept, per_line, steps


def _cap(exact: list[Fraction], caps: Sequence[PointsCap]) -> list[TraceStep]:
    """Scale the lines of each limit down to it, in the order of the file; changes ``exact``."""
    steps = []
    for cap in caps:
        together = sum((exact[place] for place in cap.places), Fraction(0))
        if together > cap.points:
            for place in cap.places:
                exact[place] = exact[place] * cap.points / together
            steps.append(cap_step(cap, together))
    return steps


def _room(earned: int, lines: Sequence[LineTerms]) -> list[int] | None:
    """No point that rounding gives goes to a line that a rule lets earn nothing, while there is another line."""
    if all(line.earns for line in lines) or not any(line.earns for line in lines):
        return None
    return [earned if line.earns else 0 for line in lines]
