"""What became of a campaign's messages: where the cards with them are, and how soon phones had them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Session, col

from wallet_server.campaigns.models import CampaignRecipient
from wallet_server.issuance.delivery import LAG_BOUNDS_S, STALE_AFTER, Lags, PassState
from wallet_server.issuance.delivery_queries import number_of, numbered
from wallet_server.issuance.models import IssuedPass


class seconds_between(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """Seconds from the first stored moment to the second, in SQL."""

    type = sa.Float()
    inherit_cache = True


@compiles(seconds_between, "postgresql")
def _seconds_between_postgresql(element: Any, compiler: Any, **arguments: Any) -> str:
    earlier, later = (compiler.process(clause, **arguments) for clause in element.clauses)
    return f"extract(epoch FROM {later} - {earlier})"


@compiles(seconds_between, "sqlite")
def _seconds_between_sqlite(element: Any, compiler: Any, **arguments: Any) -> str:
    earlier, later = (compiler.process(clause, **arguments) for clause in element.clauses)
    # To the millisecond, which is what SQLite's own date functions keep.
    return f"round((julianday({later}) - julianday({earlier})) * 86400, 3)"


@dataclass(frozen=True)
class CampaignDelivery:
    """The cards of members whose message was put on them: number by wallet and state, and the lags of iPhones.

    The states are those of the message, not of later changes: ``current`` has it on the phone (Google: Google has
    it), ``accepted`` and ``stale`` were told, ``queued`` and ``failed`` wait, ``removed`` are on no phone any more.
    """

    cards: Mapping[str, Mapping[PassState, int]]
    lags: Lags

    def of(self, wallet: str, state: PassState) -> int:
        """How many cards of this wallet are in this state."""
        return self.cards.get(wallet, {}).get(state, 0)


def delivery(session: Session, program_id: UUID, campaign_id: UUID, now: datetime) -> CampaignDelivery:
    """What became of the campaign's messages so far; members who never added the card are left out."""
    cards: dict[str, dict[PassState, int]] = {}
    state = _message_state(now).label("state")
    is_apple = sa.case((col(IssuedPass.wallet) == "apple", 1), else_=0).label("is_apple")
    rows = session.execute(
        sa.select(is_apple, state, sa.func.count())
        .select_from(CampaignRecipient)
        .join(
            IssuedPass,
            sa.and_(
                col(IssuedPass.program_id) == program_id,
                col(IssuedPass.member_id) == col(CampaignRecipient.member_id),
            ),
        )
        .where(
            col(CampaignRecipient.campaign_id) == campaign_id,
            col(CampaignRecipient.state) == "shown",
            sa.or_(col(IssuedPass.live), col(IssuedPass.removed_at) >= col(CampaignRecipient.decided_at)),
        )
        .group_by(is_apple, state)
    )
    for apple, state_number, number in rows:
        cards.setdefault("apple" if apple else "google", {})[numbered(state_number)] = number
    return CampaignDelivery(cards, _lags(session, campaign_id))


def _message_state(now: datetime) -> sa.ColumnElement[int]:
    issued, decided_at = IssuedPass, col(CampaignRecipient.decided_at)
    is_apple = col(issued.wallet) == "apple"
    shown_at = sa.case((is_apple, col(issued.fetched_at)), else_=col(issued.pushed_at))
    return sa.case(
        (shown_at >= decided_at, number_of(PassState.CURRENT)),
        (col(issued.removed_at).is_not(None), number_of(PassState.REMOVED)),
        (col(issued.push_error).is_not(None), number_of(PassState.FAILED)),
        (col(issued.unfetched_since) < now - STALE_AFTER, number_of(PassState.STALE)),
        (sa.and_(is_apple, col(issued.pushed_at) >= decided_at), number_of(PassState.ACCEPTED)),
        else_=number_of(PassState.QUEUED),
    )


def _lags(session: Session, campaign_id: UUID) -> Lags:
    lag = seconds_between(col(CampaignRecipient.decided_at), col(CampaignRecipient.reached_at))
    bucket = sa.case(
        *((lag <= bound, place) for place, bound in enumerate(LAG_BOUNDS_S)), else_=len(LAG_BOUNDS_S)
    ).label("bucket")
    rows = session.execute(
        sa.select(bucket, sa.func.count())
        .where(
            col(CampaignRecipient.campaign_id) == campaign_id,
            col(CampaignRecipient.state) == "shown",
            col(CampaignRecipient.reached_at).is_not(None),
        )
        .group_by(bucket)
    )
    return Lags({row[0]: row[1] for row in rows})
