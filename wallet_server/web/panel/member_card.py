"""At the till for somebody in trouble: a new card for a stolen phone, and leaving for who asks a person to do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from flask import Response, flash, request, url_for
from sqlmodel import Session

from wallet_server.db import reading
from wallet_server.leaving.services import leave
from wallet_server.members.models import Member
from wallet_server.members.queries import member_by_id, present
from wallet_server.recovery.cards import replace_card
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed, done_once
from wallet_server.web.rendering import reader, see_other


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/replace-card")
@allowed("cashier")
def member_replace_card(desk: Desk, member_id: UUID) -> Response:
    """Block the member's card and give a new one with all that the old one had; the member stands at the till."""

    def work(session: Session, member: Member) -> None:
        replace_card(session, desk.program, member, actor=desk.actor, now=server().clock.now())

    told = reader().gettext("The old card is blocked. Show the new one to the member below.")
    return _if_sure(desk, member_id, "replace card", work, told)


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/leave")
@allowed("manager")
def member_leave(desk: Desk, member_id: UUID) -> Response:
    """Let a member leave who has asked for it."""

    def work(session: Session, member: Member) -> None:
        leave(session, desk.program, member.id, actor=desk.actor, now=server().clock.now())

    return _if_sure(desk, member_id, "leave", work, reader().gettext("The member has left, and is forgotten."))


def _if_sure(desk: Desk, member_id: UUID, button: str, work: Callable[[Session, Member], None], told: str) -> Response:
    """Do what cannot be taken back, once, if the box beside the button was ticked."""

    def deed(session: Session) -> tuple[int, Mapping[str, Any]]:
        work(session, present(member_by_id(session, member_id)))
        return 200, {}

    if request.form.get("sure") == "yes":
        done_once(desk, f"{button} {member_id}", deed)
        flash(told, "success")
    else:
        with reading(server().engine, desk.program.id) as session:
            present(member_by_id(session, member_id))
        flash(reader().gettext("Tick the box if you are sure."), "danger")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))
