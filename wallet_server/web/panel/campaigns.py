"""Campaigns: written, reviewed, launched once by an explicit yes, and watched until everybody's outcome is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from flask import Response, flash, request, url_for
from sqlmodel import Session

from wallet_server.campaigns.decision_queries import decisions, put_off
from wallet_server.campaigns.delivery_queries import delivery
from wallet_server.campaigns.models import Campaign
from wallet_server.campaigns.queries import (
    CampaignProgress,
    Outcome,
    find_campaign,
    list_campaigns,
    outcomes,
    preview,
    progress,
)
from wallet_server.campaigns.services import NAME_CHARACTERS_MAX, create, discard, launch, revise
from wallet_server.db import new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import LANGUAGES, Translator, gettext_noop
from wallet_server.idempotency.services import answer_once, request_hash
from wallet_server.issuance.delivery import PassState
from wallet_server.ledger.expiry import local_day
from wallet_server.segments.condition import Condition
from wallet_server.segments.queries import condition_of, find_segment, list_segments
from wallet_server.segments.sentences import sentence
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.campaign_form import (
    CHARACTERS_MAX,
    CampaignForm,
    form_like,
    form_of,
    last_day_before,
    read_form,
)
from wallet_server.web.panel.campaign_words import decision_rows
from wallet_server.web.panel.delivery_words import duration
from wallet_server.web.panel.desk import Desk, allowed, form_key
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.panel.segments import tier_names
from wallet_server.web.rendering import language, reader, see_other
from wallet_server.web.wording import refusal_of_code

CAMPAIGNS_SHOWN: Final = 50
WATCHED: Final = timedelta(minutes=10)
"""So long after the launch the page goes on asking how many phones have fetched their message."""
SELDOM_S: Final = 30
COUNTED_PER_SECOND: Final = 10_000
"""Members of an audience: a page that asks for their numbers must not keep the database busy by itself."""
BAR_UNITS: Final = 1_000
DELIVERED_STATES: Final = {
    PassState.CURRENT: gettext_noop("The card has it"),
    PassState.ACCEPTED: gettext_noop("Phone told"),
    PassState.STALE: gettext_noop("Not fetched for a day"),
    PassState.QUEUED: gettext_noop("Waits to be sent"),
    PassState.FAILED: gettext_noop("Refused"),
    PassState.REMOVED: gettext_noop("Removed since"),
}


@dataclass(frozen=True)
class CampaignRow:
    """One line of the list; ``outcome`` is missing for a draft."""

    campaign: Campaign
    segment_name: str
    outcome: Outcome | None


@dataclass(frozen=True)
class BarPart:
    """One part of the bar, in thousandths of its length."""

    kind: str
    start: int
    length: int


@blueprint.get("/programs/<slug>/campaigns")
@allowed("manager")
def campaigns(desk: Desk) -> Response:
    with reading(server().engine, desk.program.id) as session:
        found = list_campaigns(session, desk.program, limit=CAMPAIGNS_SHOWN + 1)
        shown = found[:CAMPAIGNS_SHOWN]
        names = {segment.id: segment.name for segment in list_segments(session, desk.program)}
        reached = outcomes(session, [campaign.id for campaign in shown])
    rows = [CampaignRow(campaign, names.get(campaign.segment_id, ""), reached.get(campaign.id)) for campaign in shown]
    return panel_page(
        desk,
        "panel/campaigns/list.html",
        block="results",
        rows=rows,
        has_more=len(found) > len(shown),
        is_sending=any(row.outcome is not None and row.outcome.waiting for row in rows),
    )


@blueprint.get("/programs/<slug>/campaigns/new")
@allowed("manager")
def campaign_new(desk: Desk) -> Response:
    """An empty form, one for a segment (``?segment=``), or one like another campaign (``?like=``)."""
    key = new_id().hex
    form = CampaignForm(key=key, segment=request.args.get("segment", "")[:36])
    like = request.args.get("like", type=UUID)
    if like is not None:
        with reading(server().engine, desk.program.id) as session:
            form = form_like(find_campaign(session, desk.program, like), key=key)
    return _form_page(desk, None, form)


@blueprint.post("/programs/<slug>/campaigns/new")
@allowed("manager")
def campaign_create(desk: Desk) -> Response:
    context = server()
    now = context.clock.now()
    form = _typed(desk)
    if request.form.get("action") == "preview":
        return _form_page(desk, None, form, block="preview")

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        made = create(
            session,
            desk.program,
            name=form.name,
            segment_id=form.segment_id(),
            message=form.message,
            ends_at=form.ends_at(desk.program.time_zone),
            actor=desk.actor,
            now=now,
        )
        return 201, {"v": 1, "campaign_id": made.id}

    try:
        asked = request_hash("campaign", *form.parts())
        answer = answer_once(context.engine, desk.program.id, desk.client, form.key, asked, work, now)
    except DomainError as error:
        return _form_page(desk, None, form, refused=error)
    body = json.loads(answer.body_text)
    if answer.status != 201:
        # The stored refusal would be repeated under the old key, so the corrected form gets a new one.
        refused = DomainError(body["code"], body["detail"], status=answer.status)
        return _form_page(desk, None, _typed(desk, key=new_id().hex), refused=refused)
    return see_other(url_for("panel.campaign", slug=desk.program.slug, campaign_id=body["campaign_id"]))


@blueprint.get("/programs/<slug>/campaigns/<uuid:campaign_id>")
@allowed("manager")
def campaign(desk: Desk, campaign_id: UUID) -> Response:
    """The review of a draft; the progress of a launched one."""
    return _campaign_page(desk, campaign_id)


def _campaign_page(desk: Desk, campaign_id: UUID, *, error: str = "", http_status: int = 200) -> Response:
    context = server()
    now = context.clock.now()
    with reading(context.engine, desk.program.id) as session:
        found = find_campaign(session, desk.program, campaign_id)
        segment = find_segment(session, desk.program, segment_id=found.segment_id)
        done = progress(session, campaign_id)
        decided = decisions(session, desk.program.id, campaign_id, waiting_only=not done.finished)
        delivered = delivery(session, desk.program.id, campaign_id, now) if done.finished else None
        # A launched campaign keeps the condition of its launch; a draft takes the segment's of today.
        condition = Condition.model_validate(found.condition) if found.launched_at else condition_of(segment)
        reach = preview(session, desk.program, condition, now) if found.launched_at is None else None
    launched_at = found.launched_at
    return panel_page(
        desk,
        "panel/campaigns/progress.html" if launched_at else "panel/campaigns/review.html",
        block="progress" if launched_at else None,
        http_status=http_status,
        campaign=found,
        segment=segment,
        sentence=sentence(condition, language(), tier_names(desk.program)),
        sender=desk.program.file.look.organization or desk.program.name(language()),
        progress=done,
        delivered=delivered,
        delivered_states=DELIVERED_STATES,
        duration=lambda time: duration(time, reader()),
        parts=bar_parts(done),
        decisions=decision_rows(decided, reader(), desk.program.time_zone),
        last_day=_last_day(desk, found),
        seconds_to_next=_seconds_to_next(
            done, put_off(decided), is_recent=launched_at is not None and now - launched_at < WATCHED
        ),
        reach=reach,
        error=error,
        lock_time=_lock_time(now, desk.program.time_zone),
    )


@blueprint.get("/programs/<slug>/campaigns/<uuid:campaign_id>/edit")
@allowed("manager")
def campaign_edit(desk: Desk, campaign_id: UUID) -> Response:
    with reading(server().engine, desk.program.id) as session:
        found = find_campaign(session, desk.program, campaign_id)
    if found.launched_at is not None:
        return see_other(url_for("panel.campaign", slug=desk.program.slug, campaign_id=campaign_id))
    return _form_page(desk, found, form_of(found, desk.program.time_zone, key=""))


@blueprint.post("/programs/<slug>/campaigns/<uuid:campaign_id>/edit")
@allowed("manager")
def campaign_revise(desk: Desk, campaign_id: UUID) -> Response:
    context = server()
    form = _typed(desk)
    with reading(context.engine, desk.program.id) as session:
        found = find_campaign(session, desk.program, campaign_id)
    if request.form.get("action") == "preview":
        return _form_page(desk, found, form, block="preview")
    try:
        with transaction(context.engine, desk.program.id) as session:
            revise(
                session,
                desk.program,
                campaign_id,
                name=form.name,
                segment_id=form.segment_id(),
                message=form.message,
                ends_at=form.ends_at(desk.program.time_zone),
                actor=desk.actor,
                now=context.clock.now(),
            )
    except DomainError as error:
        if error.code == "campaign_launched":
            return _already_launched(desk, campaign_id)
        return _form_page(desk, found, form, refused=error)
    return see_other(url_for("panel.campaign", slug=desk.program.slug, campaign_id=campaign_id))


@blueprint.get("/programs/<slug>/campaigns/<uuid:campaign_id>/launch")
@allowed("manager")
def campaign_launch_page(desk: Desk, campaign_id: UUID) -> Response:
    """Where a browser lands that asks again for the address of a refused launch."""
    return see_other(url_for("panel.campaign", slug=desk.program.slug, campaign_id=campaign_id))


@blueprint.post("/programs/<slug>/campaigns/<uuid:campaign_id>/launch")
@allowed("manager")
def campaign_launch(desk: Desk, campaign_id: UUID) -> Response:
    """Launch it; pressed twice, the second press only shows what the first one has started."""
    context = server()
    t = reader()
    if request.form.get("confirmed") != "yes":
        return _campaign_page(desk, campaign_id, error=t.gettext("Tick the box to send it."), http_status=422)
    try:
        with transaction(context.engine, desk.program.id) as session:
            launch(session, desk.program, campaign_id, now=context.clock.now(), actor=desk.actor)
    except DomainError as error:
        if error.code == "empty_audience":
            message = t.gettext("Nobody is in this segment now. Nothing was sent.")
            return _campaign_page(desk, campaign_id, error=message, http_status=error.status)
        if error.code == "campaign_over":
            message = t.gettext("The last day of this campaign has passed. Nothing was sent: change the day.")
            return _campaign_page(desk, campaign_id, error=message, http_status=error.status)
        if error.code != "campaign_launched":
            raise
    return see_other(url_for("panel.campaign", slug=desk.program.slug, campaign_id=campaign_id))


@blueprint.post("/programs/<slug>/campaigns/<uuid:campaign_id>/discard")
@allowed("manager")
def campaign_discard(desk: Desk, campaign_id: UUID) -> Response:
    context = server()
    try:
        with transaction(context.engine, desk.program.id) as session:
            discard(session, desk.program, campaign_id, actor=desk.actor, now=context.clock.now())
    except DomainError as error:
        if error.code != "campaign_launched":
            raise
        return _already_launched(desk, campaign_id)
    flash(reader().gettext("The draft has been thrown away."), "success")
    return see_other(url_for("panel.campaigns", slug=desk.program.slug))


def bar_parts(done: CampaignProgress) -> tuple[BarPart, ...]:
    """The bar from left to right: fetched, accepted, shown, suppressed, failed; what is missing still waits."""
    if not done.audience:
        return ()
    accepted = min(done.accepted, done.shown)
    fetched = min(done.fetched, accepted)
    suppressed = sum(done.suppressed.values())
    counts = (
        ("fetched", fetched),
        ("accepted", accepted - fetched),
        ("shown", done.shown - accepted),
        ("suppressed", suppressed),
        ("failed", done.failed),
    )
    parts: list[BarPart] = []
    before = 0
    for kind, members in counts:
        # Rounded where parts meet, so that they neither overlap nor leave a gap.
        start, end = (BAR_UNITS * edge // done.audience for edge in (before, before + members))
        parts.append(BarPart(kind, start, end - start))
        before += members
    return tuple(parts)


def _last_day(desk: Desk, campaign: Campaign) -> date | None:
    return None if campaign.ends_at is None else last_day_before(campaign.ends_at, desk.program.time_zone)


def _seconds_to_next(done: CampaignProgress, waits: int, *, is_recent: bool) -> int | None:
    """When to look again; ``None`` when nothing more is to be expected soon.

    Seldom where all who wait, ``waits`` of them, were put off: until the morning, say; and the more seldom, the more
    members there are to count.
    """
    counting = done.audience // COUNTED_PER_SECOND
    if not done.finished:
        return SELDOM_S if waits and waits == done.waiting else 1 + counting
    return 3 + counting if is_recent and done.fetched < done.shown else None


def _typed(desk: Desk, *, key: str = "") -> CampaignForm:
    return read_form(request.form, desk.program.languages, key=key or form_key())


def _already_launched(desk: Desk, campaign_id: UUID) -> Response:
    flash(reader().gettext("This campaign has been launched, so it stays as it is."), "info")
    return see_other(url_for("panel.campaign", slug=desk.program.slug, campaign_id=campaign_id))


def _form_page(
    desk: Desk,
    found: Campaign | None,
    form: CampaignForm,
    *,
    block: str | None = None,
    refused: DomainError | None = None,
) -> Response:
    context = server()
    now = context.clock.now()
    names = tier_names(desk.program)
    with reading(context.engine, desk.program.id) as session:
        offered = list_segments(session, desk.program)
        chosen = next((segment for segment in offered if str(segment.id) == form.segment), None)
        reach = preview(session, desk.program, condition_of(chosen), now) if chosen else None
    return panel_page(
        desk,
        "panel/campaigns/form.html",
        block=block,
        # A segment that somebody has just deleted is a wrong choice, not a missing page.
        http_status=(422 if refused.status == 404 else refused.status) if refused else 200,
        campaign=found,
        form=form,
        segments=offered,
        chosen=chosen,
        sentence=sentence(condition_of(chosen), language(), names) if chosen else "",
        reach=reach,
        sender=desk.program.file.look.organization or desk.program.name(language()),
        characters_max=CHARACTERS_MAX,
        lock_time=_lock_time(now, desk.program.time_zone),
        today=local_day(now, desk.program.time_zone),
        error=_sentence_of(refused, reader()) if refused else "",
        error_field=_field_of(refused) if refused else "",
    )


def _lock_time(now: datetime, zone: str) -> str:
    """The big clock of a locked phone, which says neither AM nor PM."""
    return now.astimezone(ZoneInfo(zone)).strftime("%H:%M")


def _field_of(error: DomainError) -> str:
    return "segment" if error.code == "unknown_segment" else str(error.extra.get("field", ""))


def _sentence_of(error: DomainError, t: Translator) -> str:
    field = _field_of(error)
    if field == "name":
        return t.gettext("Give the campaign a name of at most %(most)s characters.", most=t.number(NAME_CHARACTERS_MAX))
    if field == "ends_at":
        return t.gettext("The last day is today or a day of the next year.")
    if field == "segment":
        return t.gettext("Choose the segment.")
    if field.startswith("message."):
        name = LANGUAGES[field.removeprefix("message.")]
        return t.gettext(
            "%(language)s: write a message of at most %(most)s characters.",
            language=name,
            most=t.number(CHARACTERS_MAX),
        )
    return refusal_of_code(error.code, t) or error.detail
