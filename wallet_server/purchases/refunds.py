"""The use-case of a refund: lines of a recorded purchase come back, with everything that followed from them.

What it does to points and money is worked out in :mod:`wallet_server.purchases.remainder`; here the difference to
what was done before is booked. One refund of a member runs at a time: the balance row is its lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.challenges import returns as challenge_returns
from wallet_server.challenges.progress import ChallengeState
from wallet_server.challenges.queries import states as challenge_states
from wallet_server.db import insert_rows, new_id
from wallet_server.ledger.expiry import lock_current
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import balance as read_balance
from wallet_server.members.models import MemberStatistics
from wallet_server.notifications.services import tell
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.purchases.commands import RefundPurchase, check_refund
from wallet_server.purchases.models import Purchase, PurchaseLine, Refund, RefundLine, Visit
from wallet_server.purchases.noticed import noticed
from wallet_server.purchases.queries import facts_of_day, purchase_by_id
from wallet_server.purchases.recorded import facts_of_purchase
from wallet_server.purchases.refund_points import PointsMoved, move_points
from wallet_server.purchases.sale import Sale, sale_of, units
from wallet_server.rewards import returns as reward_returns
from wallet_server.rules.numbers import shortest
from wallet_server.staff import audit
from wallet_server.tiers.queries import tiers as read_tiers
from wallet_server.tiers.services import reconsider
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

TRACE_VERSION: Final = 1

PURCHASE: sa.Table = Purchase.__table__  # type: ignore[attr-defined]
LINE: sa.Table = PurchaseLine.__table__  # type: ignore[attr-defined]
VISIT: sa.Table = Visit.__table__  # type: ignore[attr-defined]
STATISTICS: sa.Table = MemberStatistics.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Refunded:
    """A refund that was booked. ``balance``, ``tier`` and ``challenges`` are the member's after it.

    ``amount_minor`` is what the returned lines were sold for, ``money_minor`` the part of it to be given back in
    money. ``points_owed`` of the ``points_taken_back`` became a debt. ``vouchers_kept`` were won with what came
    back, and used already.
    """

    id: UUID
    refund_id: str
    purchase_id: UUID
    member_id: UUID
    amount_minor: int
    money_minor: int
    points_returned: int
    points_taken_back: int
    points_owed: int
    balance: Balance
    tier: str | None
    challenges: tuple[ChallengeState, ...]
    vouchers_withdrawn: tuple[str, ...]
    vouchers_kept: tuple[str, ...]
    trace: Mapping[str, Any]


def refund_purchase(
    session: Session,
    program: ProgramDefinition,
    command: RefundPurchase,
    *,
    now: datetime,
    recorded_by: str,
    outlet: str | None = None,
) -> Refunded:
    """Take lines of a purchase back: points, progress, tier and statistics as if they had never been bought.

    ``program`` is the version in force; points are computed with the purchase's own. ``outlet`` is the code of the
    only outlet whose purchases the caller may refund.

    Raises ``DomainError``: ``validation``, ``unknown_purchase`` (404), ``other_outlet`` (403), ``unknown_line``,
    ``duplicate_refund`` (409, with the first refund's ``refund``), ``refund_exceeds_purchase`` (409).
    """
    check_refund(command)
    member_id = purchase_by_id(session, command.purchase_id).member_id
    before = lock_current(session, program, [member_id], now)[member_id]
    sale = sale_of(session, program, command, outlet)
    points = move_points(session, program, sale, now)
    _write_purchase(session, sale, points, now)
    _write_statistics(session, sale, points)
    tier_before = read_tiers(session, [member_id]).get(member_id)
    progress, rewards = _take_back_progress(session, program, sale, now)
    emit(session, program.id, [_event(sale, command, points)], now)
    tier = reconsider(session, program, [member_id], now, reason="refunded", lowered=True)[member_id]
    effects = _effects(sale, points, progress, rewards)
    if tier != tier_before:
        effects["tier"] = {"from": tier_before, "to": tier}
    row = _refund_row(session, sale, command, points, effects, now=now, recorded_by=recorded_by)
    balance = read_balance(session, member_id)
    tell(session, program, {member_id: noticed(program, before, balance)}, now)
    if recorded_by.startswith("staff:"):
        _note(session, sale, row)
    return Refunded(
        id=row["id"],
        refund_id=command.refund_id,
        purchase_id=sale.row.id,
        member_id=member_id,
        amount_minor=row["amount_minor"],
        money_minor=row["money_minor"],
        points_returned=points.returned,
        points_taken_back=points.taken_back,
        points_owed=points.owed,
        balance=balance,
        tier=tier,
        challenges=challenge_states(session, program, [member_id], now).get(member_id, ()),
        vouchers_withdrawn=rewards.vouchers_withdrawn,
        vouchers_kept=rewards.vouchers_kept,
        trace=row["trace"],
    )


def _event(sale: Sale, command: RefundPurchase, points: PointsMoved) -> Event:
    """What others are told of a refund; of a tier that falls with it they are told next."""
    data = {
        "purchase_id": str(sale.row.id),
        "receipt_id": sale.row.receipt_id,
        "refund_id": command.refund_id,
        "member_id": str(sale.row.member_id),
        "amount_minor": sale.before.amount_minor - sale.after.amount_minor,
        "points_returned": points.returned,
        "points_taken_back": points.taken_back,
        "points_owed": points.owed,
        "lines": [{"line": number, "quantity": units(back)} for number, back in sorted(sale.back.items())],
    }
    return Event("purchase.refunded", sale.row.member_id, data)


def _write_purchase(session: Session, sale: Sale, points: PointsMoved, now: datetime) -> None:
    connection = session.connection()
    connection.execute(
        sa.update(PURCHASE)
        .where(PURCHASE.c.id == sale.row.id)
        .values(
            returned_minor=PURCHASE.c.returned_minor + sale.before.amount_minor - sale.after.amount_minor,
            points_returned=PURCHASE.c.points_returned + points.returned,
            points_taken_back=PURCHASE.c.points_taken_back + points.taken_back,
            refunded_at=now if sale.is_over else None,
        )
    )
    connection.execute(
        sa.update(LINE)
        .where(LINE.c.purchase_id == sale.row.id, LINE.c.line == sa.bindparam("number"))
        .values(returned_thousandths=LINE.c.returned_thousandths + sa.bindparam("back")),
        [{"number": number, "back": quantity} for number, quantity in sorted(sale.back.items())],
    )


def _write_statistics(session: Session, sale: Sale, points: PointsMoved) -> None:
    """The member's statistics without what came back; a purchase of which nothing is left was no visit."""
    member_id = sale.row.member_id
    values: dict[str, Any] = {
        "spend_minor": STATISTICS.c.spend_minor - (sale.before.amount_minor - sale.after.amount_minor),
        "points_earned": STATISTICS.c.points_earned - points.taken_back,
    }
    if sale.is_over:
        values["purchases"] = STATISTICS.c.purchases - 1
        values["visits"] = STATISTICS.c.visits - 1
        moments = sa.union_all(
            sa.select(PURCHASE.c.occurred_at).where(
                PURCHASE.c.member_id == member_id, PURCHASE.c.refunded_at.is_(None)
            ),
            sa.select(VISIT.c.occurred_at).where(VISIT.c.member_id == member_id),
        ).subquery()
        values["first_visit_at"] = sa.select(sa.func.min(moments.c.occurred_at)).scalar_subquery()
        values["last_visit_at"] = sa.select(sa.func.max(moments.c.occurred_at)).scalar_subquery()
    session.connection().execute(sa.update(STATISTICS).where(STATISTICS.c.member_id == member_id).values(**values))


def _take_back_progress(
    session: Session, program: ProgramDefinition, sale: Sale, now: datetime
) -> tuple[list[challenge_returns.Less], reward_returns.Withdrawn]:
    """Challenges that the returned lines had fed, and what their completions had won."""
    # Challenges were counted by the version of the day on which the purchase was recorded.
    counted = load_program(session, program_id=program.id, at=sale.row.recorded_at)
    limited = any(
        challenge.max_per_day is not None for version in (counted, program) for challenge in version.file.challenges
    )
    code = sale.bought.outlet
    whole = {line.line: line.quantity_thousandths for line in sale.lines}
    less = challenge_returns.take_back(
        session,
        program,
        counted,
        bought=facts_of_purchase(sale.row, sale.lines, code, whole),
        left=None if sale.is_over else facts_of_purchase(sale.row, sale.lines, code, sale.left),
        same_day=facts_of_day(session, program, sale.row) if limited else (),
    )
    lost = [one for part in less for one in part.lost]
    withdrawn = reward_returns.withdraw(session, program, lost, reason=sale.reason, now=now)
    challenge_returns.uncomplete(session, program, withdrawn.undone)
    return less, withdrawn


def _effects(
    sale: Sale,
    points: PointsMoved,
    progress: Sequence[challenge_returns.Less],
    rewards: reward_returns.Withdrawn,
) -> dict[str, Any]:
    """What the refund did beside points returned and taken back: data for staff, which only grows."""
    effects: dict[str, Any] = {"points_left": sale.after.points_earned, "left_minor": sale.after.amount_minor}
    counts = {
        "points_reissued": points.reissued,
        "carried_points": points.carried_points,
        "reward_points_taken_back": rewards.points,
        "reward_points_owed": rewards.points_owed,
    }
    effects |= {name: count for name, count in counts.items() if count}
    if sale.after.carried != sale.before.carried:
        effects["carried"] = shortest(sale.after.carried - sale.before.carried)
    if progress:
        effects["challenges"] = [
            {"code": part.challenge, "window": part.window, "taken_back": part.amount} for part in progress
        ]
    for name in ("vouchers_withdrawn", "vouchers_kept", "tiers_ended"):
        if getattr(rewards, name):
            effects[name] = list(getattr(rewards, name))
    return effects


def _refund_row(
    session: Session,
    sale: Sale,
    command: RefundPurchase,
    points: PointsMoved,
    effects: Mapping[str, Any],
    *,
    now: datetime,
    recorded_by: str,
) -> dict[str, Any]:
    """Write the refund and its lines."""
    given = session.execute(
        sa.select(sa.func.coalesce(sa.func.sum(col(Refund.money_minor)), 0)).where(
            col(Refund.purchase_id) == sale.row.id
        )
    ).scalar_one()
    row = {
        "id": new_id(),
        "program_id": sale.row.program_id,
        "purchase_id": sale.row.id,
        "member_id": sale.row.member_id,
        "refund_id": command.refund_id,
        "recorded_at": now,
        "recorded_by": recorded_by[:200],
        "amount_minor": sale.before.amount_minor - sale.after.amount_minor,
        # Rounding of a line that points paid may bring it back by a minor unit: nobody is asked for money again.
        "money_minor": max(0, sale.row.money_due_minor - sale.after.money_minor - int(given)),
        "points_returned": points.returned,
        "points_taken_back": points.taken_back,
        "points_owed": points.owed,
        "trace": {"v": TRACE_VERSION, "steps": [dict(step) for step in sale.after.trace], "effects": dict(effects)},
    }
    insert_rows(session, Refund, [row])
    insert_rows(
        session,
        RefundLine,
        [
            {
                "refund_id": row["id"],
                "program_id": sale.row.program_id,
                "line": number,
                "quantity_thousandths": quantity,
                "amount_minor": sale.before.lines_minor[number] - sale.after.lines_minor.get(number, 0),
            }
            for number, quantity in sorted(sale.back.items())
        ],
    )
    return row


def _note(session: Session, sale: Sale, row: Mapping[str, Any]) -> None:
    """Refunds by hand go into the audit log: no till stands behind them."""
    audit.record(
        session,
        program_id=sale.row.program_id,
        actor=row["recorded_by"],
        action="purchase.refunded",
        subject=sale.row.receipt_id,
        detail={name: row[name] for name in ("refund_id", "amount_minor", "points_taken_back", "points_returned")},
        now=row["recorded_at"],
    )
