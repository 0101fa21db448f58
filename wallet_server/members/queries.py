"""Reading members. The session's scope says of which program, but where the docstring says otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.errors import DomainError, NotFoundError
from wallet_server.members.models import Card, Member
from wallet_server.programs.queries import parts
from wallet_server.tokens import TokenMint

PAGE_SIZE_MAX: Final = 200
SEARCH_LENGTH_MAX: Final = 120


@dataclass(frozen=True)
class MemberCard:
    """A member with one of the member's cards."""

    member: Member
    card: Card


def member_of_card(session: Session, number: str) -> MemberCard:
    """Whose card it is.

    Raises ``NotFoundError(unknown_card)``, and ``DomainError(card_blocked)`` for a card that was taken out
    of use.
    """
    found = cards_of_numbers(session, [number]).get(number)
    if found is None:
        raise NotFoundError("unknown_card", "there is no such card in this program")
    if found.card.blocked_at is not None:
        raise DomainError("card_blocked", "this card is blocked", status=409)
    return found


def cards_of_numbers(session: Session, numbers: Collection[str]) -> dict[str, MemberCard]:
    """Members and cards by card number, blocked cards too; unknown numbers are missing in the answer."""
    found: dict[str, MemberCard] = {}
    for part in parts(numbers):
        statement = select(Member, Card).join(Card, _card_of_member()).where(col(Card.number).in_(part))
        found.update({card.number: MemberCard(member, card) for member, card in session.exec(statement)})
    return found


def cards_of_members(session: Session, member_ids: Collection[UUID]) -> dict[UUID, Card]:
    """The card of each member: the oldest that is not blocked, or else the oldest."""
    found: dict[UUID, Card] = {}
    for part in parts(member_ids):
        statement = (
            select(Card)
            .where(col(Card.member_id).in_(part))
            .order_by(col(Card.blocked_at).is_not(None), col(Card.created_at), col(Card.id))
        )
        for card in session.exec(statement):
            found.setdefault(card.member_id, card)
    return found


def cards_of_external_ids(session: Session, external_ids: Collection[str]) -> dict[str, str]:
    """The card number of each person of the shop's own system; unknown ids are missing in the answer."""
    members: dict[UUID, str] = {}
    for part in parts(external_ids):
        statement = select(Member.id, col(Member.external_id)).where(col(Member.external_id).in_(part))
        rows = session.exec(statement)
        members.update({member_id: external_id for member_id, external_id in rows if external_id is not None})
    cards = cards_of_members(session, members.keys())
    return {external_id: cards[member_id].number for member_id, external_id in members.items()}


def member_by_id(session: Session, member_id: UUID) -> Member:
    """One member; raises ``NotFoundError(unknown_member)``."""
    member = session.exec(select(Member).where(Member.id == member_id)).one_or_none()
    if member is None:
        raise NotFoundError("unknown_member", "there is no such member in this program")
    return member


def present(member: Member) -> Member:
    """The member, who is still one; raises ``DomainError(member_left)`` for somebody who has left."""
    if member.left_at is not None:
        raise DomainError("member_left", "this member has left the program", status=409)
    return member


def members_by_id(session: Session, member_ids: Collection[UUID]) -> dict[UUID, Member]:
    """The members of these ids that there are."""
    if not member_ids:
        return {}
    found = session.exec(select(Member).where(col(Member.id).in_(set(member_ids))))
    return {member.id: member for member in found}


def member_by_page_token(session: Session, mint: TokenMint, token: str) -> Member:
    """Whose page it is. Needs a session over all programs: the token is what names the program.

    Raises ``NotFoundError(unknown_member)`` for a wrong, forged or revoked token, without saying which.
    """
    member_id = mint.member_of_page_token(token)
    member = session.exec(select(Member).where(Member.id == member_id)).one_or_none() if member_id else None
    good = member is not None and member.left_at is None
    if member is None or not (good and mint.is_page_token(token, member.id, member.token_generation)):
        raise NotFoundError("unknown_member", "this address leads to nobody")
    return member


def member_by_referral_code(session: Session, code: str) -> Member | None:
    """Who invites with this code, in any case of letters. Over all programs where the session is."""
    statement = select(Member).where(Member.referral_code == code.strip().upper()).limit(1)
    return session.exec(statement).one_or_none()


def search(session: Session, text: str, *, limit: int = 50, before: UUID | None = None) -> Sequence[Member]:
    """Members whose name, card, phone, e-mail or external id has ``text`` in it, the newest first.

    An empty text finds all; those who have left are nobody any more. ``before`` is the last id of the page
    before; at most 200 to a page.
    """
    statement = select(Member).where(col(Member.left_at).is_(None))
    statement = statement.order_by(col(Member.id).desc()).limit(min(limit, PAGE_SIZE_MAX))
    if before is not None:
        statement = statement.where(col(Member.id) < before)
    text = text.strip()[:SEARCH_LENGTH_MAX]
    if text:
        statement = statement.where(sa.or_(*_matches(text)))
    return session.exec(statement).all()


def _matches(text: str) -> list[sa.ColumnElement[bool]]:
    # SQLite folds the case of Latin letters only, so a Cyrillic name is looked for in the usual spellings.
    spellings = {text, text.lower(), text.upper(), text.title()}
    matches = [col(Member.name).icontains(spelling, autoescape=True) for spelling in sorted(spellings)]
    matches.append(col(Member.email).contains(text.lower(), autoescape=True))
    matches.append(col(Member.external_id) == text)
    digits = "".join(character for character in text if character.isdigit())
    if len(digits) >= 3 and not any(character.isalpha() for character in text):
        # People leave out the country code and write the national zero instead.
        matches.append(col(Member.phone).contains(digits.lstrip("0") or digits, autoescape=True))
    compact = "".join(text.split())
    with_card = select(Card.member_id).where(_card_of_member(), col(Card.number).startswith(compact, autoescape=True))
    matches.append(with_card.exists())
    return matches


def _card_of_member() -> sa.ColumnElement[bool]:
    return sa.and_(col(Card.program_id) == col(Member.program_id), col(Card.member_id) == col(Member.id))
