"""Apple's pass web service: phones register, ask what changed, and fetch.

Source: developer.apple.com, PassKit Web Service Reference and "Adding a Web Service to Update Passes". What
the pages leave open follows what phones were seen to do: a repeated registration brings the newest push
token, tags are whole numbers that only grow, and HEAD is asked too.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import structlog
from flask import Blueprint, Flask, Response, request

from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, to_json, transaction
from wallet_server.errors import DomainError
from wallet_server.issuance.headers import PassHeader
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.phones import register_device, unregister_device
from wallet_server.issuance.queries import changed_serials
from wallet_server.issuance.renewal import certificates_to_take, take_certificates
from wallet_server.web.context import server
from wallet_server.web.security import limit_rate
from wallet_server.web.wallet_api.cards import note_fetch, pass_answer, print_card, read_card
from wallet_server.web.wallet_api.holders import held_pass

blueprint = Blueprint("apple", __name__, url_prefix="/apple")

DEVICE_CHARACTERS_MAX: Final = 128
REGISTRATION_BYTES_MAX: Final = 4_096
LOG_BYTES_MAX: Final = 65_536
LOG_LINES_MAX: Final = 100
LOG_CHARACTERS_MAX: Final = 1_024
CALLS_LIMIT: Final = "6000/minute"
REFUSALS_LIMIT: Final = "120/minute"
LOG_LIMIT: Final = "60/minute"
_PUSH_TOKEN: Final = re.compile(r"[0-9a-fA-F]{1,200}")
_TAG: Final = re.compile(r"[0-9]{1,18}")


def prepare(app: Flask) -> None:
    """See whether other certificates sign than when the server last started: their passes are then new."""
    context: ServerContext = app.extensions["wallet"]
    with reading(context.engine, ALL_PROGRAMS) as session:
        changed = certificates_to_take(session, context.wallets)
    if changed:
        with transaction(context.engine, ALL_PROGRAMS) as session:
            take_certificates(session, context.wallets, context.clock.now())


@blueprint.post("/v1/devices/<device>/registrations/<pass_type>/<serial>")
def register(device: str, pass_type: str, serial: str) -> Response:
    """A phone wants to hear of changes: 201, or 200 if it was registered already."""
    body = _body(REGISTRATION_BYTES_MAX)
    pass_id = _authenticated(pass_type, serial).id
    push_token = _push_token(body)
    if len(device) > DEVICE_CHARACTERS_MAX:
        raise DomainError("validation", "the device library identifier is too long", status=400)
    context = server()
    with transaction(context.engine, ALL_PROGRAMS) as session:
        issued = session.get_one(IssuedPass, pass_id)
        created = register_device(session, issued, device=device, push_token=push_token, now=context.clock.now())
    return Response(status=201 if created else 200)


@blueprint.delete("/v1/devices/<device>/registrations/<pass_type>/<serial>")
def unregister(device: str, pass_type: str, serial: str) -> Response:
    """A phone has deleted the pass, or wants no updates: 200, also if it was not registered."""
    pass_id = _authenticated(pass_type, serial).id
    context = server()
    with transaction(context.engine, ALL_PROGRAMS) as session:
        unregister_device(session, session.get_one(IssuedPass, pass_id), device=device, now=context.clock.now())
    return Response(status=200)


@blueprint.get("/v1/devices/<device>/registrations/<pass_type>")
def changed(device: str, pass_type: str) -> Response:
    """The serial numbers that changed since a tag: 200, or 204 for none. The device's identifier is the secret."""
    limit_rate("apple-changed", CALLS_LIMIT)
    context = server()
    of_type = context.wallets.programs_of_type(pass_type)
    if not of_type.all_but and not of_type.program_ids:
        return Response(status=204)
    tag = request.args.get("passesUpdatedSince", "")
    # A tag that is none of ours is as good as none: the phone then hears of all its passes.
    since = int(tag) if _TAG.fullmatch(tag) else None
    with reading(context.engine, ALL_PROGRAMS) as session:
        found = changed_serials(session, device, since, of_type)
    if found is None:
        return Response(status=204)
    return Response(
        to_json({"serialNumbers": list(found.serials), "lastUpdated": str(found.tag)}), content_type="application/json"
    )


@blueprint.get("/v1/passes/<pass_type>/<serial>")
def latest(pass_type: str, serial: str) -> Response:
    """The pass as it is now. HEAD neither builds nor signs it. Who has it already gets 304 ahead of this view."""
    context = server()
    header = _authenticated(pass_type, serial)
    if request.method == "HEAD":
        return pass_answer(None, header.last_modified)
    with reading(context.engine, ALL_PROGRAMS) as session:
        card = read_card(context, session, header)
    answer = pass_answer(print_card(context, card), card.state.last_modified)
    note_fetch(context, card.state)
    return answer


@blueprint.post("/v1/log")
def log() -> Response:
    """What phones complain about; anybody may call this, so it is cut short and never interpreted."""
    limit_rate("apple-log", LOG_LIMIT)
    lines = _object(_body(LOG_BYTES_MAX)).get("logs")
    if not isinstance(lines, list):
        raise DomainError("validation", 'a log is {"logs": ["…"]}', status=400)
    texts = [_printable(line) for line in lines[:LOG_LINES_MAX] if isinstance(line, str)]
    structlog.get_logger().info("phones report", lines=texts, left_out=len(lines) - len(texts))
    return Response(status=200)


def _authenticated(pass_type: str, serial: str) -> PassHeader:
    # A read, also before a write: a stranger must not be able to hold up the database's one writer.
    header = held_pass(server(), request.headers.get("Authorization", ""), pass_type, serial)
    if header is None:
        limit_rate("apple-refused", REFUSALS_LIMIT)
        raise DomainError("unauthorized", "the pass and its token do not belong together", status=401)
    return header


def _body(bytes_max: int) -> bytes:
    request.max_content_length = bytes_max
    return request.get_data()


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DomainError("validation", "the body is not JSON", status=400) from error
    if not isinstance(document, dict):
        raise DomainError("validation", "the body is not a JSON object", status=400)
    return document


def _push_token(body: bytes) -> str:
    token = _object(body).get("pushToken")
    if not isinstance(token, str) or not _PUSH_TOKEN.fullmatch(token):
        raise DomainError("validation", "pushToken is a push token in hexadecimal digits", status=400)
    return token


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else " " for character in line[:LOG_CHARACTERS_MAX])
