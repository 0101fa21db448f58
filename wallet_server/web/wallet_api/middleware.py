"""Phones join addresses differently: ``//v1/devices`` is answered like ``/v1/devices``, without a redirect.

Werkzeug would answer 308, which some wallets do not follow and others follow without their Authorization
header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

PREFIX: Final = "/apple/"
_SLASHES: Final = re.compile("/{2,}")


class MergeSlashes:
    """Merge the slashes of calls to Apple's web service, and of nothing else."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if "//" in path:
            merged = _SLASHES.sub("/", path)
            if merged.startswith(PREFIX):
                environ = {**environ, "PATH_INFO": merged}
        return self._application(environ, start_response)
