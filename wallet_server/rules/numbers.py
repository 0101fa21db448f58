"""Exact arithmetic of the bonus rules: integers and fractions, never floats."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

Rounding = Literal["down", "half_up", "up"]


def rounded(value: Fraction, rounding: Rounding) -> int:
    """A value that is not negative, rounded to a whole number."""
    whole, rest = divmod(value.numerator, value.denominator)
    if rounding == "half_up":
        return whole + (2 * rest >= value.denominator)
    if rounding == "up":
        return whole + (rest > 0)
    return whole


def line_amount_minor(quantity_thousandths: int, unit_price_minor: int) -> int:
    """``round_half_up(quantity x unit price)`` in the minor unit."""
    return (quantity_thousandths * unit_price_minor + 500) // 1000


def shortest(value: Fraction) -> str:
    """The shortest exact text: ``"2"``, ``"0.5"``, and ``"1/3"`` where no decimal is exact."""
    numerator, denominator = value.numerator, value.denominator
    if denominator == 1:
        return str(numerator)
    rest, twos, fives = denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{numerator}/{denominator}"
    digits = max(twos, fives)
    scaled = abs(numerator) * 10**digits // denominator
    text = str(scaled).rjust(digits + 1, "0")
    return f"{'-' if numerator < 0 else ''}{text[:-digits]}.{text[-digits:]}"


def largest_remainder(
    total: int, numerators: Sequence[int], denominator: int, limits: Sequence[int] | None = None
) -> list[int]:
    """Whole parts of ``total`` near the exact shares ``numerators[i] / denominator``.

    Each part is the share rounded down; what is missing to ``total`` goes, one by one, to the largest remainders,
    ties to the earlier, passing over a part that is at its own limit. ``total`` is at least the sum of the shares
    rounded down and, with limits, at most the sum of the limits.
    """
    parts = [numerator // denominator for numerator in numerators]
    missing = total - sum(parts)
    assert missing >= 0, "the shares are more than the total"
    order = sorted(range(len(parts)), key=lambda index: (-(numerators[index] % denominator), index))
    while missing:
        before = missing
        for index in order:
            if missing and (limits is None or parts[index] < limits[index]):
                parts[index] += 1
                missing -= 1
        assert missing < before, "the limits do not add up to the total"
    return parts
