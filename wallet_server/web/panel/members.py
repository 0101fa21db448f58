"""Members: the list with its search, and everything about one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from flask import Response, request, url_for
from sqlmodel import Session

from wallet_server.db import new_id, reading
from wallet_server.issuance.delivery_queries import stories
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.places import chosen_places
from wallet_server.issuance.queries import card_states, pass_of_member
from wallet_server.ledger.adjustments import adjustments
from wallet_server.ledger.expiry import current_balances, last_day
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import entries, lots_of_member, open_holds, shown
from wallet_server.members.coefficients import coefficients_of_members
from wallet_server.members.models import Card, Member
from wallet_server.members.queries import cards_of_members, member_by_id, search
from wallet_server.members.tags import tags_of_member
from wallet_server.notifications.queries import messages_of_member, said_to
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.tiers import TierLevel
from wallet_server.tiers.queries import tiers
from wallet_server.web.context import server
from wallet_server.web.member.addresses import wallet_links
from wallet_server.web.memberships import read_membership
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.delivery_words import story_words
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.member_messages import message_views
from wallet_server.web.panel.member_places import PlaceView, place_views
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.qr import qr_svg
from wallet_server.web.rendering import reader, see_other

MEMBERS_PER_PAGE: Final = 50
ENTRIES_PER_PAGE: Final = 25
LOTS_SHOWN: Final = 30
MESSAGES_SHOWN: Final = 10
SEARCH_LENGTH_MAX: Final = 120
WALLETS: Final = ("apple", "google")


@dataclass(frozen=True)
class MemberRow:
    """One line of the list."""

    member: Member
    card: Card | None
    level: TierLevel | None
    points: int
    pending: int


@dataclass(frozen=True)
class AdjustForm:
    """Points to give or take, as typed; ``key`` makes a form that is sent twice count once."""

    key: str
    way: str = "give"
    points: str = ""
    reason: str = ""
    error: str = ""


@dataclass(frozen=True)
class StandingForm:
    """Tags, a percent of a member's own and a tier, as typed; ``error`` is about the part that ``wrong`` names."""

    tags: str
    percent: str = ""
    outlet: str = ""
    last_day: str = ""
    redeem_percent: str = ""
    tier: str = ""
    tier_day: str = ""
    wrong: str = ""
    error: str = ""


@blueprint.get("/programs/<slug>/")
@allowed("cashier")
def program_home(desk: Desk) -> Response:
    return see_other(url_for("panel.members", slug=desk.program.slug))


@blueprint.get("/programs/<slug>/members")
@allowed("cashier")
def members(desk: Desk) -> Response:
    text = request.args.get("q", "")[:SEARCH_LENGTH_MAX].strip()
    before = request.args.get("before", type=UUID)
    with reading(server().engine, desk.program.id) as session:
        found = search(session, text, limit=MEMBERS_PER_PAGE + 1, before=before)
        rows = _rows(session, desk.program, found[:MEMBERS_PER_PAGE], server().clock.now())
    return panel_page(
        desk,
        "panel/members.html",
        block="results",
        text=text,
        rows=rows,
        is_first_page=before is None,
        next_before=rows[-1].member.id if len(found) > MEMBERS_PER_PAGE else None,
    )


def _rows(session: Session, program: ProgramDefinition, found: Sequence[Member], now: datetime) -> list[MemberRow]:
    ids = [member.id for member in found]
    cards, levels = cards_of_members(session, ids), tiers(session, ids)
    points = {member_id: Balance() for member_id in ids} | current_balances(session, program, ids, now)
    return [
        MemberRow(
            member,
            cards.get(member.id),
            program.level(levels[member.id]) if member.id in levels else program.first_level,
            shown(points[member.id], program.points),
            points[member.id].pending,
        )
        for member in found
    ]


@blueprint.get("/programs/<slug>/members/<uuid:member_id>")
@allowed("cashier")
def member(desk: Desk, member_id: UUID) -> Response:
    return member_page(desk, member_id)


def member_page(
    desk: Desk,
    member_id: UUID,
    *,
    adjust_form: AdjustForm | None = None,
    standing_form: StandingForm | None = None,
    http_status: int = 200,
) -> Response:
    """Everything about one member; a form that was refused comes back with what was typed."""
    context = server()
    now = context.clock.now()
    before = request.args.get("before", type=int)
    with reading(context.engine, desk.program.id) as session:
        person = member_by_id(session, member_id)
        membership = read_membership(session, desk.program, person, now)
        rows = entries(session, member_id, before_sequence=before, limit=ENTRIES_PER_PAGE + 1)
        passes = read_passes(session, member_id)
        places = _places(session, desk.program, passes, now)
        told = stories(session, member_id, now)
        messages = messages_of_member(session, member_id, limit=MESSAGES_SHOWN)
        lots = lots_of_member(session, member_id, limit=LOTS_SHOWN + 1)
        holds = open_holds(session, member_id, now)
        asked = adjustments(session, desk.program, state="waiting", member_id=member_id)
        tags = tags_of_member(session, member_id)
        coefficients = coefficients_of_members(session, [member_id]).get(member_id, ())
    page_url = context.settings.public_url + url_for(
        "member.home", token=context.mint.page_token(person.id, person.token_generation)
    )
    limit: int = getattr(desk.program.points.adjustments, desk.role)
    return panel_page(
        desk,
        "panel/member.html",
        block="history",
        http_status=http_status,
        membership=membership,
        shown_points=shown(membership.balance, desk.program.points),
        vouchers=membership.open_vouchers(now),
        entries=rows[:ENTRIES_PER_PAGE],
        more_before=rows[ENTRIES_PER_PAGE - 1].sequence if len(rows) > ENTRIES_PER_PAGE else None,
        is_first_page=before is None,
        lots=lots[:LOTS_SHOWN],
        more_lots=len(lots) > LOTS_SHOWN,
        last_day=last_day,
        holds=holds,
        asked=asked,
        adjust_form=adjust_form or AdjustForm(new_id().hex),
        adjust_limit=limit,
        standing_form=standing_form or StandingForm(", ".join(tags)),
        tags=tags,
        coefficients=[one for one in coefficients if one.ends_at is None or one.ends_at > now],
        passes=passes,
        stories=told,
        places=places,
        messages=message_views(messages, reader(), desk.program.time_zone),
        **story_words(reader()),
        page_url=page_url,
        links=wallet_links(person),
        qr=qr_svg,
        now=now,
    )


@blueprint.get("/programs/<slug>/members/<uuid:member_id>/live")
@allowed("cashier")
def member_live(desk: Desk, member_id: UUID) -> Response:
    """What changes by itself: balance and passes. The page asks for it every few seconds."""
    context = server()
    with reading(context.engine, desk.program.id) as session:
        person = member_by_id(session, member_id)
        membership = read_membership(session, desk.program, person, context.clock.now())
        passes = read_passes(session, member_id)
    return panel_page(
        desk,
        "panel/_live.html",
        membership=membership,
        shown_points=shown(membership.balance, desk.program.points),
        passes=passes,
    )


def _places(
    session: Session, program: ProgramDefinition, passes: Sequence[IssuedPass], now: datetime
) -> list[PlaceView]:
    """The places on the member's card; both wallets name the same."""
    states = card_states(session, program, [issued.id for issued in passes[:1]], now, news=said_to)
    return [
        view
        for state in states
        if not state.voided
        for view in place_views(program, chosen_places(program, state.visits), state.visits, reader())
    ]


def read_passes(session: Session, member_id: UUID) -> list[IssuedPass]:
    """The member's passes, Apple's first; one is missing where it was never given out."""
    found = (pass_of_member(session, member_id, wallet) for wallet in WALLETS)
    return [issued for issued in found if issued is not None]
