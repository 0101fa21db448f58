"""Contacts as people type them, and numbers that can be read aloud."""

from __future__ import annotations

from datetime import date

import pytest

from wallet_server.errors import DomainError
from wallet_server.members import identity
from wallet_server.members.identity import Contact, parse_contact


@pytest.mark.parametrize(
    ("typed", "country", "contact"),
    [
        ("070 123 456", "MK", Contact(phone="+38970123456")),
        ("070/123-456", "MK", Contact(phone="+38970123456")),
        (" +389 70 123 456 ", None, Contact(phone="+38970123456")),
        ("00389 70 123 456", "MK", Contact(phone="+38970123456")),
        ("８ (912) 345-67-89", "RU", Contact(phone="+79123456789")),
        ("+1 212 555 2368", "MK", Contact(phone="+12125552368")),
        ("Ana.P@Example.COM ", "MK", Contact(email="ana.p@example.com")),
        ("ana+shop@mail.example.mk", None, Contact(email="ana+shop@mail.example.mk")),
        ("ана@пример.мкд", None, Contact(email="ана@пример.мкд")),
    ],
)
def test_a_contact_is_kept_in_one_form(typed: str, country: str | None, contact: Contact) -> None:
    assert parse_contact(typed, country) == contact


@pytest.mark.parametrize(
    ("typed", "country", "sentence"),
    [
        ("", "MK", "phone: is not a phone number"),
        ("hello", "MK", "phone: is not a phone number"),
        ("12", "MK", "phone: is not a number that can be called"),
        ("070 123 456", None, "phone: needs its country code, such as +389 70 123 456"),
        ("070 123 456 x 12", "MK", "phone: is not a number that can be called"),
        ("0" * 400, "MK", "phone: is not a phone number"),
        ("ana@", "MK", "email: is not an e-mail address"),
        ("@example.com", "MK", "email: is not an e-mail address"),
        ("ana@localhost", "MK", "email: is not an e-mail address"),
        ("ana@exam ple.com", "MK", "email: is not an e-mail address"),
        ("a@b@example.com", "MK", "email: is not an e-mail address"),
        ("ana@example..com", "MK", "email: is not an e-mail address"),
        ("Ana <ana@example.com>", "MK", "email: is not an e-mail address"),
        ("ana@example.com\nbcc: x@y.zz", "MK", "email: is not an e-mail address"),
        ("a" * 250 + "@example.com", "MK", "email: is not an e-mail address"),
    ],
)
def test_what_is_no_contact_is_refused(typed: str, country: str | None, sentence: str) -> None:
    with pytest.raises(DomainError) as refused:
        parse_contact(typed, country)
    assert (refused.value.code, refused.value.detail) == ("validation", sentence)
    assert refused.value.extra["field"] == sentence.partition(":")[0]


def test_a_name_is_one_printable_line() -> None:
    assert identity.parse_name("  Ана \t Петровска\u202e\n\x00 ") == "Ана Петровска"
    assert identity.parse_name("") == ""
    with pytest.raises(DomainError):
        identity.parse_name("x" * 121)


def test_channels_are_words_of_an_address() -> None:
    assert identity.parse_channel(" Poster-2 ") == "poster-2"
    for wrong in ("", "-x", "a b", "a/b", "ä", "x" * 64):
        with pytest.raises(DomainError):
            identity.parse_channel(wrong)


def test_birthdays_are_in_the_past_of_somebody_alive() -> None:
    today = date(2026, 11, 23)
    assert identity.check_birthday(today, today) == today
    for wrong in (date(1899, 12, 31), date(2026, 11, 24)):
        with pytest.raises(DomainError):
            identity.check_birthday(wrong, today)


@pytest.mark.parametrize(("digits", "check"), [("7992739871", "3"), ("411111111111111", "1"), ("0", "0"), ("", "0")])
def test_the_check_digit_is_luhns(digits: str, check: str) -> None:
    assert identity.luhn_digit(digits) == check


def test_card_numbers_are_random_and_find_a_mistyped_digit() -> None:
    numbers = {identity.new_card_number() for _ in range(500)}
    assert len(numbers) == 500
    for number in numbers:
        assert len(number) == 16
        assert number.isdigit()
        assert number[0] == "9"
        assert identity.luhn_digit(number[:-1]) == number[-1]
        wrong = number[:7] + str((int(number[7]) + 1) % 10) + number[8:]
        assert identity.luhn_digit(wrong[:-1]) != wrong[-1]


def test_referral_codes_have_no_letters_that_look_alike() -> None:
    codes = {identity.new_referral_code() for _ in range(500)}
    assert len(codes) == 500
    assert not set("".join(codes)) & set("01OILU")
    assert {len(code) for code in codes} == {10}
