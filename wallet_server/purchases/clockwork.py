"""What the clock does to points, with the passes that show it: released, expired, free again, set to zero.

The ledger lies below the passes, so the two meet here. Each runs in the scope of all programs, in portions: the
caller repeats it until it says that nothing was left to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.issuance.pushes import lock_passes
from wallet_server.ledger.expiry import expire_due
from wallet_server.ledger.holds import expire_holds
from wallet_server.ledger.zeroing import run_due
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.services import tell
from wallet_server.programs.queries import load_program
from wallet_server.tiers.models import MemberTier

MEMBER_TIER: sa.Table = MemberTier.__table__  # type: ignore[attr-defined]


def expire_due_points(session: Session, now: datetime) -> int:
    """Let points expire whose time is over; how many members lost some."""
    return _show(session, expire_due(session, now), now, Noticed(balance=True))


def expire_due_holds(session: Session, now: datetime) -> int:
    """Free the points of holds whose time is over; how many members got some back."""
    # They were set aside in silence: what follows at a till is what the phone tells of.
    return _show(session, expire_holds(session, now), now, Noticed())


def run_due_zeroing(session: Session, now: datetime) -> bool:
    """Set the next members' balances to zero; whether there was anything to do."""
    changed = run_due(session, now, holders=_tier_holders)
    if changed is None:
        return False
    _show(session, changed, now, Noticed(balance=True))
    return True


def _tier_holders(program_id: UUID, tiers: Sequence[str]) -> sa.Select[Any]:
    return sa.select(MEMBER_TIER.c.member_id).where(
        MEMBER_TIER.c.program_id == program_id, MEMBER_TIER.c.tier.in_(tiers)
    )


def _show(session: Session, changed: Mapping[UUID, Sequence[UUID]], now: datetime, said: Noticed) -> int:
    if len(changed) > 1:
        lock_passes(session, (), of_members=changed)
    for program_id, member_ids in changed.items():
        tell(session, load_program(session, program_id=program_id), dict.fromkeys(member_ids, said), now)
    return sum(len(member_ids) for member_ids in changed.values())
