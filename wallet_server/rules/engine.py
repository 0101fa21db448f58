"""The bonus engine: a receipt, a member and a program's version in, a quote with its trace out. Pure.

The formula is ``bonus-processing.md``, section "The formula" and those after it. Two steps: what the program says
about each line (:func:`wallet_server.rules.terms.terms_of`), and the arithmetic here, which knows no rule.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm

from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import PointsSettings
from wallet_server.rules.numbers import largest_remainder, rounded, shortest
from wallet_server.rules.receipt import (
    Line,
    LineTerms,
    MemberFacts,
    Quote,
    QuoteLine,
    Receipt,
    RedeemPoints,
    Terms,
    TraceStep,
)
from wallet_server.rules.terms import terms_of

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
    "quote",
    "settle",
]


def quote(program: ProgramDefinition, receipt: Receipt, facts: MemberFacts, redeem_points: RedeemPoints = 0) -> Quote:
    """What a receipt brings and costs; changes nothing.

    Raises ``DomainError``: ``insufficient_points`` (more than the card has), ``redeem_limit_exceeded`` (more than
    may be paid, or fewer than the program's ``min_points``), ``unknown_outlet``.
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
    earned, carried, per_line, step = _earn(settings, earning, terms.lines, facts.carried)
    total_minor = sum(line.amount_minor for line in receipt.lines)
    discount_minor = total_minor - sum(discounted)
    return Quote(
        total_minor=total_minor,
        discount_minor=discount_minor,
        redeemable_points=redeemable,
        points_redeemed=points,
        money_due_minor=total_minor - discount_minor - sum(paid),
        points_earned=earned,
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
        trace=(*terms.trace, step),
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


def _earn(
    settings: PointsSettings, amounts: list[int], terms: tuple[LineTerms, ...], carried: Fraction
) -> tuple[int, Fraction, list[int], TraceStep]:
    """Points of the receipt, the fraction to carry, points of each line, and the step of the trace."""
    # One denominator for all lines keeps the long sums in plain integers.
    common = lcm(*(term.earn_percent.denominator for term in terms))
    denominator = 100 * settings.point_value_minor * common
    numerators = [
        amount * term.earn_percent.numerator * (common // term.earn_percent.denominator)
        for amount, term in zip(amounts, terms, strict=True)
    ]
    before = carried if settings.carry_fraction else Fraction(0)
    exact = Fraction(sum(numerators), denominator) + before
    earned = rounded(exact, settings.rounding)
    # Rounding up cuts nothing off, so nothing is kept then.
    kept = max(exact - earned, Fraction(0)) if settings.carry_fraction else Fraction(0)
    per_line = largest_remainder(earned, numerators, denominator)
    step: TraceStep = {
        "rule": "rounding",
        "family": "program",
        "line": None,
        "matched": True,
        "effect": {"rounding": settings.rounding, "exact": shortest(exact), "carried": shortest(kept)},
        "why": f"{shortest(exact)} points became {earned}",
    }
    return earned, kept, per_line, step
