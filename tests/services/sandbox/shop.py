"""A small pass server, written only for the tests of the phones: it keeps what they told and asked it."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from passes.apple.bundle import signed_pass
from passes.apple.signing import Signer
from passes.content import PassContent
from wallet_server.sandbox.wire import Request, Response, json_response

PASS_ROUTE = re.compile(r"/apple/v1/passes/([^/]+)/([^/]+)")
DEVICE_ROUTE = re.compile(r"/apple/v1/devices/([^/]+)/registrations/([^/]+)(?:/([^/]+))?")
PKPASS = {"content-type": "application/vnd.apple.pkpass"}


@dataclass
class PassShop:
    """Serves cards at ``/cards/{serial}.pkpass`` and Apple's web service at ``/apple``."""

    signer: Signer
    cards: dict[str, PassContent] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    modified: dict[str, datetime] = field(default_factory=dict)
    registrations: dict[tuple[str, str], str] = field(default_factory=dict)
    """(device, serial) -> push token"""
    calls: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    notices: list[bytes] = field(default_factory=list)
    """What Google's stand-in has told of saved and deleted cards."""
    statuses: deque[int] = field(default_factory=deque)
    """The next calls are answered with these statuses, whatever they ask for (0: as usual)."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    public_url: str = ""

    def put(self, card: PassContent) -> None:
        self.now += timedelta(seconds=2)
        self.cards[card.serial_number] = card
        self.tags[card.serial_number] = max(self.tags.values(), default=0) + 1
        self.modified[card.serial_number] = self.now

    def url(self, serial: str) -> str:
        return f"{self.public_url}/cards/{serial}.pkpass"

    def pkpass(self, serial: str) -> bytes:
        card = replace(self.cards[serial], update_url=f"{self.public_url}/apple")
        return signed_pass(card, self.signer, now=datetime.now(UTC), allow_http=True)

    async def answer(self, request: Request) -> Response:
        self.calls.append(f"{request.method} {request.target}")
        if self.statuses and (status := self.statuses.popleft()):
            return Response(status)
        if request.path.startswith("/cards/"):
            serial = request.path.removeprefix("/cards/").removesuffix(".pkpass")
            if serial not in self.cards:
                return Response(404, b"<html>not found</html>", {"content-type": "text/html"})
            headers = {**PKPASS, "last-modified": format_datetime(self.modified[serial], usegmt=True)}
            return Response(200, self.pkpass(serial), headers)
        if request.path == "/apple/v1/log":
            self.log += json.loads(request.body)["logs"]
            return Response(200)
        if request.path == "/google/callbacks":
            self.notices.append(request.body)
            return Response(200)
        if match := PASS_ROUTE.fullmatch(request.path):
            return self._pass(match[2], request)
        if match := DEVICE_ROUTE.fullmatch(request.path):
            return self._device(match[1], match[3], request)
        return Response(404)

    def _pass(self, serial: str, request: Request) -> Response:
        if request.headers.get("authorization") != f"ApplePass {self.cards[serial].authentication_token}":
            return Response(401)
        since = request.headers.get("if-modified-since")
        if since and parsedate_to_datetime(since) >= self.modified[serial]:
            return Response(304)
        headers = {**PKPASS, "last-modified": format_datetime(self.modified[serial], usegmt=True)}
        return Response(200, self.pkpass(serial), headers)

    def _device(self, device: str, serial: str | None, request: Request) -> Response:
        if serial is None:
            since = int(request.query.get("passesUpdatedSince", 0))
            changed = [s for (d, s) in self.registrations if d == device and self.tags[s] > since]
            if not changed:
                return Response(204)
            return json_response({"serialNumbers": changed, "lastUpdated": str(max(self.tags.values()))})
        if request.headers.get("authorization") != f"ApplePass {self.cards[serial].authentication_token}":
            return Response(401)
        if request.method == "DELETE":
            self.registrations.pop((device, serial), None)
            return Response(200)
        known = (device, serial) in self.registrations
        self.registrations[device, serial] = json.loads(request.body)["pushToken"]
        return Response(200 if known else 201)
