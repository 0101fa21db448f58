"""Passes for a member's browser: the file for Apple Wallet. The address is the proof: nobody can guess it."""

from __future__ import annotations

from flask import Blueprint, Response, request
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.errors import NotFoundError
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.queries import pass_of_member
from wallet_server.members.queries import member_by_page_token
from wallet_server.web.context import server
from wallet_server.web.security import limit_rate
from wallet_server.web.wallet_api.cards import note_fetch, pass_answer, print_card, read_card

blueprint = Blueprint("passes", __name__)

REFUSALS_LIMIT = "120/minute"


@blueprint.get("/passes/<token>.pkpass")
def apple_pass(token: str) -> Response:
    """The member's pass for Apple Wallet. HEAD neither builds nor signs it."""
    context = server()
    with reading(context.engine, ALL_PROGRAMS) as session:
        issued = pass_of(session, token, "apple")
        if request.method == "HEAD":
            return _attached(pass_answer(None, issued.last_modified), "card")
        card = read_card(context, session, issued)
    answer = _attached(pass_answer(print_card(context, card), card.state.last_modified), card.program.slug)
    note_fetch(context, card.state)
    return answer


def pass_of(session: Session, token: str, wallet: str) -> IssuedPass:
    """The pass of whoever this address belongs to; raises ``NotFoundError(unknown_member)``."""
    try:
        member = member_by_page_token(session, server().mint, token)
    except NotFoundError:
        limit_rate("passes-refused", REFUSALS_LIMIT)
        raise
    issued = pass_of_member(session, member.id, wallet)
    if issued is None:
        raise NotFoundError("unknown_member", "this member has no card")
    return issued


def _attached(response: Response, name: str) -> Response:
    # Browsers inside of other apps go by the name where they ignore the type.
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.pkpass"'
    return response
