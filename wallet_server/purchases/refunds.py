"""The use-case of a refund: lines of a recorded purchase come back, with everything that followed from them.

What it does to points and money is worked out in :mod:`wallet_server.purchases.remainder`; here the difference to
what was done before is booked. One refund of a member runs at a time: the balance row is its lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import floor
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.challenges import returns as challenge_returns
from wallet_server.challenges.progress import ChallengeState
from wallet_server.challenges.queries import states as challenge_states
from wallet_server.db import insert_rows, new_id
from wallet_server.errors import DomainError
from wallet_server.issuance.services import passes_changed
from wallet_server.ledger.expiry import expires_at, lock_current
from wallet_server.ledger.models import Posting
from wallet_server.ledger.postings import Balance, earn
from wallet_server.ledger.queries import balance as read_balance
from wallet_server.ledger.returns import give_back, take_back
from wallet_server.ledger.services import post
from wallet_server.members.models import MemberStatistics
from wallet_server.partners.services import settle
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.purchases.commands import RefundPurchase, check_refund
from wallet_server.purchases.models import Purchase, PurchaseLine, Refund, RefundLine, Visit
from wallet_server.purchases.plan import spendable_at
from wallet_server.purchases.queries import facts_of_day, lines_of_purchase, purchase_by_id, trace_of_purchase
from wallet_server.purchases.recorded import bought_of, facts_of_purchase
from wallet_server.purchases.remainder import Bought, Remainder, remainder
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
REFUND: sa.Table = Refund.__table__  # type: ignore[attr-defined]
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


@dataclass(frozen=True, slots=True)
class _Sale:
    """A purchase that is being refunded: its row as it was before, its version, and what is left and comes back.

    Quantities in thousandths, by number of the line.
    """

    row: Purchase
    lines: Sequence[PurchaseLine]
    version: ProgramDefinition
    bought: Bought
    left: Mapping[int, int]
    back: Mapping[int, int]
    before: Remainder
    after: Remainder
    reason: str

    @property
    def is_over(self) -> bool:
        """Nothing is left of it."""
        return not any(self.left.values())


@dataclass(frozen=True, slots=True)
class _Points:
    """What a refund moved; ``taken_back`` below zero are points that what is left has brought back."""

    returned: int
    reissued: int
    taken_back: int
    owed: int
    carried_points: int


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
    lock_current(session, program, [member_id], now)
    sale = _sale(session, program, command, outlet)
    points = _move_points(session, program, sale, now)
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
    passes_changed(session, program, [member_id], now)
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
        balance=read_balance(session, member_id),
        tier=tier,
        challenges=challenge_states(session, program, [member_id], now).get(member_id, ()),
        vouchers_withdrawn=rewards.vouchers_withdrawn,
        vouchers_kept=rewards.vouchers_kept,
        trace=row["trace"],
    )


def _event(sale: _Sale, command: RefundPurchase, points: _Points) -> Event:
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
        "lines": [{"line": number, "quantity": _units(back)} for number, back in sorted(sale.back.items())],
    }
    return Event("purchase.refunded", sale.row.member_id, data)


def _sale(session: Session, program: ProgramDefinition, command: RefundPurchase, outlet: str | None) -> _Sale:
    """The purchase, read after the lock, with what comes back; refuses what cannot."""
    row = purchase_by_id(session, command.purchase_id, fresh=True)
    code = program.outlet_by_id(row.outlet_id).section.code
    if outlet is not None and code != outlet:
        raise DomainError("other_outlet", f"this purchase was made at another outlet than {outlet!r}", status=403)
    lines = lines_of_purchase(session, row.id, fresh=True)
    first = session.exec(
        select(Refund.id).where(Refund.purchase_id == row.id, Refund.refund_id == command.refund_id)
    ).one_or_none()
    if first is not None:
        raise DomainError("duplicate_refund", "this refund has been recorded before", status=409, refund=str(first))
    before = {line.line: line.quantity_thousandths - line.returned_thousandths for line in lines}
    back = _asked_for(command, before)
    version = load_program(session, program_id=program.id, number=row.program_version)
    trace = trace_of_purchase(session, row.id)
    assert trace is not None, "each purchase has its trace (invariant L9)"
    bought = bought_of(row, lines, trace, version)
    left = {number: quantity - back.get(number, 0) for number, quantity in before.items()}
    return _Sale(
        row=row,
        lines=lines,
        version=version,
        bought=bought,
        left=left,
        back=back,
        before=remainder(version, bought, before),
        after=remainder(version, bought, left),
        reason=f"Refund {command.refund_id} of receipt {row.receipt_id}",
    )


def _asked_for(command: RefundPurchase, left: Mapping[int, int]) -> dict[int, int]:
    """What comes back of each line; refuses what is not left."""
    back = {number: quantity for number, quantity in left.items() if quantity}
    if command.lines is not None:
        back = dict(command.lines)
        for number in back:
            if number not in left:
                raise DomainError("unknown_line", f"this purchase has no line {number}", line=number)
    for number, quantity in back.items():
        if quantity > left[number]:
            raise DomainError(
                "refund_exceeds_purchase",
                f"of line {number} {_units(left[number])} are left and {_units(quantity)} were to come back",
                status=409,
                line=number,
                left=_units(left[number]),
            )
    if not back:
        raise DomainError("refund_exceeds_purchase", "nothing of this purchase is left", status=409)
    return back


def _units(thousandths: int) -> str:
    return f"{thousandths // 1000}.{thousandths % 1000:03d}".rstrip("0").rstrip(".")


def _move_points(session: Session, program: ProgramDefinition, sale: _Sale, now: datetime) -> _Points:
    """Return points that paid, take back what was earned, and put the carried fraction right."""
    row, member_id, outlet_id = sale.row, sale.row.member_id, sale.row.outlet_id
    returned = row.points_redeemed - sale.after.points_redeemed - row.points_returned
    given = give_back(
        session,
        program,
        member_id,
        purchase_id=row.id,
        points=returned,
        reason=sale.reason,
        occurred_at=now,
        now=now,
        outlet_id=outlet_id,
    )
    if returned:
        settle(session, program, now, purchase_ids=[row.id])
    taken = row.points_earned - sale.after.points_earned - row.points_taken_back
    owed = 0
    if taken > 0:
        owed = take_back(
            session,
            program,
            member_id,
            purchase_id=row.id,
            points=taken,
            reason=sale.reason,
            occurred_at=now,
            now=now,
            outlet_id=outlet_id,
        ).owed
    elif taken < 0:
        # What is left meets a rule that more had not met: it keeps more than before.
        due = spendable_at(sale.version, row.occurred_at, now)
        again = earn(
            member_id,
            -taken,
            kind="take_back",
            reason=sale.reason,
            occurred_at=now,
            purchase_id=row.id,
            spendable_at=due,
            pending=due > now,
            expires_at=expires_at(sale.version, row.occurred_at),
            outlet_id=outlet_id,
        )
        first = _earning_of(session, row.id)
        post(session, program.id, [replace(again, corrects=first)], now)
    carried_points = _carry(session, program, sale, now)
    return _Points(returned, given.reissued, taken, owed, carried_points)


def _earning_of(session: Session, purchase_id: UUID) -> UUID | None:
    return session.exec(
        select(Posting.id).where(Posting.purchase_id == purchase_id, Posting.kind == "earn")
    ).one_or_none()


def _carry(session: Session, program: ProgramDefinition, sale: _Sale, now: datetime) -> int:
    """Move the member's carried fraction by what this purchase has put into it; points that this made or cost.

    Purchases after this one may have used the fraction up, or come short of a point for it: then a whole point
    changes hands, so that the card is as if the returned lines had never been.
    """
    change = sale.after.carried - sale.before.carried
    if not change or not sale.version.points.carry_fraction:
        return 0
    member_id = sale.row.member_id
    carried = read_balance(session, member_id).carried + change
    points = floor(carried)
    reason = f"Carried fraction after {sale.reason[0].lower()}{sale.reason[1:]}"
    moves = []
    if points > 0:
        moves.append(
            earn(
                member_id,
                points,
                kind="take_back",
                reason=reason,
                occurred_at=now,
                # No longer than the purchase's own points: refunds lengthen no point's life.
                expires_at=expires_at(sale.version, sale.row.occurred_at),
                outlet_id=sale.row.outlet_id,
            )
        )
    elif points < 0:
        take_back(
            session,
            program,
            member_id,
            purchase_id=None,
            points=-points,
            reason=reason,
            occurred_at=now,
            now=now,
            outlet_id=sale.row.outlet_id,
        )
    post(session, program.id, moves, now, carried={member_id: carried - points})
    return points


def _write_purchase(session: Session, sale: _Sale, points: _Points, now: datetime) -> None:
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


def _write_statistics(session: Session, sale: _Sale, points: _Points) -> None:
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
    session: Session, program: ProgramDefinition, sale: _Sale, now: datetime
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
    sale: _Sale,
    points: _Points,
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
    sale: _Sale,
    command: RefundPurchase,
    points: _Points,
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


def _note(session: Session, sale: _Sale, row: Mapping[str, Any]) -> None:
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
