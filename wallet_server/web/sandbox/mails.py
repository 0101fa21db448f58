"""The sandbox's mail box: every mail that this server has sent, instead of being delivered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Response

from wallet_server.sandbox.client import ControlClient
from wallet_server.web.context import server
from wallet_server.web.rendering import page, reader
from wallet_server.web.sandbox.phones import usual_zone
from wallet_server.web.security import door_permission

MAILS_SHOWN: Final = 100
# A mail brings its own styles, and is not our page: nothing else runs or loads in it, and its links open apart.
MAIL_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-popups allow-top-navigation"

blueprint = Blueprint("sandbox_mails", __name__, url_prefix="/sandbox/mails")
door_permission(blueprint, "sandbox")


@blueprint.get("")
def index() -> Response:
    """All mails, the newest first."""
    found = _control().get("mails", limit=MAILS_SHOWN)
    return page("sandbox/mails.html", block="mails", mails=found["mails"], moment=_teller())


@blueprint.get("/<int:mail_id>")
def show(mail_id: int) -> Response:
    """One mail as plain text, with its links to follow."""
    mail = _control().get("mails", str(mail_id))
    lines = [_line(line) for line in mail["plain"].splitlines()]
    return page("sandbox/mail.html", mail=mail, lines=lines, moment=_teller())


@blueprint.get("/<int:mail_id>/html")
def html(mail_id: int) -> Response:
    """The same mail as mail programs show it."""
    mail = _control().get("mails", str(mail_id))
    response = Response(mail["html"], content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = MAIL_POLICY
    return response


def _control() -> ControlClient:
    return ControlClient.of(server().settings.WALLET_DATA_DIR)


def _teller() -> Callable[[str], str]:
    t, zone = reader(), usual_zone()
    return lambda at: t.datetime(datetime.fromisoformat(at), zone)


def _line(text: str) -> tuple[str, str]:
    """A line of the mail, and where it leads if it is a link of ours."""
    parts = urlsplit(text.strip())
    ours = urlsplit(server().settings.public_url)
    is_ours = (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
    return text, text.strip() if is_ours else ""
