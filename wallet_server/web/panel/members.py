"""Members: the list with its search, and everything about one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from flask import Response, request, url_for
from sqlmodel import Session

from wallet_server.db import reading
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.queries import pass_of_member
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import balances, entries
from wallet_server.members.models import Card, Member
from wallet_server.members.queries import cards_of_members, member_by_id, search
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.tiers import TierLevel
from wallet_server.tiers.queries import tiers
from wallet_server.web.context import server
from wallet_server.web.member.addresses import wallet_links
from wallet_server.web.memberships import read_membership
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.qr import qr_svg
from wallet_server.web.rendering import see_other

MEMBERS_PER_PAGE: Final = 50
ENTRIES_PER_PAGE: Final = 25
SEARCH_LENGTH_MAX: Final = 120
WALLETS: Final = ("apple", "google")


@dataclass(frozen=True)
class MemberRow:
    """One line of the list."""

    member: Member
    card: Card | None
    level: TierLevel | None
    balance: Balance


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
        rows = _rows(session, desk.program, found[:MEMBERS_PER_PAGE])
    return panel_page(
        desk,
        "panel/members.html",
        block="results",
        text=text,
        rows=rows,
        is_first_page=before is None,
        next_before=rows[-1].member.id if len(found) > MEMBERS_PER_PAGE else None,
    )


def _rows(session: Session, program: ProgramDefinition, found: Sequence[Member]) -> list[MemberRow]:
    ids = [member.id for member in found]
    cards, points, levels = cards_of_members(session, ids), balances(session, ids), tiers(session, ids)
    return [
        MemberRow(
            member,
            cards.get(member.id),
            program.level(levels[member.id]) if member.id in levels else program.first_level,
            points.get(member.id, Balance()),
        )
        for member in found
    ]


@blueprint.get("/programs/<slug>/members/<uuid:member_id>")
@allowed("cashier")
def member(desk: Desk, member_id: UUID) -> Response:
    context = server()
    now = context.clock.now()
    before = request.args.get("before", type=int)
    with reading(context.engine, desk.program.id) as session:
        person = member_by_id(session, member_id)
        membership = read_membership(session, desk.program, person, now)
        rows = entries(session, member_id, before_sequence=before, limit=ENTRIES_PER_PAGE + 1)
        passes = read_passes(session, member_id)
    page_url = context.settings.public_url + url_for(
        "member.home", token=context.mint.page_token(person.id, person.token_generation)
    )
    return panel_page(
        desk,
        "panel/member.html",
        membership=membership,
        vouchers=membership.open_vouchers(now),
        entries=rows[:ENTRIES_PER_PAGE],
        more_before=rows[ENTRIES_PER_PAGE - 1].sequence if len(rows) > ENTRIES_PER_PAGE else None,
        is_first_page=before is None,
        passes=passes,
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
    return panel_page(desk, "panel/_live.html", membership=membership, passes=passes)


def read_passes(session: Session, member_id: UUID) -> list[IssuedPass]:
    """The member's passes, Apple's first; one is missing where it was never given out."""
    found = (pass_of_member(session, member_id, wallet) for wallet in WALLETS)
    return [issued for issued in found if issued is not None]
