"""What a till, a staff user or an import asks for, and what is refused before anything is looked up. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from wallet_server.errors import DomainError
from wallet_server.programs.fields import POINTS_MAX
from wallet_server.rules.numbers import line_amount_minor
from wallet_server.rules.receipt import RedeemPoints

Source = Literal["till", "panel", "import"]

LINES_MAX: Final = 1_000
IMPORTED_LINES_MAX: Final = 2_000
QUANTITY_THOUSANDTHS_MAX: Final = 10**9
UNIT_PRICE_MINOR_MAX: Final = 10**12
TOTAL_MINOR_MAX: Final = 10**12
RECEIPT_ID_MAX: Final = 120
CODE_MAX: Final = 120
PAYMENT_TYPE_MAX: Final = 32
LATE_MAX: Final = timedelta(days=30)
"""How late a till may report a receipt; an import may bring any past."""
FUTURE_MAX: Final = timedelta(minutes=10)
"""How far a till's clock may be ahead of ours."""
EARLIEST_YEAR: Final = 1970


@dataclass(frozen=True, slots=True)
class LineInput:
    """One line; the quantity in thousandths, the price of one unit in the minor unit."""

    sku: str | None
    category: str | None
    quantity_thousandths: int
    unit_price_minor: int

    @property
    def amount_minor(self) -> int:
        """The line's amount before discounts."""
        return line_amount_minor(self.quantity_thousandths, self.unit_price_minor)


@dataclass(frozen=True, slots=True)
class RecordPurchase:
    """A receipt to record. ``outlet`` is a code, ``occurred_at`` aware; ``redeem_points`` a number or ``"max"``."""

    receipt_id: str
    card_number: str
    outlet: str
    occurred_at: datetime
    lines: tuple[LineInput, ...]
    payment_type: str | None = None
    redeem_points: RedeemPoints = 0


@dataclass(frozen=True, slots=True)
class RefundPurchase:
    """What of a purchase comes back: (number of the line, thousandths) pairs, or ``None`` for all that is left.

    ``refund_id`` is what the till calls it, unique for the purchase.
    """

    purchase_id: UUID
    refund_id: str
    lines: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class RecordVisit:
    """Somebody was there, without a receipt. ``outlet`` is a code, ``occurred_at`` aware."""

    card_number: str
    outlet: str
    occurred_at: datetime
    visit_id: str


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card as the till scanned it."""

    card_id: UUID
    member_id: UUID
    blocked: bool


def check(command: RecordPurchase, *, now: datetime, source: Source, needs_receipt_id: bool = True) -> None:
    """Refuse what no till should send.

    Raises ``DomainError(validation)`` whose ``errors`` name each bad field and why.
    """
    _refuse(_findings(command, now, source, needs_receipt_id))


def check_refund(command: RefundPurchase) -> None:
    """Refuse a refund that names no line, a line twice, or nothing of a line; raises as :func:`check` does."""
    _refuse(_refund_findings(command))


def check_visit(command: RecordVisit, *, now: datetime) -> None:
    """Refuse a visit without a number, in the future or long past; raises as :func:`check` does."""
    _refuse(_visit_findings(command, now))


def _refuse(findings: Iterator[tuple[str, str]]) -> None:
    errors = [{"field": field, "message": message} for field, message in findings]
    if errors:
        sentence = "; ".join(f"{error['field']} {error['message']}" for error in errors[:3])
        raise DomainError("validation", sentence, errors=errors[:20])


def _findings(
    command: RecordPurchase, now: datetime, source: Source, needs_receipt_id: bool
) -> Iterator[tuple[str, str]]:
    if needs_receipt_id and not _is_text(command.receipt_id, RECEIPT_ID_MAX):
        yield "receipt_id", f"must be 1 to {RECEIPT_ID_MAX} printable characters"
    if command.payment_type is not None and not _is_text(command.payment_type, PAYMENT_TYPE_MAX):
        yield "payment_type", f"must be 1 to {PAYMENT_TYPE_MAX} printable characters"
    yield from _moment_findings(command.occurred_at, now, source)
    points = command.redeem_points
    if points != "max" and not 0 <= points <= POINTS_MAX:
        yield "redeem_points", f'must be from 0 to {POINTS_MAX}, or "max"'
    lines_max = IMPORTED_LINES_MAX if source == "import" else LINES_MAX
    if not 1 <= len(command.lines) <= lines_max:
        yield "lines", f"must be from 1 to {lines_max}"
        return
    for number, line in enumerate(command.lines):
        for name in ("sku", "category"):
            value = getattr(line, name)
            if value is not None and not _is_text(value, CODE_MAX):
                yield f"lines[{number}].{name}", f"must be 1 to {CODE_MAX} printable characters"
        if not 0 < line.quantity_thousandths <= QUANTITY_THOUSANDTHS_MAX:
            yield f"lines[{number}].quantity", f"must be more than 0 and at most {QUANTITY_THOUSANDTHS_MAX // 1000}"
        if not 0 <= line.unit_price_minor <= UNIT_PRICE_MINOR_MAX:
            yield f"lines[{number}].unit_price_minor", f"must be from 0 to {UNIT_PRICE_MINOR_MAX}"
    if sum(line.amount_minor for line in command.lines) > TOTAL_MINOR_MAX:
        yield "lines", f"add up to more than {TOTAL_MINOR_MAX}"


def _refund_findings(command: RefundPurchase) -> Iterator[tuple[str, str]]:
    if not _is_text(command.refund_id, RECEIPT_ID_MAX):
        yield "refund_id", f"must be 1 to {RECEIPT_ID_MAX} printable characters"
    if command.lines is None:
        return
    if not 1 <= len(command.lines) <= IMPORTED_LINES_MAX:
        yield "lines", f"must be from 1 to {IMPORTED_LINES_MAX}, or missing for all that is left"
        return
    seen: set[int] = set()
    for number, (line, thousandths) in enumerate(command.lines):
        if line in seen:
            yield f"lines[{number}].line", "is named twice"
        seen.add(line)
        if not 0 < thousandths <= QUANTITY_THOUSANDTHS_MAX:
            yield f"lines[{number}].quantity", f"must be more than 0 and at most {QUANTITY_THOUSANDTHS_MAX // 1000}"


def _visit_findings(command: RecordVisit, now: datetime) -> Iterator[tuple[str, str]]:
    if not _is_text(command.visit_id, RECEIPT_ID_MAX):
        yield "visit_id", f"must be 1 to {RECEIPT_ID_MAX} printable characters"
    yield from _moment_findings(command.occurred_at, now, "till")


def _moment_findings(occurred_at: datetime, now: datetime, source: Source) -> Iterator[tuple[str, str]]:
    if occurred_at.tzinfo is None:
        yield "occurred_at", "needs a time zone, such as 2026-11-23T16:30:00+01:00"
    elif occurred_at > now + FUTURE_MAX:
        yield "occurred_at", "is in the future"
    elif source != "import" and occurred_at < now - LATE_MAX:
        yield "occurred_at", f"is more than {LATE_MAX.days} days ago"
    elif occurred_at.year < EARLIEST_YEAR:
        yield "occurred_at", f"is before {EARLIEST_YEAR}"


def _is_text(value: str, length_max: int) -> bool:
    return 1 <= len(value) <= length_max and value.isprintable() and value == value.strip()
