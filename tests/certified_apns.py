"""A push service that knows its callers by their certificates, as Apple's: HTTP/2, mTLS, a topic for each."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from passes.apple.development import make_development_certificates
from tests.apple_ca import AppleCA
from wallet_server.sandbox.apns import topic_of
from wallet_server.sandbox.http2 import Http2Server, Request, Response

PATIENCE_S = 20


@dataclass(frozen=True)
class Push:
    """One push that was accepted; ``certificate`` is the caller's serial number."""

    token: str
    topic: str
    certificate: int


@dataclass
class CertifiedApns:
    """Listens on a free port; takes callers whose certificate ``apple`` has issued."""

    apple: AppleCA
    folder: Path
    pushes: list[Push] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def ca_file(self) -> Path:
        return self.folder / "apns-root.pem"

    def __enter__(self) -> CertifiedApns:
        family = make_development_certificates(pass_type_id="pass.a.b", team_id="TEAM123456", now=datetime.now(UTC))
        self.ca_file.write_bytes(family.root)
        (self.folder / "apns.pem").write_bytes(family.server_certificate)
        (self.folder / "apns-key.pem").write_bytes(family.server_key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.folder / "apns.pem", self.folder / "apns-key.pem")
        tls.load_verify_locations(cadata=self.apple.root.pem().decode())
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.set_alpn_protocols(["h2"])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = Http2Server(self._answer, tls)
        self.url = f"https://127.0.0.1:{self._do(self._server.start(0))}"
        return self

    def __exit__(self, *_exc: object) -> None:
        self._do(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def _answer(self, request: Request, certificate: x509.Certificate) -> Response:
        topic = request.headers.get("apns-topic", "")
        if topic != topic_of(certificate):
            self.refused.append(topic)
            return Response(400, json.dumps({"reason": "DeviceTokenNotForTopic"}).encode(), {})
        self.pushes.append(Push(request.path.rpartition("/")[2], topic, certificate.serial_number))
        return Response(200, b"", {})
