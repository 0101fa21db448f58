"""Google Wallet's REST API: classes, objects, messages.

Writes that may be repeated are repeated (insert, then patch); `addMessage` may not, so after an answer that
leaves open whether it happened the object is read and searched for the message. Errors are told apart by
Google's `reason`: the same 403 stands for a missing permission and for a used-up quota of notices.

Sources: developers.google.com/wallet/reference/rest/v1 (methods and bodies), …/retail/loyalty-cards/resources
/performance-tips (20 requests a second), …/trigger-push-notifications (three notices in 24 hours).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from passes.google.account import ServiceAccount
from passes.google.merging import whole

GOOGLE_API_URL = "https://walletobjects.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/wallet_object.issuer"
REQUESTS_PER_SECOND_MAX = 20.0

_ANSWER_BYTES_MAX = 1024 * 1024
_BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 4.0)
_WAIT_SECONDS_MAX = 20.0
_TOKEN_SECONDS = 3600
_RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "backendError", "RATE_LIMIT_EXCEEDED"})
_QUOTA_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded"})
_NO_CHANGE_BY_ITSELF: Final = frozenset({"id", "reviewStatus", "notifyPreference"})

JsonObject = dict[str, Any]


class GoogleProblem(StrEnum):
    """What kind of failure it is, which tells what to do."""

    RETRY_LATER = "retry_later"
    """Google or the network is busy or down; nothing is wrong with the request."""
    QUOTA = "quota"
    """The card's or the issuer's notices are used up for today."""
    PERMISSION = "permission"
    """Key, account or issuer are wrong: stop this program's calls and raise an alarm."""
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    """The body breaks a rule; sending it again cannot help."""


class GoogleWalletError(Exception):
    """A call failed for good or for now. `status` is 0 and `reason` a word of ours without an answer."""

    def __init__(self, problem: GoogleProblem, status: int, reason: str, message: str) -> None:
        super().__init__(f"Google Wallet: {message} ({status} {reason})")
        self.problem = problem
        self.status = status
        self.reason = reason


class MessageOutcome(StrEnum):
    """How a message was added."""

    NOTIFIED = "notified"
    SILENT = "silent"
    """It lies on the card without a notice: it was sent so, or the day's notices were used up."""


class _Ambiguous(Exception):
    """The request may or may not have been carried out."""


class Pace(Protocol):
    """Google's limit of calls. One that several processes share lies outside of this package."""

    def take(self) -> None:
        """Wait until the next call may begin; raise `GoogleWalletError` if that is too far away."""


class TokenBucket:
    """Lets `rate` calls a second through, with a burst of one second's worth; others wait."""

    def __init__(self, rate: float, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._sleep = sleep
        self._tokens = rate
        self._filled_at = monotonic()

    def take(self) -> None:
        now = self._monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        self._tokens -= 1
        if self._tokens < 0:
            self._sleep(-self._tokens / self._rate)


class GoogleWallet:
    """A client for one issuer. Not for use by two threads at once; `pace` lets several processes share a limit.

    `api_url` and the account's `token_uri` may point to a stand-in. Every call raises `GoogleWalletError`.
    """

    def __init__(
        self,
        account: ServiceAccount,
        *,
        api_url: str = GOOGLE_API_URL,
        timeout_seconds: float = 10.0,
        requests_per_second: float = REQUESTS_PER_SECOND_MAX,
        pace: Pace | None = None,
        attempts_max: int = 4,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._account = account
        self._root = f"{api_url.rstrip('/')}/walletobjects/v1"
        self._attempts_max = attempts_max
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._pace = pace or TokenBucket(requests_per_second, monotonic=monotonic, sleep=sleep)
        # trust_env off: which proxy or certificates apply is decided by our settings, not by the shell's.
        self._http = httpx.Client(timeout=timeout_seconds, transport=transport, trust_env=False, follow_redirects=False)
        self._token = ""
        self._token_expires_at = 0.0

    def __enter__(self) -> GoogleWallet:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upsert_class(self, body: Mapping[str, object], *, exists: bool = False, extras: bool = False) -> JsonObject:
        """Create the class or bring it up to date; return the resource. `exists` saves the first try.

        With `extras` what `ClassExtras` said before and do not say any more is taken away, too.
        """
        return self._upsert("loyaltyClass", body, exists=exists, extras=extras)

    def upsert_object(self, body: Mapping[str, object], *, exists: bool = False, extras: bool = False) -> JsonObject:
        """Create the object or bring it up to date, as `upsert_class` does; `extras` are `ObjectExtras`."""
        return self._upsert("loyaltyObject", body, exists=exists, extras=extras)

    def get_class(self, class_id: str) -> JsonObject:
        """Return a class."""
        return self._call("GET", f"loyaltyClass/{quote(class_id, safe='')}")

    def get_object(self, object_id: str) -> JsonObject:
        """Return an object."""
        return self._call("GET", f"loyaltyObject/{quote(object_id, safe='')}")

    def patch_object(self, object_id: str, changes: Mapping[str, object]) -> JsonObject:
        """Merge `changes` into an object. Arrays are replaced whole, null removes."""
        return self._call("PATCH", f"loyaltyObject/{quote(object_id, safe='')}", changes)

    def add_message(
        self, object_id: str, message: Mapping[str, object], *, check_first: bool = False
    ) -> MessageOutcome:
        """Put a message on a card once.

        When the day's notices are used up the message is added without one. After a call that ended in
        ``RETRY_LATER`` (or a crash) it is not known whether the message arrived: then call again with
        `check_first`.
        """
        body = dict(message)
        for attempt in range(self._attempts_max):
            if (check_first or attempt) and (found := self._find_message(object_id, str(body["id"]))):
                return _outcome(found)
            try:
                self._call(
                    "POST",
                    f"loyaltyObject/{quote(object_id, safe='')}/addMessage",
                    {"message": body},
                    repeatable=False,
                )
                return _outcome(body)
            except _Ambiguous:
                self._pause(attempt, 0.0)
            except GoogleWalletError as error:
                if error.problem is not GoogleProblem.QUOTA or body.get("messageType") == "TEXT":
                    raise
                body["messageType"] = "TEXT"
        raise GoogleWalletError(
            GoogleProblem.RETRY_LATER, 0, "ambiguous", f"it is not known whether {body['id']} was added"
        )

    # -- how calls are made ---------------------------------------------------------------------------

    def _upsert(self, kind: str, body: Mapping[str, object], *, exists: bool, extras: bool) -> JsonObject:
        path = f"{kind}/{quote(str(body['id']), safe='')}"
        if exists:
            try:
                return self._call("PATCH", path, whole(kind, body, extras=extras))
            except GoogleWalletError as error:
                if error.problem is not GoogleProblem.NOT_FOUND:
                    raise
        try:
            return self._call("POST", kind, body)
        except GoogleWalletError as error:
            if error.problem is not GoogleProblem.CONFLICT:
                raise
        # It is there already, perhaps through our own lost try: what is right in it needs no second notice.
        found = self._call("GET", path)
        wanted = whole(kind, body, extras=extras)
        changes = {name: value for name, value in wanted.items() if found.get(name) != body.get(name)}
        if changes.keys() <= _NO_CHANGE_BY_ITSELF:
            return found
        # Google wants the review asked for with every change of a class.
        review = {name: body[name] for name in ("reviewStatus",) if name in body}
        return self._call("PATCH", path, {**changes, **review})

    def _find_message(self, object_id: str, message_id: str) -> JsonObject | None:
        messages = self.get_object(object_id).get("messages", [])
        return next((item for item in messages if item.get("id") == message_id), None)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        repeatable: bool = True,
    ) -> JsonObject:
        error = GoogleWalletError(GoogleProblem.RETRY_LATER, 0, "unreachable", "no attempt was made")
        renewed = False
        attempt = 0
        while attempt < self._attempts_max:
            wait = 0.0
            try:
                status, headers, answer = self._send(method, path, body)
            except httpx.TransportError as problem:
                error = GoogleWalletError(GoogleProblem.RETRY_LATER, 0, "unreachable", str(problem))
                # What failed before it was sent was surely not carried out.
                if not repeatable and not isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout):
                    raise _Ambiguous from problem
            else:
                if 200 <= status < 300:
                    return _document(answer)
                error = _classify(status, answer)
                if status == 401 and not renewed:
                    renewed, self._token = True, ""  # the token may have been revoked: once more with a new one
                    continue
                if error.problem is not GoogleProblem.RETRY_LATER:
                    raise error
                if not repeatable and status >= 500:
                    raise _Ambiguous from error
                wait = _retry_after(headers)
            self._pause(attempt, wait)
            attempt += 1
        raise error

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> tuple[int, httpx.Headers, bytes]:
        headers = {"authorization": f"Bearer {self._access_token()}"}
        self._pace.take()
        with self._http.stream(method, f"{self._root}/{path}", json=body, headers=headers) as response:
            return response.status_code, response.headers, _read(response)

    def _access_token(self) -> str:
        now = self._clock()
        if self._token and now < self._token_expires_at - 60:
            return self._token
        issued_at = int(now)
        assertion = self._account.sign_jwt(
            {
                "iss": self._account.email,
                "scope": SCOPE,
                "aud": self._account.token_uri,
                "iat": issued_at,
                "exp": issued_at + _TOKEN_SECONDS,
            }
        )
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        with self._http.stream("POST", self._account.token_uri, data=form) as response:
            answer, status = _read(response), response.status_code
        if status == 429 or status >= 500:
            raise GoogleWalletError(GoogleProblem.RETRY_LATER, status, "token", "no access token for now")
        document = _document(answer)
        token, seconds = document.get("access_token"), document.get("expires_in", _TOKEN_SECONDS)
        if status != 200 or not isinstance(token, str) or not isinstance(seconds, int):
            reason = str(document.get("error", "token"))
            explanation = str(document.get("error_description", "the service account got no access token"))
            raise GoogleWalletError(GoogleProblem.PERMISSION, status, reason, explanation)
        self._token, self._token_expires_at = token, now + seconds
        return token

    def _pause(self, attempt: int, at_least_seconds: float) -> None:
        if attempt + 1 >= self._attempts_max:
            return
        step = _BACK_OFF_SECONDS[min(attempt, len(_BACK_OFF_SECONDS) - 1)]
        self._sleep(min(_WAIT_SECONDS_MAX, max(at_least_seconds, step * (0.5 + self._jitter() / 2))))


def _read(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > _ANSWER_BYTES_MAX:
            raise httpx.RemoteProtocolError("the answer is larger than any of Google's")
        parts.append(part)
    return b"".join(parts)


def _document(answer: bytes) -> JsonObject:
    try:
        document = json.loads(answer or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _classify(status: int, answer: bytes) -> GoogleWalletError:
    error = _document(answer).get("error")
    reason, message = "", "no explanation"
    if isinstance(error, dict):
        message = str(error.get("message", message))
        details = error.get("errors")
        if isinstance(details, list) and details and isinstance(details[0], dict):
            reason = str(details[0].get("reason", ""))
        if not reason:
            reason = _reason_of_newer_form(error)
    return GoogleWalletError(_problem(status, reason), status, reason, message)


def _reason_of_newer_form(error: Mapping[str, Any]) -> str:
    """Google's newer services name the reason in `details`, of type google.rpc.ErrorInfo."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            return str(detail["reason"])
    return ""


def _problem(status: int, reason: str) -> GoogleProblem:
    if reason in _QUOTA_REASONS:
        return GoogleProblem.QUOTA
    if reason in _RATE_REASONS or status in (408, 429) or status >= 500:
        return GoogleProblem.RETRY_LATER
    known = {
        401: GoogleProblem.PERMISSION,
        403: GoogleProblem.PERMISSION,
        404: GoogleProblem.NOT_FOUND,
        409: GoogleProblem.CONFLICT,
    }
    return known.get(status, GoogleProblem.INVALID)


def _retry_after(headers: httpx.Headers) -> float:
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0


def _outcome(message: Mapping[str, object]) -> MessageOutcome:
    notified = message.get("messageType") == "TEXT_AND_NOTIFY"
    return MessageOutcome.NOTIFIED if notified else MessageOutcome.SILENT
