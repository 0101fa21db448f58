"""What a caller reads when something is refused or fails: a problem document for programs, a page for people."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from flask import Flask, Response, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from wallet_server.db import is_locked, to_json
from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.web.rendering import page

PROBLEM_TYPE: Final = "application/problem+json"
MACHINE_PATHS: Final = ("/api/", "/apple/", "/google/", "/passes/", "/healthz", "/readyz", "/metrics", "/static/")
"""Addresses that programs call; everything else is read by people."""
BUSY_RETRY_S: Final = 1
HTTP_CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}
TITLES: Final = {
    400: gettext_noop("This did not work"),
    403: gettext_noop("You may not do this"),
    404: gettext_noop("There is nothing here"),
    405: gettext_noop("This did not work"),
    409: gettext_noop("Somebody was faster"),
    413: gettext_noop("That is too much at once"),
    422: gettext_noop("Something is missing or wrong"),
    429: gettext_noop("Too many attempts"),
    500: gettext_noop("Something went wrong on our side"),
    503: gettext_noop("One moment, please"),
}
EXPLANATIONS: Final = {
    400: gettext_noop("Your browser sent something that we do not understand. Go back and try again."),
    403: gettext_noop("Your role does not include this page. Ask the owner of the program."),
    404: gettext_noop("The address is wrong, or what was here has gone."),
    405: gettext_noop("Your browser sent something that we do not understand. Go back and try again."),
    409: gettext_noop("What you wanted to change has been changed meanwhile. Go back and look at it again."),
    413: gettext_noop("Send less at once."),
    422: gettext_noop("Go back, look at what you entered, and try again."),
    429: gettext_noop("Wait a moment and try again."),
    500: gettext_noop("It has been written down. Please try again later."),
    503: gettext_noop("The server is busy. Please try again in a few seconds."),
}


def problem(code: str, detail: str, status: int, **extra: Any) -> Response:
    """A problem document (RFC 9457) with our stable ``code``; ``retry_after`` (seconds) also becomes a header.

    A single wrong ``field`` is told as the list of ``errors`` that callers know from several wrong ones.
    """
    if "field" in extra and "errors" not in extra:
        field = extra.pop("field")
        extra["errors"] = [{"field": field, "message": detail.removeprefix(f"{field}: ")}]
    body = {
        **extra,
        "type": f"urn:wallet-server:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    response = Response(to_json(body), status=status, content_type=PROBLEM_TYPE)
    _set_retry_after(response, extra)
    return response


def is_for_program(path: str) -> bool:
    """Whether programs, not people, call this address."""
    return path.startswith(MACHINE_PATHS)


def refusal(code: str, detail: str, status: int, **extra: Any) -> Response:
    """The answer to whoever called: a problem document, or a page in the reader's language."""
    if is_for_program(request.path):
        return problem(code, detail, status, **extra)
    kind = status if status in TITLES else 500 if status >= 500 else 400
    response = page(
        "errors/error.html",
        http_status=status,
        status=status,
        title=TITLES[kind],
        explanation=EXPLANATIONS[kind],
        incident=extra.get("incident"),
        bytes_max=extra.get("bytes_max"),
    )
    _set_retry_after(response, extra)
    return response


def init_app(app: Flask) -> None:
    """Register an answer for everything that may be raised."""
    app.register_error_handler(DomainError, _on_domain_error)
    app.register_error_handler(CSRFError, _on_csrf_error)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(DBAPIError, _on_database_error)
    app.register_error_handler(PoolTimeoutError, _on_busy)
    app.register_error_handler(Exception, _on_exception)


def _on_domain_error(error: DomainError) -> Response:
    return refusal(error.code, error.detail, error.status, **error.extra)


def _on_csrf_error(error: CSRFError) -> Response:
    # 403 and not Flask-WTF's 400: the request is well formed, but not proven to be the reader's own.
    if is_for_program(request.path):
        return problem("forbidden", str(error.description), 403)
    return page("errors/form_expired.html", http_status=403)


def _on_http_exception(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    extra = {"bytes_max": request.max_content_length} if isinstance(error, RequestEntityTooLarge) else {}
    code = HTTP_CODES.get(error.code, "internal" if error.code >= 500 else "bad_request")
    detail = error.description or error.name
    if isinstance(error, NotFound) and detail == NotFound.description:
        detail = "there is nothing at this address"  # werkzeug's own words are for people who type addresses
    response = refusal(code, detail, error.code, **extra)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _on_database_error(error: DBAPIError) -> Response:
    return _on_busy(error) if is_locked(error) else _on_exception(error)


def _on_busy(_error: Exception) -> Response:
    return refusal("busy", "the database is busy; try again", 503, retry_after=BUSY_RETRY_S)


def _on_exception(error: Exception) -> Response:
    incident = secrets.token_hex(4)
    # The path of a member page or of a pass is itself a secret, so the rule is logged and not the address.
    rule = str(request.url_rule) if request.url_rule else ""
    structlog.get_logger().error("request failed", incident=incident, rule=rule, exc_info=error)
    return refusal("internal", "something went wrong on our side", 500, incident=incident)


def _set_retry_after(response: Response, extra: Mapping[str, Any]) -> None:
    seconds = extra.get("retry_after", extra.get("retry_after_seconds"))
    if seconds is not None:
        response.headers["Retry-After"] = str(seconds)
