"""Reading campaigns: who would get one, and how far one has come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.errors import NotFoundError
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.models import MemberStatistics
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.segments.condition import Condition
from wallet_server.segments.queries import members_where

CAMPAIGNS_MAX: Final = 200
"""Campaigns on one page."""


@dataclass(frozen=True)
class CampaignProgress:
    """How far a campaign has come, in members.

    ``audience`` = ``waiting`` + ``shown`` + all ``suppressed`` (by reason) + ``failed`` (invariant C3). Of those
    shown, ``accepted`` have a pass that Apple or Google took the update of, and ``fetched`` an iPhone that has
    fetched it (Google tells of no fetches). Both are at least as new as the message.
    """

    audience: int
    waiting: int
    shown: int
    suppressed: Mapping[str, int]
    failed: int
    accepted: int
    fetched: int

    @property
    def finished(self) -> bool:
        """Everybody's outcome is known; computed, never stored."""
        return self.audience > 0 and self.waiting == 0

    @property
    def decided(self) -> int:
        """Members whose outcome is known."""
        return self.audience - self.waiting


@dataclass(frozen=True)
class Preview:
    """Who would get a campaign if it were launched now, in members."""

    audience: int
    reachable: int
    """With marketing consent and a pass in a wallet."""
    consenting: int
    """With marketing consent, whether they hold a pass or not."""


@dataclass(frozen=True)
class Outcome:
    """What a list says of a launched campaign, in members."""

    audience: int
    waiting: int
    shown: int


def progress(session: Session, campaign_id: UUID) -> CampaignProgress:
    """How far a campaign has come; all zero for one that was not launched."""
    rows = session.execute(
        sa.select(col(CampaignRecipient.state), col(CampaignRecipient.reason), sa.func.count())
        .where(col(CampaignRecipient.campaign_id) == campaign_id)
        .group_by(col(CampaignRecipient.state), col(CampaignRecipient.reason))
    )
    states = {"waiting": 0, "shown": 0, "failed": 0}
    suppressed: dict[str, int] = {}
    for state, reason, members in rows:
        if state == "suppressed":
            suppressed[reason] = suppressed.get(reason, 0) + members
        else:
            states[state] += members
    shown = (
        sa.select(
            sa.func.count(sa.case((_has_pass(col(IssuedPass.pushed_at)), 1))),
            sa.func.count(sa.case((_has_pass(col(IssuedPass.fetched_at)), 1))),
        )
        .select_from(CampaignRecipient)
        .where(col(CampaignRecipient.campaign_id) == campaign_id, col(CampaignRecipient.state) == "shown")
    )
    accepted, fetched = session.execute(shown).one()
    return CampaignProgress(
        audience=sum(states.values()) + sum(suppressed.values()),
        waiting=states["waiting"],
        shown=states["shown"],
        suppressed=suppressed,
        failed=states["failed"],
        accepted=accepted,
        fetched=fetched,
    )


def _has_pass(moment: sa.SQLColumnExpression[datetime | None]) -> sa.ColumnElement[bool]:
    """The recipient has a pass to which this happened at the message's moment or after it."""
    return sa.exists().where(
        col(IssuedPass.program_id) == col(CampaignRecipient.program_id),
        col(IssuedPass.member_id) == col(CampaignRecipient.member_id),
        moment >= col(CampaignRecipient.decided_at),
    )


def preview(session: Session, program: ProgramDefinition, condition: Condition, now: datetime) -> Preview:
    """Who would get a campaign to this condition if it were launched now."""
    selected = members_where(program, condition, now).subquery()
    consent = (
        sa.exists()
        .where(
            col(MemberStatistics.program_id) == program.id,
            col(MemberStatistics.member_id) == selected.c.id,
            col(MemberStatistics.marketing),
        )
        .correlate(selected)
    )
    live = (
        sa.exists()
        .where(
            col(IssuedPass.program_id) == program.id,
            col(IssuedPass.member_id) == selected.c.id,
            col(IssuedPass.live),
            col(IssuedPass.voided_at).is_(None),
        )
        .correlate(selected)
    )
    audience, reachable, consenting = session.execute(
        sa.select(
            sa.func.count(),
            sa.func.count(sa.case((sa.and_(consent, live), 1))),
            sa.func.count(sa.case((consent, 1))),
        ).select_from(selected)
    ).one()
    return Preview(audience, reachable, consenting)


def outcomes(session: Session, campaign_ids: Collection[UUID]) -> dict[UUID, Outcome]:
    """How far several campaigns have come, for a list; one that was not launched is missing."""
    if not campaign_ids:
        return {}
    rows = session.execute(
        sa.select(
            col(CampaignRecipient.campaign_id),
            sa.func.count(),
            sa.func.count(sa.case((col(CampaignRecipient.state) == "waiting", 1))),
            sa.func.count(sa.case((col(CampaignRecipient.state) == "shown", 1))),
        )
        .where(col(CampaignRecipient.campaign_id).in_(campaign_ids))
        .group_by(col(CampaignRecipient.campaign_id))
    )
    return {campaign_id: Outcome(audience, waiting, shown) for campaign_id, audience, waiting, shown in rows}


def list_campaigns(session: Session, program: ProgramDefinition, *, limit: int = 50) -> Sequence[Campaign]:
    """The program's campaigns, newest first; at most :data:`CAMPAIGNS_MAX`."""
    return session.exec(
        select(Campaign)
        .where(Campaign.program_id == program.id)
        .order_by(col(Campaign.created_at).desc(), col(Campaign.id).desc())
        .limit(min(limit, CAMPAIGNS_MAX))
    ).all()


def find_campaign(session: Session, program: ProgramDefinition, campaign_id: UUID) -> Campaign:
    """One campaign; raises ``NotFoundError(unknown_campaign)``."""
    found = session.exec(
        select(Campaign).where(Campaign.program_id == program.id, Campaign.id == campaign_id)
    ).one_or_none()
    if found is None:
        raise NotFoundError("unknown_campaign", "there is no such campaign in this program")
    return found
