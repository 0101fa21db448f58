"""What every answer and every request of a browser has to obey: headers, origin, CSRF, permissions, rates.

Permissions are denied by default: a view without a declared one is never run (invariant S1). Pages declare it
with :func:`permission`; a door with a login of its own (till keys, pass tokens) declares it for its whole
blueprint with :func:`door_permission`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Flask, Request, Response, current_app, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_wtf.csrf import CSRFError, CSRFProtect
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, Forbidden, NotFound

from wallet_server.errors import DomainError
from wallet_server.settings import Settings
from wallet_server.web.context import server

_SOURCES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",  # Tabler's style sheet draws its arrows from data: addresses
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
CONTENT_SECURITY_POLICY: Final = "; ".join(f"{name} {sources}" for name, sources in _SOURCES.items())
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # `same-origin` and not `no-referrer`: with the latter, browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cache-Control": "no-store",
}
STRICT_TRANSPORT_SECURITY: Final = "max-age=31536000"
BODY_BYTES_MAX: Final = 1_000_000
"""Of a request, where a view does not say that it :func:`takes` more."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PERMISSIONS: Final = frozenset(
    {"public", "address", "till key", "pass token", "sandbox", "staff", "cashier", "manager", "owner"}
)
"""Who may call a view: anybody; who knows its secret address; a till; a phone; staff of a role or more."""
WINDOWS_KNOWN_MAX: Final = 10_000
"""Windows of rates whose end one process remembers."""
SHARED_PAUSE_SECONDS: Final = 5
TAKEN_PARTS: Final = 300
"""A process takes so many-th a part of a limit at once: 20 of 6,000, and of a small one each number by itself."""

View = TypeVar("View", bound=Callable[..., Any])


def permission(name: str) -> Callable[[View], View]:
    """Declare who may call a view."""
    assert name in PERMISSIONS, name

    def declare(view: View) -> View:
        cast(Any, view).permission = name
        return view

    return declare


def takes(bytes_max: Callable[[], int]) -> Callable[[View], View]:
    """Declare how large a body a view takes: asked before anything of it is read."""

    def declare(view: View) -> View:
        cast(Any, view).bytes_max = bytes_max
        return view

    return declare


def door_permission(blueprint: Blueprint, name: str) -> None:
    """Declare who may call every view of a blueprint that checks its callers itself."""
    assert name in PERMISSIONS, name
    cast(Any, blueprint).permission = name


def permission_of(app: Flask, endpoint: str) -> str | None:
    """What an endpoint has declared: for itself, else for its blueprint (the innermost that says so)."""
    own = getattr(app.view_functions[endpoint], "permission", None)
    if own is not None:
        return str(own)
    name = endpoint
    while "." in name:
        name = name.rpartition(".")[0]
        declared = getattr(app.blueprints.get(name), "permission", None)
        if declared is not None:
            return str(declared)
    return None


def init_app(app: Flask) -> None:
    """Set up cookies, CSRF proof, the origin check, permissions and headers."""
    settings: Settings = app.extensions["wallet"].settings
    https = settings.public_url.startswith("https://")
    app.session_interface = _Sessions()
    app.secret_key = app.extensions["wallet"].mint.session_key
    app.config.update(
        SESSION_COOKIE_NAME=cookie_name(settings, "wallet"),
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: an open tab must not lose a filled form
        WTF_CSRF_SSL_STRICT=False,  # _check_origin below looks at Origin and Sec-Fetch-Site instead of Referer
    )
    app.extensions["csrf"] = CSRFProtect()
    app.before_request(_check_permission)
    app.before_request(_check_origin)
    app.before_request(_limit_body)  # before the proof, for which the form is read
    app.extensions["csrf"].init_app(app)
    app.before_request(_check_characters)
    app.after_request(_add_headers)
    app.extensions["rates"] = RateLimits(settings.REDIS_URL)


class _Sessions(SecureCookieSessionInterface):
    """Flask's sessions; tills and phones, which bring none, do not wait for the signer to be made."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)


def exempt_programs_from_csrf(app: Flask) -> None:
    """Ask no CSRF proof at the doors of tills and phones: they look at no cookie, so there is nothing to abuse."""
    for blueprint in app.blueprints.values():
        if getattr(blueprint, "permission", None) in ("till key", "pass token"):
            app.extensions["csrf"].exempt(blueprint)


def cookie_name(settings: Settings, name: str) -> str:
    """A cookie's name; ``__Host-`` ties it to this host and https where there is https (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-{name}" if settings.public_url.startswith("https://") else name


def set_cookie(response: Response, name: str, value: str, *, max_age_s: int | None) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send; ``None``: until the browser closes."""
    settings = server().settings
    response.set_cookie(
        cookie_name(settings, name),
        value,
        max_age=max_age_s,
        path="/",
        secure=settings.public_url.startswith("https://"),
        httponly=True,
        samesite="Lax",
    )


def delete_cookie(response: Response, name: str) -> None:
    """Remove a cookie that :func:`set_cookie` has set."""
    settings = server().settings
    secure = settings.public_url.startswith("https://")
    response.delete_cookie(cookie_name(settings, name), path="/", secure=secure, httponly=True, samesite="Lax")


def _limit_body() -> None:
    bytes_max = getattr(current_app.view_functions.get(request.endpoint or ""), "bytes_max", None)
    if bytes_max is not None:
        request.max_content_length = bytes_max()


def _check_permission() -> None:
    if request.endpoint is not None and permission_of(current_app, request.endpoint) is None:
        raise Forbidden(f"{request.endpoint} does not say who may call it")


def _check_origin() -> None:
    """Refuse a browser's writing request that another site has started.

    The second line behind the CSRF token; callers that are no browsers send neither header.
    """
    if request.method in SAFE_METHODS:
        return
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise CSRFError("The request came from another site.")
    origin = request.headers.get("Origin")
    # "null" tells nothing: browsers send it when the page's own policy hides where it came from.
    if origin and origin != "null":
        known = {request.host, urlsplit(server().settings.public_url).netloc}
        if urlsplit(origin).netloc not in known:
            raise CSRFError("The request came from another site.")


def _check_characters() -> None:
    """Refuse NUL, which PostgreSQL keeps in no text, wherever somebody may ask the database for it.

    No address of ours has it, and no browser types it. Tills are told by their own door which field is wrong.
    """
    door = permission_of(current_app, request.endpoint) if request.endpoint is not None else None
    if door == "till key":
        return
    if "\0" in request.path:
        raise NotFound()
    # Phones send their JSON as whatever they like: a body that was read as a form could not be read again.
    if door == "pass token":
        return
    typed = () if request.method in SAFE_METHODS else _pairs(request.form)
    if any("\0" in text for pair in (*_pairs(request.args), *typed) for text in pair):
        raise BadRequest("The request has a character that is none.")


def _pairs(values: MultiDict[str, str]) -> Iterable[tuple[str, str]]:
    return values.items(multi=True)


def headers_of(settings: Settings) -> dict[str, str]:
    """The headers that every answer has unless it says otherwise itself."""
    if settings.public_url.startswith("https://"):
        return {**HEADERS, "Strict-Transport-Security": STRICT_TRANSPORT_SECURITY}
    return HEADERS


def _add_headers(response: Response) -> Response:
    said = {name.lower() for name, _value in response.headers}
    for name, value in headers_of(server().settings).items():
        if name.lower() not in said:
            response.headers.add(name, value)
    return response


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of a window after an attempt; ``reset_s`` are the seconds until the next one begins."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


class RateLimits:
    """Counts attempts in fixed windows: in Valkey, which all web processes share, else in this process.

    A Valkey that is down must not close the shop's door, so counting then goes on in this process. A busy till does
    not ask it each time: a process takes the numbers of a large limit's attempts a 300th part at a time, so that of
    several processes each may leave as many unused.
    """

    def __init__(self, redis_url: str) -> None:
        self._memory: Storage = MemoryStorage()
        self._shared: Storage | None = None
        self._shared_from = 0.0
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()
        if redis_url:
            url = redis_url.replace("unix://", "redis+unix://", 1) if redis_url.startswith("unix://") else redis_url
            storage = storage_from_string(url, wrap_exceptions=True, socket_timeout=1, socket_connect_timeout=1)
            self._shared = cast(Storage, storage)

    def hit(self, limit: RateLimitItem, *keys: str) -> Rate:
        """Count one attempt."""
        if self._shared is not None and time.monotonic() >= self._shared_from:
            try:
                return self._count(self._shared, limit, keys)
            except StorageError as error:
                # Not asked for a while: a Valkey that says nothing takes a second of each request.
                self._shared_from = time.monotonic() + SHARED_PAUSE_SECONDS
                structlog.get_logger().warning(
                    "attempts are counted by each process alone: Valkey does not answer",
                    error=str(error.storage_error),
                    pause_seconds=SHARED_PAUSE_SECONDS,
                )
        return self._count(self._memory, limit, keys)

    def _count(self, storage: Storage, limit: RateLimitItem, keys: tuple[str, ...]) -> Rate:
        """As the library's fixed windows count; of a large limit several numbers are taken at once."""
        key = limit.key_for(*keys)
        window = self._windows.get(key)
        if window is None or window.ends_at <= time.time() or (number := window.next_number()) is None:
            at_once = max(1, limit.amount // TAKEN_PARTS)
            last = storage.incr(key, limit.get_expiry(), at_once)
            number = last - at_once + 1
            window = self._window(storage, key, is_new=number == 1)
            window.numbers.extend(range(number + 1, last + 1))
        # At least a second: who comes back in none comes back in vain.
        reset_s = max(1, math.ceil(window.ends_at - time.time()))
        return Rate(number <= limit.amount, limit.amount, max(0, limit.amount - number), reset_s)

    def _window(self, storage: Storage, key: str, *, is_new: bool) -> _Window:
        """The window of now; when it ends is asked once for each."""
        with self._lock:
            known = self._windows.get(key)
            if known is None or is_new or known.ends_at <= time.time():
                if len(self._windows) >= WINDOWS_KNOWN_MAX:
                    self._windows.clear()
                known = self._windows[key] = _Window(storage.get_expiry(key))
            return known


@dataclass(frozen=True, slots=True)
class _Window:
    """When a window ends (Unix seconds), and the numbers of its attempts that this process has taken and not used."""

    ends_at: float
    numbers: deque[int] = field(default_factory=deque)

    def next_number(self) -> int | None:
        try:
            return self.numbers.popleft()
        except IndexError:
            return None


def count_rate(name: str, limit: str, key: str | None = None) -> Rate:
    """Count one attempt of ``key`` (the caller's address) at ``name``; ``limit`` is like ``30/minute``."""
    rates: RateLimits = current_app.extensions["rates"]
    return rates.hit(parse(limit), name, key or request.remote_addr or "")


def refuse_rate(rate: Rate) -> None:
    """Raises ``DomainError(rate_limited)`` with ``retry_after`` in seconds for an attempt that was one too many."""
    if not rate.allowed:
        raise DomainError(
            "rate_limited", "too many attempts; wait a moment and try again", status=429, retry_after=rate.reset_s
        )


def limit_rate(name: str, limit: str, key: str | None = None) -> None:
    """:func:`count_rate`, and :func:`refuse_rate`."""
    refuse_rate(count_rate(name, limit, key))
