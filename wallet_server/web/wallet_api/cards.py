"""From a pass's row to the file or the answer that a wallet gets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import Response
from sqlmodel import Session
from werkzeug.http import http_date

from passes.apple.bundle import MIME_TYPE
from passes.apple.signing import CertificateProblem
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, set_scope, transaction
from wallet_server.errors import DomainError
from wallet_server.issuance.content import CardLinks, CardState
from wallet_server.issuance.deliveries import record_fetch
from wallet_server.issuance.headers import PassHeader
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.queries import card_states
from wallet_server.notifications.queries import said_to
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.web.wallet_api.middleware import PASS_HEADERS


@dataclass(frozen=True, slots=True)
class OpenCard:
    """A card as read in one snapshot, with its program."""

    program: ProgramDefinition
    state: CardState


def read_card(context: ServerContext, session: Session, issued: IssuedPass | PassHeader) -> OpenCard:
    """Read what the pass shows; from here on the session works for the pass's program."""
    set_scope(session, issued.program_id)
    program = load_program(session, program_id=issued.program_id)
    [state] = card_states(session, program, [issued.id], context.clock.now(), news=said_to)
    return OpenCard(program, state)


def page_url(context: ServerContext, state: CardState) -> str:
    """The member's own page."""
    return f"{context.settings.public_url}/m/{context.mint.page_token(state.member_id, state.member_token_generation)}"


def print_card(context: ServerContext, card: OpenCard) -> bytes:
    """The signed ``.pkpass``; raises ``DomainError(passes_paused)`` when the certificate does not hold now."""
    links = CardLinks(
        page_url=page_url(context, card.state),
        update_url=context.apple_url,
        authentication_token=context.mint.authentication_token(card.state.pass_id, card.state.token_generation),
    )
    try:
        return context.press.pkpass(
            card.program, card.state, links, now=context.clock.now(), signed_at=context.machine_clock.now()
        )
    except CertificateProblem as problem:
        raise DomainError("passes_paused", f"no passes are given out now: {problem}", status=503) from problem


def note_fetch(context: ServerContext, state: CardState) -> None:
    """Record that somebody has this version; a repeated fetch writes nothing."""
    if state.version > state.fetched_version:
        with transaction(context.engine, ALL_PROGRAMS) as session:
            record_fetch(session, state.pass_id, state.version, context.clock.now())


def pass_answer(body: bytes | None, last_modified: datetime) -> Response:
    """200 with the pass, or (None) with its headers only, for HEAD."""
    # The length of a body in parts is told by nobody. That of an empty one would be: 0, as if the pass were empty.
    response = Response(iter(()) if body is None else body, content_type=MIME_TYPE)
    response.headers["Last-Modified"] = http_date(last_modified)
    response.headers.update(PASS_HEADERS)
    return response
