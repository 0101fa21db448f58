"""The member's own page, and the page right after joining that offers the wallets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, abort, request, url_for

from wallet_server.db import ALL_PROGRAMS, reading, set_scope
from wallet_server.ledger.queries import EntryRow, entries
from wallet_server.members.queries import member_by_page_token
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.web.context import server
from wallet_server.web.member.addresses import TOKEN_LENGTH_MAX, WalletLinks, wallet_links
from wallet_server.web.memberships import Membership, read_membership
from wallet_server.web.public.pages import brand_url
from wallet_server.web.qr import qr_svg
from wallet_server.web.rendering import language, page, reader, set_language
from wallet_server.web.security import limit_rate, permission
from wallet_server.web.traces import Reasons, reasons_for_member

ENTRIES_PER_PAGE: Final = 20
SEQUENCE_MAX: Final = 2**63 - 1
"""What databases take for a number."""
# A wrong token cannot be guessed (128 bits); the limit keeps guessing from costing us anything.
VISITS_BY_ADDRESS: Final = "300/minute"

blueprint = Blueprint("member", __name__)


@dataclass(frozen=True)
class MemberPage:
    """What both pages show."""

    token: str
    program: ProgramDefinition
    membership: Membership
    links: WalletLinks
    entries: tuple[EntryRow, ...]
    reasons: Reasons
    more_before: int | None
    """The sequence number that the next page of entries begins before; ``None`` at the end."""


@blueprint.get("/m/<token>")
@permission("address")
def home(token: str) -> Response:
    before = request.args.get("before", type=int)
    if before is not None:
        before = max(0, min(before, SEQUENCE_MAX))
    shown = _read(token, before)
    return _answer("member/home.html", shown, block="history")


@blueprint.get("/m/<token>/welcome")
@permission("address")
def welcome(token: str) -> Response:
    return _answer("member/welcome.html", _read(token, None))


def _read(token: str, before: int | None) -> MemberPage:
    limit_rate("member-page", VISITS_BY_ADDRESS)
    if len(token) > TOKEN_LENGTH_MAX:
        abort(404)
    context = server()
    with reading(context.engine, ALL_PROGRAMS) as session:
        member = member_by_page_token(session, context.mint, token)
        set_scope(session, member.program_id)
        program = load_program(session, program_id=member.program_id)
        membership = read_membership(session, program, member, context.clock.now())
        rows = entries(session, member.id, before_sequence=before, limit=ENTRIES_PER_PAGE + 1)
        links = wallet_links(member)
        if not _has_chosen_language():
            set_language(member.language)
        earned = {row.purchase_id for row in rows if row.purchase_id and row.kind == "earn"}
        reasons = reasons_for_member(session, earned, reader(), program)
    return MemberPage(
        token=token,
        program=program,
        membership=membership,
        links=links,
        entries=tuple(rows[:ENTRIES_PER_PAGE]),
        reasons=reasons,
        more_before=rows[ENTRIES_PER_PAGE - 1].sequence if len(rows) > ENTRIES_PER_PAGE else None,
    )


def _has_chosen_language() -> bool:
    return "lang" in request.args or "language" in request.cookies or "__Host-language" in request.cookies


def _answer(template: str, shown: MemberPage, *, block: str | None = None) -> Response:
    context = server()
    home_url = context.settings.public_url + url_for("member.home", token=shown.token)
    card = shown.membership.card
    response = page(
        template,
        block=block,
        shown=shown,
        program=shown.program,
        program_name=shown.program.name(language()),
        brand_url=brand_url(shown.program),
        membership=shown.membership,
        vouchers=shown.membership.open_vouchers(context.clock.now()),
        links=shown.links,
        platform=platform(request.headers.get("User-Agent", "")),
        home_url=home_url,
        card_number=card.number if card else "",
        friend_url=context.settings.public_url + url_for("join.referral", code=shown.membership.member.referral_code),
        qr=qr_svg,
    )
    # The address is the key: it must not travel on in a Referer.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def platform(user_agent: str) -> str:
    """``apple``, ``google`` or ``desktop``: which wallet to offer first, and whether to offer a QR code."""
    if "iPhone" in user_agent or "iPad" in user_agent or ("Macintosh" in user_agent and "Mobile" in user_agent):
        return "apple"
    return "google" if "Android" in user_agent else "desktop"
