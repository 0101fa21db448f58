"""What tills get: the shapes of the answers, and how they are made of the services' values.

Points are integers, money is in the minor unit of the program's currency, percents are exact decimals or
fractions as text, moments are ISO 8601 with an offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from wallet_server.challenges.progress import ChallengeState
from wallet_server.ledger.adjustments import Adjusted
from wallet_server.ledger.holds import HoldState
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import EntryRow, shown
from wallet_server.members.coefficients import Coefficient, percent_text
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.refunds import Refunded
from wallet_server.purchases.services import Recorded
from wallet_server.purchases.visits import Visited
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.wins import Won
from wallet_server.rules.engine import Quote
from wallet_server.rules.numbers import shortest


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


def quote_body(made: Quote, spendable_at: datetime) -> dict[str, Any]:
    """The answer to a quote."""
    return {
        "total_minor": made.total_minor,
        "discount_minor": made.discount_minor,
        "redeemable_points": made.redeemable_points,
        "points_redeemed": made.points_redeemed,
        "money_due_minor": made.money_due_minor,
        "points_earned": made.points_earned,
        "points_earned_spendable_at": spendable_at,
        "lines": [
            {
                "line": line.line,
                "amount_minor": line.amount_minor,
                "discount_minor": line.discount_minor,
                "earn_percent": shortest(line.earn_percent),
                "redeem_percent": shortest(line.redeem_percent),
                "points_earned": line.points_earned,
                "paid_with_points_minor": line.paid_with_points_minor,
            }
            for line in made.lines
        ],
        "trace": [{name: step[name] for name in TraceStep.model_fields} for step in made.trace],
    }


def purchase_body(done: Recorded, program: ProgramDefinition) -> dict[str, Any]:
    """The answer to a purchase."""
    return {
        **quote_body(done.quote, done.spendable_at),
        "purchase_id": done.purchase_id,
        "balance": balance_body(done.balance, program),
        "tier": done.tier,
        "challenges": challenge_bodies(done.challenges),
        "rewards": [reward_body(won) for won in done.rewards],
    }


def refund_body(done: Refunded, program: ProgramDefinition) -> dict[str, Any]:
    """The answer to a refund."""
    return {
        "refund_id": done.refund_id,
        "purchase_id": done.purchase_id,
        "amount_minor": done.amount_minor,
        "money_minor": done.money_minor,
        "points_returned": done.points_returned,
        "points_taken_back": done.points_taken_back,
        "points_owed": done.points_owed,
        "balance": balance_body(done.balance, program),
        "tier": done.tier,
        "challenges": challenge_bodies(done.challenges),
        "vouchers_withdrawn": list(done.vouchers_withdrawn),
        "vouchers_kept": list(done.vouchers_kept),
    }


def visit_body(done: Visited, program: ProgramDefinition, visit_id: str) -> dict[str, Any]:
    """The answer to a visit."""
    return {
        "visit_id": visit_id,
        "balance": balance_body(done.balance, program),
        "tier": done.tier,
        "challenges": challenge_bodies(done.challenges),
        "rewards": [reward_body(won) for won in done.rewards],
    }


def hold_body(state: HoldState, program: ProgramDefinition) -> dict[str, Any]:
    """A hold."""
    return {
        "hold_id": state.id,
        "points": state.points,
        "captured_points": state.captured_points,
        "state": state.state,
        "expires_at": state.expires_at,
        "balance": balance_body(state.balance, program),
    }


def adjustment_body(done: Adjusted, program: ProgramDefinition) -> dict[str, Any]:
    """The answer to an adjustment."""
    return {
        "adjustment_id": done.adjustment_id,
        "points": done.points,
        "state": done.state,
        "balance": balance_body(done.balance, program),
    }


def balance_body(balance: Balance, program: ProgramDefinition) -> dict[str, int]:
    """A member's points."""
    return {"spendable": shown(balance, program.points), "pending": balance.pending}


def challenge_bodies(states: Sequence[ChallengeState]) -> list[dict[str, Any]]:
    """A member's challenges."""
    return [
        {"code": state.code, "progress": state.progress, "target": state.target, "completed": state.completed}
        for state in states
    ]


def reward_body(won: Won) -> dict[str, Any]:
    """A reward."""
    names = ("challenge", "kind", "voucher_code", "points", "tier", "tier_until")
    return {name: getattr(won, name) for name in names}


def voucher_body(voucher: Voucher) -> dict[str, Any]:
    """A voucher."""
    return {
        "code": voucher.code,
        "kind": voucher.benefit["kind"],
        "sku": voucher.benefit.get("sku"),
        "issued_at": voucher.issued_at,
        "expires_at": voucher.expires_at,
        "redeemed_at": voucher.redeemed_at,
    }


def coefficient_bodies(coefficients: Sequence[Coefficient]) -> list[dict[str, Any]]:
    """Percents of a member."""
    return [
        {
            "percent": percent_text(one.percent),
            "outlet": one.outlet,
            "ends_at": one.ends_at,
            "redeem_max_percent": None if one.redeem_max_percent is None else percent_text(one.redeem_max_percent),
        }
        for one in coefficients
    ]


def entry_body(row: EntryRow, program: ProgramDefinition) -> dict[str, Any]:
    """A row of the ledger."""
    return {
        "sequence": row.sequence,
        "account": row.account,
        "points": row.points,
        "balance_after": row.balance_after,
        "kind": row.kind,
        "reason": row.reason,
        "purchase_id": row.purchase_id,
        "outlet": None if row.outlet_id is None else program.outlet_by_id(row.outlet_id).section.code,
        "occurred_at": row.occurred_at,
        "recorded_at": row.recorded_at,
    }
