"""The wallets' door: Apple's web service, downloads of passes, Google's save links and callbacks.

``apple`` is what iPhones call, ``downloads`` what a member's browser calls, ``google`` what Google calls. No
caller here has a cookie: phones prove themselves with the pass's token, members with their page's address,
Google with a signature.
"""

from __future__ import annotations

from flask import Flask

from wallet_server.context import ContextKeeper, ServerContext
from wallet_server.web.context import KEEPER
from wallet_server.web.metrics import WebMetrics
from wallet_server.web.security import door_permission, headers_of
from wallet_server.web.wallet_api import apple, downloads, google
from wallet_server.web.wallet_api.middleware import PlainSlashes, UnchangedPasses


def register(app: Flask) -> None:
    """Open the door."""
    apple.prepare(app)
    google.prepare(app)
    for blueprint, permission in (
        (apple.blueprint, "pass token"),
        (downloads.blueprint, "address"),
        (google.pages, "address"),
        # Google proves itself by its signature, as a phone does by its token.
        (google.callbacks, "pass token"),
    ):
        door_permission(blueprint, permission)
        app.register_blueprint(blueprint)
    context: ServerContext = app.extensions["wallet"]
    metrics: WebMetrics = app.extensions["metrics"]
    context.press.count_signatures(metrics.signed.inc)
    keeper: ContextKeeper = app.extensions[KEEPER]
    unchanged = UnchangedPasses(app.wsgi_app, keeper.current, metrics, headers_of(context.settings))
    app.wsgi_app = PlainSlashes(unchanged)  # type: ignore[method-assign]
