"""What stands in a row: columns, types and limits of members and receipts, and which rows are one receipt.

Pure: no file, no database. A receipt is taken whole or not at all: one bad line refuses all of it, because a
receipt that was recorded short could not be told from a right one later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from wallet_server.imports.files import Record
from wallet_server.purchases.commands import IMPORTED_LINES_MAX, LineInput, RecordPurchase

MEMBER_COLUMNS: Final = (
    "external_id", "phone", "email", "card_number", "name", "birthday", "language", "channel", "outlet",
    "referral_code", "marketing",
)  # fmt: skip
RECEIPT_COLUMNS: Final = (
    "receipt_id", "outlet", "card_number", "external_id", "occurred_at", "payment_type",
    "sku", "category", "quantity", "unit_price_minor",
)  # fmt: skip
RECEIPT_REQUIRED: Final = ("receipt_id", "outlet", "occurred_at", "quantity", "unit_price_minor")
VALUE_CHARACTERS_MAX: Final = 254
QUANTITY_MAX: Final = 1_000_000
REASONS_MAX: Final = 100
"""How many bad lines of one receipt are told."""
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_YES_NO: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row, or one receipt, that was not taken. ``subject`` is its receipt number or its member."""

    row: int
    subject: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A row of a members file; of the texts only the length has been checked."""

    row: int
    external_id: str | None
    phone: str | None
    email: str | None
    card_number: str | None
    name: str | None
    birthday: date | None
    language: str | None
    channel: str | None
    outlet: str | None
    referral_code: str | None
    marketing: bool | None

    @property
    def subject(self) -> str:
        """What the row is called in a report."""
        return self.external_id or self.phone or self.email or ""


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """The rows of one receipt. Where ``external_id`` is given the command has no card number yet."""

    row: int
    external_id: str | None
    command: RecordPurchase


@dataclass(frozen=True, slots=True)
class Read:
    """What some records came to, and how many ``records`` of the file that were."""

    records: int
    item: MemberRow | ReceiptRow | None
    refusals: tuple[Refusal, ...] = ()


class _BadValue(Exception):
    pass


def members(records: Iterable[Record]) -> Iterator[Read]:
    """Members, one a record."""
    for record in records:
        try:
            if record.problem is not None:
                raise _BadValue(record.problem)
            texts = dict(zip(MEMBER_COLUMNS, record.values, strict=True))
            birthday, marketing = texts.pop("birthday"), texts.pop("marketing")
            checked = {name: _text(name, value) for name, value in texts.items()}
            if not (checked["external_id"] or checked["phone"] or checked["email"]):
                raise _BadValue("one of external_id, phone, email is needed")
            row = MemberRow(
                row=record.number, birthday=_day(birthday), marketing=_yes_or_no("marketing", marketing), **checked
            )
            yield Read(1, row)
        except _BadValue as problem:
            subject = _guess(record.values[:3])
            yield Read(1, None, (Refusal(record.number, subject, "validation", str(problem)),))


@dataclass(slots=True)
class _Group:
    """The rows of a receipt while they are read."""

    first: Record
    receipt_id: str
    outlet: str | None
    records: int = 0
    lines: list[LineInput] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def takes(self, record: Record) -> bool:
        """Whether the record belongs here: a broken one does by its receipt number alone."""
        if record.problem is None and record.values[:2] == self.first.values[:2]:
            return True  # what nearly every line says, told without looking closer
        if _guess(record.values[:1]) != self.receipt_id:
            return False
        if record.problem is not None or self.outlet is None:
            return True
        return _guess(record.values[1:2]) == self.outlet

    def add(self, record: Record) -> None:
        self.records += 1
        try:
            if record.problem is not None:
                raise _BadValue(record.problem)
            if self.first.problem is not None:
                return
            if self.outlet is None:
                self.outlet = _guess(record.values[1:2])
            # Equal values are the common case and cost one comparison.
            if record is not self.first and record.values[:6] != self.first.values[:6]:
                raise _BadValue("card, outlet, time or payment type differ from the first line of this receipt")
            if len(self.lines) >= IMPORTED_LINES_MAX:
                raise _BadValue(f"more than {IMPORTED_LINES_MAX} lines in one receipt")
            sku, category, quantity, unit_price_minor = record.values[6:]
            self.lines.append(
                LineInput(
                    sku=_text("sku", sku, 120),
                    category=_text("category", category, 120),
                    quantity_thousandths=_thousandths(quantity),
                    unit_price_minor=_whole("unit_price_minor", unit_price_minor),
                )
            )
        except _BadValue as problem:
            if len(self.refusals) < REASONS_MAX:
                self.refusals.append(Refusal(record.number, self.receipt_id, "validation", str(problem)))

    def read(self) -> Read:
        if self.refusals:
            return Read(self.records, None, tuple(self.refusals))
        try:
            receipt_id, outlet, card_number, external_id, occurred_at, payment_type = self.first.values[:6]
            card, person = _text("card_number", card_number, 32), _text("external_id", external_id, 120)
            if (card is None) == (person is None):
                raise _BadValue("one of card_number and external_id is needed, not both")
            command = RecordPurchase(
                receipt_id=_needed("receipt_id", receipt_id, 120),
                card_number=card or "",
                outlet=_needed("outlet", outlet, 63),
                occurred_at=_moment(occurred_at),
                lines=tuple(self.lines),
                payment_type=_text("payment_type", payment_type, 32),
            )
        except _BadValue as problem:
            refusal = Refusal(self.first.number, self.receipt_id, "validation", str(problem))
            return Read(self.records, None, (refusal,))
        return Read(self.records, ReceiptRow(self.first.number, person, command))


def receipts(records: Iterable[Record]) -> Iterator[Read]:
    """Receipts: the records that stand together under one receipt number and outlet."""
    group: _Group | None = None
    for record in records:
        if group is None or not group.takes(record):
            if group is not None:
                yield group.read()
            outlet = None if record.problem is not None else _guess(record.values[1:2])
            group = _Group(record, _guess(record.values[:1]), outlet)
        group.add(record)
    if group is not None:
        yield group.read()


def _guess(values: Sequence[Any]) -> str:
    """The first value that is there, as a short text for a report."""
    return next((str(value).strip()[:120] for value in values if value not in (None, "")), "")


def _text(name: str, value: Any, characters_max: int = VALUE_CHARACTERS_MAX) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    else:
        raise _BadValue(f"{name}: {type(value).__name__} instead of a text")
    if not text:
        return None
    if len(text) > characters_max:
        raise _BadValue(f"{name}: longer than {characters_max} characters")
    if not text.isprintable():
        raise _BadValue(f"{name}: has characters that cannot be printed")
    return text


def _needed(name: str, value: Any, characters_max: int) -> str:
    text = _text(name, value, characters_max)
    if text is None:
        raise _BadValue(f"{name}: is missing")
    return text


def _whole(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if not _WHOLE.fullmatch(text):
        raise _BadValue(f"{name}: {str(value)[:40]!r} is not a whole number")
    return int(text)


def _thousandths(value: Any) -> int:
    """A quantity with up to three decimals; a float from Parquet counts by the digits that it shows."""
    if value is None or isinstance(value, bool | bytes | datetime | date):
        raise _BadValue("quantity: is missing" if value is None else "quantity: is not a number")
    return _thousandths_of(value if isinstance(value, str) else str(value))


@lru_cache(maxsize=4096)
def _thousandths_of(text: str) -> int:
    try:
        quantity = Decimal(text.strip())
    except InvalidOperation:
        raise _BadValue(f"quantity: {text[:40]!r} is not a number") from None
    if not quantity.is_finite() or not 0 < quantity <= QUANTITY_MAX:
        raise _BadValue(f"quantity: {text[:40]!r} is not above 0 and up to {QUANTITY_MAX:,}")
    thousandths = quantity.scaleb(3)
    if thousandths != thousandths.to_integral_value():
        raise _BadValue(f"quantity: {text[:40]!r} has more than three decimals")
    return int(thousandths)


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise _BadValue(f"occurred_at: {value[:40]!r} is not a time such as 2026-11-23T16:30:00+01:00") from None
    if not isinstance(value, datetime):
        raise _BadValue("occurred_at: is missing" if value is None else "occurred_at: is not a time")
    if value.tzinfo is None:
        raise _BadValue("occurred_at: needs its offset from UTC, such as 2026-11-23T16:30:00+01:00")
    return value


def _day(value: Any) -> date | None:
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            raise _BadValue(f"birthday: {value[:40]!r} is not a day such as 1990-04-25") from None
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    raise _BadValue("birthday: is not a day")


def _yes_or_no(name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if not text:
        return None
    if text not in _YES_NO:
        raise _BadValue(f"{name}: {text[:40]!r} is neither true nor false")
    return _YES_NO[text]
