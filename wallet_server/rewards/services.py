"""Giving rewards, and redeeming vouchers once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, new_id
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import localized
from wallet_server.ledger.expiry import expires_at
from wallet_server.ledger.postings import Movement, earn
from wallet_server.ledger.services import post
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import VoucherReward
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.wins import WITHDRAWN, Completion, Won, new_voucher_code, parse_voucher_code
from wallet_server.tiers.services import grant_tier
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

FUTURE_MAX: Final = timedelta(minutes=10)
"""How far a till's clock may be ahead."""
PAST_MAX: Final = timedelta(days=30)
"""How late a till that was offline may tell of a redemption."""
LAPSED_AT_ONCE: Final = 500


def grant(session: Session, program: ProgramDefinition, completions: Sequence[Completion], now: datetime) -> list[Won]:
    """Give what each completion has won, in order: a voucher, points through the ledger, or a level for some days.

    A completion brings its reward once: a second time breaks a constraint (vouchers) and is never asked for
    (points follow the completion counter of ``challenge_progress`` in the same transaction). A challenge that
    the program no longer has brings nothing.
    """
    won: list[Won] = []
    vouchers: list[dict[str, object]] = []
    movements: list[Movement] = []
    emit(session, program.id, [_completed(one) for one in completions if program.challenge(one.challenge)], now)
    for completion in completions:
        challenge = program.challenge(completion.challenge)
        if challenge is None:
            continue
        if challenge.reward.voucher is not None:
            row = _voucher_row(program, completion, challenge.reward.voucher, now)
            vouchers.append(row)
            won.append(_won(completion, voucher_code=str(row["code"])))
        if challenge.reward.points is not None:
            movements.append(
                earn(
                    completion.member_id,
                    challenge.reward.points,
                    reason=localized(challenge.name, program.default_language, program.languages),
                    occurred_at=now,
                    expires_at=expires_at(program, now),
                    kind="reward",
                    purchase_id=None if completion.by_visit else completion.purchase_id,
                )
            )
            won.append(_won(completion, points=challenge.reward.points))
        if challenge.reward.tier is not None:
            tier, until = challenge.reward.tier.code, now + timedelta(days=challenge.reward.tier.days)
            actor = f"challenge:{completion.challenge}"
            grant_tier(session, program, completion.member_id, tier=tier, until=until, actor=actor, now=now)
            won.append(_won(completion, tier=tier, tier_until=until))
    insert_rows(session, Voucher, vouchers)
    emit(session, program.id, [_issued(row) for row in vouchers], now)
    if movements:
        post(session, program.id, movements, now)
    return won


def _won(
    completion: Completion,
    *,
    voucher_code: str | None = None,
    points: int | None = None,
    tier: str | None = None,
    tier_until: datetime | None = None,
) -> Won:
    return Won(
        member_id=completion.member_id,
        purchase_id=completion.purchase_id,
        kind="voucher" if voucher_code is not None else "points" if points is not None else "tier",
        challenge=completion.challenge,
        voucher_code=voucher_code,
        points=points,
        tier=tier,
        tier_until=tier_until,
    )


def _voucher_row(
    program: ProgramDefinition, completion: Completion, reward: VoucherReward, now: datetime
) -> dict[str, object]:
    return {
        "id": new_id(),
        "program_id": program.id,
        "member_id": completion.member_id,
        "code": new_voucher_code(),
        "benefit": {"kind": reward.kind, "sku": reward.sku},
        "origin": completion.origin,
        "issued_at": now,
        "expires_at": None if reward.valid_days is None else now + timedelta(days=reward.valid_days),
    }


def redeem_voucher(
    session: Session,
    program: ProgramDefinition,
    code: str,
    *,
    outlet: str,
    occurred_at: datetime,
    receipt_id: str | None,
    actor: str,
    now: datetime,
) -> Voucher:
    """Use a voucher, once; of any number of callers at the same moment exactly one succeeds.

    ``code`` as scanned or typed, ``outlet`` a code, ``occurred_at`` aware: when the guest was served, which is
    what the voucher's expiry is held against. The member's passes still show the voucher: the caller marks
    them as changed (``issuance.services.passes_changed``), which lives a floor above.

    Raises ``NotFoundError(unknown_voucher | unknown_outlet)``, ``DomainError(voucher_used, 409)`` with
    ``redeemed_at``, ``DomainError(voucher_expired, 409)`` with ``expired_at``, ``DomainError(validation)``.
    """
    if occurred_at.tzinfo is None:
        raise DomainError("validation", "occurred_at needs a time zone")
    if not now - PAST_MAX <= occurred_at <= now + FUTURE_MAX:
        raise DomainError("validation", "occurred_at is more than 30 days ago, or in the future")
    if receipt_id is not None and not 1 <= len(receipt_id) <= 120:
        raise DomainError("validation", "receipt_id has 1 to 120 characters")
    outlet_id = program.outlet(outlet).id
    wanted = parse_voucher_code(code)
    if wanted is None:
        raise _unknown()
    used = session.execute(
        sa.update(Voucher)
        .where(
            col(Voucher.program_id) == program.id,
            col(Voucher.code) == wanted,
            col(Voucher.redeemed_at).is_(None),
            sa.or_(col(Voucher.expires_at).is_(None), col(Voucher.expires_at) > occurred_at),
            # A redemption that is told late does not come before the withdrawal.
            ~col(Voucher.origin).startswith(WITHDRAWN, autoescape=True),
        )
        .values(redeemed_at=occurred_at, redeemed_outlet_id=outlet_id, redeemed_by=actor[:200], receipt_id=receipt_id)
        .returning(col(Voucher.id)),
        execution_options={"synchronize_session": False},
    ).scalar_one_or_none()
    voucher = session.exec(
        select(Voucher)
        .where(Voucher.program_id == program.id, Voucher.code == wanted)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if voucher is None:
        raise _unknown()
    if used is not None:
        emit(session, program.id, [_redeemed(voucher, outlet)], now)
        return voucher
    if voucher.redeemed_at is not None:
        when = voucher.redeemed_at.isoformat()
        raise DomainError("voucher_used", "this voucher has been used", status=409, redeemed_at=when)
    assert voucher.expires_at is not None, "a voucher that is neither used nor expired can be redeemed"
    when = voucher.expires_at.isoformat()
    sentence = "this voucher has expired"
    if voucher.origin.startswith(WITHDRAWN):
        sentence = "this voucher was withdrawn: what had won it was refunded"
    raise DomainError("voucher_expired", sentence, status=409, expired_at=when)


def lapse_due(session: Session, now: datetime, *, limit: int = LAPSED_AT_ONCE) -> tuple[UUID, list[UUID]] | None:
    """Note of vouchers whose time is over that they are: of at most ``limit``, and of one program.

    Returns the program and the members whose cards still show them, whom the caller marks as changed; ``None`` when
    nothing is due, so that a second run does nothing. Runs in the scope of all programs and may run twice at once.
    """
    rows = session.execute(
        sa.select(col(Voucher.id), col(Voucher.program_id), col(Voucher.member_id))
        .where(col(Voucher.expires_at).is_not(None), col(Voucher.expires_at) <= now)
        .where(col(Voucher.redeemed_at).is_(None), col(Voucher.lapsed_at).is_(None))
        .order_by(col(Voucher.expires_at), col(Voucher.id))
        .limit(limit)
        # One that a till redeems at this moment, or a refund withdraws, is theirs.
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return None
    # One program at a time: its passes are then locked in the order of their ids, as everybody does.
    program_id = rows[0].program_id
    mine = [row for row in rows if row.program_id == program_id]
    session.execute(
        sa.update(Voucher).where(col(Voucher.id).in_([row.id for row in mine])).values(lapsed_at=now),
        execution_options={"synchronize_session": False},
    )
    return program_id, sorted({row.member_id for row in mine})


def _completed(completion: Completion) -> Event:
    data = {
        "member_id": str(completion.member_id),
        "challenge": completion.challenge,
        "window": completion.window,
        "round": completion.round,
        "visit" if completion.by_visit else "purchase_id": str(completion.purchase_id),
    }
    return Event("challenge.completed", completion.member_id, data)


def _issued(row: Mapping[str, Any]) -> Event:
    expires_at = row["expires_at"]
    data = {
        "voucher_id": str(row["id"]),
        "member_id": str(row["member_id"]),
        "code": row["code"],
        "origin": row["origin"],
        "expires_at": expires_at and expires_at.isoformat(),
    }
    return Event("voucher.issued", row["member_id"], data)


def _redeemed(voucher: Voucher, outlet: str) -> Event:
    assert voucher.redeemed_at is not None, "it was redeemed just now"
    data = {
        "voucher_id": str(voucher.id),
        "member_id": str(voucher.member_id),
        "code": voucher.code,
        "outlet": outlet,
        "redeemed_at": voucher.redeemed_at.isoformat(),
        "receipt_id": voucher.receipt_id,
    }
    return Event("voucher.redeemed", voucher.member_id, data)


def _unknown() -> NotFoundError:
    return NotFoundError("unknown_voucher", "there is no such voucher in this program")
