"""Vouchers whose time is over leave the cards, though nobody has bought anything."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlmodel import Session

from wallet_server.issuance.services import passes_changed
from wallet_server.programs.queries import load_program
from wallet_server.rewards.services import lapse_due

LAPSE_PRIORITY: Final = 10
"""After the updates that purchases ask for (0): somebody at a till waits for those."""


def lapse_vouchers(session: Session, now: datetime) -> int:
    """Take vouchers off the cards whose time is over; of how many members.

    Runs in the scope of all programs, in portions: the caller repeats it until it returns 0. What marks the vouchers
    and what raises the passes' versions is one transaction, so each voucher does it once. Phones say nothing of it.
    """
    lapsed = lapse_due(session, now)
    if lapsed is None:
        return 0
    program_id, member_ids = lapsed
    passes_changed(session, load_program(session, program_id=program_id), member_ids, now, priority=LAPSE_PRIORITY)
    return len(member_ids)
