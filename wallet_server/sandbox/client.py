"""Calls the sandbox's control API: for the door and the command line, which live in other processes."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from wallet_server.errors import DomainError
from wallet_server.sandbox.ports import HOST
from wallet_server.sandbox.setup import SandboxState, read_state

TIMEOUT_SECONDS: Final = 20.0
"""Longer than a phone's own patience for one download."""
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024


class SandboxDown(DomainError):
    """The sandbox's process does not answer."""

    def __init__(self) -> None:
        super().__init__(
            "sandbox_down",
            "The phone simulator does not run. `wallet-server up` starts it where WALLET_SANDBOX=1 is set.",
            status=503,
        )


class ControlClient:
    """A caller of the control API. Cheap to make; a connection lives for one call."""

    def __init__(self, state: SandboxState, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._state = state
        self._timeout_seconds = timeout_seconds

    @classmethod
    def of(cls, data_folder: Path) -> ControlClient:
        """The client for the sandbox of a data folder. Raises :class:`SandboxDown` if it was never started."""
        state = read_state(data_folder)
        if state is None:
            raise SandboxDown
        return cls(state)

    @property
    def public_url(self) -> str:
        """The address under which the phones reach the server."""
        return self._state.public_url

    def get(self, *parts: str, **query: str | int) -> dict[str, Any]:
        """Read something; ``parts`` are the parts of the path. Raises as :meth:`call`."""
        return self.call("GET", parts, query=query)

    def post(self, *parts: str, **body: Any) -> dict[str, Any]:
        """Do something. Raises as :meth:`call`."""
        return self.call("POST", parts, body=body)

    def patch(self, *parts: str, **body: Any) -> dict[str, Any]:
        """Change something. Raises as :meth:`call`."""
        return self.call("PATCH", parts, body=body)

    def delete(self, *parts: str) -> dict[str, Any]:
        """Remove something. Raises as :meth:`call`."""
        return self.call("DELETE", parts)

    def image(self, sha256: str) -> bytes:
        """A picture (PNG) by its hash. Raises as :meth:`call`."""
        return self._send("GET", ("images", sha256), None, {})

    def call(
        self,
        method: str,
        parts: tuple[str, ...],
        *,
        body: dict[str, Any] | None = None,
        query: dict[str, str | int] | None = None,
    ) -> dict[str, Any]:
        """One call. Raises the ``DomainError`` that the sandbox answers, or :class:`SandboxDown`."""
        document = json.loads(self._send(method, parts, body, query or {}))
        assert isinstance(document, dict)
        return document

    def _send(
        self, method: str, parts: tuple[str, ...], body: dict[str, Any] | None, query: dict[str, str | int]
    ) -> bytes:
        target = "/" + "/".join(quote(part, safe="") for part in parts)
        if query:
            target += f"?{urlencode(query)}"
        headers = {"Authorization": f"Bearer {self._state.control_secret}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(HOST, self._state.control_port, timeout=self._timeout_seconds)
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise SandboxDown from error
        finally:
            connection.close()
        if answer.status >= 400:
            problem = json.loads(content)
            code, detail = problem.pop("code"), problem.pop("detail")
            raise DomainError(code, detail, status=answer.status, **problem)
        return content
