"""How the answers to tills are made of the services' values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

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
from wallet_server.web.pos_api.answers import TraceStep

_OF_A_STEP: Final = tuple(TraceStep.model_fields)


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
        "trace": [{name: step[name] for name in _OF_A_STEP} for step in made.trace],
    }


def purchase_body(done: Recorded, program: ProgramDefinition) -> dict[str, Any]:
    """The answer to a purchase."""
    return {
        **quote_body(done.quote, done.spendable_at),
        "purchase_id": done.purchase_id,
        **standing_body(done, program),
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
        **standing_body(done, program),
        "vouchers_withdrawn": list(done.vouchers_withdrawn),
        "vouchers_kept": list(done.vouchers_kept),
    }


def visit_body(done: Visited, program: ProgramDefinition, visit_id: str) -> dict[str, Any]:
    """The answer to a visit."""
    return {
        "visit_id": visit_id,
        **standing_body(done, program),
        "rewards": [reward_body(won) for won in done.rewards],
    }


def standing_body(done: Recorded | Refunded | Visited, program: ProgramDefinition) -> dict[str, Any]:
    """Where the member stands after what was done."""
    return {
        "balance": balance_body(done.balance, program),
        "tier": done.tier,
        "challenges": challenge_bodies(done.challenges),
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
