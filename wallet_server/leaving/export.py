"""What we know of a member, as one JSON document to take along (GDPR, articles 15 and 20)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col

from wallet_server.challenges.models import ChallengeProgress
from wallet_server.issuance.models import IssuedPass
from wallet_server.ledger.expiry import current_balance
from wallet_server.ledger.models import Entry, Posting
from wallet_server.members.models import Card, Consent, Member, MemberStatistics, MemberTag
from wallet_server.notifications.models import Notification
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.models import Purchase, PurchaseLine, Refund, Visit
from wallet_server.rewards.models import Voucher
from wallet_server.tiers.models import MemberTier, TierChange

VERSION: Final = 1
ROWS_MAX: Final = 20_000
"""Of each kind, the newest; nobody is at a till more often in a life."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One list of the document: whose rows, in which order, with which columns."""

    model: type[SQLModel]
    newest: str
    columns: tuple[str, ...]


_PARTS: Final[Mapping[str, _Part]] = {
    "cards": _Part(Card, "created_at", ("number", "created_at", "blocked_at")),
    "consents": _Part(Consent, "at", ("kind", "granted", "text_version", "source", "at")),
    "tags": _Part(MemberTag, "set_at", ("tag", "set_at")),
    "tier": _Part(MemberTier, "since", ("tier", "since", "protected_until")),
    "tier_changes": _Part(TierChange, "at", ("from_tier", "to_tier", "reason", "at")),
    "visits": _Part(Visit, "occurred_at", ("visit_id", "outlet_id", "occurred_at")),
    "refunds": _Part(Refund, "recorded_at", ("purchase_id", "refund_id", "amount_minor", "recorded_at")),
    "vouchers": _Part(Voucher, "issued_at", ("code", "benefit", "issued_at", "expires_at", "redeemed_at")),
    "challenges": _Part(
        ChallengeProgress, "window", ("challenge", "window", "progress", "completions", "completed_at")
    ),
    "passes": _Part(IssuedPass, "created_at", ("wallet", "created_at", "fetched_at", "voided_at")),
    "messages": _Part(Notification, "decided_at", ("kind", "text", "state", "reason", "shown_at")),
}
_PURCHASE: Final = (
    "id", "receipt_id", "outlet_id", "occurred_at", "payment_type", "total_minor", "discount_minor",
    "money_due_minor", "points_redeemed", "points_earned", "returned_minor",
)  # fmt: skip
_LINE: Final = ("line", "sku", "category", "quantity_thousandths", "unit_price_minor", "amount_minor", "points_earned")
_LINES_AT_ONCE: Final = 500


def export_member(session: Session, program: ProgramDefinition, member: Member, now: datetime) -> dict[str, Any]:
    """Everything that is kept of a member. Times are UTC, amounts in the currency's minor unit, outlets by code.

    The newest 20,000 rows of each kind. Secrets (addresses, tokens) are not in it. Call it in one consistent read.
    """
    balance = current_balance(session, program, member.id, now)
    statistics = session.get(MemberStatistics, member.id)
    return {
        "version": VERSION,
        "program": program.slug,
        "currency": program.currency,
        "written_at": now.isoformat(),
        "member": {
            "id": str(member.id),
            "phone": member.phone,
            "email": member.email,
            "external_id": member.external_id,
            "name": member.name,
            "birthday": member.birthday and member.birthday.isoformat(),
            "language": member.language,
            "channel": member.channel,
            "joined_at": member.joined_at.isoformat(),
            "referral_code": member.referral_code,
            "own_percents": statistics.coefficients if statistics else [],
        },
        "balance": {name: getattr(balance, name) for name in ("spendable", "pending", "held", "owed")},
        "points": _entries(session, program, member.id),
        "purchases": _purchases(session, program, member.id),
        **{name: _rows(session, program, part, member.id) for name, part in _PARTS.items()},
    }


def _rows(session: Session, program: ProgramDefinition, part: _Part, member_id: UUID) -> list[dict[str, Any]]:
    table: sa.Table = part.model.__table__  # type: ignore[attr-defined]
    statement = (
        sa.select(*(table.c[name] for name in part.columns))
        .where(table.c.program_id == program.id, table.c.member_id == member_id)
        .order_by(table.c[part.newest].desc())
        .limit(ROWS_MAX)
    )
    return [_plain(program, row._mapping) for row in session.execute(statement)]


def _entries(session: Session, program: ProgramDefinition, member_id: UUID) -> list[dict[str, Any]]:
    """The rows of the ledger, newest first."""
    statement = (
        sa.select(
            *(col(column) for column in (Entry.sequence, Entry.account, Entry.points, Entry.balance_after)),
            *(col(column) for column in (Posting.kind, Posting.reason, Posting.occurred_at)),
        )
        .join(Posting, col(Posting.id) == col(Entry.posting_id))
        .where(col(Entry.program_id) == program.id, col(Entry.member_id) == member_id, col(Entry.sequence).is_not(None))
        .order_by(col(Entry.sequence).desc())
        .limit(ROWS_MAX)
    )
    return [_plain(program, row._mapping) for row in session.execute(statement)]


def _purchases(session: Session, program: ProgramDefinition, member_id: UUID) -> list[dict[str, Any]]:
    part = _Part(Purchase, "occurred_at", _PURCHASE)
    purchases = _rows(session, program, part, member_id)
    ids = [UUID(purchase["id"]) for purchase in purchases]
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for start in range(0, len(ids), _LINES_AT_ONCE):
        for purchase_id, line in _lines(session, program, ids[start : start + _LINES_AT_ONCE]):
            lines[purchase_id].append(line)
    return [{**purchase, "lines": lines[purchase["id"]]} for purchase in purchases]


def _lines(session: Session, program: ProgramDefinition, ids: Sequence[UUID]) -> list[tuple[str, dict[str, Any]]]:
    columns = [getattr(PurchaseLine, name) for name in _LINE]
    statement = (
        sa.select(col(PurchaseLine.purchase_id), *columns)
        .where(col(PurchaseLine.program_id) == program.id, col(PurchaseLine.purchase_id).in_(ids))
        .order_by(col(PurchaseLine.purchase_id), col(PurchaseLine.line))
    )
    return [(str(row.purchase_id), {name: getattr(row, name) for name in _LINE}) for row in session.execute(statement)]


def _plain(program: ProgramDefinition, row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row in JSON's own words, with the outlet's code for its id."""
    document: dict[str, Any] = {}
    for name, value in row.items():
        if name == "outlet_id":
            document["outlet"] = program.outlet_by_id(value).section.code
        elif isinstance(value, datetime):
            document[name] = value.isoformat()
        else:
            document[name] = str(value) if isinstance(value, UUID) else value
    return document
