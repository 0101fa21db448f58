"""Google Wallet: the way to the save page, the pictures that Google fetches, and what Google tells us.

Sources: developers.google.com/wallet/retail/loyalty-cards (web, use-callbacks-for-saves-and-deletions).
"""

from __future__ import annotations

import threading
import time
from typing import Final

import httpx
import structlog
from flask import Blueprint, Flask, Response, current_app, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from passes.artwork import google_hero_png
from passes.google.callbacks import (
    BODY_BYTES_MAX,
    GOOGLE_KEYS_URL,
    CallbackRefused,
    CallbackVerifier,
    RootKey,
    parse_root_keys,
)
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.issuance.google import GoogleCards, GoogleTroubleError
from wallet_server.issuance.google_events import google_event, google_object_made
from wallet_server.issuance.looks import state_of_hero, strip_art
from wallet_server.issuance.pace import SharedPace
from wallet_server.issuance.press import Kept
from wallet_server.programs.queries import load_program
from wallet_server.settings import GOOGLE_API_URL
from wallet_server.web.context import server
from wallet_server.web.security import limit_rate
from wallet_server.web.wallet_api.cards import page_url, read_card
from wallet_server.web.wallet_api.downloads import pass_of

pages = Blueprint("google_pages", __name__)
callbacks = Blueprint("google_callbacks", __name__)

ART_BYTES_KEPT: Final = 16 * 1024 * 1024
ART_LIMIT: Final = "600/minute"
ART_SECONDS: Final = 24 * 3600
CALLBACKS_LIMIT: Final = "1200/minute"
KEYS_SECONDS: Final = 12 * 3600
KEYS_RETRY_SECONDS: Final = 60
KEYS_TIMEOUT_S: Final = 5.0
KEYS_BYTES_MAX: Final = 256 * 1024


class GoogleKeys:
    """The keys that Google signs with, fetched when needed and kept for half a day."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._keys: tuple[RootKey, ...] = ()
        self._fetch_again_at = float("-inf")

    def get(self) -> tuple[RootKey, ...]:
        """The keys; old ones while Google cannot be reached. Raises ``CallbackRefused(no_keys)``."""
        with self._lock:
            if time.monotonic() >= self._fetch_again_at:
                self._refresh()
            if not self._keys:
                raise CallbackRefused("no_keys", "Google's keys cannot be fetched now.")
            return self._keys

    def _refresh(self) -> None:
        try:
            with (
                httpx.Client(timeout=KEYS_TIMEOUT_S, trust_env=False, follow_redirects=False) as client,
                client.stream("GET", self._url) as answer,
            ):
                answer.raise_for_status()
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > KEYS_BYTES_MAX:
                        raise CallbackRefused("bad_keys", "The list of Google's keys is too long.")
            self._keys = parse_root_keys(body)
            self._fetch_again_at = time.monotonic() + KEYS_SECONDS
        except (httpx.HTTPError, CallbackRefused) as error:
            self._fetch_again_at = time.monotonic() + KEYS_RETRY_SECONDS
            structlog.get_logger().warning("Google's keys could not be fetched", error=str(error))


def keys_url(context: ServerContext) -> str:
    """Where Google, or its stand-in, publishes its keys."""
    if context.settings.WALLET_GOOGLE_KEYS_URL:
        return context.settings.WALLET_GOOGLE_KEYS_URL
    parameters = context.wallets.google
    if parameters is None or parameters.api_url == GOOGLE_API_URL:
        return GOOGLE_KEYS_URL
    return f"{parameters.api_url}/gp/m/issuer/keys"


def prepare(app: Flask) -> None:
    """Keep one line to Google, its keys and the drawn pictures for this process."""
    _open_line(app, app.extensions["wallet"])
    app.extensions["google_art"] = Kept[bytes](ART_BYTES_KEPT, len)


def _open_line(app: Flask, context: ServerContext) -> None:
    parameters, line = context.wallets.google, None
    if parameters is not None:
        pace = SharedPace(context.engine, parameters.issuer_id)
        line = GoogleCards(parameters, public_url=context.settings.public_url, pace=pace)
    app.extensions["google_cards"] = line
    app.extensions["google_keys"] = GoogleKeys(keys_url(context))
    app.extensions["google_account"] = parameters


def _cards() -> GoogleCards | None:
    """The line to Google, a new one once another account was imported; ``None`` where there is none."""
    _follow_account()
    line: GoogleCards | None = current_app.extensions["google_cards"]
    return line


def _follow_account() -> None:
    # The old line is not closed: another thread may be speaking on it. It goes with its last user.
    if current_app.extensions["google_account"] is not server().wallets.google:
        _open_line(current_app, server())


@pages.get("/passes/<token>/google")
def save(token: str) -> AnyResponse:
    """Make the card at Google if it is not there yet, then go to the page that saves it."""
    context = server()
    google = _cards()
    if google is None:
        raise NotFoundError("google_not_configured", "Google Wallet is not set up on this server")
    with reading(context.engine, ALL_PROGRAMS) as session:
        card = read_card(context, session, pass_of(session, token, "google"))
    if not card.state.live:
        try:
            google.put(card.program, card.state, page_url=page_url(context, card.state))
        except GoogleTroubleError as trouble:
            structlog.get_logger().error("a card could not be made at Google", reason=str(trouble), ours=trouble.ours)
            raise DomainError(
                "google_unavailable", "Google Wallet does not take the card now; try again", status=503, retry_after=30
            ) from trouble
        with transaction(context.engine, ALL_PROGRAMS) as session:
            google_object_made(session, card.state.pass_id, card.state.version, context.clock.now())
    return redirect(google.save_url(card.program, card.state, signed_at=context.machine_clock.now()), code=303)


@pages.get("/passes/art/<slug>/<int:version>/<name>.png")
def art(slug: str, version: int, name: str) -> Response:  # noqa: ARG001 - see the docstring
    """A picture of the program's look, for Google's servers; ``version`` only makes the address new."""
    limit_rate("art", ART_LIMIT)
    with reading(server().engine) as session:
        program = load_program(session, slug=slug)
    kept: Kept[bytes] = current_app.extensions["google_art"]
    if name == "logo":
        picture = server().press.google_logo(program)
    else:
        state = state_of_hero(program, name)
        if state is None:  # only what a card of this program can show is drawn
            raise NotFoundError("not_found", "there is no such picture")
        strip = strip_art(program, state)
        press = server().press
        picture = kept.get(strip.digest, lambda: google_hero_png(strip, press.photo_of(program, strip)))
    response = Response(picture, content_type="image/png")
    response.headers["Cache-Control"] = f"public, max-age={ART_SECONDS}"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


@callbacks.post("/google/callbacks")
def event() -> Response:
    """Somebody saved or deleted a card, says Google. Believed when the signature is Google's; heard once."""
    limit_rate("google-callbacks", CALLBACKS_LIMIT)
    context = server()
    parameters = context.wallets.google
    if parameters is None:
        raise NotFoundError("google_not_configured", "Google Wallet is not set up on this server")
    request.max_content_length = BODY_BYTES_MAX
    body = request.get_data()
    _follow_account()
    keys: GoogleKeys = current_app.extensions["google_keys"]
    sender = context.settings.WALLET_GOOGLE_SENDER
    try:
        told = CallbackVerifier(issuer_id=parameters.issuer_id, root_keys=keys.get(), sender=sender).verify(
            body, now=context.machine_clock.now()
        )
    except CallbackRefused as refused:
        if refused.code == "no_keys":
            raise DomainError("google_unavailable", str(refused), status=503, retry_after=60) from refused
        structlog.get_logger().warning("a callback that is not Google's", code=refused.code)
        raise DomainError("unauthorized", "this is not a notice of Google's", status=401) from refused
    serial = told.object_id.removeprefix(f"{parameters.issuer_id}.")
    with transaction(context.engine, ALL_PROGRAMS) as session:
        google_event(
            session,
            serial,
            saved=told.is_saved,
            nonce=told.nonce,
            expires_ms=told.expires_at_ms,
            now=context.clock.now(),
        )
    return Response(status=200)
