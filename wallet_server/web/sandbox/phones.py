"""Pages of the simulated phones. They only show and press buttons: the phones live in the sandbox's process."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, abort, flash, redirect, request, url_for

from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.errors import DomainError
from wallet_server.i18n import LANGUAGES, translator
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.sandbox.client import ControlClient
from wallet_server.web.context import server
from wallet_server.web.looks import google_ink
from wallet_server.web.qr import qr_svg
from wallet_server.web.rendering import page, reader
from wallet_server.web.sandbox import wording
from wallet_server.web.sandbox.spots import spots, suggestions
from wallet_server.web.security import door_permission

PHONES_A_PAGE: Final = 48
KEEP_S: Final = 365 * 24 * 3600
_SHA256 = re.compile(r"[0-9a-f]{64}")

blueprint = Blueprint("sandbox", __name__, url_prefix="/sandbox")
door_permission(blueprint, "sandbox")


@blueprint.get("/phones")
def index() -> Response:
    """All phones; with ``install`` or ``save`` the choice of a phone for that pass."""
    if request.args.get("install") or request.args.get("save"):
        return _to(".new", **_wanted(request.args))
    found = _control().get("phones", after=request.args.get("after", ""), limit=PHONES_A_PAGE)
    return page("sandbox/index.html", block="grid", **found, **_screens(found["now"]))


@blueprint.get("/phones/new")
def new() -> Response:
    """A new phone, or one of those that are there, for a pass."""
    found = _control().get("phones", limit=12)
    return page("sandbox/new.html", found=found, zone=usual_zone(), **_wanted(request.args), **_screens(found["now"]))


@blueprint.post("/phones")
def add() -> Response:
    """Add a phone, with a pass on it if one was named."""
    wanted = _wanted(request.form)
    links = {name: str(link) for name, link in wanted.items() if link}
    options = {name: request.form[name] for name in ("name", "language", "time_zone") if request.form.get(name)}
    try:
        phone = _control().post("phones", **options, **links)
    except DomainError as error:
        flash(error.detail)
        return _to(".new", **links)
    return _show(phone["id"])


@blueprint.get("/phones/<uuid:phone_id>")
def phone(phone_id: Any) -> Response:
    """One phone: its lock screen, its wallets, its diary."""
    detail = _control().get("phones", str(phone_id))
    wanted = request.args.get("card")
    with reading(server().engine, ALL_PROGRAMS) as session:
        places = spots(session)
    spot = next((one for one in places if one.key == request.args.get("near")), None)
    card = next((card for card in detail["passes"] if card["serial"] == wanted), None)
    return page(
        "sandbox/phone.html",
        block="phone",
        phone=detail,
        card=card or next(iter(detail["passes"]), None),
        google_card=next(iter(detail["google"]), None),
        spots=places,
        spot=spot,
        suggestions=list(suggestions(detail["passes"], spot)) if spot else [],
        side="back" if request.args.get("side") == "back" else "front",
        qr_svg=qr_svg,
        sentence=wording.sentence,
        is_warning=wording.is_warning,
        behaviours=wording.BEHAVIOURS,
        ink=google_ink,
        same_site=_same_site,
        **_screens(detail["now"]),
    )


@blueprint.post("/phones/<uuid:phone_id>/<action>")
def act(phone_id: Any, action: str) -> Response:
    """Press one of the phone's buttons, then look at the phone; a refusal is said above it."""
    press = ACTIONS.get(action) or abort(404)
    try:
        press(_control(), str(phone_id), request.form)
    except DomainError as error:
        flash(error.detail)
    if action == "discard":
        return _to(".index")
    return _show(str(phone_id))


@blueprint.get("/images/<sha256>.png")
def image(sha256: str) -> Response:
    """A picture of a pass; its name is its hash, so browsers keep it."""
    if not _SHA256.fullmatch(sha256):
        abort(404)
    return _kept(_control().image(sha256), "image/png")


Press = Callable[[ControlClient, str, Mapping[str, str]], object]

ACTIONS: Final[Mapping[str, Press]] = {
    "install": lambda control, phone, form: _install(control, phone, form.get("url", "")),
    "pull": lambda control, phone, _form: control.post("phones", phone, "pull"),
    "renew-token": lambda control, phone, _form: control.post("phones", phone, "renew-token"),
    "clear-banners": lambda control, phone, _form: control.post("phones", phone, "clear-banners"),
    "airplane": lambda control, phone, form: control.patch("phones", phone, airplane=form.get("on") == "1"),
    "language": lambda control, phone, form: control.patch("phones", phone, language=form.get("language", "")),
    "behaviour": lambda control, phone, form: control.patch("phones", phone, behaviour=form.get("behaviour", "")),
    "updates": lambda control, phone, form: control.call(
        "PATCH",
        ("phones", phone, "passes", form.get("pass_type_id", ""), form.get("serial", "")),
        body={"automatic_updates": form.get("on") == "1"},
    ),
    "remove": lambda control, phone, form: control.delete(
        "phones", phone, "passes", form.get("pass_type_id", ""), form.get("serial", "")
    ),
    "remove-google": lambda control, phone, form: control.delete("phones", phone, "google", form.get("object_id", "")),
    "discard": lambda control, phone, _form: control.delete("phones", phone),
}
"""What can be done with a phone: the last part of the address → the press of the button."""


def _install(control: ControlClient, phone: str, link: str) -> None:
    link = _reachable(link)
    is_google = "/gp/v/save/" in link or link.endswith("/google")
    control.post("phones", phone, "save" if is_google else "install", url=link)


def _control() -> ControlClient:
    return ControlClient.of(server().settings.WALLET_DATA_DIR)


def _show(phone_id: str) -> Response:
    return _to(".phone", phone_id=phone_id, **_kept_view())


def _to(endpoint: str, **values: Any) -> Response:
    return redirect(url_for(endpoint, **values), 303)  # type: ignore[return-value]


def _kept_view() -> dict[str, str]:
    """Which card is looked at, and from which side, said again by each form."""
    return {name: request.form[name] for name in ("card", "side") if request.form.get(name)}


def _wanted(values: Mapping[str, str]) -> dict[str, Any]:
    """The links of passes that somebody wants on a phone; ``None`` for those that were not named."""
    return {name: _reachable(values[name]) if values.get(name) else None for name in ("install", "save")}


def _reachable(link: str) -> str:
    """The link as the phones reach the server: people also know it under the name in their address bar."""
    parts = urlsplit(link.strip())
    if parts.netloc == request.host:
        public = urlsplit(server().settings.public_url)
        parts = parts._replace(scheme=public.scheme, netloc=public.netloc)
    return urlunsplit(parts)


def usual_zone() -> str:
    """The zone in which the pages' own times are told: the first program's."""
    with reading(server().engine, ALL_PROGRAMS) as session:
        programs = list_programs(session)
        return load_program(session, program_id=programs[0].id).time_zone if programs else "UTC"


def _screens(now: str) -> dict[str, Any]:
    """What the templates need to draw screens: clocks and words in each phone's own language and zone."""
    moment = datetime.fromisoformat(now)

    def local(phone: Mapping[str, Any], at: datetime = moment) -> datetime:
        return at.astimezone(ZoneInfo(phone["time_zone"]))

    return {
        "words": lambda phone: wording.screen_words(translator(phone["language"])),
        "clock": lambda phone: wording.clock_time(local(phone), translator(phone["language"])),
        "date": lambda phone: wording.long_date(local(phone), translator(phone["language"])),
        "age": lambda phone, at: wording.age(datetime.fromisoformat(at), moment, translator(phone["language"])),
        "moment": lambda phone, at: reader().datetime(datetime.fromisoformat(at), phone["time_zone"]),
        "phone_languages": LANGUAGES,
    }


def _same_site(link: str) -> str | None:
    """The path of a picture that this server serves: the page may show no other (its content policy)."""
    parts = urlsplit(link)
    known = (urlsplit(server().settings.public_url).netloc, request.host)
    return urlunsplit(("", "", parts.path, parts.query, "")) if parts.netloc in known else None


def _kept(body: bytes, kind: str) -> Response:
    response = Response(body, content_type=kind)
    response.headers["Cache-Control"] = f"public, max-age={KEEP_S}, immutable"
    return response
