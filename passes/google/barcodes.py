"""Codes at Google: all kinds that it draws, and codes that change every few seconds.

Sources: developers.google.com/wallet/reference/rest/v1/Barcode, …/BarcodeType and …/RotatingBarcode; GS1 General
Specifications 7.9 (check digits); RFC 4226 section 5.3 and RFC 6238, which Google names for the changing numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from passes.content import PassContentError
from passes.google.parts import INT64_MAX, JsonObject, Words, at_most, checked

CODE_CHARACTERS_MAX = 2_000
TOTP_PARAMETERS_MAX = 10
"""Ours, as the length of a code: Google names neither."""
TOTP_DIGITS = range(6, 9)
TOTP_KEY_BYTES_MAX = 128


class BarcodeType(StrEnum):
    """The kinds. ``TEXT_ONLY`` is the value as a text, without a code.

    Source: developers.google.com/wallet/reference/rest/v1/BarcodeType
    """

    AZTEC = "AZTEC"
    CODE_39 = "CODE_39"
    CODE_128 = "CODE_128"
    CODABAR = "CODABAR"
    DATA_MATRIX = "DATA_MATRIX"
    EAN_8 = "EAN_8"
    EAN_13 = "EAN_13"
    ITF_14 = "ITF_14"
    PDF_417 = "PDF_417"
    QR_CODE = "QR_CODE"
    UPC_A = "UPC_A"
    TEXT_ONLY = "TEXT_ONLY"


_WRITES: Final[Mapping[BarcodeType, tuple[re.Pattern[str], str]]] = {
    BarcodeType.CODE_39: (re.compile(r"[0-9A-Z .$/+%-]+"), "capital letters, digits, spaces and . $ / + % -"),
    BarcodeType.CODE_128: (re.compile(r"[\x00-\x7f]+"), "ASCII"),
    BarcodeType.CODABAR: (
        re.compile(r"[A-D][0-9$:/.+-]+[A-D]|[0-9$:/.+-]+"),
        "digits and - $ : / . + (between A to D)",
    ),
    BarcodeType.EAN_8: (re.compile(r"[0-9]{7,8}"), "7 digits, or 8 with the check digit"),
    BarcodeType.EAN_13: (re.compile(r"[0-9]{12,13}"), "12 digits, or 13 with the check digit"),
    BarcodeType.ITF_14: (re.compile(r"[0-9]{14}"), "14 digits"),
    BarcodeType.UPC_A: (re.compile(r"[0-9]{11,12}"), "11 digits, or 12 with the check digit"),
}
_WITH_CHECK_DIGIT: Final = {BarcodeType.EAN_8: 8, BarcodeType.EAN_13: 13, BarcodeType.UPC_A: 12}
_ROTATING: Final = frozenset({BarcodeType.QR_CODE, BarcodeType.PDF_417})
_SUBSTITUTION = re.compile(r"\{([^{}]*)\}")
_TOTP_VALUE = re.compile(r"totp_value_(0|[1-9][0-9]?)")
_TIMES: Final = frozenset({"totp_timestamp_seconds", "totp_timestamp_millis"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Barcode:
    """One code of any kind, what it says, and the text below it (by default what it says).

    Source: developers.google.com/wallet/reference/rest/v1/Barcode
    """

    type: BarcodeType
    value: str
    alternate_text: str = ""

    def written(self, where: str) -> JsonObject:
        checked(f"{where}.value", self.value, CODE_CHARACTERS_MAX)
        if self.type in _WRITES:
            pattern, rule = _WRITES[self.type]
            if not pattern.fullmatch(self.value):
                raise PassContentError(f"{where}.value", f"a code of type {self.type.value} holds {rule}")
        if _WITH_CHECK_DIGIT.get(self.type) == len(self.value) and not _checks(self.value):
            raise PassContentError(f"{where}.value", "the last digit is not the check digit of those before")
        code: JsonObject = {"type": self.type.value, "value": self.value}
        if self.alternate_text:
            if self.type is BarcodeType.TEXT_ONLY:
                raise PassContentError(f"{where}.alternate_text", "a code that is only a text has no text below it")
            code["alternateText"] = checked(f"{where}.alternate_text", self.alternate_text)
        if not self.value.isascii():
            code["renderEncoding"] = "UTF_8"
        return code


@dataclass(frozen=True, slots=True)
class TotpParameter:
    """What one changing number is made from: the secret key and how many digits it has, 6 to 8.

    Source: developers.google.com/wallet/reference/rest/v1/RotatingBarcode (TotpParameters)
    """

    key: bytes = field(repr=False)
    digits: int = 8

    def written(self, where: str) -> JsonObject:
        if not 1 <= len(self.key) <= TOTP_KEY_BYTES_MAX:
            raise PassContentError(f"{where}.key", f"a secret key has 1 to {TOTP_KEY_BYTES_MAX} bytes")
        if isinstance(self.digits, bool) or self.digits not in TOTP_DIGITS:
            raise PassContentError(f"{where}.digits", "a one-time number has 6 to 8 digits (RFC 4226, 5.3)")
        return {"key": self.key.hex(), "valueLength": self.digits}


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatingBarcode:
    """A code that the phone makes anew every `period_millis`, so that a picture of it is of no use.

    In `value_pattern` stand ``{totp_value_0}`` for the number of the first of `parameters`, ``{totp_value_1}`` for the
    second, and ``{totp_timestamp_seconds}`` or ``{totp_timestamp_millis}`` for when it was made. It is a ``QR_CODE`` or
    a ``PDF_417``. `show_code_text` is on the button that opens a code behind a Smart Tap card.

    Source: developers.google.com/wallet/reference/rest/v1/RotatingBarcode
    """

    value_pattern: str
    parameters: tuple[TotpParameter, ...]
    type: BarcodeType = BarcodeType.QR_CODE
    period_millis: int = 30_000
    alternate_text: str = ""
    show_code_text: str = ""

    def written(self, where: str, words: Words) -> JsonObject:
        if self.type not in _ROTATING:
            raise PassContentError(f"{where}.type", "a code that changes is a QR_CODE or a PDF_417")
        if isinstance(self.period_millis, bool) or not 1 <= self.period_millis <= INT64_MAX:
            raise PassContentError(f"{where}.period_millis", "a period is a positive whole number of milliseconds")
        if not self.parameters:
            raise PassContentError(f"{where}.parameters", "at least one secret key with its number of digits")
        at_most(f"{where}.parameters", self.parameters, TOTP_PARAMETERS_MAX, "parameters")
        self._check_pattern(f"{where}.value_pattern")
        code: JsonObject = {
            "type": self.type.value,
            "valuePattern": self.value_pattern,
            "totpDetails": {
                "algorithm": "TOTP_SHA1",
                "periodMillis": str(self.period_millis),
                "parameters": [
                    parameter.written(f"{where}.parameters[{place}]") for place, parameter in enumerate(self.parameters)
                ],
            },
        }
        if self.alternate_text:
            code["alternateText"] = checked(f"{where}.alternate_text", self.alternate_text)
        if not self.value_pattern.isascii():
            code["renderEncoding"] = "UTF_8"
        if self.show_code_text:
            code["showCodeText"] = words.whole(f"{where}.show_code_text", self.show_code_text)
        return code

    def _check_pattern(self, where: str) -> None:
        names: list[str] = _SUBSTITUTION.findall(checked(where, self.value_pattern, CODE_CHARACTERS_MAX))
        changing = False
        for name in names:
            number = _TOTP_VALUE.fullmatch(name)
            if number is None and name not in _TIMES:
                raise PassContentError(where, f"Google knows no {{{name}}}")
            if number is not None:
                changing = True
                if int(number[1]) >= len(self.parameters):
                    raise PassContentError(where, f"there is no parameter for {{{name}}}")
        if not changing:
            raise PassContentError(where, "a code that changes holds {totp_value_0}")


def _checks(digits: str) -> bool:
    # Weights 3 and 1 in turns, from the digit before the check digit.
    weighed = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return weighed % 10 == 0
