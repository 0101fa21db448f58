"""Campaigns: made, launched once, and sent in batches, each member exactly once.

A launch freezes the audience in SQL and leaves one outbox row per batch. A batch decides for its members and
marks them in one transaction, so that a worker that dies before the commit has done nothing, and one that
runs a second time finds nobody waiting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.db import new_id
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import LANGUAGES, localized
from wallet_server.members.models import Member
from wallet_server.notifications.services import Wanted, ask
from wallet_server.outbox import services as outbox
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.segments.models import Segment
from wallet_server.segments.queries import condition_of, find_segment, members_where
from wallet_server.staff import audit

BATCH_DUE: Final = "campaign.batch_due"
BULK_QUEUE: Final = "bulk"
BATCH_MEMBERS: Final = 500
NAME_CHARACTERS_MAX: Final = 120
MESSAGE_CHARACTERS_MAX: Final = 200
"""A lock screen shows about so much of a change message."""
ENDS_WITHIN: Final = timedelta(days=366)
EMOJI_JOINER: Final = "\N{ZERO WIDTH JOINER}"
"""Not printable by itself, but what makes one picture of several."""
FAILED_ROWS_MAX: Final = 1_000
AGAIN_AFTER_MIN: Final = timedelta(seconds=10)
"""Members who are put off to different moments do not make a batch of each."""


def origin_of(campaign_id: UUID) -> str:
    """What makes a campaign's message unique for a member (in ``notification.origin``)."""
    return f"campaign:{campaign_id.hex}"


def create(
    session: Session,
    program: ProgramDefinition,
    *,
    name: str,
    segment_id: UUID,
    message: Mapping[str, str],
    ends_at: datetime | None = None,
    actor: str,
    now: datetime,
) -> Campaign:
    """Make a campaign that waits to be launched; ``message`` is plain text by language.

    The text is needed in the program's default language, which members of other languages get where theirs is
    missing. Cards say it until ``ends_at``; without that until there is other news.
    Raises ``DomainError(validation)`` with ``field``, and ``NotFoundError(unknown_segment)``.
    """
    name, texts = _checked_name(name), _checked_message(program, message)
    _check_end(ends_at, now)
    segment = find_segment(session, program, segment_id=segment_id)
    campaign = Campaign(
        id=new_id(),
        program_id=program.id,
        name=name,
        segment_id=segment.id,
        condition=dict(segment.condition),
        message=texts,
        ends_at=ends_at,
        created_at=now,
        created_by=actor[:200],
    )
    session.add(campaign)
    session.flush()
    _audit(session, campaign, "campaign.created", actor, now, segment=segment.code, message=texts)
    return campaign


def revise(
    session: Session,
    program: ProgramDefinition,
    campaign_id: UUID,
    *,
    name: str,
    segment_id: UUID,
    message: Mapping[str, str],
    ends_at: datetime | None = None,
    actor: str,
    now: datetime,
) -> Campaign:
    """Write a campaign anew that was not launched; as :func:`create` takes it.

    Raises what ``create`` does, ``NotFoundError(unknown_campaign)`` and ``DomainError(campaign_launched, 409)``.
    """
    campaign = _locked_draft(session, program, campaign_id)
    name, texts = _checked_name(name), _checked_message(program, message)
    _check_end(ends_at, now)
    segment = find_segment(session, program, segment_id=segment_id)
    campaign.name, campaign.message, campaign.ends_at = name, texts, ends_at
    campaign.segment_id, campaign.condition = segment.id, dict(segment.condition)
    session.add(campaign)
    session.flush()
    _audit(session, campaign, "campaign.revised", actor, now, segment=segment.code, message=texts)
    return campaign


def discard(session: Session, program: ProgramDefinition, campaign_id: UUID, *, actor: str, now: datetime) -> None:
    """Delete a campaign that was not launched.

    Raises ``NotFoundError(unknown_campaign)`` and ``DomainError(campaign_launched, 409)``.
    """
    campaign = _locked_draft(session, program, campaign_id)
    _audit(session, campaign, "campaign.discarded", actor, now)
    session.delete(campaign)
    session.flush()


def _locked_draft(session: Session, program: ProgramDefinition, campaign_id: UUID) -> Campaign:
    """The campaign, kept from others until the end of the transaction, and not launched so far."""
    campaign = session.exec(
        select(Campaign)
        .where(Campaign.program_id == program.id, Campaign.id == campaign_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if campaign is None:
        raise NotFoundError("unknown_campaign", "there is no such campaign in this program")
    if campaign.launched_at is not None:
        raise DomainError("campaign_launched", "this campaign has been launched before", status=409)
    return campaign


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise DomainError("validation", f"a name has 1 to {NAME_CHARACTERS_MAX} characters", field="name")
    return name


def _check_end(ends_at: datetime | None, now: datetime) -> None:
    if ends_at is not None and not now < ends_at <= now + ENDS_WITHIN:
        detail = f"ends_at is a moment in the next {ENDS_WITHIN.days} days"
        raise DomainError("validation", detail, field="ends_at")


def _checked_message(program: ProgramDefinition, message: Mapping[str, str]) -> dict[str, str]:
    texts = {language: " ".join(text.split()) for language, text in message.items() if text.strip()}
    for language, text in texts.items():
        field = f"message.{language}"
        if language not in program.languages:
            spoken = ", ".join(LANGUAGES[code] for code in program.languages)
            raise DomainError("validation", f"this program speaks {spoken}", field=field)
        if len(text) > MESSAGE_CHARACTERS_MAX:
            detail = f"a message has at most {MESSAGE_CHARACTERS_MAX} characters; this one has {len(text)}"
            raise DomainError("validation", detail, field=field)
        if not text.replace(EMOJI_JOINER, "").isprintable():
            raise DomainError("validation", "a message holds no control characters", field=field)
    if program.default_language not in texts:
        detail = f"the message is needed in {LANGUAGES[program.default_language]}, the program's first language"
        raise DomainError("validation", detail, field=f"message.{program.default_language}")
    return texts


def launch(session: Session, program: ProgramDefinition, campaign_id: UUID, *, now: datetime, actor: str) -> int:
    """Freeze the audience and have the batches sent; the number of members in the audience.

    The segment's condition is taken as it is now, and kept. Of two launches of one campaign, one is refused.
    Raises ``NotFoundError(unknown_campaign)``, ``DomainError(campaign_launched, 409)``,
    ``DomainError(campaign_over, 409)`` where its end has passed, and ``DomainError(empty_audience, 409)``, having
    changed nothing.
    """
    campaign = _locked_draft(session, program, campaign_id)
    if campaign.ends_at is not None and campaign.ends_at <= now:
        raise DomainError("campaign_over", "the campaign's end has passed; give it a later one", status=409)
    segment = find_segment(session, program, segment_id=campaign.segment_id)
    audience, batches = _freeze_audience(session, program, campaign, segment, now)
    if audience == 0:
        raise DomainError("empty_audience", "nobody is in this segment now", status=409)
    campaign.condition = dict(segment.condition)
    campaign.launched_at = now
    session.add(campaign)
    session.flush()
    outbox.add_many(session, [_batch_work(program, campaign.id, batch) for batch in range(batches)], now=now)
    _audit(session, campaign, "campaign.launched", actor, now, audience=audience)
    return audience


def _freeze_audience(
    session: Session, program: ProgramDefinition, campaign: Campaign, segment: Segment, now: datetime
) -> tuple[int, int]:
    """Write one recipient for each member of the segment; how many there are, and in how many batches."""
    selected = members_where(program, condition_of(segment), now).subquery()
    place = sa.func.row_number().over(order_by=selected.c.id)
    session.execute(
        sa.insert(CampaignRecipient).from_select(
            ["program_id", "campaign_id", "member_id", "batch", "state", "reason"],
            sa.select(
                sa.literal(program.id, sa.Uuid()),
                sa.literal(campaign.id, sa.Uuid()),
                selected.c.id,
                (place - 1) // BATCH_MEMBERS,
                sa.literal("waiting"),
                sa.literal(""),
            ),
        )
    )
    audience, last = session.execute(
        sa.select(sa.func.count(), sa.func.max(col(CampaignRecipient.batch))).where(
            col(CampaignRecipient.campaign_id) == campaign.id
        )
    ).one()
    return audience, 0 if last is None else last + 1


def send_batch(session: Session, program: ProgramDefinition, campaign_id: UUID, batch: int, now: datetime) -> int:
    """Decide for everybody in the batch who still waits; how many there were. Who is put off goes on waiting.

    Deciding, marking and the passes' new version are one transaction. A second run waits for the first and
    finds nobody. A campaign that does not exist, or was not launched, has nobody waiting.
    """
    campaign = session.exec(
        select(Campaign).where(Campaign.program_id == program.id, Campaign.id == campaign_id)
    ).one_or_none()
    if campaign is None or campaign.launched_at is None:
        return 0
    waiting = session.execute(
        sa.select(col(CampaignRecipient.member_id))
        .where(
            col(CampaignRecipient.program_id) == program.id,
            col(CampaignRecipient.campaign_id) == campaign_id,
            col(CampaignRecipient.batch) == batch,
            col(CampaignRecipient.state) == "waiting",
        )
        .order_by(col(CampaignRecipient.member_id))
        .with_for_update()
    ).scalars()
    member_ids = list(waiting)
    if not member_ids:
        return 0
    languages = session.execute(
        sa.select(col(Member.id), col(Member.language)).where(
            col(Member.program_id) == program.id, col(Member.id).in_(member_ids)
        )
    )
    language_of = {row.id: row.language for row in languages}
    too_late = campaign.launched_at + timedelta(hours=program.file.notifications.promotion_wait_hours)
    if campaign.ends_at is not None:
        too_late = min(too_late, campaign.ends_at)
    wanted = [
        Wanted(
            member_id,
            origin_of(campaign_id),
            localized(campaign.message, language_of[member_id], (program.default_language,)),
            expires_at=too_late,
            ends_at=campaign.ends_at,
        )
        for member_id in member_ids
    ]
    groups: defaultdict[tuple[str, str], list[UUID]] = defaultdict(list)
    put_off: list[datetime] = []
    for member_id, decision in ask(session, program, wanted, now).items():
        if decision.until is not None:
            put_off.append(decision.until)
        else:
            # A message that was on the pass already is shown; the reason says that it was not now.
            groups[decision.state, decision.reason].append(member_id)
    for (state, reason), ids in groups.items():
        _mark(session, campaign_id, col(CampaignRecipient.member_id).in_(ids), state=state, reason=reason, now=now)
    if put_off:
        again_at = max(min(put_off), now + AGAIN_AFTER_MIN)
        outbox.add_many(session, [_batch_work(program, campaign_id, batch, not_before=again_at)], now=now)
    return len(member_ids)


def _batch_work(
    program: ProgramDefinition, campaign_id: UUID, batch: int, not_before: datetime | None = None
) -> outbox.Work:
    return outbox.Work(
        topic=BATCH_DUE,
        queue=BULK_QUEUE,
        program_id=program.id,
        payload={"v": 1, "campaign_id": str(campaign_id), "batch": batch},
        not_before=not_before,
    )


def _mark(
    session: Session, campaign_id: UUID, which: sa.ColumnElement[bool], *, state: str, reason: str, now: datetime
) -> int:
    marked = session.execute(
        sa.update(CampaignRecipient)
        .where(col(CampaignRecipient.campaign_id) == campaign_id, col(CampaignRecipient.state) == "waiting", which)
        .values(state=state, reason=reason, decided_at=now)
        .returning(col(CampaignRecipient.member_id)),
        execution_options={"synchronize_session": False},
    )
    return len(marked.all())


def fail_given_up(session: Session, now: datetime) -> int:
    """Mark members as failed whose batch was given up by the outbox; how many there were.

    For the tick, over all programs: without it a campaign with a batch that cannot be sent would never end.
    """
    rows = session.execute(
        sa.select(col(OutboxRow.payload))
        .where(col(OutboxRow.topic) == BATCH_DUE, col(OutboxRow.state) == "failed")
        .order_by(col(OutboxRow.id).desc())
        .limit(FAILED_ROWS_MAX)
    ).scalars()
    return sum(
        _mark(
            session,
            UUID(payload["campaign_id"]),
            col(CampaignRecipient.batch) == payload["batch"],
            state="failed",
            reason="given_up",
            now=now,
        )
        for payload in rows
    )


def _audit(session: Session, campaign: Campaign, action: str, actor: str, now: datetime, **detail: Any) -> None:
    audit.record(
        session,
        program_id=campaign.program_id,
        actor=actor,
        action=action,
        subject=campaign.name,
        detail={"campaign_id": str(campaign.id), **detail},
        now=now,
    )
