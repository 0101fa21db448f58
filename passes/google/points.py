"""Points at Google: a label and a balance in exactly one of four forms.

Source: developers.google.com/wallet/reference/rest/v1/loyaltyobject (LoyaltyPoints)
"""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal

from passes.content import PassContentError, PassField
from passes.google.parts import INT32_MAX, JsonObject, Words


def points(where: str, item: PassField, words: Words) -> JsonObject:
    """Return the LoyaltyPoints; best are 9 characters of the label and 7 of the balance."""
    return {
        "label": item.label,
        "balance": balance(where, item),
        **words.localized("localizedLabel", item.label),
    }


def balance(where: str, item: PassField) -> JsonObject:
    value = item.value
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise PassContentError(f"{where}.value", "a balance is a number or a text")
    if isinstance(value, datetime):
        raise PassContentError(f"{where}.value", "a balance is a number or a text, not a date")
    if isinstance(value, str):
        return {"string": value}
    if item.currency_code is not None:
        # Micros are an int64, which JSON carries as a text.
        micros = int(Decimal(str(value)) * 1_000_000)
        return {"money": {"currencyCode": item.currency_code, "micros": str(micros)}}
    if isinstance(value, float):
        return {"double": value}
    return {"int": value} if -INT32_MAX <= value <= INT32_MAX else {"string": str(value)}
