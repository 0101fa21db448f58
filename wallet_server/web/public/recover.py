"""A lost card: ask for it with a phone number or an e-mail address, and open the link that comes by mail."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from flask import Blueprint, Response, request, url_for

from wallet_server.db import ALL_PROGRAMS, reading, set_scope, transaction
from wallet_server.errors import DomainError
from wallet_server.mail.letters import RECOVERY_LASTS
from wallet_server.members.identity import Contact, parse_contact
from wallet_server.members.services import MEMBER_ACTOR
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.recovery import services as recovery
from wallet_server.recovery.cards import replace_card
from wallet_server.tokens import fingerprint
from wallet_server.web.context import server
from wallet_server.web.member.addresses import TOKEN_LENGTH_MAX, remember_joined, token_of
from wallet_server.web.public.pages import brand_url
from wallet_server.web.rendering import language, page, reader, see_other, set_language
from wallet_server.web.security import limit_rate, permission

# Somebody who mistypes tries again; a shop's guests share one address.
REQUESTS_BY_ADDRESS: Final = ("10/minute", "60/hour")
REQUESTS_BY_CONTACT: Final = "5/hour"
LINKS_BY_ADDRESS: Final = "60/minute"
MINUTES: Final = RECOVERY_LASTS // timedelta(minutes=1)

blueprint = Blueprint("recover", __name__)


@blueprint.get("/recover/<slug>")
@permission("public")
def show(slug: str) -> Response:
    return _form_page(_program(slug))


@blueprint.post("/recover/<slug>")
@permission("public")
def ask(slug: str) -> Response:
    """Take the wish; the answer is the same whoever is asked for."""
    program = _program(slug)
    if not _has_mail():
        return _form_page(program)
    for limit in REQUESTS_BY_ADDRESS:
        limit_rate(f"recover:{limit}", limit)
    typed = request.form.get("contact", "").strip()
    try:
        contact = parse_contact(typed, program.section.country)
    except DomainError:
        return _form_page(program, typed=typed[:254], error=_contact_error(typed), http_status=422)
    _request(program, contact)
    return see_other(url_for("recover.sent", slug=slug))


def comes_by_mail(contact: Contact) -> bool:
    """Whether somebody can show to be the owner of this contact: by a link, which goes to an e-mail address only."""
    return contact.email is not None and _has_mail()


def bring_back(program: ProgramDefinition, contact: Contact) -> Response:
    """Lead somebody to his card who has asked for a new one, with a contact that has one or can be written to.

    By mail, as :func:`ask`; without a mail server to the page that says how the till helps. Neither page says whose
    contact it is. The caller has limited what one address may ask for.
    """
    if not _has_mail():
        return see_other(url_for("recover.show", slug=program.slug, joining="yes"))
    _request(program, contact)
    return see_other(url_for("recover.sent", slug=program.slug, joining="yes"))


def _request(program: ProgramDefinition, contact: Contact) -> None:
    limit_rate("recover-contact", REQUESTS_BY_CONTACT, _key(program, contact))
    context = server()
    with transaction(context.engine, program.id) as session:
        recovery.request(session, program, contact, now=context.clock.now())


@blueprint.get("/recover/<slug>/sent")
@permission("public")
def sent(slug: str) -> Response:
    return _form_page(_program(slug), template="public/recover_sent.html")


@blueprint.get("/lost/<token>")
@permission("address")
def link(token: str) -> Response:
    """The page behind the link. It uses nothing up: mail programs look at links before people do."""
    limit_rate("recover-link", LINKS_BY_ADDRESS)
    context = server()
    with reading(context.engine, ALL_PROGRAMS) as session:
        try:
            opened = recovery.open_link(session, context.mint, token[:TOKEN_LENGTH_MAX], context.clock.now())
        except DomainError:
            return _over()
        program = load_program(session, program_id=opened.member.program_id)
    set_language(opened.member.language)
    return _private(_form_page(program, template="public/recover_link.html", token=token))


@blueprint.post("/lost/<token>")
@permission("address")
def use(token: str) -> Response:
    """Use the link up and go to the card; this browser knows it from now on."""
    limit_rate("recover-link", LINKS_BY_ADDRESS)
    context = server()
    now = context.clock.now()
    stolen = request.form.get("phone") == "stolen"
    # The proof in the form is this browser's alone, and the same for both clicks of a double click. Who ticks the
    # box afterwards wants something else, and must not read that it was done.
    by = fingerprint(f"{request.form.get('csrf_token', '')} {stolen}")
    with transaction(context.engine, ALL_PROGRAMS) as session:
        try:
            opened = recovery.open_link(session, context.mint, token[:TOKEN_LENGTH_MAX], now, by=by)
            used = recovery.use_link(session, opened.recovery_id, now, by=by)
        except DomainError:
            return _over()
        member = used.member
        set_scope(session, member.program_id)
        program = load_program(session, program_id=member.program_id)
        if stolen and not used.again:
            replace_card(session, program, member, actor=MEMBER_ACTOR, now=now, by_link=opened.recovery_id)
        page_token = token_of(session, member.id)
    response = see_other(url_for("member.welcome", token=page_token))
    remember_joined(response, program.slug, page_token)
    return _private(response)


def _program(slug: str) -> ProgramDefinition:
    with reading(server().engine) as session:
        return load_program(session, slug=slug)


def _has_mail() -> bool:
    return bool(server().settings.WALLET_SMTP_URL)


def _form_page(
    program: ProgramDefinition,
    *,
    template: str = "public/recover.html",
    typed: str = "",
    error: str = "",
    token: str = "",
    http_status: int = 200,
) -> Response:
    return page(
        template,
        http_status=http_status,
        program_name=program.name(language()),
        brand_url=brand_url(program),
        slug=program.slug,
        typed=typed,
        error=error,
        token=token,
        by_mail=_has_mail(),
        minutes=MINUTES,
        joining=request.args.get("joining") == "yes",
    )


def _over() -> Response:
    return _private(page("public/recover_over.html", http_status=410, minutes=MINUTES))


def _private(response: Response) -> Response:
    # The address is a key while it is good: it must not travel on in a Referer.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _key(program: ProgramDefinition, contact: Contact) -> str:
    """What attempts are counted under; not the contact itself, which has no business in Valkey."""
    return fingerprint(f"{program.id} {contact.email or contact.phone}")


def _contact_error(typed: str) -> str:
    _ = reader().gettext
    if not typed:
        return _("Enter your phone number or your e-mail address.")
    if "@" in typed:
        return _("This is not a complete e-mail address.")
    return _("This is not a complete phone number.")
