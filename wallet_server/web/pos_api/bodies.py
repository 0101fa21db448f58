"""What tills send: strict shapes, checked before anything else. Unknown members are refused."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from wallet_server.ledger.adjustments import REASON_MIN
from wallet_server.ledger.holds import SECONDS_MAX
from wallet_server.ledger.postings import REASON_MAX
from wallet_server.ledger.queries import PAGE_SIZE_MAX
from wallet_server.members.coefficients import PERCENT_DIGITS_MAX, PERCENT_MAX, REDEEM_PERCENT_MAX
from wallet_server.members.services import Enrol
from wallet_server.members.tags import TAGS_MAX
from wallet_server.programs.fields import CODE_PATTERN, POINTS_MAX
from wallet_server.purchases.commands import (
    CODE_MAX,
    IMPORTED_LINES_MAX,
    LINES_MAX,
    PAYMENT_TYPE_MAX,
    QUANTITY_THOUSANDTHS_MAX,
    RECEIPT_ID_MAX,
    UNIT_PRICE_MINOR_MAX,
    LineInput,
    RecordPurchase,
    RecordVisit,
    RefundPurchase,
)


def _moment_text(value: Any) -> Any:
    # Pydantic would take a text of digits for seconds since 1970.
    if not isinstance(value, str) or not _MOMENT.match(value):
        raise ValueError("must be a text such as 2026-11-23T16:30:00+01:00")
    return value


def _day_text(value: Any) -> Any:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a text such as 1990-12-31")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a number")
    return Decimal(value) or Decimal(0)  # a zero has no sign


def _percent(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(DECIMAL_PATTERN, value):
            raise ValueError('must be a number, or a text such as "2.5"')
        return Decimal(value)
    return _number(value)


def _not_nothing(value: int) -> int:
    if value == 0:
        raise ValueError("must not be 0")
    return value


def _redemption(value: Any) -> int | Literal["max"]:
    if value == "max":
        return "max"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= POINTS_MAX:
        return value
    raise ValueError(f'must be a whole number from 0 to {POINTS_MAX}, or "max"')


DECIMAL_PATTERN: Final = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Moment = Annotated[AwareDatetime, BeforeValidator(_moment_text), Field(strict=False)]
"""ISO 8601 with an offset from UTC."""
Day = Annotated[date, BeforeValidator(_day_text), Field(strict=False)]
Quantity = Annotated[
    Decimal,
    BeforeValidator(_number),
    Field(gt=0, le=QUANTITY_THOUSANDTHS_MAX // 1000, decimal_places=3),
    WithJsonSchema(
        {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": QUANTITY_THOUSANDTHS_MAX // 1000,
            "multipleOf": 0.001,
            "description": "Up to three decimals.",
        }
    ),
]


def _percent_schema(highest: int) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": highest},
                {"type": "string", "pattern": DECIMAL_PATTERN},
            ],
            "description": f"Exact, of at most {PERCENT_DIGITS_MAX} digits; a number or a text.",
        }
    )


Percent = Annotated[
    Decimal,
    BeforeValidator(_percent),
    Field(ge=0, le=PERCENT_MAX, max_digits=PERCENT_DIGITS_MAX),
    _percent_schema(PERCENT_MAX),
]
RedeemPercent = Annotated[
    Decimal,
    BeforeValidator(_percent),
    Field(ge=0, le=REDEEM_PERCENT_MAX, max_digits=PERCENT_DIGITS_MAX),
    _percent_schema(REDEEM_PERCENT_MAX),
]
Points = Annotated[int, Field(ge=1, le=POINTS_MAX)]
AdjustedPoints = Annotated[
    int, Field(ge=-POINTS_MAX, le=POINTS_MAX, json_schema_extra={"not": {"const": 0}}), AfterValidator(_not_nothing)
]
Currency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{3}$"),
    Field(description="The program's own, where it is given: a till that sells in another one is set up wrongly."),
]
Code = Annotated[str, StringConstraints(min_length=1, max_length=CODE_MAX)]
OutletCode = Annotated[str, StringConstraints(min_length=1, max_length=63)]
ReceiptId = Annotated[str, StringConstraints(min_length=1, max_length=RECEIPT_ID_MAX)]
CardNumber = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Redemption = Annotated[
    int | Literal["max"],
    PlainValidator(_redemption),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": POINTS_MAX}, {"const": "max"}]}),
]


_EXAMPLE_RECEIPT: dict[str, Any] = {
    "card_number": "4000123412341234",
    "outlet": "A",
    "occurred_at": "2026-11-23T16:30:00+01:00",
    "payment_type": "card",
    "redeem_points": 0,
    "lines": [{"sku": "cappuccino", "category": "coffee", "quantity": 1, "unit_price_minor": 30000}],
}


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Consents(_Body):
    """The person's answers."""

    marketing: bool


class NewMember(_Body):
    """Somebody who joins: a phone number or an e-mail address."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"phone": "+38970123456", "language": "mk", "consents": {"marketing": True}}]}
    )

    phone: Annotated[str, StringConstraints(min_length=1, max_length=40)] | None = None
    email: Annotated[str, StringConstraints(min_length=1, max_length=254)] | None = None
    language: Annotated[str, StringConstraints(min_length=2, max_length=8)] | None = None
    name: Annotated[str, StringConstraints(max_length=120)] | None = None
    birthday: Day | None = None
    channel: Annotated[str, StringConstraints(min_length=1, max_length=63)] = "till"
    outlet: OutletCode | None = None
    referral_code: Annotated[str, StringConstraints(min_length=1, max_length=16)] | None = None
    external_id: Annotated[str, StringConstraints(min_length=1, max_length=120)] | None = None
    consents: Consents | None = None

    def command(self, outlet: str | None) -> Enrol:
        """What the members' service is asked; ``outlet`` where the body names none."""
        return Enrol(
            phone=self.phone,
            email=self.email,
            language=self.language,
            name=self.name,
            birthday=self.birthday,
            channel=self.channel,
            outlet=self.outlet or outlet,
            referral_code=self.referral_code,
            external_id=self.external_id,
            marketing=self.consents.marketing if self.consents else None,
        )


class PurchaseLine(_Body):
    """One line of a receipt; ``sku`` or ``category`` may be missing, a known sku brings its category."""

    sku: Code | None = None
    category: Code | None = None
    quantity: Quantity
    unit_price_minor: Annotated[int, Field(ge=0, le=UNIT_PRICE_MINOR_MAX)]


class QuoteRequest(_Body):
    """A receipt before it is paid."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_RECEIPT]})

    card_number: CardNumber
    outlet: OutletCode
    occurred_at: Moment
    payment_type: Annotated[str, StringConstraints(min_length=1, max_length=PAYMENT_TYPE_MAX)] | None = None
    redeem_points: Redemption = 0
    currency: Currency | None = None
    lines: Annotated[list[PurchaseLine], Field(min_length=1, max_length=LINES_MAX)]

    def command(self, receipt_id: str = "") -> RecordPurchase:
        """What the purchases' service is asked."""
        return RecordPurchase(
            receipt_id=receipt_id,
            card_number=self.card_number,
            outlet=self.outlet,
            occurred_at=self.occurred_at,
            lines=tuple(
                LineInput(line.sku, line.category, int(line.quantity * 1000), line.unit_price_minor)
                for line in self.lines
            ),
            payment_type=self.payment_type,
            redeem_points=self.redeem_points,
        )


class PurchaseRequest(QuoteRequest):
    """A receipt; ``receipt_id`` is unique per outlet."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"receipt_id": "A-10045", **_EXAMPLE_RECEIPT}]})

    receipt_id: ReceiptId


class VoucherRedemption(_Body):
    """Where and when a voucher was used."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"outlet": "A", "occurred_at": "2026-11-23T16:30:00+01:00"}]}
    )

    outlet: OutletCode
    occurred_at: Moment
    receipt_id: ReceiptId | None = None


class RefundedLine(_Body):
    """Some of a line of the purchase: its number, and how much of it comes back."""

    line: Annotated[int, Field(ge=1, le=IMPORTED_LINES_MAX)]
    quantity: Quantity


class RefundRequest(_Body):
    """What of a purchase comes back; no ``lines`` is all that is left. ``refund_id`` is unique per purchase."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"refund_id": "R-77", "lines": [{"line": 1, "quantity": 1}]}]}
    )

    refund_id: ReceiptId
    lines: Annotated[list[RefundedLine], Field(min_length=1, max_length=IMPORTED_LINES_MAX)] | None = None

    def command(self, purchase_id: UUID) -> RefundPurchase:
        """What the refunds' service is asked."""
        lines = None
        if self.lines is not None:
            lines = tuple((line.line, int(line.quantity * 1000)) for line in self.lines)
        return RefundPurchase(purchase_id=purchase_id, refund_id=self.refund_id, lines=lines)


class VisitRequest(_Body):
    """Somebody was there, without a receipt; ``visit_id`` is unique per outlet."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "card_number": "4000123412341234",
                    "outlet": "A",
                    "occurred_at": "2026-11-23T16:30:00+01:00",
                    "visit_id": "V-12",
                }
            ]
        }
    )

    card_number: CardNumber
    outlet: OutletCode
    occurred_at: Moment
    visit_id: ReceiptId

    def command(self) -> RecordVisit:
        """What the visits' service is asked."""
        return RecordVisit(
            card_number=self.card_number, outlet=self.outlet, occurred_at=self.occurred_at, visit_id=self.visit_id
        )


class HoldRequest(_Body):
    """Points to set aside; after ``expires_in_seconds`` they are the member's again by themselves."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "card_number": "4000123412341234",
                    "outlet": "A",
                    "points": 100,
                    "expires_in_seconds": 900,
                    "reference": "A-10045",
                }
            ]
        }
    )

    card_number: CardNumber
    outlet: OutletCode
    points: Points
    expires_in_seconds: Annotated[int, Field(ge=1, le=SECONDS_MAX)]
    reference: Annotated[str, StringConstraints(max_length=RECEIPT_ID_MAX)] = ""


class HoldCapture(_Body):
    """How many of the points pay, all of them if nothing is said; the rest is the member's again.

    ``outlet`` is where they pay, if not where they were set aside.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"points": 80}]})

    points: Points | None = None
    outlet: OutletCode | None = None


class HoldRelease(_Body):
    """Nothing is said: all points of the hold are the member's again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class AdjustmentRequest(_Body):
    """Points given (or, negative, taken) by hand, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"card_number": "4000123412341234", "points": 50, "reason": "The coffee was cold"}]
        }
    )

    card_number: CardNumber
    points: AdjustedPoints
    reason: Annotated[str, StringConstraints(min_length=REASON_MIN, max_length=REASON_MAX)]


class CoefficientRequest(_Body):
    """The member's own percent, for one outlet or (without ``outlet``) all; null or 0 takes it away."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"percent": 5, "outlet": "A", "ends_at": "2027-01-01T00:00:00+01:00"}]}
    )

    percent: Percent | None
    outlet: OutletCode | None = None
    ends_at: Moment | None = None
    redeem_max_percent: RedeemPercent | None = None


class TagsRequest(_Body):
    """All tags of the member, in place of those that are set."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["staff", "press"]}]})

    tags: Annotated[list[Annotated[str, StringConstraints(pattern=CODE_PATTERN)]], Field(max_length=TAGS_MAX)]


class EntriesQuery(BaseModel):
    """A page of a ledger: at most ``limit`` rows that come after (are older than) row ``after``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_SIZE_MAX)] = 50
