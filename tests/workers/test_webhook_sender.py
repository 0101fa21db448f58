"""The line to a receiver: who may be reached, and what may not be trusted on the way."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import NOW
from tests.services.webhooks.receiver import Receiver, listening
from tests.workers.desk import LOOPBACK
from wallet_server.clock import SystemClock
from wallet_server.db import new_id
from wallet_server.tokens import TokenMint
from wallet_server.webhooks import sender as sender_module
from wallet_server.webhooks.address import AddressPolicy
from wallet_server.webhooks.deliveries import Endpoint, Line, Message
from wallet_server.webhooks.sender import WebhookSender


class Names:
    """A resolver that a test writes; counts how often it is asked."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): numbers for name, numbers in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.names[host]


def one_line(url: str, *payloads: dict[str, Any]) -> Line:
    messages = tuple(Message(new_id(), "a.b", payload, 1, NOW) for payload in payloads or ({"a": 1},))
    return Line(Endpoint(new_id(), new_id(), url, 0, None), "s", messages, has_more=False)


Send = Callable[..., Any]


@pytest.fixture
def send_to(workshop_mint) -> Iterator[Send]:
    """Send one message to an address; what became of it."""
    senders: list[WebhookSender] = []

    def send(url: str, policy: AddressPolicy = LOOPBACK, **options: Any) -> Any:
        clock = SystemClock()
        sender = WebhookSender(workshop_mint, policy, clock=clock, machine_clock=clock, **options)
        senders.append(sender)
        line = one_line(url)
        [outcome] = sender.send([line], begin_within_s=5)[line]
        return outcome

    yield send
    for sender in senders:
        sender.close()


@pytest.fixture
def workshop_mint() -> TokenMint:
    return TokenMint("0123456789abcdefghijklmnopqrstuvwxyz-test")


@pytest.mark.parametrize(
    "numbers",
    [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["93.184.215.14", "192.168.0.1"]],
)
def test_a_name_that_stands_for_an_address_inside_is_not_connected_to(
    send_to: Send, monkeypatch: pytest.MonkeyPatch, numbers: list[str]
) -> None:
    """No connection at all: also not to the good one of two addresses."""
    connections: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connections.append(address))
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, address: connections.append(address))
    outcome = send_to("https://inside.example/", AddressPolicy(), resolve=Names(inside_example=numbers))
    assert outcome.status is None
    assert outcome.error.startswith("not sent: ")
    assert connections == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001"])
def test_odd_ways_to_write_this_machine_are_seen_through(send_to: Send, host: str) -> None:
    outcome = send_to(f"https://{host}/", AddressPolicy())
    assert outcome.error.startswith(("not sent: ", "no answer: the name")), outcome


def test_a_sandbox_does_not_write_to_the_network_around_it(send_to: Send) -> None:
    outcome = send_to("https://printer.example/", resolve=Names(printer_example=["192.168.1.9"]))
    assert outcome.error.startswith("not sent: ")


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's certificate for shop.example alone, and clients who trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "shop.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


def test_https_is_checked_by_name_and_connected_by_number(
    send_to: Send, certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, trusting = certificates
    names = Names(shop_example=["127.0.0.1"], other_example=["127.0.0.1"])
    with listening(server) as receiver:
        port = receiver.url.split("/")[2].partition(":")[2]
        options: dict[str, Any] = {"policy": AddressPolicy(private=True), "resolve": names, "certificates": trusting}
        assert send_to(f"https://shop.example:{port}/hook", **options).status == 204
        [heard] = receiver.heard
        assert heard.headers["host"] == f"shop.example:{port}"
        assert names.asked == ["shop.example"], "looked up once: what was judged is what was connected to"
        wrong_name = send_to(f"https://other.example:{port}/hook", **options)
        untrusted = send_to(f"https://shop.example:{port}/hook", **{**options, "certificates": None})
    for outcome in (wrong_name, untrusted):
        assert outcome.status is None
        assert "certificate" in outcome.error.lower(), outcome.error
    assert len(receiver.heard) == 1


def test_the_second_address_is_tried_where_the_first_is_dead(send_to: Send, receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "shop.localhost")
    outcome = send_to(url, resolve=Names(shop_localhost=["::1", "127.0.0.1"]))
    assert outcome.status == 204


def test_a_name_that_nobody_knows_is_an_ordinary_failure(send_to: Send) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    outcome = send_to("https://gone.example/", AddressPolicy(), resolve=unknown)
    assert (outcome.status, outcome.error) == (None, "no answer: the name gone.example cannot be looked up")


def test_proxies_of_the_environment_and_cookies_are_not_used(
    send_to: Send, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    receiver.answer = lambda heard: (200, {"Set-Cookie": "a=b"}, b"")
    assert send_to(receiver.url).status == 200
    assert send_to(receiver.url).status == 200
    assert "cookie" not in receiver.heard[1].headers


def test_of_an_endless_answer_four_kib_are_read(send_to: Send) -> None:
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def flood() -> None:
            nonlocal sent
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n")
                try:
                    while True:
                        sent += connection.send(b"x" * 4096)
                except OSError:
                    return

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        outcome = send_to(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert outcome.status == 500
    assert len(outcome.error) < 300
    assert sent < 50_000_000


def drip(connection: socket.socket, stop: threading.Event) -> None:
    """An answer of one letter at a time, for ever."""
    with connection:
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 200 ")
            while not stop.wait(0.05):
                connection.sendall(b"O")
        except OSError:
            return


def test_who_answers_too_slowly_is_not_waited_for(send_to: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds in all, not between two letters (shortened here)."""
    monkeypatch.setattr(sender_module, "TIMEOUT_S", 0.5)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: drip(server.accept()[0], stop), daemon=True)
        thread.start()
        outcome = send_to(f"http://127.0.0.1:{server.getsockname()[1]}/")
        stop.set()
        thread.join(timeout=10)
    assert outcome.status is None
    assert "no answer within" in outcome.error


def test_what_is_no_http_is_an_ordinary_failure(send_to: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        outcome = send_to(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join(timeout=10)
    assert outcome.status is None
    assert outcome.error.startswith("no answer: ")
