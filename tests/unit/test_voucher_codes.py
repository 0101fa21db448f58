"""Voucher codes survive being read aloud, typed and mistyped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet_server.rewards.wins import (
    ALPHABET,
    check_character,
    grouped,
    new_voucher_code,
    parse_voucher_code,
)

bodies = st.text(ALPHABET, min_size=12, max_size=12)


def test_a_code_is_long_and_unambiguous():
    codes = {new_voucher_code() for _ in range(500)}
    assert len(codes) == 500
    assert all(len(code) == 13 and set(code) <= set(ALPHABET) for code in codes)
    assert not set("ILOU") & set(ALPHABET)
    assert len(ALPHABET) ** 12 == 2**60


@given(bodies)
def test_a_code_is_read_however_it_is_written(body):
    code = body + check_character(body)
    assert parse_voucher_code(grouped(code).lower()) == code
    assert parse_voucher_code(f" {code} ") == code
    assert parse_voucher_code(code.replace("0", "o").replace("1", "l")) == code


@given(bodies, st.integers(0, 12), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_seen(body, place, character):
    code = body + check_character(body)
    wrong = code[:place] + character + code[place + 1 :]
    assert parse_voucher_code(wrong) == (code if wrong == code else None)


@pytest.mark.parametrize("text", ["", "ABC", "A" * 14, "АВСЕНКМОРТХУ1", "0000-0000-0000-*", "../../etc/passwd"])
def test_what_is_no_code_is_none(text):
    assert parse_voucher_code(text) is None
