"""At the till for somebody in trouble: a new card for a stolen phone, and leaving for who asks a person to do it."""

from __future__ import annotations

from uuid import UUID

from flask import Response, flash, request, url_for

from wallet_server.db import transaction
from wallet_server.leaving.services import leave
from wallet_server.members.queries import member_by_id, present
from wallet_server.recovery.cards import replace_card
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.rendering import reader, see_other


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/replace-card")
@allowed("cashier")
def member_replace_card(desk: Desk, member_id: UUID) -> Response:
    """Block the member's card and give a new one with all that the old one had; the member stands at the till."""
    context, t = server(), reader()
    with transaction(context.engine, desk.program.id) as session:
        member = present(member_by_id(session, member_id))
        if request.form.get("sure") == "yes":
            replace_card(session, desk.program, member, actor=desk.actor, now=context.clock.now())
            flash(t.gettext("The old card is blocked. Show the new one to the member below."), "success")
        else:
            flash(t.gettext("Tick the box if you are sure."), "danger")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/leave")
@allowed("manager")
def member_leave(desk: Desk, member_id: UUID) -> Response:
    """Let a member leave who has asked for it."""
    context, t = server(), reader()
    with transaction(context.engine, desk.program.id) as session:
        present(member_by_id(session, member_id))
        if request.form.get("sure") == "yes":
            leave(session, desk.program, member_id, actor=desk.actor, now=context.clock.now())
            flash(t.gettext("The member has left, and is forgotten."), "success")
        else:
            flash(t.gettext("Tick the box if you are sure."), "danger")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))
