"""Taking one's data along, and leaving: what goes is said before; a tick, a button, and everything is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, abort, request, url_for
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, reading, set_scope, to_json, transaction
from wallet_server.leaving.export import export_member
from wallet_server.leaving.services import leave
from wallet_server.members.models import Member
from wallet_server.members.queries import member_by_page_token
from wallet_server.members.services import MEMBER_ACTOR
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.web.context import server
from wallet_server.web.member.addresses import TOKEN_LENGTH_MAX, forget_joined
from wallet_server.web.memberships import Membership, read_membership
from wallet_server.web.public.pages import brand_url
from wallet_server.web.rendering import language, page, see_other
from wallet_server.web.security import limit_rate, permission

VISITS_BY_ADDRESS: Final = "60/minute"
EXPORTS_BY_ADDRESS: Final = "20/minute"

blueprint = Blueprint("leave", __name__)


@dataclass(frozen=True)
class Leaving:
    """Whose page it is, and what there is to lose."""

    token: str
    program: ProgramDefinition
    membership: Membership


@blueprint.get("/m/<token>/leave")
@permission("address")
def show(token: str) -> Response:
    return _page(_read(token))


@blueprint.post("/m/<token>/leave")
@permission("address")
def submit(token: str) -> Response:
    """Leave, if the tick is there; afterwards this address leads to nobody."""
    if request.form.get("sure") != "yes":
        return _page(_read(token), unsure=True, http_status=422)
    limit_rate("leave", VISITS_BY_ADDRESS)
    context = server()
    with transaction(context.engine, ALL_PROGRAMS) as session:
        member = _member(session, token)
        set_scope(session, member.program_id)
        program = load_program(session, program_id=member.program_id)
        leave(session, program, member.id, actor=MEMBER_ACTOR, now=context.clock.now())
    response = see_other(url_for("leave.left", slug=program.slug))
    forget_joined(response, program.slug)
    return _private(response)


@blueprint.get("/m/<token>/data.json")
@permission("address")
def data(token: str) -> Response:
    """Everything that we know of the member, as a file."""
    limit_rate("member-data", EXPORTS_BY_ADDRESS)
    context = server()
    with reading(context.engine, ALL_PROGRAMS) as session:
        member = _member(session, token)
        set_scope(session, member.program_id)
        program = load_program(session, program_id=member.program_id)
        document = export_member(session, program, member, context.clock.now())
    response = Response(to_json(document), content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{program.slug}.json"'
    return _private(response)


@blueprint.get("/left/<slug>")
@permission("public")
def left(slug: str) -> Response:
    """Say goodbye; it says the same to everybody who comes by."""
    with reading(server().engine) as session:
        program = load_program(session, slug=slug)
    return page(
        "public/left.html", program_name=program.name(language()), brand_url=brand_url(program), slug=program.slug
    )


def _member(session: Session, token: str) -> Member:
    if len(token) > TOKEN_LENGTH_MAX:
        abort(404)
    return member_by_page_token(session, server().mint, token)


def _read(token: str) -> Leaving:
    limit_rate("leave", VISITS_BY_ADDRESS)
    context = server()
    with reading(context.engine, ALL_PROGRAMS) as session:
        member = _member(session, token)
        set_scope(session, member.program_id)
        program = load_program(session, program_id=member.program_id)
        return Leaving(token, program, read_membership(session, program, member, context.clock.now()))


def _page(leaving: Leaving, *, unsure: bool = False, http_status: int = 200) -> Response:
    membership = leaving.membership
    points = max(0, membership.points) + membership.balance.pending + membership.balance.held
    return _private(
        page(
            "member/leave.html",
            http_status=http_status,
            program_name=leaving.program.name(language()),
            brand_url=brand_url(leaving.program),
            token=leaving.token,
            points=points,
            worth_minor=points * leaving.program.points.point_value_minor,
            currency=leaving.program.currency,
            vouchers=len(membership.open_vouchers(server().clock.now())),
            unsure=unsure,
        )
    )


def _private(response: Response) -> Response:
    # The address is the key: it must not travel on in a Referer.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
