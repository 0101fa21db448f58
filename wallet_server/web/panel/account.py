"""Signing in and out, choosing the program, one's own password and language."""

from __future__ import annotations

from typing import cast

from flask import Response, flash, request, url_for

from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import LANGUAGES
from wallet_server.programs.queries import load_program
from wallet_server.staff.services import set_language
from wallet_server.staff.sign_in import SignedIn, StaffIdentity, change_password, session_of_token, sign_in, sign_out
from wallet_server.web import sessions
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import safe_next, signed_in
from wallet_server.web.rendering import LANGUAGE_COOKIE, LANGUAGE_COOKIE_S, page, reader, see_other
from wallet_server.web.security import permission, set_cookie

FIELD_LENGTH_MAX = 300


@blueprint.get("/login")
@permission("public")
def login() -> Response:
    if sessions.staff_identity() is not None:
        return see_other(safe_next(request.args.get("next", "")) or url_for("panel.home"))
    return _login_page()


@blueprint.post("/login")
@permission("public")
def sign_in_form() -> Response:
    context = server()
    email = request.form.get("email", "")[:FIELD_LENGTH_MAX]
    now = context.clock.now()
    try:
        signed_in_now = sign_in(
            context.engine,
            email,
            request.form.get("password", "")[:FIELD_LENGTH_MAX],
            now=now,
            user_agent=request.headers.get("User-Agent", ""),
            address=request.remote_addr or "",
        )
    except DomainError as error:
        return _login_page(email, error)
    # A browser that was signed in as somebody else stops being that.
    old = sessions.staff_token()
    with transaction(context.engine, ALL_PROGRAMS) as session:
        if old:
            sign_out(session, old, now)
        identity = session_of_token(session, signed_in_now.token, now)
    return _begin(signed_in_now, identity)


def _begin(signed_in_now: SignedIn, identity: StaffIdentity | None) -> Response:
    temporary = identity is not None and identity.password_is_temporary
    home = url_for("panel.account") if temporary else url_for("panel.home")
    response = see_other(home if temporary else safe_next(request.args.get("next", "")) or home)
    sessions.begin(response, signed_in_now)
    if identity is not None and identity.language in LANGUAGES:
        set_cookie(response, LANGUAGE_COOKIE, cast(str, identity.language), max_age_s=LANGUAGE_COOKIE_S)
    return response


def _login_page(email: str = "", error: DomainError | None = None) -> Response:
    _ = reader().gettext
    message = ""
    if error is not None:
        message = (
            _("The e-mail address or the password is wrong.")
            if error.code == "login_failed"
            else _("Too many tries. Wait a quarter of an hour, or ask the owner for a new password.")
        )
    form_url = url_for("panel.sign_in_form", next=safe_next(request.args.get("next", "")) or None)
    status = error.status if error else 200
    response = page("panel/login.html", http_status=status, email=email, error=message, form_url=form_url)
    if error is not None and "retry_after_seconds" in error.extra:
        response.headers["Retry-After"] = str(error.extra["retry_after_seconds"])
    return response


@blueprint.post("/logout")
@permission("public")
def logout() -> Response:
    """Also without a session: whoever presses the button wants to end up signed out."""
    context = server()
    token = sessions.staff_token()
    if token:
        with transaction(context.engine, ALL_PROGRAMS) as session:
            sign_out(session, token, context.clock.now())
    response = see_other(url_for("panel.login"))
    sessions.end(response)
    return response


@blueprint.get("/")
@signed_in
def home(identity: StaffIdentity) -> Response:
    """The first of the person's programs; who has none is told so."""
    with reading(server().engine, ALL_PROGRAMS) as session:
        slugs = sorted(load_program(session, program_id=program_id).slug for program_id in identity.roles)
    if not slugs:
        return page("panel/no_program.html", identity=identity)
    return see_other(url_for("panel.members", slug=slugs[0]))


@blueprint.get("/account")
@signed_in
def account(identity: StaffIdentity) -> Response:
    return page("panel/account.html", identity=identity, error="")


@blueprint.post("/account/password")
@signed_in
def set_password(identity: StaffIdentity) -> Response:
    context = server()
    _ = reader().gettext
    try:
        change_password(
            context.engine,
            identity,
            old_password=request.form.get("old_password", "")[:FIELD_LENGTH_MAX],
            new_password=request.form.get("new_password", "")[:FIELD_LENGTH_MAX],
            now=context.clock.now(),
            address=request.remote_addr or "",
        )
    except DomainError as error:
        message = {
            "login_failed": _("The old password is wrong."),
            "validation": _("The new password needs at least 10 characters and must not be easy to guess."),
        }.get(error.code, _("Too many tries. Wait a quarter of an hour, or ask the owner for a new password."))
        status = 422 if error.code == "login_failed" else error.status
        return page("panel/account.html", http_status=status, identity=identity, error=message)
    flash(_("Your password has been changed. Your other sessions have ended."), "success")
    return see_other(url_for("panel.home"))


@blueprint.get("/account/password")
@signed_in
def password_page(_identity: StaffIdentity) -> Response:
    """Where a browser lands that asks again for the address of a refused form."""
    return see_other(url_for("panel.account"))


@blueprint.post("/account/language")
@signed_in
def choose_language(identity: StaffIdentity) -> Response:
    code = request.form.get("language", "")
    with transaction(server().engine, ALL_PROGRAMS) as session:
        set_language(session, identity.staff_id, code)
    response = see_other(url_for("panel.account"))
    set_cookie(response, LANGUAGE_COOKIE, code, max_age_s=LANGUAGE_COOKIE_S)
    return response
