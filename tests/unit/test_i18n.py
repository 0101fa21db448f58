"""Numbers, money and dates in the reader's language; texts with fallbacks."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from wallet_server.i18n import best_language, localized, translator


def plain(text: str) -> str:
    """The kind of space between figures changes with each edition of the Unicode tables."""
    return (
        text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{THIN SPACE}", " ")
    )


@pytest.mark.parametrize(
    ("language", "money", "number"),
    [
        ("en", "MKD 1,234.50", "12,345"),
        ("mk", "1.234,50 ден.", "12.345"),
        ("ru", "1 234,50 MKD", "12 345"),
    ],
)
def test_money_and_numbers_follow_the_language(language: str, money: str, number: str) -> None:
    reader = translator(language)
    assert plain(reader.money(123450, "MKD")) == money
    assert plain(reader.number(12345)) == number


def test_money_knows_currencies_without_a_minor_unit() -> None:
    assert translator("en").money(1500, "JPY") == "¥1,500"
    assert plain(translator("en").money(-150, "MKD")) == "-MKD 1.50"


def test_times_are_shown_in_the_given_zone() -> None:
    moment = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    assert translator("en").date(moment, "Europe/Skopje") == "Nov 24, 2026"
    assert translator("mk").time(moment, "Europe/Skopje").startswith("00:30")
    assert plain(translator("ru").date(date(2026, 11, 23))) == "23 нояб. 2026 г."


def test_an_unknown_language_reads_english() -> None:
    assert translator("xx").language == "en"


def test_a_programs_text_falls_back() -> None:
    texts = {"mk": "Злато", "en": "Gold"}
    assert localized(texts, "ru", ["mk", "en"]) == "Злато"
    assert localized(texts, "ru") == "Gold"
    assert localized("plain", "ru") == "plain"


def test_the_readers_best_offered_language_is_found() -> None:
    assert best_language(["de-DE", "mk-MK", "en"], ["en", "mk"]) == "mk"
    assert best_language(["de"], ["mk", "en"]) == "mk"


@pytest.mark.parametrize(
    ("language", "week", "month"),
    [
        ("en", "Nov 16 – 22", "November 2026"),
        ("ru", "16–22 нояб.", "ноябрь 2026 г."),
        ("mk", "16 – 22 ное.", "ноември 2026 г."),
    ],
)
def test_weeks_and_months_are_written_for_the_reader(language: str, week: str, month: str) -> None:
    written = translator(language).days(date(2026, 11, 16), date(2026, 11, 22))
    assert plain(written) == week
    assert plain(translator(language).month(date(2026, 11, 1))) == month


def test_a_sentence_that_ends_with_an_abbreviation_has_one_full_stop() -> None:
    reader = translator("mk")
    said = reader.gettext("%(rule)s did not apply: %(reason)s.", rule="x", reason=reader.money(5000, "MKD"))
    assert plain(said).endswith(" 50,00 ден.")
    assert not said.endswith("..")
    assert reader.gettext("%(rule)s did not apply: %(reason)s.", rule="x", reason="and so on..").endswith("on...")
    assert reader.gettext("%(rule)s did not apply: %(reason)s.", rule="x", reason="why").endswith("why.")
