"""A mail server on a free port, in a thread of its own: the sandbox's stand-in, with TLS where a test wants it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from wallet_server.sandbox.mail import MailBehaviour, MailStandIn, TakenMail


@dataclass
class PostOffice:
    """The mails that were taken, in their order."""

    port: int = 0
    mails: list[TakenMail] = field(default_factory=list)
    stand_in: MailStandIn = None  # type: ignore[assignment]

    def behave(self, behaviour: MailBehaviour) -> None:
        self.stand_in.behaviour = behaviour

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(mail.content, policy=modern) for mail in self.mails]


@contextmanager
def post_office(**options: Any) -> Iterator[PostOffice]:
    """``options`` are those of :class:`MailStandIn`."""
    office = PostOffice()
    office.stand_in = MailStandIn(office.mails.append, **options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        office.port = asyncio.run_coroutine_threadsafe(office.stand_in.start(0), loop).result(20)
        yield office
    finally:
        asyncio.run_coroutine_threadsafe(office.stand_in.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 that signs itself."""

    folder: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "mail.pem", self.folder / "mail-key.pem")
        return context

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "mail.pem"))


def make_certificate(folder: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "mail.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "mail-key.pem").write_bytes(pem)
    return Certificate(folder)
