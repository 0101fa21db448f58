"""Templates to answers: a whole page, or the one block of it that htmx asks for, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import urlencode

from flask import Flask, Response, g, has_request_context, redirect, render_template, request
from htmx_flask.requests import HtmxAwareRequest
from jinja2 import StrictUndefined, pass_context
from jinja2.runtime import Context
from jinja2_fragments.flask import render_block
from markupsafe import Markup

from wallet_server.db import to_json
from wallet_server.i18n import DEFAULT_LANGUAGE, LANGUAGES, Translator, best_language, ended_once, localized, translator
from wallet_server.members.models import Member
from wallet_server.web import files, wording
from wallet_server.web.context import server
from wallet_server.web.security import cookie_name, set_cookie

LANGUAGE_COOKIE: Final = "language"
LANGUAGE_COOKIE_S: Final = 365 * 24 * 3600
HTMX_CONFIG: Final = to_json(
    {
        # What our Content-Security-Policy forbids anyway.
        "includeIndicatorStyles": False,
        "allowEval": False,
        "allowScriptTags": False,
        # Members' data stay out of the browser's storage: going back asks the server again.
        "historyCacheSize": 0,
        "refreshOnHistoryMiss": True,
        "selfRequestsOnly": True,
        "timeout": 10_000,
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {"code": "422", "swap": True},
            {"code": "[45]..", "swap": False, "error": True},
        ],
    }
)


def init_app(app: Flask) -> None:
    """Set up the template engine and the language of each request."""
    environment = app.jinja_env
    environment.undefined = StrictUndefined
    environment.trim_blocks = True
    environment.lstrip_blocks = True
    environment.add_extension("jinja2.ext.i18n")
    cast(Any, environment).install_gettext_callables(_gettext, _ngettext, newstyle=True)
    for name in ("gettext", "ngettext"):
        environment.globals[name] = _ended_once(cast(Any, environment.globals[name]))
    app.context_processor(_context)
    app.after_request(_remember_language)


def page(
    template: str,
    *,
    block: str | None = None,
    http_status: int = 200,
    **context: Any,
) -> Response:
    """Render ``template``; for htmx only its ``block``, if one is named.

    A boosted request and one that restores the browser's history get the whole page, as without htmx.
    """
    if block is not None and wants_fragment():
        body = render_block(template, block, **context)
    else:
        body = render_template(template, **context)
    response = Response(body, status=http_status, content_type="text/html; charset=utf-8")
    response.vary.update(("HX-Request", "Accept-Language", "Cookie"))
    return response


def see_other(location: str) -> Response:
    """Send the browser on with a GET, as after every form that did something."""
    return cast(Response, redirect(location, 303))


def wants_fragment() -> bool:
    """Whether htmx asks for a part of the page."""
    htmx = cast(HtmxAwareRequest, request).htmx
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def language() -> str:
    """The reader's language: asked for, kept in the cookie, set by the staff user, or the browser's."""
    if "language" not in g:
        g.language = _chosen_language()
    return cast(str, g.language)


def reader() -> Translator:
    """Texts, numbers and dates for the reader of this request."""
    return translator(language())


def set_language(code: str) -> None:
    """Use another language from here on in this request (the door knows better than the browser)."""
    if code in LANGUAGES:
        g.language = code


def _chosen_language() -> str:
    cookie = cookie_name(server().settings, LANGUAGE_COOKIE)
    for candidate in (request.args.get("lang"), request.cookies.get(cookie)):
        if candidate and candidate in LANGUAGES:
            return candidate
    staff = g.get("identity")
    if staff is not None and staff.language in LANGUAGES:
        return cast(str, staff.language)
    return best_language(tuple(request.accept_languages.values()), tuple(LANGUAGES))


def _remember_language(response: Response) -> Response:
    asked = request.args.get("lang")
    if asked and asked in LANGUAGES and response.mimetype == "text/html":
        set_cookie(response, LANGUAGE_COOKIE, asked, max_age_s=LANGUAGE_COOKIE_S)
    return response


def _ended_once(make: Callable[..., str]) -> Callable[..., str]:
    """The engine fills texts in itself, so what comes of it is looked at here (:func:`ended_once`)."""

    @pass_context
    def made(context: Context, *texts: Any, **values: Any) -> str:
        return ended_once(make(context, *texts, **values))

    return made


def _gettext(message: str) -> str:
    return reader().gettext(message) if has_request_context() else translator(DEFAULT_LANGUAGE).gettext(message)


def _ngettext(singular: str, plural: str, number: int) -> str:
    # Jinja fills in the number itself.
    return reader().plural(singular, plural, number)


def _context() -> dict[str, Any]:
    """What every template may use."""
    settings = server().settings
    return {
        "t": reader(),
        "language": language(),
        "languages": LANGUAGES,
        "localized": localized,
        "asset": files.asset_url,
        "icon": _icon,
        "htmx_config": HTMX_CONFIG,
        "sandbox": settings.WALLET_SANDBOX,
        "language_url": _language_url,
        "entry_reason": wording.entry_reason,
        "account_name": wording.account_name,
        "kind_name": wording.kind_name,
        "role_name": wording.role_name,
        "person_name": _person_name,
        "signed": wording.signed,
        "amount_of": wording.amount_of,
    }


def _person_name(member: Member) -> str:
    return wording.person_name(member, reader())


def _icon(name: str, classes: str = "") -> Markup:
    """One of Tabler's icons. A function and not a macro, because a block rendered alone has no macros."""
    return Markup(
        '<svg class="icon {}" width="24" height="24" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>'
    ).format(classes, files.asset_url("icons.svg"), name)


def _language_url(code: str) -> str:
    """This page in another language; a refused form's address cannot be asked for again, so its page is used."""
    arguments = [(name, value) for name, value in request.args.items(multi=True) if name != "lang"]
    return f"{request.path}?{urlencode([*arguments, ('lang', code)])}"
