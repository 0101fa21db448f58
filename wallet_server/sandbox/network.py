"""The phones' way to the server: one HTTP client for all of them, few requests at a time, and no other host."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from passes.apple.verify import BUNDLE_BYTES_MAX
from wallet_server.errors import DomainError

TIMEOUT_SECONDS: Final = 15.0
REQUESTS_MAX: Final = 16
"""Requests of all phones together that are under way at once."""
RETRY_DELAYS_SECONDS: Final = (1.0, 5.0, 20.0)
USER_AGENT: Final = "WalletServerPhoneSimulator/1"


class Unreachable(Exception):
    """There was no usable answer; trying again later may help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: httpx.Headers
    body: bytes


class Network:
    """Calls the server under ``public_url`` and nobody else: a simulator must not become a way to probe hosts."""

    def __init__(
        self,
        public_url: str,
        *,
        retry_delays_seconds: Sequence[float] = RETRY_DELAYS_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._public = urlsplit(public_url)
        self._retry_delays = tuple(retry_delays_seconds)
        self._gate = asyncio.Semaphore(REQUESTS_MAX)
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,  # a phone that followed would lose its Authorization header on the way
            trust_env=False,
            transport=transport,
            headers={"user-agent": USER_AGENT},
        )

    async def close(self) -> None:
        await self._client.aclose()

    def check(self, url: str) -> None:
        """Raise ``DomainError(other_host)`` unless the address is the server's."""
        parts = urlsplit(url)
        if (parts.scheme, parts.netloc) != (self._public.scheme, self._public.netloc):
            raise DomainError(
                "other_host",
                f"the simulated phones reach {self._public.scheme}://{self._public.netloc} only, not {url[:200]!r}",
            )

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        retry: bool = True,
    ) -> Answer:
        """One call. Failures on the way and 5xx answers are tried again with growing delay, as phones do.

        Raises :class:`Unreachable` with a sentence when no attempt succeeded.
        """
        try:
            self.check(url)
        except DomainError as error:
            raise Unreachable(error.detail) from error
        delays = self._retry_delays if retry else ()
        for delay in (*delays, None):
            try:
                answer = await self._once(method, url, headers, json)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__} {error}".strip()
            else:
                if answer.status < 500 and answer.status != 429:
                    return answer
                problem = f"the server answered {answer.status}"
            if delay is None:
                raise Unreachable(problem)
            await asyncio.sleep(delay)
        raise AssertionError("the last delay is None")

    async def _once(self, method: str, url: str, headers: Mapping[str, str] | None, json: Any) -> Answer:
        async with self._gate, self._client.stream(method, url, headers=headers, json=json) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > BUNDLE_BYTES_MAX:
                    raise httpx.ReadError("the answer is larger than any pass may be")
            return Answer(response.status_code, response.headers, bytes(body))
