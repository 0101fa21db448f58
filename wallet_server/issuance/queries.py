"""Reading passes: what a phone may ask for, and everything that a card shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Session, col, select

from wallet_server.challenges.queries import states
from wallet_server.db import UTCDateTime, among, table_of
from wallet_server.issuance.content import VOUCHERS_MAX, CardState, CardVoucher, Said, voided_state
from wallet_server.issuance.credentials import OfType
from wallet_server.issuance.looks import BAR_STEPS, asks_way
from wallet_server.issuance.models import Device, IssuedPass, Registration, UpdateTag
from wallet_server.issuance.places import OutletVisits, outlet_map
from wallet_server.ledger.expiry import current_balances
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import shown
from wallet_server.members.models import Card, Member, MemberStatistics
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import product_names
from wallet_server.purchases.models import Purchase, Visit
from wallet_server.reads import Asked, OneOf, Read, ask
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.queries import redeemable
from wallet_server.tiers.models import MemberTier
from wallet_server.tiers.projection import way_to_next
from wallet_server.tiers.queries import standings as tier_standings

CARDS_MAX: Final = 1_000
SERIALS_MAX: Final = 1_000
"""Passes of one phone that are listed at once; the tag lets it ask for the rest."""
VISITS_LOOKED_BACK_DAYS: Final = 365
"""Before the member's newest visit, and not before today: a choice of places must not turn with the clock."""

News = Callable[[Session, Collection[UUID]], Mapping[UUID, Said]]
"""What members were told: ``notifications.queries.said_to``, which lives a floor above."""


@dataclass(frozen=True, slots=True)
class ChangedSerials:
    """The answer to "what has changed?"; ``tag`` is what the phone asks with next time."""

    serials: tuple[str, ...]
    tag: int


def pass_of_member(session: Session, member_id: UUID, wallet: str) -> IssuedPass | None:
    """The pass of the member's card: the oldest that is not blocked."""
    return session.exec(
        select(IssuedPass)
        .join(Card, col(Card.id) == col(IssuedPass.card_id))
        .where(IssuedPass.member_id == member_id, IssuedPass.wallet == wallet, col(Card.blocked_at).is_(None))
        .order_by(col(Card.created_at), col(Card.id))
        .limit(1)
    ).one_or_none()


def changed_serials(
    session: Session, device: str, since: int | None, of_type: OfType | None = None
) -> ChangedSerials | None:
    """The passes that this phone registered and that were tagged after ``since``; ``None`` if there are none.

    ``of_type`` leaves out passes of other types, for which the phone asks by themselves.

    Tags appear in order (see ``pushes.tag_passes``) and the answer's tag is the highest of the rows that
    were read, so a change that commits meanwhile has a higher one and is in the next answer. Call it in one
    consistent read, with scope ``ALL_PROGRAMS``: a phone's passes may be of several programs.
    """
    statement = (
        sa.select(col(IssuedPass.serial), col(IssuedPass.update_tag))
        .join(Registration, col(Registration.pass_id) == col(IssuedPass.id))
        .join(Device, col(Device.id) == col(Registration.device_id))
        .where(col(Device.library_identifier) == device, col(IssuedPass.wallet) == "apple")
        .order_by(col(IssuedPass.update_tag), col(IssuedPass.id))
        .limit(SERIALS_MAX + 1)
    )
    if since is not None:
        # A tag that was never given out is of a time before a backup was put back: that phone hears of all.
        given = sa.select(sa.func.max(col(UpdateTag.last))).scalar_subquery()
        statement = statement.where(sa.or_(col(IssuedPass.update_tag) > since, sa.func.coalesce(given, 0) < since))
    if of_type is not None and (of_type.program_ids or not of_type.all_but):
        named = col(IssuedPass.program_id).in_(of_type.program_ids)
        statement = statement.where(~named if of_type.all_but else named)
    rows = list(session.execute(statement))
    if len(rows) > SERIALS_MAX:
        # Cut between two tags, never inside one: what shares the last tag would otherwise be skipped.
        last = rows[SERIALS_MAX].update_tag
        rows = [row for row in rows if row.update_tag < last] or rows
    if not rows:
        return None
    return ChangedSerials(tuple(row.serial for row in rows), max(row.update_tag for row in rows))


def card_states(
    session: Session, program: ProgramDefinition, pass_ids: Collection[UUID], now: datetime, *, news: News
) -> list[CardState]:
    """Everything that these passes show, in the order of their ids; a constant number of statements.

    Call it in one consistent read. A blocked card's pass, and one that was voided, is ``voided``.
    """
    assert len(pass_ids) <= CARDS_MAX, f"{len(pass_ids)} cards were to be read at once"
    values = {"program_id": program.id, "ids": list(pass_ids)}
    cards = ask(session, Asked(_CARDS, values, lambda rows: [_Card(*row) for row in rows]))
    member_ids = sorted({card.member_id for card in cards})
    if not member_ids:
        return []
    accounts = current_balances(session, program, member_ids, now)
    standings = states(session, program, member_ids, now)
    won = _vouchers(session, member_ids, now)
    told = news(session, member_ids)
    visited = _visits(session, program, {card.member_id: card for card in cards})
    ways = _ways(session, program, member_ids, now) if asks_way(program) else {}
    today = now.astimezone(ZoneInfo(program.time_zone)).date()
    return [
        _card_state(
            card,
            tier_done=ways.get(card.member_id),
            today=today,
            spendable=shown(accounts.get(card.member_id, Balance()), program.points),
            pending=accounts.get(card.member_id, Balance()).pending,
            challenges=standings.get(card.member_id, ()),
            vouchers=won.get(card.member_id, ()),
            **asdict(told.get(card.member_id, Said())),
            visits=visited.get(card.member_id, ()),
        )
        for card in cards
    ]


class _Card(NamedTuple):
    """A pass, its member and its card; what :class:`CardState` has as well has the same name."""

    pass_id: UUID
    wallet: str
    serial: str
    version: int
    token_generation: int
    last_modified: datetime
    fetched_version: int
    live: bool
    member_id: UUID
    member_token_generation: int
    language: str
    name: str | None
    card_number: str
    tier: str | None
    voided: bool
    joined_outlet_id: UUID | None
    joined_at: datetime


def _select_cards(one_of: OneOf) -> sa.Select[Any]:
    issued, member, card, tier = table_of(IssuedPass), table_of(Member), table_of(Card), table_of(MemberTier)
    return (
        sa.select(
            issued.c.id,
            issued.c.wallet,
            issued.c.serial,
            issued.c.version,
            issued.c.token_generation,
            issued.c.last_modified,
            issued.c.fetched_version,
            issued.c.live,
            member.c.id,
            member.c.token_generation,
            member.c.language,
            member.c.name,
            card.c.number,
            tier.c.tier,
            sa.or_(issued.c.voided_at.is_not(None), card.c.blocked_at.is_not(None)),
            member.c.outlet_id,
            member.c.joined_at,
        )
        .select_from(issued)
        .join(member, member.c.id == issued.c.member_id)
        .join(card, card.c.id == issued.c.card_id)
        .outerjoin(tier, tier.c.member_id == issued.c.member_id)
        .where(issued.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()), one_of(issued.c.id, "ids"))
        .order_by(issued.c.id)
    )


_CARDS: Final = Read(_select_cards)


def _card_state(card: _Card, **values: Any) -> CardState:
    known = card._asdict()
    del known["joined_outlet_id"], known["joined_at"]
    state = CardState(**known, **values)
    return voided_state(state) if state.voided else state


def _ways(
    session: Session, program: ProgramDefinition, member_ids: Sequence[UUID], now: datetime
) -> dict[UUID, int | None]:
    """How far members are on the way to the next level, in steps of a bar."""
    found = tier_standings(session, program, member_ids, now)
    return {member_id: way_to_next(program, standing, now, BAR_STEPS) for member_id, standing in found.items()}


def _vouchers(session: Session, member_ids: Sequence[UUID], now: datetime) -> dict[UUID, tuple[CardVoucher, ...]]:
    held = ask(session, Asked(_VOUCHERS, {"members": member_ids, "now": now}, list))
    if not held:
        return {}
    skus = {str(benefit.get("sku", "")) for _member_id, _code, benefit, _expires_at in held}
    names = product_names(session, skus)
    found: defaultdict[UUID, tuple[CardVoucher, ...]] = defaultdict(tuple)
    for member_id, code, benefit, expires_at in held:
        sku = str(benefit.get("sku", ""))
        found[member_id] += (CardVoucher(code=code, product=names.get(sku) or sku, expires_at=expires_at),)
    return found


def _select_vouchers(one_of: OneOf) -> sa.Select[Any]:
    """What each member can redeem now, the newest first, as many as a card has room for."""
    table = table_of(Voucher).c
    place = sa.func.row_number().over(partition_by=table.member_id, order_by=(table.issued_at.desc(), table.id.desc()))
    ranked = (
        sa.select(table.member_id, table.code, table.benefit, table.expires_at, place.label("place"))
        .where(one_of(table.member_id, "members"), redeemable(sa.bindparam("now", type_=UTCDateTime())))
        .subquery()
        .c
    )
    return (
        sa.select(ranked.member_id, ranked.code, ranked.benefit, ranked.expires_at)
        .where(ranked.place <= VOUCHERS_MAX)
        .order_by(ranked.member_id, ranked.place)
    )


_VOUCHERS: Final = Read(_select_vouchers)


class _a_look_back(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """A stored moment less the time that is looked back, in SQL."""

    type = UTCDateTime()
    inherit_cache = True


@compiles(_a_look_back, "postgresql")
def _a_look_back_postgresql(element: Any, compiler: Any, **arguments: Any) -> str:
    moment = compiler.process(element.clauses, **arguments)
    return f"({moment} - interval '{VISITS_LOOKED_BACK_DAYS} days')"


@compiles(_a_look_back, "sqlite")
def _a_look_back_sqlite(element: Any, compiler: Any, **arguments: Any) -> str:
    # Milliseconds and three more digits: the form in which SQLAlchemy stores a datetime in SQLite.
    moment = compiler.process(element.clauses, **arguments)
    return f"strftime('%Y-%m-%d %H:%M:%f000', {moment}, '-{VISITS_LOOKED_BACK_DAYS} days')"


def _visits(
    session: Session, program: ProgramDefinition, members: Mapping[UUID, _Card]
) -> dict[UUID, tuple[OutletVisits, ...]]:
    """Where these members were in the year before their newest visit, refunded receipts aside; the outlet that
    somebody joined at counts as a first visit. Empty, and free, where a card has room for all outlets.
    """
    if not outlet_map(program).needs_choice:
        return {}
    seen: defaultdict[UUID, dict[UUID, tuple[int, datetime]]] = defaultdict(dict)
    for member_id, card in members.items():
        if card.joined_outlet_id is not None:
            seen[member_id][card.joined_outlet_id] = (1, card.joined_at)
    ids = list(members)
    statistics, bought, been = table_of(MemberStatistics).c, table_of(Purchase).c, table_of(Visit).c
    for table, condition in ((bought, bought.refunded_at.is_(None)), (been, sa.true())):
        since = _a_look_back(statistics.last_visit_at)
        statement = (
            sa.select(table.member_id, table.outlet_id, sa.func.count(), sa.func.max(table.occurred_at))
            .join_from(table_of(MemberStatistics), table.member_id.table, table.member_id == statistics.member_id)
            # By the members alone, who are of this program: with the program beside them SQLite would read all of it.
            .where(among(session, table.member_id, ids), table.occurred_at > since, condition)
            .group_by(table.member_id, table.outlet_id)
        )
        for member_id, outlet_id, count, last_at in session.connection().execute(statement):
            before, newest = seen[member_id].get(outlet_id, (0, last_at))
            seen[member_id][outlet_id] = (before + count, max(newest, last_at))
    codes = {ref.id: code for code, ref in program.outlets.items()}
    return {
        member_id: tuple(
            OutletVisits(codes[outlet_id], count, last_at)
            for outlet_id, (count, last_at) in mine.items()
            if outlet_id in codes
        )
        for member_id, mine in seen.items()
    }
