"""The composition root of the web: settings in, a Flask application out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from flask import Flask
from htmx_flask import Htmx
from werkzeug.middleware.proxy_fix import ProxyFix

from wallet_server import context as server_context
from wallet_server.context import ServerContext
from wallet_server.settings import Settings
from wallet_server.web import context as web_context
from wallet_server.web import (
    files,
    health,
    looks,
    member,
    metrics,
    panel,
    pos_api,
    problems,
    public,
    rendering,
    sandbox,
    security,
    sessions,
    wallet_api,
)

ROOT: Final = Path(__file__).resolve().parent.parent
FORM_PARTS_MAX: Final = 1_700
"""The designer sends a program's forty looks, each with some thirty fields, as one form."""

DOORS: Final = (public, member, panel, wallet_api, pos_api, sandbox)


class Application(Flask):
    """Flask for plain functions, so that it need not ask of each whether it is a coroutine: a dozen a request."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is."""
        return func


def create_app(settings: Settings, context: ServerContext | None = None) -> Flask:
    """Build the web application for one process.

    Raises ``ConfigurationError`` for a database of another version and ``AssetError`` when the front-end files
    are missing: both before a single request is taken.
    """
    context = context or server_context.make_context(settings)
    app = Application("wallet_server", template_folder=str(ROOT / "templates"), static_folder=None)
    web_context.init_app(app, context)
    app.config.update(MAX_CONTENT_LENGTH=security.BODY_BYTES_MAX, MAX_FORM_MEMORY_SIZE=security.BODY_BYTES_MAX)
    app.config.update(MAX_FORM_PARTS=FORM_PARTS_MAX, PROPAGATE_EXCEPTIONS=False)
    Htmx(app)  # replaces app.request_class: no other extension may do so
    metrics.init_app(app)
    security.init_app(app)
    sessions.init_app(app)
    rendering.init_app(app)
    problems.init_app(app)
    files.init_app(app)
    looks.init_app(app)
    health.init_app(app)
    for door in DOORS:
        door.register(app)
    security.exempt_programs_from_csrf(app)
    if settings.WALLET_PROXIES:
        # Only what our own proxies say about the caller is believed, and only as many as there are.
        app.wsgi_app = ProxyFix(app.wsgi_app, *(settings.WALLET_PROXIES,) * 3)  # type: ignore[method-assign]
    return app
