"""What tills get: the shapes of the answers; :mod:`wallet_server.web.pos_api.writing` makes them.

Points are integers, money is in the minor unit of the program's currency, percents are exact decimals or
fractions as text, moments are ISO 8601 with an offset.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel


class MemberJoined(BaseModel):
    """A membership; the addresses are the member's secret. ``google_save_url`` is null without Google Wallet."""

    member_id: UUID
    card_number: str
    page_url: str
    apple_pass_url: str
    google_save_url: str | None


class BalanceAnswer(BaseModel):
    """Points that can be spent, and points whose time has not come yet.

    ``spendable`` is below zero where the program lets a debt be shown so.
    """

    spendable: int
    pending: int


class ChallengeAnswer(BaseModel):
    """Where the member stands in a challenge's running window."""

    code: str
    progress: int
    target: int
    completed: bool


class VoucherAnswer(BaseModel):
    """A voucher; ``benefit`` is what it is good for."""

    code: str
    kind: str
    sku: str | None
    issued_at: datetime
    expires_at: datetime | None
    redeemed_at: datetime | None


class OfferAnswer(BaseModel):
    """What the newest campaign offers this member, in the member's language."""

    text: str


class CoefficientAnswer(BaseModel):
    """A percent of the member's own; ``outlet`` null is the whole network, ``ends_at`` is exclusive."""

    percent: str
    outlet: str | None
    ends_at: datetime | None
    redeem_max_percent: str | None


class CoefficientsAnswer(BaseModel):
    """All percents of the member's own, the network's first."""

    card_number: str
    coefficients: list[CoefficientAnswer]


class TagsAnswer(BaseModel):
    """The member's tags, in order."""

    card_number: str
    tags: list[str]


class MemberAnswer(BaseModel):
    """What the cashier sees of a card; ``vouchers`` are those that can be redeemed now.

    ``points_held`` are set aside by open holds, ``points_owed`` are paid by the next earnings; ``coefficients``
    are those that have not ended.
    """

    member_id: UUID
    card_number: str
    tier: str | None
    balance: BalanceAnswer
    challenges: list[ChallengeAnswer]
    vouchers: list[VoucherAnswer]
    offers: list[OfferAnswer]
    points_held: int
    points_owed: int
    tags: list[str]
    coefficients: list[CoefficientAnswer]


class EntryAnswer(BaseModel):
    """One row of the member's ledger: ``points`` into (or, negative, out of) one of the member's accounts.

    Accounts are ``spendable``, ``pending``, ``held`` and ``owed``: a debt, whose rows are negative where it grows.
    ``outlet`` is where it happened, null for what the program or its staff did.
    """

    sequence: int
    account: str
    points: int
    balance_after: int
    kind: str
    reason: str
    purchase_id: UUID | None
    outlet: str | None
    occurred_at: datetime
    recorded_at: datetime


class EntriesAnswer(BaseModel):
    """A page of the ledger, newest first; ``next_after`` asks for the next one, null at the end."""

    entries: list[EntryAnswer]
    next_after: int | None


class QuoteLineAnswer(BaseModel):
    """What became of a line; ``amount_minor`` is before discounts."""

    line: int
    amount_minor: int
    discount_minor: int
    earn_percent: str
    redeem_percent: str
    points_earned: int
    paid_with_points_minor: int


class TraceStep(BaseModel):
    """A rule that was looked at; ``line`` is null for the whole receipt."""

    rule: str
    family: str
    line: int | None
    matched: bool
    effect: dict[str, Any]
    why: str


class QuoteAnswer(BaseModel):
    """What a receipt brings and costs; ``total_minor`` is before discounts."""

    total_minor: int
    discount_minor: int
    redeemable_points: int
    points_redeemed: int
    money_due_minor: int
    points_earned: int
    points_earned_spendable_at: datetime
    lines: list[QuoteLineAnswer]
    trace: list[TraceStep]


class RewardAnswer(BaseModel):
    """What was won by this purchase: a voucher's code, points, or a tier until a moment."""

    challenge: str
    kind: Literal["voucher", "points", "tier"]
    voucher_code: str | None
    points: int | None
    tier: str | None
    tier_until: datetime | None


class PurchaseAnswer(QuoteAnswer):
    """A recorded purchase, and the member after it."""

    purchase_id: UUID
    balance: BalanceAnswer
    tier: str | None
    challenges: list[ChallengeAnswer]
    rewards: list[RewardAnswer]


class RefundAnswer(BaseModel):
    """A refund, and the member after it.

    ``amount_minor`` of goods came back, of which ``money_minor`` is to be given back in money.
    ``points_taken_back`` is below zero where what is left earns more than more had earned; ``points_owed`` of them
    the member had spent already. ``vouchers_withdrawn`` had been won with what came back, and are good no longer;
    ``vouchers_kept`` had been used before.
    """

    refund_id: str
    purchase_id: UUID
    amount_minor: int
    money_minor: int
    points_returned: int
    points_taken_back: int
    points_owed: int
    balance: BalanceAnswer
    tier: str | None
    challenges: list[ChallengeAnswer]
    vouchers_withdrawn: list[str]
    vouchers_kept: list[str]


class VisitAnswer(BaseModel):
    """A recorded visit, and the member after it."""

    visit_id: str
    balance: BalanceAnswer
    tier: str | None
    challenges: list[ChallengeAnswer]
    rewards: list[RewardAnswer]


class HoldAnswer(BaseModel):
    """A hold, and the member's points after what was done; ``captured_points`` of the ``points`` have paid."""

    hold_id: UUID
    points: int
    captured_points: int
    state: Literal["open", "captured", "released", "expired"]
    expires_at: datetime
    balance: BalanceAnswer


class AdjustmentAnswer(BaseModel):
    """An adjustment; a ``waiting`` one has changed nothing until a second person approves it in the panel."""

    adjustment_id: UUID
    points: int
    state: Literal["posted", "waiting"]
    balance: BalanceAnswer


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457); programs go by ``code``."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None
    retry: Literal["new_key"] | None = None
    retry_after: int | None = None
    purchase_id: UUID | None = None
