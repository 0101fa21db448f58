"""What people type into forms, read strictly: amounts and quantities as exact numbers. Pure.

Commas and points are both taken as the decimal separator, because people of one shop use both; a number
with two separators is refused rather than guessed at.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Final

from babel.numbers import get_currency_precision

from wallet_server.errors import DomainError

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
_NUMBER: Final = re.compile(r"\d{1,12}(?:[.,](\d{1,6}))?")


def parse_decimal(text: str, field: str) -> Decimal:
    """A number that is not negative, such as ``12``, ``12.50``, ``12,5``. Raises ``DomainError(validation)``."""
    compact = "".join(text.split())
    if not _NUMBER.fullmatch(compact):
        raise DomainError("validation", f"{field}: {text[:40]!r} is not a number", field=field)
    return Decimal(compact.replace(",", "."))


def parse_money(text: str, currency: str, field: str) -> int:
    """An amount in the currency's minor unit. Raises ``DomainError(validation)``; half a cent is refused too."""
    minor = parse_decimal(text, field).scaleb(get_currency_precision(currency))
    if minor != minor.to_integral_value():
        raise DomainError("validation", f"{field}: the currency has no such small coins", field=field)
    return int(minor)


def parse_thousandths(text: str, field: str) -> int:
    """A quantity with at most three decimals, in thousandths. Raises ``DomainError(validation)``."""
    thousandths = parse_decimal(text, field) * 1000
    if thousandths != thousandths.to_integral_value():
        raise DomainError("validation", f"{field}: has more than three decimals", field=field)
    return int(thousandths)


def parse_points(text: str, field: str) -> int:
    """A whole number of points. Raises ``DomainError(validation)``."""
    points = parse_decimal(text or "0", field)
    if points != points.to_integral_value():
        raise DomainError("validation", f"{field}: points are whole numbers", field=field)
    return int(points)


def typed_moment(moment: datetime | None) -> str:
    """A moment as a field for day and time holds it."""
    return "" if moment is None else f"{moment:%Y-%m-%dT%H:%M}"


def parse_moment(text: str, field: str, was: datetime | None = None) -> datetime | None:
    """A day and time as a browser sends them, without an offset; None if nothing was typed.

    What was left alone is ``was``, with its offset and its seconds. Raises ``DomainError(validation)``.
    """
    if was is not None and text[:16] == typed_moment(was):
        return was
    if not text:
        return None
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError(text)
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise DomainError("validation", f"{field}: {text[:40]!r} is no day and time", field=field) from error
