"""The line to those who listen: signed POST requests, each to an address that was looked at first.

Nothing is followed, nothing is believed: redirects are answers like others, no proxy or cookie of this machine
is used, at most 4 KiB of an answer are read, and ten seconds are the end, however slowly somebody drips.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Final, TypeVar

import certifi
import httpx

from wallet_server.clock import Clock
from wallet_server.db import to_json
from wallet_server.errors import DomainError
from wallet_server.tokens import TokenMint
from wallet_server.webhooks.address import (
    AddressPolicy,
    ForbiddenAddressError,
    IPAddress,
    Target,
    check_address,
    ip_url,
    parse_target,
)
from wallet_server.webhooks.deliveries import Endpoint, Line, Message, Outcome
from wallet_server.webhooks.signing import good_generations, headers

TIMEOUT_S: Final = 10.0
"""For one message, from looking up the name to the end of the answer."""
ANSWER_BYTES_MAX: Final = 4 * 1024
ANSWER_SECONDS_MAX: Final = 2.0
ANSWER_CHARACTERS_KEPT: Final = 200
AT_ONCE_MAX: Final = 8
"""Lines that are sent at the same time; within a line one message follows the other."""
LINES_OPEN_MAX: Final = 32
"""Receivers whose connections are kept for the next time."""
KEEP_OPEN_S: Final = 10.0
ADDRESSES_TRIED_MAX: Final = 3
USER_AGENT: Final = "Wallet-Server-Webhooks/1"

_Result = TypeVar("_Result")
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses that a name stands for now, the best first. Raises ``OSError`` if there are none."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """Ask this machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class WebhookSender:
    """Sends messages from one thread, and keeps connections open between calls."""

    def __init__(
        self,
        mint: TokenMint,
        policy: AddressPolicy,
        *,
        clock: Clock,
        machine_clock: Clock,
        resolve: Resolve = look_up,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        self._mint = mint
        self._policy = policy
        self._clock = clock
        self._machine_clock = machine_clock
        self._resolve = resolve
        self._certificates = certificates
        # One pool for each name: connections are made to numbers, and two names of one number must not share one.
        self._pools: OrderedDict[str, httpx.AsyncHTTPTransport] = OrderedDict()

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        # Its own, because the caller's may have a loop already: a browser that tests drive, another library.
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix="webhooks")

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self._thread.submit(self._runner.run, work).result()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._certificates or ssl.create_default_context(cafile=certifi.where())

    def send(self, lines: Sequence[Line], *, begin_within_s: float) -> Mapping[Line, Sequence[Outcome]]:
        """Send each line up to its first failure; no message is begun after so many seconds.

        Returns the outcomes of what was sent, for every line; takes at most ``begin_within_s`` and
        :data:`TIMEOUT_S` together.
        """
        return self._run(self._send(lines, time.monotonic() + begin_within_s)) if lines else {}

    def close(self) -> None:
        """Hang up."""
        if "_runner" in self.__dict__:
            self._run(self._hang_up(0))
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()
            del self._runner, self._thread

    async def _send(self, lines: Sequence[Line], ends_at: float) -> Mapping[Line, Sequence[Outcome]]:
        turns = asyncio.Semaphore(AT_ONCE_MAX)
        sent: dict[Line, list[Outcome]] = {line: [] for line in lines}

        async def send_line(line: Line) -> None:
            async with turns:
                for message in line.messages:
                    if time.monotonic() > ends_at:
                        return
                    outcome = await self._send_one(line.endpoint, message)
                    sent[line].append(outcome)
                    if not outcome.delivered:
                        return

        async with asyncio.TaskGroup() as group:
            for line in lines:
                group.create_task(send_line(line))
        await self._hang_up(LINES_OPEN_MAX)
        return sent

    async def _send_one(self, endpoint: Endpoint, message: Message) -> Outcome:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, text = await self._post(endpoint, message)
        except DomainError as error:
            return Outcome(message, None, error.detail)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(message, None, f"no answer within {TIMEOUT_S:.0f} seconds")
        except ForbiddenAddressError as error:
            return Outcome(message, None, f"not sent: {error}")
        except (httpx.HTTPError, OSError) as error:
            return Outcome(message, None, f"no answer: {str(error) or type(error).__name__}")
        outcome = Outcome(message, status, text)
        return Outcome(message, status, "") if outcome.delivered else outcome

    async def _post(self, endpoint: Endpoint, message: Message) -> tuple[int, str]:
        target = parse_target(endpoint.url, self._policy)
        addresses = await self._judged(target)
        body = to_json(message.payload).encode()
        generations = good_generations(endpoint.secret_generation, endpoint.rotated_at, self._clock.now())
        secrets = [self._mint.webhook_secret(endpoint.id, generation) for generation in generations]
        fields = {
            "Host": target.authority,
            "User-Agent": USER_AGENT,
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            **headers(secrets, str(message.id), self._machine_clock.now(), body),
        }
        extensions: dict[str, Any] = {
            "timeout": httpx.Timeout(TIMEOUT_S).as_dict(),
            "sni_hostname": target.host,  # the certificate is the name's, not the number's
        }
        for tried, address in enumerate(addresses, start=1):
            request = httpx.Request(
                "POST", ip_url(target, address), headers=fields, content=body, extensions=extensions
            )
            try:
                response = await self._pool(target).handle_async_request(request)
            except httpx.ConnectError:
                if tried == len(addresses):
                    raise
            else:
                return await _read(response)
        raise AssertionError("the last address answers or raises")

    async def _judged(self, target: Target) -> list[IPAddress]:
        try:
            found = await self._resolve(target.host, target.port)
        except (socket.gaierror, UnicodeError) as error:
            raise OSError(f"the name {target.host} cannot be looked up") from error
        addresses = [ip_address(text.partition("%")[0]) for text in found]
        if not addresses:
            raise OSError(f"the name {target.host} stands for nothing")
        for address in addresses:
            check_address(target.scheme, address, self._policy)
        return addresses[:ADDRESSES_TRIED_MAX]

    def _pool(self, target: Target) -> httpx.AsyncHTTPTransport:
        key = f"{target.scheme}://{target.authority}"
        if key not in self._pools:
            self._pools[key] = httpx.AsyncHTTPTransport(
                verify=self._context,
                trust_env=False,
                limits=httpx.Limits(
                    max_connections=AT_ONCE_MAX,
                    max_keepalive_connections=AT_ONCE_MAX,
                    keepalive_expiry=KEEP_OPEN_S,
                ),
            )
        self._pools.move_to_end(key)
        return self._pools[key]

    async def _hang_up(self, keep: int) -> None:
        while len(self._pools) > keep:
            _key, pool = self._pools.popitem(last=False)
            await pool.aclose()


async def _read(response: httpx.Response) -> tuple[int, str]:
    """The status, and the beginning of the answer in printable characters."""
    body = bytearray()
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            async for chunk in response.aiter_raw():
                body += chunk[: ANSWER_BYTES_MAX - len(body)]
                if len(body) >= ANSWER_BYTES_MAX:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # the status has been said; the rest is only for people
    finally:
        await response.aclose()
    text = bytes(body).decode("utf-8", errors="replace")
    shown = "".join(character if character.isprintable() else " " for character in text)
    return response.status_code, f"{response.status_code} {' '.join(shown.split())[:ANSWER_CHARACTERS_KEPT]}".rstrip()
