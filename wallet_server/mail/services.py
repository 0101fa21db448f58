"""Mails: asked for in the transaction of what they tell, sent by a worker, each at most once.

The row says how far a mail has come. ``hand_over`` is one conditional UPDATE right before the text's end is
said, so of two workers one sends it; a row found in ``handed_over`` belongs to a worker that died in that very
moment, and nobody says it again: a mail may be lost then, which its reader cures by asking for another, but it
does not come twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, new_id
from wallet_server.mail.letters import RECOVERY, RECOVERY_LASTS, Order
from wallet_server.mail.models import Mail
from wallet_server.mail.sender import Outcome, Verdict
from wallet_server.members.models import Member
from wallet_server.outbox import services as outbox
from wallet_server.tokens import TokenMint

MAIL_DUE: Final = "mail.due"
QUEUE: Final = "bulk"
TOO_LATE: Final = "too late"
NOBODY: Final = "the member has no e-mail address any more"
DIED: Final = "the worker ended at the moment of handing it over"
_STATES: Final[Mapping[Verdict, str]] = {
    Verdict.SENT: "sent",
    Verdict.REFUSED: "refused",
    Verdict.UNSURE: "unsure",
    Verdict.LATER: "waiting",
    Verdict.OURS: "waiting",
}


@dataclass(frozen=True, slots=True)
class Due:
    """A mail that may be sent now, and what it says."""

    program_id: UUID
    order: Order


def ask(
    session: Session,
    *,
    program_id: UUID,
    member_id: UUID,
    kind: str,
    subject_id: UUID,
    not_after: datetime,
    now: datetime,
) -> UUID:
    """Have one mail sent after the commit; its id."""
    mail_id = new_id()
    row = {
        "id": mail_id,
        "program_id": program_id,
        "member_id": member_id,
        "kind": kind,
        "subject_id": subject_id,
        "state": "waiting",
        "reason": "",
        "attempts": 0,
        "created_at": now,
        "not_after": not_after,
    }
    insert_rows(session, Mail, [row])
    payload = {"v": 1, "mail_id": str(mail_id)}
    outbox.add(session, topic=MAIL_DUE, queue=QUEUE, program_id=program_id, payload=payload, now=now)
    return mail_id


def asked_since(session: Session, member_id: UUID, kind: str, since: datetime) -> int:
    """How many mails of a kind were asked for a member since a moment."""
    statement = sa.select(sa.func.count()).where(
        col(Mail.member_id) == member_id, col(Mail.kind) == kind, col(Mail.created_at) >= since
    )
    return session.scalar(statement) or 0


def take_up(
    session: Session, mail_ids: Collection[UUID], mint: TokenMint, *, public_url: str, now: datetime
) -> dict[UUID, Due]:
    """Which of these mails are to be sent now; the others are settled here. Scope ``ALL_PROGRAMS``.

    Somebody's address is read at this moment and not when the mail was asked for: who has left gets none.
    """
    statement = (
        select(Mail, Member)
        .join(Member, col(Member.id) == col(Mail.member_id))
        .where(col(Mail.id).in_(list(mail_ids)), col(Mail.state).in_(("waiting", "handed_over")))
        .order_by(col(Mail.id))
        .with_for_update(of=Mail)
    )
    due: dict[UUID, Due] = {}
    for mail, member in session.exec(statement):
        if mail.state == "handed_over":
            _close(session, mail, "unsure", DIED, now)
        elif now > mail.not_after:
            _close(session, mail, "dropped", TOO_LATE, now)
        elif member.email is None:
            _close(session, mail, "dropped", NOBODY, now)
        else:
            mail.attempts += 1
            session.add(mail)
            due[mail.id] = Due(mail.program_id, _order(mail, member, mint, public_url))
    return due


def _close(session: Session, mail: Mail, state: str, reason: str, now: datetime) -> None:
    mail.state, mail.reason, mail.finished_at = state, reason, now
    session.add(mail)


def _order(mail: Mail, member: Member, mint: TokenMint, public_url: str) -> Order:
    assert mail.kind == RECOVERY, f"nobody writes letters of kind {mail.kind!r}"
    assert member.email is not None
    token = mint.recovery_token(mail.subject_id)
    return Order(
        mail_id=mail.id,
        kind=mail.kind,
        recipient=member.email,
        language=member.language,
        values={"link": f"{public_url}/lost/{token}", "minutes": RECOVERY_LASTS // timedelta(minutes=1)},
    )


def hand_over(session: Session, mail_id: UUID, now: datetime) -> bool:
    """Note that the mail server hears the end of the text next; False: another worker has said it."""
    claimed = session.execute(
        sa.update(Mail)
        .where(col(Mail.id) == mail_id, col(Mail.state) == "waiting")
        .values(state="handed_over", handed_over_at=now)
        .returning(col(Mail.id)),
        execution_options={"synchronize_session": False},
    )
    return claimed.scalar_one_or_none() is not None


def settle(session: Session, outcomes: Mapping[UUID, Outcome], now: datetime) -> None:
    """Write down what became of mails. A mail that is to be tried again waits again."""
    for mail_id, outcome in sorted(outcomes.items()):
        if outcome.verdict is Verdict.WITHHELD:
            continue  # whoever has it says how it ended
        state = _STATES[outcome.verdict]
        values: dict[str, Any] = {"state": state, "reason": outcome.reason}
        still = ["waiting", "handed_over"]
        if state != "waiting":
            values["finished_at"] = now
            still.append("unsure")  # a worker that was thought dead knows better
        session.execute(
            sa.update(Mail).where(col(Mail.id) == mail_id, col(Mail.state).in_(still)).values(**values),
            execution_options={"synchronize_session": False},
        )


def forget_member(session: Session, program_id: UUID, member_id: UUID) -> None:
    """Delete the notes of a member's mails; one that waits is not sent."""
    session.execute(
        sa.delete(Mail).where(col(Mail.program_id) == program_id, col(Mail.member_id) == member_id),
        execution_options={"synchronize_session": False},
    )


def prune(session: Session, before: datetime, *, limit: int = 5_000) -> int:
    """Delete notes of mails that were asked for before a moment, at most ``limit`` at once; how many."""
    old = sa.select(col(Mail.id)).where(col(Mail.created_at) < before).limit(limit)
    deleted = session.execute(
        sa.delete(Mail).where(col(Mail.id).in_(old)).returning(col(Mail.id)),
        execution_options={"synchronize_session": False},
    )
    return len(deleted.all())
