"""What Apple's push service answers: the same statuses, reasons and headers, decided without I/O.

Sources: developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns and
…/handling-notification-responses-from-apns. Only client certificates are accepted, no provider tokens: a
wallet's pushes are sent with the certificate that signs its passes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.x509.oid import NameOID

from wallet_server.sandbox.wire import Request, Response

PAYLOAD_BYTES_MAX: Final = 4096
COLLAPSE_ID_BYTES_MAX: Final = 64
PUSH_TYPES: Final = frozenset(
    {"alert", "background", "location", "voip", "complication", "fileprovider", "mdm", "liveactivity", "pushtotalk"}
)
_PATH = re.compile(r"/3/device/([^/]*)")
_TOKEN = re.compile(r"(?:[0-9a-fA-F]{2}){32,100}")
_TOPIC = re.compile(r"[A-Za-z0-9.-]{1,200}")
_SINGLE_HEADERS = frozenset({"apns-id", "apns-topic", "apns-push-type", "apns-priority", "apns-expiration"})


class Behaviour(StrEnum):
    """How pushes to a phone, or to all phones, end: the real life that a sender has to be ready for."""

    NORMAL = "normal"
    GONE = "gone"
    """410 Unregistered: the pass or the phone is no more."""
    BAD_TOKEN = "bad_token"  # noqa: S105 - a name, not a secret
    """400 BadDeviceToken."""
    THROTTLED = "throttled"
    """429 TooManyRequests for this device token."""
    DOWN = "down"
    """503 ServiceUnavailable."""
    BROKEN = "broken"
    """500 InternalServerError."""
    SILENT = "silent"
    """No answer at all, until the sender's patience ends."""
    LOST = "lost"
    """200, but the phone never hears of it: being accepted is not being delivered."""


@dataclass(frozen=True, slots=True)
class TokenState:
    """What the service knows of a push token. ``gone_at`` is when it stopped being valid, if it did."""

    phone_id: str
    behaviour: Behaviour
    gone_at: datetime | None = None


class TokenBook(Protocol):
    """Where tokens are looked up."""

    def token_state(self, token: str) -> TokenState | None:
        """The state of a token, ``None`` for one that was never given out."""


class _Refused(Exception):
    def __init__(self, status: int, reason: str, timestamp: datetime | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.timestamp = timestamp


class PushService:
    """Answers pushes and hands those that it accepts to ``deliver(phone_id, topic)``."""

    def __init__(self, book: TokenBook, *, now: Callable[[], datetime], deliver: Callable[[str, str], None]) -> None:
        self._book = book
        self._now = now
        self._deliver = deliver
        self.behaviour = Behaviour.NORMAL
        """How every push ends; anything but normal comes before what a single phone is set to."""
        self.accepted = 0
        self.refused = 0

    def answer(self, request: Request, certificate: x509.Certificate) -> Response | None:
        """The answer to one request; ``None`` for silence."""
        apns_id = request.headers.get("apns-id", "")
        try:
            apns_id = _checked_id(apns_id)
            outcome = self._accept(request, certificate)
        except _Refused as refusal:
            self.refused += 1
            document: dict[str, object] = {"reason": refusal.reason}
            if refusal.timestamp is not None:
                document["timestamp"] = int(refusal.timestamp.timestamp() * 1000)
            headers = {"apns-id": apns_id, "content-type": "application/json"}
            return Response(refusal.status, json.dumps(document).encode(), headers)
        if outcome is Behaviour.SILENT:
            return None
        self.accepted += 1
        return Response(200, b"", {"apns-id": apns_id})

    def _accept(self, request: Request, certificate: x509.Certificate) -> Behaviour:
        token = _checked_path(request)
        _check_headers(request)
        _check_payload(request.body)
        topic = _checked_topic(request.headers.get("apns-topic"), certificate)
        if not _TOKEN.fullmatch(token):
            raise _Refused(400, "BadDeviceToken")
        state = self._book.token_state(token.lower())
        behaviour = self.behaviour
        if behaviour is Behaviour.NORMAL:
            if state is None:
                raise _Refused(400, "BadDeviceToken")
            if state.gone_at is not None:
                raise _Refused(410, "Unregistered", state.gone_at)
            behaviour = state.behaviour
        self._refuse_as_told(behaviour)
        if behaviour is Behaviour.NORMAL and state is not None:
            self._deliver(state.phone_id, topic)
        return behaviour

    def _refuse_as_told(self, behaviour: Behaviour) -> None:
        if behaviour is Behaviour.GONE:
            raise _Refused(410, "Unregistered", self._now())
        if behaviour is Behaviour.BAD_TOKEN:
            raise _Refused(400, "BadDeviceToken")
        if behaviour is Behaviour.THROTTLED:
            raise _Refused(429, "TooManyRequests")
        if behaviour is Behaviour.DOWN:
            raise _Refused(503, "ServiceUnavailable")
        if behaviour is Behaviour.BROKEN:
            raise _Refused(500, "InternalServerError")


def topic_of(certificate: x509.Certificate) -> str:
    """The topic that a client certificate may push to: the Pass Type ID in its subject's UID."""
    values = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    return str(values[0].value) if values else ""


def _checked_id(given: str) -> str:
    if not given:
        return str(uuid4())
    try:
        UUID(given)
    except ValueError:
        raise _Refused(400, "BadMessageId") from None
    return given


def _checked_path(request: Request) -> str:
    match = _PATH.fullmatch(request.path)
    if match is None:
        raise _Refused(404, "BadPath")
    if request.method != "POST":
        raise _Refused(405, "MethodNotAllowed")
    if not match[1]:
        raise _Refused(400, "MissingDeviceToken")
    return match[1]


def _check_headers(request: Request) -> None:
    headers = request.headers
    if request.repeated & _SINGLE_HEADERS:
        raise _Refused(400, "DuplicateHeaders")
    push_type = headers.get("apns-push-type")
    if push_type is not None and push_type not in PUSH_TYPES:
        raise _Refused(400, "InvalidPushType")
    priority = headers.get("apns-priority", "5" if push_type == "background" else "10")
    if priority not in {"1", "5", "10"} or (push_type == "background" and priority == "10"):
        raise _Refused(400, "BadPriority")
    if not re.fullmatch(r"\d{1,12}", headers.get("apns-expiration", "0")):
        raise _Refused(400, "BadExpirationDate")
    if len(headers.get("apns-collapse-id", "").encode()) > COLLAPSE_ID_BYTES_MAX:
        raise _Refused(400, "BadCollapseId")


def _check_payload(body: bytes) -> None:
    if len(body) > PAYLOAD_BYTES_MAX:
        raise _Refused(413, "PayloadTooLarge")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _Refused(400, "PayloadEmpty")


def _checked_topic(given: str | None, certificate: x509.Certificate) -> str:
    allowed = topic_of(certificate)
    if not allowed:
        raise _Refused(403, "BadCertificate")
    if given is None:
        return allowed
    if not _TOPIC.fullmatch(given):
        raise _Refused(400, "BadTopic")
    if given != allowed:
        raise _Refused(400, "TopicDisallowed")
    return given
