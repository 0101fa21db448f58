"""Enrolling somebody at the till, in ten seconds, by staff."""

from __future__ import annotations

from flask import Response, flash, request, url_for

from wallet_server.db import transaction
from wallet_server.errors import DomainError
from wallet_server.members.identity import parse_contact
from wallet_server.members.services import Enrol, enrol
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other

CHANNEL = "staff"


@blueprint.get("/programs/<slug>/members/new")
@allowed("cashier")
def member_new(desk: Desk) -> Response:
    return _form_page(desk)


@blueprint.post("/programs/<slug>/members/new")
@allowed("cashier")
def member_create(desk: Desk) -> Response:
    context = server()
    contact = request.form.get("contact", "").strip()[:320]
    name = request.form.get("name", "").strip()[:200]
    language = request.form.get("language", "")
    try:
        parsed = parse_contact(contact, desk.program.section.country)
        command = Enrol(
            phone=parsed.phone,
            email=parsed.email,
            name=name or None,
            language=language if language in desk.program.languages else None,
            channel=CHANNEL,
            # Asked aloud at the till; the box says yes, an empty one says that it was not answered.
            marketing=True if request.form.get("marketing") == "yes" else None,
        )
        with transaction(context.engine, desk.program.id) as session:
            enrolled = enrol(session, desk.program, command, now=context.clock.now(), actor=desk.actor)
    except DomainError as error:
        if error.code != "validation":
            raise
        message = (
            reader().gettext("The name is too long.")
            if error.extra.get("field") == "name"
            else reader().gettext("This is neither a complete phone number nor an e-mail address.")
        )
        return _form_page(desk, contact=contact, name=name, language_of_card=language, error=message)
    _ = reader().gettext
    if enrolled.created:
        flash(_("Welcome! Let the member scan the code below."), "success")
    else:
        flash(_("This person is already a member. Nothing was changed."), "info")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=enrolled.member_id))


def _form_page(
    desk: Desk, *, contact: str = "", name: str = "", language_of_card: str = "", error: str = ""
) -> Response:
    return panel_page(
        desk,
        "panel/enrol.html",
        http_status=422 if error else 200,
        contact=contact,
        name=name,
        language_of_card=language_of_card or desk.program.default_language,
        error=error,
    )
