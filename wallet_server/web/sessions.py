"""Who is signed in: the staff session of a browser, kept in the database and named by an opaque cookie."""

from __future__ import annotations

from typing import Final, cast

from flask import Flask, Response, g, request
from flask import session as browser_session

from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.staff.sign_in import SignedIn, StaffIdentity, note_is_due, session_of_token
from wallet_server.web.context import server
from wallet_server.web.security import cookie_name, delete_cookie, set_cookie

STAFF_COOKIE: Final = "staff"
COOKIE_S: Final = 7 * 24 * 3600
TOKEN_LENGTH_MAX: Final = 200


def init_app(app: Flask) -> None:
    """Nothing is read before a view asks: most requests are not staff's."""
    app.before_request(_forget)


def _forget() -> None:
    g.pop("identity", None)


def staff_identity() -> StaffIdentity | None:
    """The staff user of this request; ``None`` without a session that is still good."""
    if "identity" not in g:
        g.identity = _identity_of(staff_token())
    return cast("StaffIdentity | None", g.identity)


def staff_token() -> str | None:
    """The token that the browser sent."""
    return request.cookies.get(cookie_name(server().settings, STAFF_COOKIE))


def _identity_of(token: str | None) -> StaffIdentity | None:
    if not token or len(token) > TOKEN_LENGTH_MAX:
        return None
    context = server()
    now = context.clock.now()
    # Nearly every request only reads: a page that asks every two seconds must not take the writers' turn.
    with reading(context.engine, ALL_PROGRAMS) as session:
        identity = session_of_token(session, token, now, note=False)
    if identity is not None and note_is_due(identity, now):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            identity = session_of_token(session, token, now)
    return identity


def begin(response: Response, signed_in: SignedIn) -> None:
    """Hand the session to the browser, with a CSRF secret of its own."""
    browser_session.clear()
    set_cookie(response, STAFF_COOKIE, signed_in.token, max_age_s=COOKIE_S)


def end(response: Response) -> None:
    """Take the session from the browser."""
    browser_session.clear()
    delete_cookie(response, STAFF_COOKIE)
