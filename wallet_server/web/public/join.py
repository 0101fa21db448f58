"""Joining: one field, a language, a consent, done; the answer is the member's own page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import phonenumbers
from flask import Blueprint, Response, abort, request, url_for
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.errors import DomainError
from wallet_server.idempotency.services import answer_once, request_hash
from wallet_server.members.identity import parse_channel, parse_contact
from wallet_server.members.queries import member_by_referral_code
from wallet_server.members.services import Enrol, enrol
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.web.context import server
from wallet_server.web.member.addresses import joined_here, remember_joined, token_of
from wallet_server.web.public.pages import brand_url
from wallet_server.web.public.recover import bring_back, comes_by_mail
from wallet_server.web.rendering import language, page, reader, see_other
from wallet_server.web.security import limit_rate, permission

REFERRAL_CODE: Final = re.compile(r"[A-Za-z0-9]{1,16}")
DEFAULT_CHANNEL: Final = "web"
# A shop's guests share one address, so the short limit leaves room for a queue of them.
JOINS_BY_ADDRESS: Final = ("30/minute", "300/hour")
PRESSED_AGAIN_WITHIN: Final = timedelta(minutes=1)
"""A form that is sent again so soon was clicked twice."""

blueprint = Blueprint("join", __name__)


@dataclass(frozen=True)
class JoinForm:
    """What the person has entered so far, and what the address brought along."""

    contact: str = ""
    by_email: bool = False
    marketing: bool = False
    referral: str = ""
    outlet: str = ""


@blueprint.get("/join/<slug>")
@blueprint.get("/join/<slug>/<channel>")
@permission("public")
def show(slug: str, channel: str = DEFAULT_CHANNEL) -> Response:
    program = _program(slug, channel)
    form = JoinForm(
        by_email=request.args.get("with") == "email",
        referral=_matching(REFERRAL_CODE, request.args.get("referral", "")),
        outlet=_known_outlet(program, request.args.get("outlet", "")),
    )
    return _form_page(program, channel, form)


@blueprint.post("/join/<slug>")
@blueprint.post("/join/<slug>/<channel>")
@permission("public")
def submit(slug: str, channel: str = DEFAULT_CHANNEL) -> Response:
    program = _program(slug, channel)
    for limit in JOINS_BY_ADDRESS:
        limit_rate(f"join:{limit}", limit)
    contact = request.form.get("contact", "").strip()
    form = JoinForm(
        contact=contact[:254],
        by_email=request.args.get("with") == "email" or "@" in contact,
        marketing=request.form.get("marketing") == "yes",
        referral=_matching(REFERRAL_CODE, request.form.get("referral", "")),
        outlet=_known_outlet(program, request.form.get("outlet", "")),
    )
    context = server()
    try:
        parsed = parse_contact(contact, program.section.country)
    except DomainError:
        return _form_page(program, channel, form, error=_contact_error(form), http_status=422)
    command = Enrol(
        phone=parsed.phone,
        email=parsed.email,
        language=language() if language() in program.languages else None,
        channel=channel,
        outlet=form.outlet or None,
        referral_code=form.referral or None,
        marketing=form.marketing,
    )
    member_id, is_new = _enrolled(program, command)
    with reading(context.engine, program.id) as session:
        token = token_of(session, member_id)
    if joined_here(program) != token and (not is_new or comes_by_mail(parsed)):
        # Anybody may have typed it: the card of a member is shown to nobody here, and comes by mail. So does a new
        # one where it can, or the difference would tell who is a member.
        return bring_back(program, parsed)
    response = see_other(url_for("member.welcome", token=token))
    remember_joined(response, program.slug, token)
    return response


def _enrolled(program: ProgramDefinition, command: Enrol) -> tuple[UUID, bool]:
    """The member, and whether this form has just made it: both clicks of a double click hear so.

    The proof in the form is this browser's alone, so nobody else can repeat it.
    """
    context = server()
    now = context.clock.now()

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        made = enrol(session, program, command, now=now, actor="member")
        return 200, {"member_id": made.member_id, "is_new": made.created, "at": now}

    asked = request_hash(request.form.get("csrf_token", ""), command.phone or "", command.email or "")
    done = answer_once(context.engine, program.id, "join", asked, asked, work, now).done()
    is_over = now - datetime.fromisoformat(done["at"]) > PRESSED_AGAIN_WITHIN
    return UUID(done["member_id"]), done["is_new"] and not is_over


@blueprint.get("/r/<code>")
@permission("public")
def referral(code: str) -> Response:
    """A friend's link: to the form of the friend's program, with the code kept."""
    limit_rate("referral", "60/minute")
    if not REFERRAL_CODE.fullmatch(code):
        abort(404)
    with reading(server().engine, ALL_PROGRAMS) as session:
        friend = member_by_referral_code(session, code)
        if friend is None:
            abort(404)
        program = load_program(session, program_id=friend.program_id)
    return see_other(url_for("join.show", slug=program.slug, channel="referral", referral=code))


def _program(slug: str, channel: str) -> ProgramDefinition:
    try:
        parse_channel(channel)
    except DomainError:
        abort(404)
    with reading(server().engine) as session:
        return load_program(session, slug=slug)


def _form_page(
    program: ProgramDefinition, channel: str, form: JoinForm, *, error: str = "", http_status: int = 200
) -> Response:
    filled = {"referral": form.referral, "outlet": form.outlet}
    kept: dict[str, Any] = {name: value for name, value in filled.items() if value}
    here: dict[str, Any] = {"slug": program.slug} | ({"channel": channel} if channel != DEFAULT_CHANNEL else {})
    email: dict[str, Any] = {"with": "email"}
    joined = joined_here(program)
    return page(
        "public/join.html",
        http_status=http_status,
        program_name=program.name(language()),
        first_level=program.first_level,
        brand_url=brand_url(program),
        slug=program.slug,
        form=form,
        error=error,
        invited=bool(form.referral),
        phone_example=_phone_example(program.section.country or ""),
        form_url=url_for("join.submit", **here, **(email if form.by_email else {}), **kept),
        switch_url=url_for("join.show", **here, **({} if form.by_email else email), **kept),
        joined_url=url_for("member.home", token=joined) if joined else "",
    )


def _contact_error(form: JoinForm) -> str:
    _ = reader().gettext
    if not form.contact:
        return _("Enter your e-mail address.") if form.by_email else _("Enter your phone number.")
    if form.by_email:
        return _("This is not a complete e-mail address.")
    return _("This is not a complete phone number.")


def _known_outlet(program: ProgramDefinition, code: str) -> str:
    return code if code in program.outlets else ""


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""


@lru_cache(maxsize=300)
def _phone_example(country: str) -> str:
    """A mobile number as people of the country write it."""
    kind = phonenumbers.PhoneNumberType.MOBILE
    number = phonenumbers.example_number_for_type(country, kind) if country else None
    if number is None:
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
