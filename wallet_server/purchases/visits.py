"""The use-case of a visit without money: somebody was there, and challenges, tiers and statistics count it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session, select

from wallet_server.challenges.progress import ChallengeState
from wallet_server.challenges.queries import states as challenge_states
from wallet_server.challenges.services import advance
from wallet_server.db import insert_free_rows, new_id
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.ledger.expiry import lock_current
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import balance as read_balance
from wallet_server.members.models import MemberStatistics
from wallet_server.notifications.services import tell
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.commands import RecordVisit, check_visit
from wallet_server.purchases.models import Visit
from wallet_server.purchases.noticed import noticed
from wallet_server.purchases.queries import cards_by_number
from wallet_server.purchases.recorded import facts_of_visit
from wallet_server.rewards.services import grant
from wallet_server.rewards.wins import Won
from wallet_server.rules.validity import season
from wallet_server.tiers.queries import tiers as read_tiers
from wallet_server.tiers.services import reconsider
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

STATISTICS: sa.Table = MemberStatistics.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Visited:
    """A recorded visit, and the member after it; ``rewards`` are what it has won."""

    id: UUID
    member_id: UUID
    balance: Balance
    tier: str | None
    challenges: tuple[ChallengeState, ...]
    rewards: tuple[Won, ...]


def record_visit(
    session: Session, program: ProgramDefinition, command: RecordVisit, *, now: datetime, recorded_by: str
) -> Visited:
    """Record a visit with everything that follows from it.

    It counts for challenges whose metric is visits, for tiers that ask for visits, and as the member's last visit;
    it is no purchase and earns nothing by itself. Outside the program's validity it is only kept.

    Raises ``DomainError``: ``validation``, ``unknown_card``, ``card_blocked``, ``unknown_outlet``,
    ``duplicate_visit`` (409, with the first ``visit``).
    """
    check_visit(command, now=now)
    card = cards_by_number(session, program.id, [command.card_number]).get(command.card_number)
    if card is None:
        raise NotFoundError("unknown_card", "there is no card with this number in this program")
    if card.blocked:
        raise DomainError("card_blocked", "this card is blocked", status=409)
    outlet = program.outlet(command.outlet)
    member_id = card.member_id
    before = lock_current(session, program, [member_id], now)[member_id]
    tier_before = read_tiers(session, [member_id]).get(member_id)
    visit = Visit(
        id=new_id(),
        program_id=program.id,
        outlet_id=outlet.id,
        visit_id=command.visit_id,
        member_id=member_id,
        card_id=card.card_id,
        occurred_at=command.occurred_at,
        business_date=command.occurred_at.astimezone(ZoneInfo(outlet.zone)).date(),
        recorded_at=now,
        recorded_by=recorded_by[:200],
    )
    if not insert_free_rows(session, Visit, [visit.model_dump()], key=["outlet_id", "visit_id"]):
        first = session.exec(
            select(Visit.id).where(Visit.outlet_id == outlet.id, Visit.visit_id == command.visit_id)
        ).one()
        raise DomainError("duplicate_visit", "this visit has been recorded before", status=409, visit=str(first))
    emit(session, program.id, [_event(visit, command)], now)
    _count(session, member_id, command.occurred_at)
    tier = reconsider(session, program, [member_id], now)[member_id]
    won: list[Won] = []
    if season(program.section.validity, command.occurred_at, outlet.zone).earns:
        done = advance(session, program, [facts_of_visit(visit, command.outlet)], now)
        won = grant(session, program, done.completions, now)
    balance = read_balance(session, member_id)
    said = noticed(program, before, balance, tiers=(tier_before, tier), won=won)
    tell(session, program, {member_id: said}, now)
    return Visited(
        id=visit.id,
        member_id=member_id,
        balance=balance,
        tier=tier,
        challenges=challenge_states(session, program, [member_id], now).get(member_id, ()),
        rewards=tuple(won),
    )


def _event(visit: Visit, command: RecordVisit) -> Event:
    data = {
        "visit": str(visit.id),
        "visit_id": visit.visit_id,
        "member_id": str(visit.member_id),
        "card_number": command.card_number,
        "outlet": command.outlet,
        "occurred_at": visit.occurred_at.isoformat(),
    }
    return Event("visit.recorded", visit.member_id, data)


def _count(session: Session, member_id: UUID, moment: datetime) -> None:
    """One visit more in the member's statistics, whose row enrolment has made."""
    first, last = STATISTICS.c.first_visit_at, STATISTICS.c.last_visit_at
    here = sa.literal(moment, type_=first.type)
    session.connection().execute(
        sa.update(STATISTICS)
        .where(STATISTICS.c.member_id == member_id)
        .values(
            visits=STATISTICS.c.visits + 1,
            first_visit_at=sa.case((first < here, first), else_=here),
            last_visit_at=sa.case((last > here, last), else_=here),
        )
    )
