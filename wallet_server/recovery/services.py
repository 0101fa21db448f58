"""A lost card comes back: a wish, a mail with a link that works once, and the card on a new phone.

Nobody learns from us who is a member. The page does the same for every phone number and address: one row of the
same shape and one row of work, in the same statements; whose contact it is, is looked up later by a worker.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.errors import DomainError
from wallet_server.mail import services as mail
from wallet_server.mail.letters import RECOVERY, RECOVERY_LASTS
from wallet_server.members.identity import Contact
from wallet_server.members.models import Member
from wallet_server.outbox import services as outbox
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.recovery.models import Recovery
from wallet_server.tokens import TokenMint

RECOVERY_REQUESTED: Final = "recovery.requested"
QUEUE: Final = "bulk"
PRESSED_AGAIN_WITHIN: Final = timedelta(minutes=1)
"""So soon after a link was used the same form may press its button once more; and two wishes are one mail."""
MAILS_MAX: Final = 3
MAILS_WITHIN: Final = timedelta(hours=1)
"""More mails than this nobody gets, whoever asks for them."""


@dataclass(frozen=True, slots=True)
class OpenLink:
    """A link that is still good, and whose card it brings back."""

    recovery_id: UUID
    member: Member


@dataclass(frozen=True, slots=True)
class UsedLink:
    """Whose card a link has brought back; ``again``: a second press on the same form, to which nothing is done."""

    member: Member
    again: bool


def link_over() -> DomainError:
    """One answer for every link that opens nothing: used, too old, replaced, or never of our making."""
    return DomainError("link_over", "this link is used up or too old; ask for a new one", status=410)


def request(session: Session, program: ProgramDefinition, contact: Contact, *, now: datetime) -> UUID:
    """Note that somebody wants a card back; the same for members and strangers. The recovery's id."""
    recovery = Recovery(
        program_id=program.id,
        contact=contact.email or contact.phone,
        requested_at=now,
        expires_at=now + RECOVERY_LASTS,
    )
    session.add(recovery)
    payload = {"v": 1, "recovery_id": str(recovery.id)}
    outbox.add(session, topic=RECOVERY_REQUESTED, queue=QUEUE, program_id=program.id, payload=payload, now=now)
    return recovery.id


def look_up(session: Session, program: ProgramDefinition, recovery_id: UUID, now: datetime) -> None:
    """Find whose contact it is, ask for the mail, and forget the contact.

    The mail goes to the address that we have, also for a phone number. There is none for somebody who has no
    address, has had three mails within the hour, or is no member; and none for the second click of a double click.
    """
    recovery = session.exec(select(Recovery).where(Recovery.id == recovery_id).with_for_update()).one_or_none()
    if recovery is None or recovery.contact is None:
        return
    contact, recovery.contact = recovery.contact, None
    session.add(recovery)
    known_by = Member.email if "@" in contact else Member.phone
    # Locked: of two wishes that are looked up at once, the second sees what became of the first.
    locked = select(Member).where(known_by == contact).with_for_update(key_share=True)
    member = session.exec(locked).one_or_none()
    if member is None or member.email is None or now > recovery.expires_at:
        return
    if _is_on_its_way(session, member.id, recovery.requested_at):
        return
    if mail.asked_since(session, member.id, RECOVERY, now - MAILS_WITHIN) >= MAILS_MAX:
        return
    recovery.member_id = member.id
    session.flush()
    mail.ask(
        session,
        program_id=program.id,
        member_id=member.id,
        kind=RECOVERY,
        subject_id=recovery.id,
        not_after=recovery.expires_at,
        now=now,
    )


def _is_on_its_way(session: Session, member_id: UUID, asked_at: datetime) -> bool:
    """Whether the member was sent a link for a wish of the same minute, and has not used it."""
    just_before = (
        col(Recovery.member_id) == member_id,
        col(Recovery.used_at).is_(None),
        col(Recovery.requested_at) > asked_at - PRESSED_AGAIN_WITHIN,
    )
    return session.scalar(sa.select(sa.exists().where(*just_before))) is True


def open_link(session: Session, mint: TokenMint, token: str, now: datetime, *, by: str = "") -> OpenLink:
    """What a link would bring back, without using it up: mail programs look at links before people do.

    ``by`` is the form that is about to use it, which may have used it a moment ago. Needs a session over all
    programs: the link is what names the program. Raises :func:`link_over`.
    """
    recovery_id = mint.recovery_of_token(token)
    recovery = session.get(Recovery, recovery_id) if recovery_id else None
    if recovery is None or recovery.member_id is None or now > recovery.expires_at:
        raise link_over()
    if recovery.used_at is not None and not _is_pressed_again(recovery, by, now):
        raise link_over()
    member = session.exec(select(Member).where(Member.id == recovery.member_id)).one_or_none()
    if member is None or member.left_at is not None:
        raise link_over()
    return OpenLink(recovery.id, member)


def use_link(session: Session, recovery_id: UUID, now: datetime, *, by: str) -> UsedLink:
    """Use a link up, and with it the others that the member was sent.

    Of two presses at once one uses it. The other one is led to the same card if it comes from the same form, ``by``
    (a secret's fingerprint): somebody who clicks twice must not read that his link is over. Raises
    :func:`link_over`.
    """
    member_id = session.scalar(sa.select(col(Recovery.member_id)).where(col(Recovery.id) == recovery_id))
    if member_id is None:
        raise link_over()
    # The member's row first, as in leaving: in the other order the two could wait for each other.
    locked = select(Member).where(Member.id == member_id).with_for_update(key_share=True)
    member = session.exec(locked.execution_options(populate_existing=True)).one()
    used = session.execute(
        sa.update(Recovery)
        .where(col(Recovery.id) == recovery_id, col(Recovery.used_at).is_(None), col(Recovery.expires_at) >= now)
        .values(used_at=now, used_by=by)
        .returning(col(Recovery.id)),
        execution_options={"synchronize_session": False},
    ).one_or_none()
    if member.left_at is not None:
        raise link_over()
    if used is None:
        recovery = session.get_one(Recovery, recovery_id, populate_existing=True)
        if not _is_pressed_again(recovery, by, now):
            raise link_over()
        return UsedLink(member, again=True)
    end_links(session, member.id, now, spare=recovery_id)
    return UsedLink(member, again=False)


def _is_pressed_again(recovery: Recovery, by: str, now: datetime) -> bool:
    used_at, used_by = recovery.used_at, recovery.used_by or ""
    if used_at is None or not by or now > used_at + PRESSED_AGAIN_WITHIN:
        return False
    return hmac.compare_digest(by, used_by)


def end_links(session: Session, member_id: UUID, now: datetime, *, spare: UUID | None = None) -> None:
    """Let no link that a member was sent open anything any more, not by a second press either.

    But for ``spare``, the used one that brings this about.
    """
    mine = [col(Recovery.member_id) == member_id]
    if spare is not None:
        mine.append(col(Recovery.id) != spare)
    session.execute(
        sa.update(Recovery).where(*mine).values(used_at=sa.func.coalesce(col(Recovery.used_at), now), used_by=None),
        execution_options={"synchronize_session": False},
    )


def forget_member(session: Session, program_id: UUID, member_id: UUID) -> None:
    """Delete what is noted of a member's lost cards."""
    session.execute(
        sa.delete(Recovery).where(col(Recovery.program_id) == program_id, col(Recovery.member_id) == member_id),
        execution_options={"synchronize_session": False},
    )


def prune(session: Session, before: datetime, *, limit: int = 5_000) -> int:
    """Delete wishes from before a moment, at most ``limit`` at once; how many."""
    old = sa.select(col(Recovery.id)).where(col(Recovery.requested_at) < before).limit(limit)
    deleted = session.execute(
        sa.delete(Recovery).where(col(Recovery.id).in_(old)).returning(col(Recovery.id)),
        execution_options={"synchronize_session": False},
    )
    return len(deleted.all())
