"""Tags and the own percents of a member, set by staff on the member's page."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import Final
from uuid import UUID

from flask import Response, flash, request, url_for

from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import gettext_noop
from wallet_server.ledger.expiry import end_of_day
from wallet_server.members.coefficients import set_coefficient
from wallet_server.members.queries import cards_of_members, member_by_id, present
from wallet_server.members.tags import TAGS_MAX, set_tags, tags_of_member
from wallet_server.web.context import server
from wallet_server.web.forms import parse_decimal
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.members import StandingForm, member_page
from wallet_server.web.rendering import reader, see_other

TAGS_LENGTH_MAX: Final = 4_000
REFUSALS: Final = {
    "tags": gettext_noop("Tags are words of letters, figures, dots and dashes; at most %(most)s."),
    "percent": gettext_noop("Enter a percent from 0 to 1000. The program's base percent must be above 0."),
    "redeem_max_percent": gettext_noop("Enter a percent from 0 to 100, together with the percent that is earned."),
    "ends_at": gettext_noop("Choose a day that is not over."),
    "unknown_outlet": gettext_noop("Choose the outlet."),
    "unknown_card": gettext_noop("There is no such card in this program."),
    "card_blocked": gettext_noop("This card is blocked."),
}


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/tags")
@allowed("manager")
def member_tags(desk: Desk, member_id: UUID) -> Response:
    context = server()
    typed = request.form.get("tags", "")[:TAGS_LENGTH_MAX]
    wanted = [word for word in re.split(r"[\s,;]+", typed) if word]
    try:
        with transaction(context.engine, desk.program.id) as session:
            present(member_by_id(session, member_id))
            set_tags(session, desk.program, member_id, wanted, actor=desk.actor, now=context.clock.now())
    except DomainError as error:
        if error.status == 404 or error.code == "member_left":
            raise
        return _refused(desk, member_id, StandingForm(typed, wrong="tags"), error)
    flash(reader().gettext("The tags are saved."), "success")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/percent")
@allowed("manager")
def member_percent(desk: Desk, member_id: UUID) -> Response:
    """Set or (with an empty percent, as the button of each one does) remove the percent of one place."""
    context, program = server(), desk.program
    with reading(context.engine, program.id) as session:
        member_by_id(session, member_id)
        card = cards_of_members(session, [member_id]).get(member_id)
        tags = tags_of_member(session, member_id)
    if card is None:
        raise NotFoundError("unknown_member", "there is no such member in this program")
    typed = {
        name: request.form.get(name, "").strip()[:64] for name in ("percent", "outlet", "last_day", "redeem_percent")
    }
    form = StandingForm(", ".join(tags), **typed, wrong="percent")
    try:
        is_removal = request.form.get("action") == "remove"
        percent = None if is_removal else parse_decimal(form.percent, "percent")
        limit = parse_decimal(form.redeem_percent, "redeem_max_percent") if form.redeem_percent else None
        until = _day(form.last_day)
        with transaction(context.engine, program.id) as session:
            set_coefficient(
                session,
                program,
                card.number,
                percent=percent,
                outlet=form.outlet or None,
                ends_at=end_of_day(until, program.time_zone) if until else None,
                redeem_max_percent=limit,
                actor=desk.actor,
                now=context.clock.now(),
            )
    except DomainError as error:
        return _refused(desk, member_id, form, error)
    t = reader()
    flash(t.gettext("The own percent is saved.") if percent else t.gettext("The own percent is removed."), "success")
    return see_other(url_for("panel.member", slug=program.slug, member_id=member_id))


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise DomainError("validation", "not a day", field="ends_at") from None
    if not 2000 <= day.year <= 2200:
        raise DomainError("validation", "not a day of our time", field="ends_at")
    return day


def _refused(desk: Desk, member_id: UUID, form: StandingForm, error: DomainError) -> Response:
    t = reader()
    code = error.code
    if code == "validation":
        code = error.extra.get("field") or next((one["field"] for one in error.extra.get("errors", ())), "")
    sentence = t.gettext(REFUSALS[code], most=t.number(TAGS_MAX)) if code in REFUSALS else error.detail
    return member_page(desk, member_id, standing_form=replace(form, error=sentence), http_status=422)
