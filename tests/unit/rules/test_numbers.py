"""Exact arithmetic."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet_server.rules.numbers import largest_remainder, line_amount_minor, rounded, shortest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(2), "2"),
        (Fraction(0), "0"),
        (Fraction(100), "100"),
        (Fraction(5, 2), "2.5"),
        (Fraction(1, 200), "0.005"),
        (Fraction(3, 5), "0.6"),
        (Fraction(1, 3), "1/3"),
        (Fraction(7, 6), "7/6"),
        (Fraction(-5, 4), "-1.25"),
    ],
)
def test_the_shortest_exact_text(value: Fraction, text: str) -> None:
    assert shortest(value) == text


@given(st.fractions(max_denominator=10**6))
def test_the_text_is_exact_and_has_no_useless_zeros(value: Fraction) -> None:
    text = shortest(value)
    assert Fraction(text) == value
    if "." in text:
        assert not text.endswith("0")
        assert Fraction(Decimal(text)) == value


@pytest.mark.parametrize(
    ("quantity_thousandths", "price_minor", "amount_minor"),
    [(1000, 30000, 30000), (1500, 333, 500), (500, 1, 1), (499, 1, 0), (1, 499, 0), (1, 500, 1), (333, 300, 100)],
)
def test_a_lines_amount_is_rounded_half_up(quantity_thousandths: int, price_minor: int, amount_minor: int) -> None:
    assert line_amount_minor(quantity_thousandths, price_minor) == amount_minor


@pytest.mark.parametrize(
    ("value", "down", "half_up", "up"),
    [(Fraction(0), 0, 0, 0), (Fraction(1, 2), 0, 1, 1), (Fraction(1, 3), 0, 0, 1), (Fraction(2), 2, 2, 2)],
)
def test_rounding(value: Fraction, down: int, half_up: int, up: int) -> None:
    assert (rounded(value, "down"), rounded(value, "half_up"), rounded(value, "up")) == (down, half_up, up)


def test_the_largest_remainder_wins_and_ties_go_to_the_earlier() -> None:
    assert largest_remainder(5, [10, 16, 24], 10) == [1, 2, 2]
    assert largest_remainder(3, [5, 5, 5, 5], 10) == [1, 1, 1, 0]


def test_a_part_at_its_limit_is_passed_over() -> None:
    assert largest_remainder(3, [19, 10, 1], 10, limits=[1, 1, 1]) == [1, 1, 1]
    assert largest_remainder(4, [29, 9, 2], 10, limits=[2, 3, 0]) == [2, 2, 0]
