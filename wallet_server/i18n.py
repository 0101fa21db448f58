"""Languages: one mechanism for pages, passes, mails and workers, with the language always passed in.

Plain gettext and Babel, without a web framework's extension: half of our texts are made by workers that
know nothing of a request.
"""

from __future__ import annotations

import datetime as dt
import gettext as gettext_module
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_interval, format_skeleton, format_time
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

LANGUAGES: Mapping[str, str] = {"en": "English", "ru": "Русский", "mk": "Македонски"}
"""Languages of our own texts: code → its own name."""
DEFAULT_LANGUAGE = "en"
_FOLDER = Path(__file__).parent / "locale"
_FORMATS_KEPT = 8_192
"""Numbers in words; Babel takes thirty microseconds for one, and a message to everybody has three."""

LocalizedText = Mapping[str, str]
"""Texts of a program by language code, such as ``{"en": "Gold", "mk": "Злато"}``."""


def gettext_noop(message: str) -> str:
    """Mark a text for the catalogues that is translated later."""
    return message


@lru_cache(maxsize=_FORMATS_KEPT, typed=True)
def _decimal(value: int | Decimal, language: str) -> str:
    return format_decimal(value, locale=language)


@lru_cache(maxsize=_FORMATS_KEPT)
def _money(amount_minor: int, currency: str, language: str) -> str:
    precision = get_currency_precision(currency)
    text = format_currency(Decimal(amount_minor).scaleb(-precision), currency, locale=language)
    # Unicode (UTS 35, currencySpacing) puts a space between letters and figures; Babel leaves it out.
    return re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", "\N{NO-BREAK SPACE}", text)


def ended_once(text: str) -> str:
    """A sentence whose last word is an abbreviation (“1.234,50 ден.”, “2027 г.”) has one full stop, not two."""
    return text[:-1] if text.endswith("..") and not text.endswith("...") else text


class Translator:
    """Texts, numbers and dates in one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else DEFAULT_LANGUAGE
        self.locale = Locale.parse(self.language)
        self._catalogue = gettext_module.translation(
            "messages", localedir=str(_FOLDER), languages=[self.language], fallback=True
        )

    def gettext(self, message: str, **values: object) -> str:
        """The text in this language, with ``%(name)s`` filled in."""
        text = self._catalogue.gettext(message)
        return ended_once(text % values) if values else text

    def ngettext(self, singular: str, plural: str, number: int, **values: object) -> str:
        """The text in the right plural form; ``%(num)s`` is the formatted number."""
        text = self._catalogue.ngettext(singular, plural, number)
        return ended_once(text % {"num": self.number(number), **values})

    def plural(self, singular: str, plural: str, number: int) -> str:
        """The text in the right plural form, with nothing filled in (the template engine does that itself)."""
        return self._catalogue.ngettext(singular, plural, number)

    def number(self, value: int | Decimal) -> str:
        """A number with this language's separators."""
        return _decimal(value, self.language)

    def percent(self, share: float | Decimal, digits: int = 0) -> str:
        """A share of one as a percentage."""
        return format_percent(share, format=f"#,##0.{'0' * digits} %" if digits else "#,##0 %", locale=self.locale)

    def points(self, points: int) -> str:
        """“1,250 points” in the right plural form."""
        return self.ngettext("%(num)s point", "%(num)s points", points)

    def money(self, amount_minor: int, currency: str) -> str:
        """An amount in the currency's minor unit, written for this reader."""
        return _money(amount_minor, currency, self.language)

    def datetime(self, moment: dt.datetime, zone: str, style: str = "medium") -> str:
        """An aware moment in the given IANA zone."""
        return format_datetime(moment, style, tzinfo=ZoneInfo(zone), locale=self.locale)

    def time(self, moment: dt.datetime, zone: str) -> str:
        """Hours and minutes of an aware moment in the given IANA zone."""
        return format_time(moment, "short", tzinfo=ZoneInfo(zone), locale=self.locale)

    def date(self, day: dt.date | dt.datetime, zone: str | None = None, style: str = "medium") -> str:
        """A day; an aware moment is first brought into ``zone``."""
        if isinstance(day, dt.datetime) and zone:
            day = day.astimezone(ZoneInfo(zone)).date()
        return format_date(day, style, locale=self.locale)

    def days(self, first: dt.date, last: dt.date) -> str:
        """Days from ``first`` to ``last``, both included, without the year: “16 – 22 Nov”."""
        return str(format_interval(first, last, "MMMd", locale=self.locale))

    def month_day(self, day: dt.date) -> str:
        """A day without its year: “8 March”."""
        return str(format_skeleton("MMMMd", day, locale=self.locale))

    def month(self, day: dt.date) -> str:
        """The month that a day is in: “November 2026”."""
        return str(format_skeleton("yMMMM", day, locale=self.locale))


@lru_cache(maxsize=32)
def translator(language: str) -> Translator:
    """The translator of a language; English for one that we do not speak."""
    return Translator(language)


def localized(texts: LocalizedText | str, language: str, fallbacks: Sequence[str] = ()) -> str:
    """A program's own text in the reader's language, else in a fallback, else in any."""
    if isinstance(texts, str):
        return texts
    for candidate in (language, *fallbacks, DEFAULT_LANGUAGE):
        if texts.get(candidate):
            return texts[candidate]
    return next(iter(texts.values()), "")


def best_language(accepted: Sequence[str], offered: Sequence[str]) -> str:
    """The first of the reader's languages (``Accept-Language``, best first) that is offered."""
    for language in accepted:
        short = language.split("-")[0].lower()
        if short in offered:
            return short
    return offered[0] if offered else DEFAULT_LANGUAGE
