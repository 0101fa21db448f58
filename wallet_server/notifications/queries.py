"""Reading what members were shown, and what the governor asks of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from wallet_server.db import among
from wallet_server.issuance.content import Said
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.models import Member, MemberStatistics
from wallet_server.notifications.governor import BIDDEN, DAY, WEEK, MemberState, Shown
from wallet_server.notifications.models import Notification
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.models import Purchase, Visit

MESSAGES_MAX: Final = 100
NEWS_KINDS: Final = tuple(sorted(BIDDEN))
"""What stays on the card as news until there is other news; everything else is what happened last."""


def _table(model: type[SQLModel]) -> sa.Table:
    table: sa.Table = model.__table__  # type: ignore[attr-defined]
    return table


NOTIFICATION: Final = _table(Notification)


def newest(session: Session, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """The text of each member's newest news (an offer, a reminder); who has none is missing."""
    return {member_id: said.news for member_id, said in said_to(session, member_ids).items() if said.news}


def said_to(session: Session, member_ids: Collection[UUID]) -> dict[UUID, Said]:
    """What each member's pass says and which of it may speak; who was shown nothing is missing.

    The one that speaks is the newer of news and last event, if it is meant to be heard. A phone that has it
    already sees no difference and is silent, so this needs no memory of what each phone has. What has ended leaves
    its place empty: older news does not come back.
    """
    if not member_ids:
        return {}
    is_news = col(Notification.kind).in_(NEWS_KINDS)
    place = sa.func.row_number().over(
        partition_by=(col(Notification.member_id), is_news),
        order_by=(col(Notification.shown_at).desc(), col(Notification.id).desc()),
    )
    columns = [
        col(getattr(Notification, name)) for name in ("member_id", "text", "speaks", "shown_at", "id", "ended_at")
    ]
    ranked = (
        sa.select(*columns, is_news.label("is_news"), place.label("place"))
        .where(col(Notification.member_id).in_(member_ids), col(Notification.state) == "shown")
        .subquery()
    )
    found: dict[UUID, dict[str, str]] = defaultdict(dict)
    # In one moment an event comes after news: it is the one that says both.
    newest_last = (ranked.c.shown_at, ranked.c.is_news.desc())
    for row in session.execute(sa.select(ranked).where(ranked.c.place == 1).order_by(*newest_last)):
        if row.ended_at is not None:
            continue
        name = "news" if row.is_news else "latest"
        found[row.member_id][name] = row.text
        if row.speaks:
            found[row.member_id]["speaks"] = name
    return {member_id: Said(**values) for member_id, values in found.items()}


def messages_of_member(session: Session, member_id: UUID, *, limit: int = 20) -> Sequence[Notification]:
    """What was decided about a member, newest first, at most ``limit`` (≤ 100)."""
    statement = (
        select(Notification)
        .where(Notification.member_id == member_id)
        .order_by(col(Notification.decided_at).desc(), col(Notification.id).desc())
        .limit(max(1, min(limit, MESSAGES_MAX)))
    )
    return session.exec(statement).all()


def member_states(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime
) -> dict[UUID, MemberState]:
    """What the governor asks of these members; four statements at most, whatever their number."""
    if not member_ids:
        return {}
    wanted = sorted(member_ids)
    consent = _consent(session, program, wanted)
    held = _held(session, program, wanted)
    shown = _shown(session, program, wanted, now)
    zones = _zones(session, program, wanted)
    return {
        member_id: MemberState(
            zone=zones.get(member_id, program.time_zone),
            consent=consent[member_id],
            on_apple="apple" in held[member_id],
            on_google="google" in held[member_id],
            shown=shown[member_id],
            fetched_at=held[member_id].get("apple"),
        )
        for member_id in wanted
        if member_id in consent
    }


def _consent(session: Session, program: ProgramDefinition, member_ids: Sequence[UUID]) -> dict[UUID, bool]:
    statistics = _table(MemberStatistics).c
    statement = sa.select(statistics.member_id, statistics.marketing).where(
        statistics.program_id == program.id, among(session, statistics.member_id, member_ids)
    )
    session.flush()
    return {row.member_id: bool(row.marketing) for row in session.connection().execute(statement)}


def _held(
    session: Session, program: ProgramDefinition, member_ids: Sequence[UUID]
) -> defaultdict[UUID, dict[str, datetime | None]]:
    """By member and wallet, when it was last fetched; only wallets that hold a pass.

    A card that was deleted at Google stays live, so that it can be saved again, but nobody sees what it says.
    """
    table = _table(IssuedPass).c
    statement = (
        sa.select(table.member_id, table.wallet, sa.func.max(table.fetched_at).label("fetched_at"))
        .where(table.program_id == program.id, among(session, table.member_id, member_ids))
        .where(table.live, table.voided_at.is_(None), table.removed_at.is_(None))
        .group_by(table.member_id, table.wallet)
    )
    held: defaultdict[UUID, dict[str, datetime | None]] = defaultdict(dict)
    for row in session.connection().execute(statement):
        held[row.member_id][row.wallet] = row.fetched_at
    return held


def _shown(
    session: Session, program: ProgramDefinition, member_ids: Sequence[UUID], now: datetime
) -> defaultdict[UUID, list[Shown]]:
    """A week of promotions, a day of everything else: more no limit asks about."""
    table = NOTIFICATION.c
    statement = (
        sa.select(table.member_id, table.shown_at, table.kind, table.speaks, table.at_google)
        .where(table.program_id == program.id, among(session, table.member_id, member_ids))
        .where(table.state == "shown", table.shown_at > now - WEEK)
        .where(sa.or_(table.shown_at > now - DAY, table.kind == "promotion"))
    )
    shown: defaultdict[UUID, list[Shown]] = defaultdict(list)
    for row in session.connection().execute(statement):
        shown[row.member_id].append(Shown(row.shown_at, row.kind, row.speaks, row.at_google))
    return shown


def _zones(session: Session, program: ProgramDefinition, member_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The zone of the outlet of each member's newest visit, where outlets differ; who has none is missing."""
    if {outlet.zone for outlet in program.outlets.values()} <= {program.time_zone}:
        return {}
    zone_of = {ref.id: ref.zone for ref in (*program.closed_outlets.values(), *program.outlets.values())}
    statistics = _table(MemberStatistics).c
    zones: dict[UUID, str] = {}
    for table in (_table(Visit).c, _table(Purchase).c):
        statement = (
            sa.select(table.member_id, table.outlet_id)
            .join_from(_table(MemberStatistics), table.member_id.table, table.member_id == statistics.member_id)
            .where(statistics.program_id == program.id, among(session, statistics.member_id, member_ids))
            .where(table.occurred_at == statistics.last_visit_at)
        )
        for row in session.connection().execute(statement):
            zones[row.member_id] = zone_of.get(row.outlet_id, program.time_zone)
    return zones


def languages_of(session: Session, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """The language that each member speaks."""
    rows: Any = session.execute(
        sa.select(col(Member.id), col(Member.language)).where(col(Member.id).in_(list(member_ids)))
    )
    return {row.id: row.language for row in rows}
