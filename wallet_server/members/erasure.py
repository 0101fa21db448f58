"""Forgetting a member (GDPR, article 17): what says who somebody is goes, what happened stays as nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows
from wallet_server.members import consents
from wallet_server.members.consents import Answer
from wallet_server.members.identity import new_card_number, new_referral_code
from wallet_server.members.models import Card, Consent, Member, MemberStatistics, MemberTag

LEAVING: Final = "leaving"
"""The source of the consents that are withdrawn by it."""


def forget(session: Session, member: Member, now: datetime) -> tuple[str, ...]:
    """Erase who a member is; the numbers of the cards that were taken out of use.

    Phone number, e-mail address, the shop's own id, name, birthday, tags and own percents go. The referral code
    and the numbers of the cards are replaced by random ones that nobody knows, so that neither a till nor an old
    receipt leads here any more, and the person may join anew with both. The secret addresses die with their
    generation. Answers to questions stay, as the proof that there was consent, with its withdrawal.
    """
    assert member.left_at is None, "nobody leaves twice"
    old = _block_cards(session, member, now)
    member.phone = member.email = member.external_id = member.birthday = None
    member.name = ""
    member.referral_code = new_referral_code()
    member.token_generation += 1
    member.left_at = now
    session.add(member)
    session.execute(
        sa.delete(MemberTag).where(col(MemberTag.member_id) == member.id),
        execution_options={"synchronize_session": False},
    )
    answers = {member.id: Answer(False, LEAVING)}
    consents.record_marketing(session, member.program_id, answers, now)
    insert_rows(session, Consent, [consents.row(member.program_id, member.id, "terms", answers[member.id], now)])
    session.execute(
        sa.update(MemberStatistics).where(col(MemberStatistics.member_id) == member.id).values(coefficients=[]),
        execution_options={"synchronize_session": False},
    )
    return tuple(old)


def _block_cards(session: Session, member: Member, now: datetime) -> Sequence[str]:
    old: list[str] = []
    for card in session.exec(select(Card).where(Card.member_id == member.id).order_by(col(Card.created_at))):
        old.append(card.number)
        card.number = new_card_number()
        card.blocked_at = card.blocked_at or now
        session.add(card)
    session.flush()
    return old
