"""The secret address of a member's page, and the cookie with which a browser remembers that it joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from flask import Response, request
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.errors import NotFoundError
from wallet_server.members.models import Member
from wallet_server.members.queries import member_by_id, member_by_page_token
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.web.context import server
from wallet_server.web.security import cookie_name, delete_cookie, set_cookie

JOINED_S: Final = 365 * 24 * 3600
TOKEN_LENGTH_MAX: Final = 64


@dataclass(frozen=True)
class WalletLinks:
    """Where a member's passes are; ``google_url`` is ``None`` where Google Wallet is not set up."""

    apple_url: str
    google_url: str | None


def wallet_links(member: Member) -> WalletLinks:
    """The addresses that put the member's card into a wallet."""
    context = server()
    token = context.mint.page_token(member.id, member.token_generation)
    public = context.settings.public_url
    return WalletLinks(
        apple_url=f"{public}/passes/{token}.pkpass",
        google_url=f"{public}/passes/{token}/google" if context.wallets.google else None,
    )


def token_of(session: Session, member_id: UUID) -> str:
    """The token of a member's page. Raises ``NotFoundError(unknown_member)``."""
    member = member_by_id(session, member_id)
    return server().mint.page_token(member.id, member.token_generation)


def remember_joined(response: Response, slug: str, token: str) -> None:
    """Let this browser find its own card again when it comes back to the program's join page."""
    set_cookie(response, _cookie(slug), token, max_age_s=JOINED_S)


def forget_joined(response: Response, slug: str) -> None:
    """Let this browser forget the card that it kept for a program."""
    delete_cookie(response, _cookie(slug))


def joined_here(program: ProgramDefinition) -> str | None:
    """The token that this browser keeps for the program, if it is still good."""
    context = server()
    token = request.cookies.get(cookie_name(context.settings, _cookie(program.slug)), "")
    if not 0 < len(token) <= TOKEN_LENGTH_MAX:
        return None
    with reading(context.engine, ALL_PROGRAMS) as session:
        try:
            member = member_by_page_token(session, context.mint, token)
        except NotFoundError:
            return None
    return token if member.program_id == program.id else None


def _cookie(slug: str) -> str:
    return f"member-{slug}"
