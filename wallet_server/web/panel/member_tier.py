"""A tier given until a day, or kept until one, by staff on the member's page."""

from __future__ import annotations

from datetime import date
from typing import Final
from uuid import UUID

from flask import Response, flash, request, url_for

from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.ledger.expiry import end_of_day
from wallet_server.members.queries import member_by_id, present
from wallet_server.members.tags import tags_of_member
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.services import tell
from wallet_server.staff import audit
from wallet_server.tiers.queries import tiers
from wallet_server.tiers.services import grant_tier, protect_tier
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.members import StandingForm, member_page
from wallet_server.web.rendering import reader, see_other

REFUSALS: Final = {
    "until": gettext_noop("Choose a day from today on, in the next ten years."),
    "unknown_tier": gettext_noop("Choose the tier."),
    "tier": gettext_noop("The member holds a higher tier than this."),
}


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/tier")
@allowed("manager")
def member_tier(desk: Desk, member_id: UUID) -> Response:
    """Give a tier until the end of a day or, if it is the one held, promise it until then; ``end`` ends a promise."""
    context, program, now = server(), desk.program, server().clock.now()
    with reading(context.engine, program.id) as session:
        present(member_by_id(session, member_id))
        tags = tags_of_member(session, member_id)
    tier, typed_day = (request.form.get(name, "").strip()[:64] for name in ("tier", "last_day"))
    try:
        until = None
        if request.form.get("action") != "end":
            until = end_of_day(_day(typed_day), program.time_zone)
        with transaction(context.engine, program.id) as session:
            held = tiers(session, [member_id]).get(member_id)
            given = until is not None and tier != held
            if until is None or tier == held:
                protect_tier(session, program, member_id, until=until, actor=desk.actor, now=now)
            elif grant_tier(session, program, member_id, tier=tier, until=until, actor=desk.actor, now=now) != tier:
                raise DomainError("validation", "a higher tier is held", field="tier")
            audit.record(
                session,
                program_id=program.id,
                actor=desk.actor,
                action="member.tier_promised" if until else "member.tier_promise_ended",
                subject=str(member_id),
                detail={"tier": tier, "until": until.isoformat()} if until else {"tier": held},
                now=now,
            )
            tell(session, program, {member_id: Noticed(tier=tier if given else None)}, now)
    except DomainError as error:
        return _refused(desk, member_id, StandingForm(", ".join(tags), tier=tier, tier_day=typed_day), error)
    t = reader()
    flash(t.gettext("The tier is kept until then.") if until else t.gettext("The promise is over."), "success")
    return see_other(url_for("panel.member", slug=program.slug, member_id=member_id))


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise DomainError("validation", "not a day", field="until") from None
    if not 2000 <= day.year <= 2200:
        raise DomainError("validation", "not a day of our time", field="until")
    return day


def _refused(desk: Desk, member_id: UUID, form: StandingForm, error: DomainError) -> Response:
    code = str(error.extra.get("field", "")) if error.code == "validation" else error.code
    sentence = reader().gettext(REFUSALS[code]) if code in REFUSALS else error.detail
    refused = StandingForm(form.tags, tier=form.tier, tier_day=form.tier_day, wrong="tier", error=sentence)
    return member_page(desk, member_id, standing_form=refused, http_status=422)
