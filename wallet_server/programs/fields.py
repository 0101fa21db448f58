"""The kinds of value that a program file is made of: codes, texts by language, exact decimals, colours."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import available_timezones

from babel.numbers import list_currencies
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from wallet_server.i18n import LANGUAGES

POINTS_MAX = 1_000_000_000
MINOR_MAX = 10**14


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError("must be an exact decimal, not a binary fraction")
    return value


def _shortest(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


ExactDecimal = Annotated[
    Decimal, BeforeValidator(_exact), PlainSerializer(_shortest, return_type=str, when_used="json")
]
"""A decimal number, exact; a string in JSON."""
Percent = Annotated[ExactDecimal, Field(ge=0, le=100, max_digits=12)]
CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
COLOR_PATTERN = r"^#[0-9a-fA-F]{6}$"
COUNTRY_PATTERN = r"^[A-Z]{2}$"
Code = Annotated[str, StringConstraints(pattern=CODE_PATTERN)]
Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
Sku = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
Color = Annotated[str, StringConstraints(pattern=COLOR_PATTERN)]


def _check_texts(texts: dict[str, str]) -> dict[str, str]:
    for language, text in texts.items():
        if language not in LANGUAGES:
            raise ValueError(f"unknown language {language!r}; one of {', '.join(LANGUAGES)}")
        if not text.strip():
            raise ValueError(f"the text in {language} is empty")
        if len(text) > 500:
            raise ValueError(f"the text in {language} is longer than 500 characters")
    if not texts:
        raise ValueError("needs a text in at least one language")
    return texts


Texts = Annotated[
    dict[str, str],
    BeforeValidator(lambda value: {"en": value} if isinstance(value, str) else value),
    AfterValidator(_check_texts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {language: {"type": "string"} for language in LANGUAGES},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        }
    ),
]
"""A text by language; a plain string means English."""


def _check_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Skopje")
    return name


def _check_currency(code: str) -> str:
    if code not in list_currencies():
        raise ValueError(f"{code!r} is not an ISO 4217 currency code")
    return code


TimeZone = Annotated[str, AfterValidator(_check_zone)]
Currency = Annotated[str, AfterValidator(_check_currency)]
