"""What is done for phones ahead of Flask: addresses that they join differently, and the answer they get most."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from werkzeug.http import http_date, parse_date

from wallet_server.context import ServerContext
from wallet_server.web.metrics import WebMetrics
from wallet_server.web.wallet_api.holders import held_pass

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

PREFIX: Final = "/apple/"
PASS_RULE: Final = "/apple/v1/passes/<pass_type>/<serial>"  # noqa: S105 - an address, not a secret
PASS_HEADERS: Final = {"Cache-Control": "no-store, private"}
_SLASHES: Final = re.compile("/{2,}")
_PASS: Final = re.compile(r"/apple/v1/passes/([A-Za-z0-9._-]{1,128})/([A-Za-z0-9._-]{1,64})")


class PlainSlashes:
    """Answer ``//v1/log/`` like ``/v1/log``, for calls to Apple's web service and no others.

    Wallets join addresses differently. Werkzeug would answer 308, which some of them do not follow and others
    follow without their Authorization header.
    """

    def __init__(self, application: Wsgi) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if "//" in path or path.endswith("/"):
            plain = _SLASHES.sub("/", path).rstrip("/")
            if plain.startswith(PREFIX):
                environ = {**environ, "PATH_INFO": plain}
        return self._application(environ, start_response)


class UnchangedPasses:
    """Answer 304 to a phone whose pass is the newest, with one indexed read; all else goes on to the application.

    Nearly all requests of phones end here, so that a crowd that only looks costs little. Whoever is refused here
    is refused by the application, which counts it.
    """

    def __init__(
        self,
        application: Wsgi,
        context: Callable[[], ServerContext],
        metrics: WebMetrics,
        headers: Mapping[str, str],
    ) -> None:
        self._application = application
        self._context = context
        self._metrics = metrics
        self._headers = list({**headers, **PASS_HEADERS}.items())

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_IF_MODIFIED_SINCE" in environ and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            begun = time.perf_counter()
            found = _PASS.fullmatch(environ.get("PATH_INFO", ""))
            modified = self._unchanged_since(environ, *found.groups()) if found else None
            if modified is not None:
                self._metrics.count(environ["REQUEST_METHOD"], PASS_RULE, 304, time.perf_counter() - begun)
                start_response("304 NOT MODIFIED", [("Last-Modified", modified), *self._headers])
                return []
        return self._application(environ, start_response)

    def _unchanged_since(self, environ: Mapping[str, Any], pass_type: str, serial: str) -> str | None:
        """The pass's date, if the caller holds the pass and has it as it is."""
        try:
            header = held_pass(self._context(), environ.get("HTTP_AUTHORIZATION", ""), pass_type, serial)
        except SQLAlchemyError:
            return None
        if header is None:
            return None
        modified = http_date(header.last_modified)
        given = environ["HTTP_IF_MODIFIED_SINCE"]
        return modified if given == modified or _is_since(given, header.last_modified) else None


def _is_since(given: str, modified: datetime) -> bool:
    since = parse_date(given)
    return since is not None and modified <= since
