"""Tell phones that their pass has changed: APNs over HTTP/2, many streams on one connection.

A Wallet push carries no content; the phone asks the server what changed. It may therefore be repeated
freely, and this sender resends whatever a broken connection leaves in doubt. libcurl's multi interface is
used because it is the only HTTP/2 client for Python that comes near the server's speed.

Sources: developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns and
…/handling-notification-responses-from-apns; for passes the certificate that signs them is the client
certificate, and the topic is its Pass Type ID. A provider token of the same team takes its place.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import certifi
import pycurl

from passes.apple.provider_token import ProviderToken
from passes.apple.push_batch import PushBatch
from passes.apple.push_outcome import (
    RECONNECT_REASONS,
    STALE_KEY_REASONS,
    TOO_MANY_KEYS_REASON,
    PushOutcome,
    PushVerdict,
    parse_answer,
    verdict_of,
)

TOKENS_MAX = 10_000
_ANSWER_BYTES_MAX = 4096
_HTTP_2 = 3  # CURL_HTTP_VERSION_2_0, what CURLINFO_HTTP_VERSION reports
_IDLE_CONNECTION_SECONDS = 3600  # APNs wants connections kept; libcurl's own limit is two minutes
_PROBE_AFTER_SECONDS = 30  # a connection idle for longer may be gone without a word
_NEW_STREAMS_A_TURN = 64  # they travel together; the server answers them while the next ones are made

_TLS_ERRORS = frozenset(
    {
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ISSUER_ERROR,
        pycurl.E_SSL_CIPHER,
        pycurl.E_URL_MALFORMAT,
    }
)
_TLS_ALERT = re.compile(r"alert.*(certificate|unknown ca)", re.IGNORECASE)


class _Stream:
    """One reusable libcurl handle, which is one HTTP/2 stream at a time."""

    __slots__ = ("answer", "bearer", "curl", "token")

    def __init__(self, curl: Any) -> None:
        self.curl = curl
        self.answer = b""
        self.token = ""
        self.bearer = ""
        curl.setopt(pycurl.WRITEFUNCTION, self._receive)

    def _receive(self, data: bytes) -> int | None:
        if len(self.answer) + len(data) > _ANSWER_BYTES_MAX:
            return 0  # ends the transfer: APNs never sends so much
        self.answer += data
        return None


class ApnsSender:
    """A connection to APNs for one topic, kept open between calls. Not for use by two threads at once.

    The connection is shared by all pushes of a call and reused by the next; streams are limited by
    `streams_max` and by what the server allows. Use it as a context manager or call `close`.
    """

    def __init__(
        self,
        url: str,
        *,
        topic: str,
        certificate_pem: bytes = b"",
        key_pem: bytes = b"",
        provider_token: ProviderToken | None = None,
        ca_file: str | None = None,
        streams_max: int = 300,
        attempts_max: int = 3,
        connect_timeout_seconds: float = 10.0,
        request_timeout_seconds: float = 20.0,
        proxy: str = "",
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to push; nothing is sent before the first `push`.

        Either with a certificate or with a `provider_token`. `certificate_pem` holds the leaf and, for
        servers that do not know it, the intermediate. `ca_file` names the authorities to trust (default: the
        public ones). `proxy` is used only if given here: environment variables do not steer this connection.

        Raises `ValueError` for an address that is not https, and for both or neither kind of credentials.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"the APNs address starts with https://, this one is {url!r}")
        if (provider_token is None) == (not certificate_pem):
            raise ValueError("push with a certificate or with a provider token, and not with both")
        self._url = url.rstrip("/")
        self._provider_token = provider_token
        self._attempts_max = attempts_max
        self._streams_max = streams_max
        self._sleep = sleep
        self._monotonic = monotonic
        self._options: tuple[tuple[int, Any], ...] = (
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
            (pycurl.PIPEWAIT, 1),
            (pycurl.POST, 1),
            (pycurl.POSTFIELDS, "{}"),
            (pycurl.CAINFO, ca_file or certifi.where()),
            (pycurl.SSL_VERIFYPEER, 1),
            (pycurl.SSL_VERIFYHOST, 2),
            (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
            (pycurl.NOSIGNAL, 1),
            (pycurl.USERAGENT, ""),
            (pycurl.PROXY, proxy),
            (pycurl.MAXAGE_CONN, _IDLE_CONNECTION_SECONDS),
            (pycurl.TCP_KEEPALIVE, 1),
            (pycurl.CONNECTTIMEOUT_MS, int(connect_timeout_seconds * 1000)),
            (pycurl.TIMEOUT_MS, int(request_timeout_seconds * 1000)),
            *(((pycurl.SSLCERT_BLOB, certificate_pem), (pycurl.SSLKEY_BLOB, key_pem)) if certificate_pem else ()),
        )
        self._silence_seconds = request_timeout_seconds / 2
        # Priority 5 is what a background push must have. No expiration: APNs keeps the push for a phone that
        # is off. One collapse id: of several changes only the last needs to arrive. No apns-id, which APNs then
        # makes itself: with headers that are the same for all pushes libcurl is told them once for each stream.
        self._headers = (
            f"apns-topic: {topic}",
            "apns-push-type: background",
            "apns-priority: 5",
            "apns-collapse-id: pass",
            "content-type: application/json",
            "accept:",  # not sent: libcurl would
        )
        self._multi: Any = None
        self._idle: list[_Stream] = []
        self._busy: dict[Any, _Stream] = {}
        self._closed = False
        self._probing = True
        self._answered_at = 0.0
        self._heard_at = 0.0
        self._reconnecting = False

    def __enter__(self) -> ApnsSender:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The sender cannot be used again."""
        self._drop_connection()
        self._closed = True

    def push(self, tokens: Sequence[str], *, deadline_seconds: float = 120.0) -> list[PushOutcome]:
        """Push to every token once and return one outcome for each distinct token, in the order given.

        Broken connections, refused streams and time-outs are sent again, at most `attempts_max` times in
        all and not after the deadline. After the first sign of a wrong configuration no further token is
        tried: the rest carries the same verdict and reason with status 0.

        Raises `ValueError` for more than `TOKENS_MAX` tokens or a closed sender.
        """
        if len(tokens) > TOKENS_MAX:
            raise ValueError(f"push at most {TOKENS_MAX} tokens at once, not {len(tokens)}")
        if self._closed:
            raise ValueError("the sender is closed")
        now = self._monotonic()
        batch = PushBatch(tokens, now + deadline_seconds, self._attempts_max)
        if now - self._answered_at > _PROBE_AFTER_SECONDS:
            self._probing = True
        try:
            while batch.waiting or self._busy:
                if self._monotonic() >= batch.deadline:
                    self._give_up(batch)
                    break
                self._fill(batch)
                self._turn(batch)
        except BaseException:
            self._drop_connection()  # half-done transfers must not meet the next call
            raise
        return batch.in_order(tokens)

    def _fill(self, batch: PushBatch) -> None:
        """Put waiting tokens on free streams."""
        if self._multi is None:
            self._connect()
        if batch.pause_seconds:
            self._sleep(min(batch.pause_seconds, max(0.0, batch.deadline - self._monotonic())))
            batch.pause_seconds = 0.0
        multi, idle, busy, waiting = self._multi, self._idle, self._busy, batch.waiting
        limit = min(self._streams_limit(), len(busy) + _NEW_STREAMS_A_TURN)
        devices = f"{self._url}/3/device/"
        bearer = "" if self._provider_token is None else self._provider_token.bearer()
        while waiting and len(busy) < limit:
            stream = idle.pop() if idle else self._new_stream()
            stream.token = waiting.popleft()
            stream.answer = b""
            curl = stream.curl
            curl.setopt(pycurl.URL, devices + stream.token)
            if stream.bearer != bearer:
                curl.setopt(pycurl.HTTPHEADER, [*self._headers, f"authorization: bearer {bearer}"])
                stream.bearer = bearer
            busy[curl] = stream
            multi.add_handle(curl)

    def _streams_limit(self) -> int:
        """How many streams may be open.

        A fresh connection gets one push until it is answered: only then is the server's limit of streams
        known. Opening hundreds at once makes it refuse most, and libcurl gives up on some of them.
        """
        return 1 if self._probing else self._streams_max

    def _has_room(self, batch: PushBatch) -> bool:
        """Whether a token waits that a stream is free for."""
        return bool(batch.waiting) and len(self._busy) < self._streams_limit()

    def _turn(self, batch: PushBatch) -> None:
        """Let libcurl work, then collect what is done."""
        self._multi.perform()
        self._send_off()
        settled = False
        broken = False
        while True:
            queued, done, failed = self._multi.info_read()
            if done or failed:
                settled = True
                self._answered_at = self._monotonic()
            if done:
                self._probing = False
                self._heard_at = self._answered_at
                for curl in done:
                    self._settle(self._release(curl), batch)
            for curl, error, text in failed:
                self._probing = True
                broken |= error == pycurl.E_OPERATION_TIMEDOUT and self._is_silent()
                self._settle_failure(self._release(curl), error, text, batch)
            if not queued:
                break
        if broken or self._reconnecting:
            # A silent connection would swallow the next pushes too: what is still on it starts anew.
            for stream in list(self._busy.values()):
                batch.resend(stream.token, "the connection went silent" if broken else "APNs wants a new connection")
            self._drop_connection()
        elif not settled and self._busy and not self._has_room(batch):
            remaining = max(0.0, batch.deadline - self._monotonic())
            wait_ms = self._multi.timeout()
            wait = remaining if wait_ms < 0 else min(wait_ms / 1000, remaining)
            # select() returns at once (-1) while libcurl has no socket yet, as during a name look-up.
            if self._multi.select(min(wait, 0.25)) < 0:
                self._sleep(min(wait, 0.01))

    def _send_off(self) -> None:
        """Let the kernel send what libcurl has written, and hold what it writes next until this is called again.

        libcurl hands over one request at a time. Unheld, each is a packet of its own, for which the other side
        is woken up. The kernel holds nothing for longer than 200 ms, so what this misses is late, never lost.
        """
        if sys.platform != "linux" or not self._busy:
            return
        descriptor = next(iter(self._busy)).getinfo(pycurl.ACTIVESOCKET)
        if descriptor < 0:
            return
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=descriptor)
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        finally:
            line.detach()  # it is libcurl's to close

    def _settle(self, stream: _Stream, batch: PushBatch) -> None:
        token = stream.token
        status = stream.curl.getinfo(pycurl.RESPONSE_CODE)
        if status == 200:
            batch.settle(token, PushVerdict.ACCEPTED, status=200)
        elif stream.curl.getinfo(pycurl.INFO_HTTP_VERSION) != _HTTP_2:
            batch.settle(token, PushVerdict.CONFIGURATION, status=status, reason="NotHttp2")
        else:
            reason, timestamp = parse_answer(stream.answer)
            if status == 400 and reason in RECONNECT_REASONS:
                self._reconnecting = True
                batch.resend(token, reason)
            elif status == 403 and reason in STALE_KEY_REASONS and self._has_another_token(stream):
                self._probing = True  # APNs takes one stream only until it has seen a token that is good
                batch.resend(token, reason)
            else:
                if reason == TOO_MANY_KEYS_REASON and self._provider_token is not None:
                    self._provider_token.renewed_too_often()
                verdict = verdict_of(status, reason)
                # After a refusal of all of us the next call asks with one push, not with hundreds.
                self._probing |= verdict is PushVerdict.CONFIGURATION
                batch.settle(token, verdict, status=status, reason=reason, timestamp=timestamp)

    def _has_another_token(self, stream: _Stream) -> bool:
        return self._provider_token is not None and self._provider_token.refused(stream.bearer)

    def _is_silent(self) -> bool:
        """Whether nothing was heard for long: a server that is only slow still answers others."""
        return self._monotonic() - self._heard_at >= self._silence_seconds

    def _settle_failure(self, stream: _Stream, error: int, text: str, batch: PushBatch) -> None:
        text = text or f"libcurl error {error}"
        if error in _TLS_ERRORS or _TLS_ALERT.search(text):
            batch.settle(stream.token, PushVerdict.CONFIGURATION, reason=text)
        else:
            batch.resend(stream.token, text)
            if error in (pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_HOST):
                batch.pause_seconds = 0.2 * 2 ** batch.failures[stream.token]

    def _give_up(self, batch: PushBatch) -> None:
        for stream in self._busy.values():
            batch.settle(stream.token, PushVerdict.RETRY_LATER, reason="no answer before the deadline")
        batch.stop(PushVerdict.RETRY_LATER, "not sent before the deadline")
        self._drop_connection()

    def _connect(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        self._multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, self._streams_max)

    def _new_stream(self) -> _Stream:
        curl = pycurl.Curl()
        for option, value in self._options:
            curl.setopt(option, value)
        curl.setopt(pycurl.HTTPHEADER, list(self._headers))
        return _Stream(curl)

    def _release(self, curl: Any) -> _Stream:
        self._multi.remove_handle(curl)
        stream = self._busy.pop(curl)
        self._idle.append(stream)
        return stream

    def _drop_connection(self) -> None:
        if self._multi is None:
            return
        for curl in list(self._busy):
            self._multi.remove_handle(curl)
        for stream in (*self._busy.values(), *self._idle):
            stream.curl.close()
        self._busy.clear()
        self._idle.clear()
        self._multi.close()
        self._multi = None
        self._probing = True
        self._reconnecting = False
