"""What becomes of rewards whose completion is undone, because a refund took away what had reached it.

A voucher that was not used is withdrawn: it expires at once, says why, and can no longer be redeemed. A used one is
not taken back: its round stays completed, so that the next reward has to be reached beyond it, and the refund says
so. Points are taken back like those of a purchase: what was spent becomes a debt. A temporary tier ends, unless
staff have promised it for longer since then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.i18n import localized
from wallet_server.ledger.models import Lot, Posting
from wallet_server.ledger.returns import take_back
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.wins import WITHDRAWN, Completion
from wallet_server.tiers.models import MemberTier, TierChange
from wallet_server.tiers.services import protect_tier

VOUCHER: sa.Table = Voucher.__table__  # type: ignore[attr-defined]
POSTING: sa.Table = Posting.__table__  # type: ignore[attr-defined]
LOT: sa.Table = Lot.__table__  # type: ignore[attr-defined]
TIER: sa.Table = MemberTier.__table__  # type: ignore[attr-defined]
CHANGE: sa.Table = TierChange.__table__  # type: ignore[attr-defined]
ORIGIN_MAX = 140


@dataclass(frozen=True, slots=True)
class Lost:
    """A round that is no longer reached; ``sources`` are the purchases that had counted for its window."""

    completion: Completion
    sources: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was done: rounds whose reward is gone, codes of vouchers, and points that were taken back."""

    undone: tuple[Completion, ...] = ()
    vouchers_withdrawn: tuple[str, ...] = ()
    vouchers_kept: tuple[str, ...] = ()
    points: int = 0
    points_owed: int = 0
    tiers_ended: tuple[str, ...] = ()


def withdraw(
    session: Session, program: ProgramDefinition, lost: Sequence[Lost], *, reason: str, now: datetime
) -> Withdrawn:
    """Take back what these rounds of one member had won; the caller has locked the member's balance.

    Of a challenge's rounds in a window, those whose voucher was used stay: they are numbered again from the
    lowest of the lost ones, so that the numbers of the rounds that are left have no gap.
    """
    if not lost:
        return Withdrawn()
    ended: list[str] = []
    undone: list[Completion] = []
    withdrawn: list[str] = []
    kept: list[sa.Row[Any]] = []
    points = owed = 0
    taken: set[UUID] = set()
    vouchers = _vouchers(session, program.id, [one.completion for one in lost])
    groups: dict[tuple[str, str], list[Lost]] = {}
    for one in sorted(lost, key=lambda one: -one.completion.round):
        groups.setdefault((one.completion.challenge, one.completion.window), []).append(one)
    for rounds in groups.values():
        used: list[tuple[Completion, sa.Row[Any]]] = []
        for one in rounds:
            voucher = vouchers.get(one.completion.origin)
            if voucher is not None:
                if not _withdraw_voucher(session, voucher, reason=reason, now=now):
                    used.append((one.completion, voucher))
                    continue
                withdrawn.append(voucher.code)
            else:
                earning = _reward_posting(session, program, one, taken)
                if earning is not None:
                    taken.add(earning.id)
                    back = take_back(
                        session,
                        program,
                        one.completion.member_id,
                        purchase_id=earning.purchase_id,
                        earning_id=earning.id,
                        points=earning.points,
                        reason=reason,
                        occurred_at=now,
                        now=now,
                    )
                    points += earning.points
                    owed += back.owed
            ended += _end_tier(session, program, one.completion, now)
            undone.append(one.completion)
        _number_again(session, [one.completion for one in rounds], used)
        kept += [voucher for _completion, voucher in used]
    return Withdrawn(
        undone=tuple(undone),
        vouchers_withdrawn=tuple(withdrawn),
        vouchers_kept=tuple(str(voucher.code) for voucher in kept),
        points=points,
        points_owed=owed,
        tiers_ended=tuple(ended),
    )


def _end_tier(session: Session, program: ProgramDefinition, completion: Completion, now: datetime) -> list[str]:
    """End the temporary tier that a round had brought; the caller looks at the member's tier afterwards."""
    challenge = program.challenge(completion.challenge)
    if challenge is None or challenge.reward.tier is None:
        return []
    newest = (
        session.connection()
        .execute(
            sa.select(
                CHANGE.c.actor, CHANGE.c.reason, CHANGE.c.to_tier, CHANGE.c.at, TIER.c.tier, TIER.c.protected_until
            )
            .join(TIER, TIER.c.member_id == CHANGE.c.member_id)
            .where(CHANGE.c.program_id == program.id, CHANGE.c.member_id == completion.member_id)
            .order_by(CHANGE.c.at.desc(), CHANGE.c.id.desc())
            .limit(1)
        )
        .one_or_none()
    )
    if newest is None or newest.tier != newest.to_tier or newest.reason != "granted":
        return []
    until = newest.at + timedelta(days=challenge.reward.tier.days)
    if newest.actor != f"challenge:{completion.challenge}" or newest.protected_until != until:
        return []
    protect_tier(session, program, completion.member_id, until=None, actor=newest.actor, now=now)
    return [newest.tier]


def _vouchers(session: Session, program_id: UUID, completions: Collection[Completion]) -> dict[str, sa.Row[Any]]:
    """The vouchers that these rounds of one member had brought, by their origin."""
    [member_id] = {completion.member_id for completion in completions}
    rows = session.connection().execute(
        sa.select(VOUCHER).where(
            VOUCHER.c.program_id == program_id,
            VOUCHER.c.member_id == member_id,
            VOUCHER.c.origin.in_([completion.origin for completion in completions]),
        )
    )
    return {row.origin: row for row in rows}


def _withdraw_voucher(session: Session, voucher: sa.Row[Any], *, reason: str, now: datetime) -> bool:
    """Withdraw a voucher unless it was used; false if it was, by a till that may have been faster than our look."""
    expires_at = now if voucher.expires_at is None else min(now, voucher.expires_at)
    changed = session.connection().execute(
        sa.update(VOUCHER)
        .where(VOUCHER.c.id == voucher.id, VOUCHER.c.redeemed_at.is_(None))
        .values(
            # With the code, because the same round may be reached, and lost, again.
            origin=f"{WITHDRAWN}{voucher.code}:{voucher.origin}"[:ORIGIN_MAX],
            benefit={**voucher.benefit, "withdrawn": reason},
            expires_at=expires_at,
            lapsed_at=now,  # the refund changes the card itself
        )
    )
    return changed.rowcount == 1


def _number_again(
    session: Session, rounds: Sequence[Completion], used: Sequence[tuple[Completion, sa.Row[Any]]]
) -> None:
    """Give the rounds that stay the lowest numbers; they only ever become lower, so none meets another's."""
    lowest = min(completion.round for completion in rounds)
    for place, (completion, voucher) in enumerate(sorted(used, key=lambda pair: pair[0].round)):
        number = lowest + place
        if number != completion.round:
            prefix = completion.origin.rpartition(":")[0]
            session.connection().execute(
                sa.update(VOUCHER).where(VOUCHER.c.id == voucher.id).values(origin=f"{prefix}:{number}")
            )


def _reward_posting(session: Session, program: ProgramDefinition, lost: Lost, taken: Collection[UUID]) -> Any:
    """The newest posting that may have been this round's reward and was not taken back: id, purchase and points.

    The ledger says by which purchase a reward was won and calls it by the challenge's name, which may have been
    changed since then; visits leave no purchase. ``None`` if there is none.
    """
    challenge = program.challenge(lost.completion.challenge)
    name = "" if challenge is None else localized(challenge.name, program.default_language, program.languages)
    correction = sa.alias(POSTING, "correction")
    statement = (
        sa.select(POSTING.c.id, POSTING.c.purchase_id, LOT.c.points)
        .join(LOT, LOT.c.posting_id == POSTING.c.id)
        .outerjoin(correction, correction.c.reverses_id == POSTING.c.id)
        .where(
            POSTING.c.program_id == program.id,
            POSTING.c.member_id == lost.completion.member_id,
            POSTING.c.kind == "reward",
            POSTING.c.id.not_in(taken),
            sa.or_(
                POSTING.c.purchase_id.in_(lost.sources),
                sa.and_(POSTING.c.purchase_id.is_(None), POSTING.c.reason == name),
            ),
            correction.c.id.is_(None),
        )
        .order_by((POSTING.c.reason == name).desc(), POSTING.c.id.desc())
        .limit(1)
    )
    return session.connection().execute(statement).one_or_none()
