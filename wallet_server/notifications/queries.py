"""Reading what members were shown, and what the governor asks of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import UTCDateTime, among, table_of
from wallet_server.issuance.content import Said
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.models import Member, MemberStatistics
from wallet_server.notifications.governor import BIDDEN, DAY, WEEK, MemberState, Shown
from wallet_server.notifications.models import Notification
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.models import Purchase, Visit
from wallet_server.reads import Asked, OneOf, Read, Rows, ask, one_round

MESSAGES_MAX: Final = 100
NEWS_KINDS: Final = tuple(sorted(BIDDEN))
"""What stays on the card as news until there is other news; everything else is what happened last."""


NOTIFICATION: Final = table_of(Notification)


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
    found: dict[UUID, dict[str, str]] = defaultdict(dict)
    for member_id, text, speaks, ended_at, is_news in ask(session, Asked(_SAID, {"members": list(member_ids)}, list)):
        if ended_at is not None:
            continue
        name = "news" if is_news else "latest"
        found[member_id][name] = text
        if speaks:
            found[member_id]["speaks"] = name
    return {member_id: Said(**values) for member_id, values in found.items()}


def _select_said(one_of: OneOf) -> sa.Select[Any]:
    """The newest news and the newest event of each member, the one that speaks last."""
    table = NOTIFICATION.c
    is_news = sa.or_(*(table.kind == kind for kind in NEWS_KINDS))
    place = sa.func.row_number().over(
        partition_by=(table.member_id, is_news), order_by=(table.shown_at.desc(), table.id.desc())
    )
    columns = [table[name] for name in ("member_id", "text", "speaks", "shown_at", "ended_at")]
    ranked = (
        sa.select(*columns, is_news.label("is_news"), place.label("place"))
        .where(one_of(table.member_id, "members"), table.state == "shown")
        .subquery()
        .c
    )
    return (
        sa.select(ranked.member_id, ranked.text, ranked.speaks, ranked.ended_at, ranked.is_news)
        .where(ranked.place == 1)
        # In one moment an event comes after news: it is the one that says both.
        .order_by(ranked.shown_at, ranked.is_news.desc())
    )


_SAID: Final = Read(_select_said)


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
    wanted = list(member_ids)
    of_members = {"program": program.id, "members": wanted}
    with one_round(session) as asks:
        consented = asks(Asked(_CONSENT, of_members, _consent))
        holding = asks(Asked(_HELD, of_members, _held))
        shown_lately = asks(Asked(_SHOWN, {**of_members, "week": now - WEEK, "day": now - DAY}, _shown))
    consent, held, shown = consented.value, holding.value, shown_lately.value
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


def _of_program(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return column == sa.bindparam("program", type_=sa.Uuid())


def _select_consent(one_of: OneOf) -> sa.Select[Any]:
    table = table_of(MemberStatistics).c
    return sa.select(table.member_id, table.marketing).where(
        _of_program(table.program_id), one_of(table.member_id, "members")
    )


def _consent(rows: Rows) -> dict[UUID, bool]:
    return {member_id: bool(marketing) for member_id, marketing in rows}


def _select_held(one_of: OneOf) -> sa.Select[Any]:
    table = table_of(IssuedPass).c
    return (
        sa.select(table.member_id, table.wallet, sa.func.max(table.fetched_at))
        .where(_of_program(table.program_id), one_of(table.member_id, "members"))
        .where(table.live, table.voided_at.is_(None), table.removed_at.is_(None))
        .group_by(table.member_id, table.wallet)
    )


def _held(rows: Rows) -> defaultdict[UUID, dict[str, datetime | None]]:
    """By member and wallet, when it was last fetched; only wallets that hold a pass.

    A card that was deleted at Google stays live, so that it can be saved again, but nobody sees what it says.
    """
    held: defaultdict[UUID, dict[str, datetime | None]] = defaultdict(dict)
    for member_id, wallet, fetched_at in rows:
        held[member_id][wallet] = fetched_at
    return held


def _select_shown(one_of: OneOf) -> sa.Select[Any]:
    """A week of promotions, a day of everything else: more no limit asks about."""
    table = NOTIFICATION.c
    week, day = (sa.bindparam(name, type_=UTCDateTime()) for name in ("week", "day"))
    return (
        sa.select(table.member_id, table.shown_at, table.kind, table.speaks, table.at_google)
        .where(_of_program(table.program_id), one_of(table.member_id, "members"))
        .where(table.state == "shown", table.shown_at > week)
        .where(sa.or_(table.shown_at > day, table.kind == "promotion"))
    )


def _shown(rows: Rows) -> defaultdict[UUID, list[Shown]]:
    shown: defaultdict[UUID, list[Shown]] = defaultdict(list)
    for member_id, *message in rows:
        shown[member_id].append(Shown(*message))
    return shown


_CONSENT: Final = Read(_select_consent)
_HELD: Final = Read(_select_held)
_SHOWN: Final = Read(_select_shown)


def _zones(session: Session, program: ProgramDefinition, member_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The zone of the outlet of each member's newest visit, where outlets differ; who has none is missing."""
    if {outlet.zone for outlet in program.outlets.values()} <= {program.time_zone}:
        return {}
    zone_of = {ref.id: ref.zone for ref in (*program.closed_outlets.values(), *program.outlets.values())}
    statistics = table_of(MemberStatistics).c
    zones: dict[UUID, str] = {}
    for table in (table_of(Visit).c, table_of(Purchase).c):
        statement = (
            sa.select(table.member_id, table.outlet_id)
            .join_from(table_of(MemberStatistics), table.member_id.table, table.member_id == statistics.member_id)
            .where(statistics.program_id == program.id, among(session, statistics.member_id, member_ids))
            .where(table.occurred_at == statistics.last_visit_at)
        )
        for row in session.connection().execute(statement):
            zones[row.member_id] = zone_of.get(row.outlet_id, program.time_zone)
    return zones


def languages_of(session: Session, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """The language that each member speaks."""
    return ask(session, Asked(_LANGUAGES, {"members": list(member_ids)}, _by_member))


def _by_member(rows: Rows) -> dict[UUID, str]:
    return {row[0]: row[1] for row in rows}


def _select_languages(one_of: OneOf) -> sa.Select[Any]:
    table = table_of(Member).c
    return sa.select(table.id, table.language).where(one_of(table.id, "members"))


_LANGUAGES: Final = Read(_select_languages)
