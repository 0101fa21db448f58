"""A server that has the team's push key pushes with it, and says at its start what is wrong with it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from structlog.testing import capture_logs

from passes.apple.development import make_development_certificates
from passes.apple.signing import Signer
from tests.unit.passes.apns_faults import OK, FaultyApns, tokens
from wallet_server import migrations
from wallet_server.context import ServerContext, make_context
from wallet_server.db import create_engine
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.credentials import unreadable_files
from wallet_server.settings import Settings, load_settings
from workers.runtime import Runtime, RuntimeKeeper, make_runtime

KEY_ID = "ABC1234567"


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[FaultyApns, Path]]:
    """A push service that asks nobody for a certificate, and the file of who vouches for it."""
    family = make_development_certificates(pass_type_id="pass.a.b", team_id="TEAM123456", now=datetime.now(UTC))
    for name in ("root", "server_certificate", "server_key"):
        (tmp_path / name).write_bytes(getattr(family, name))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server_certificate", tmp_path / "server_key")
    tls.set_alpn_protocols(["h2"])
    with FaultyApns(tls, lambda token, times: OK) as running:
        yield running, tmp_path / "root"


@pytest.fixture
def runtime_with(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    made: list[Runtime] = []

    def make(pem: bytes, **environ: str) -> Runtime:
        (tmp_path / "push.p8").write_bytes(pem)
        given = {
            "WALLET_DATA_DIR": str(settings.WALLET_DATA_DIR),
            "WALLET_SECRET_KEY": settings.WALLET_SECRET_KEY,
            "WALLET_APNS_KEY_FILE": str(tmp_path / "push.p8"),
            "WALLET_APNS_KEY_ID": KEY_ID,
        }
        loaded = load_settings(given | environ)
        migrations.upgrade(create_engine(loaded.database_url))
        made.append(make_runtime(make_context(loaded)))
        return made[-1]

    yield make
    for runtime in made:
        runtime.close()


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_pushes_carry_a_token_of_the_teams_key(runtime_with, server, key) -> None:
    apns, root = server
    runtime = runtime_with(pem(key), WALLET_APNS_URL=apns.url, WALLET_APNS_CA_FILE=str(root))
    assert len(runtime.pusher.push(tokens(3))) == 3
    assert len(apns.headers) == 3
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for fields in apns.headers:
        bearer = fields["authorization"].removeprefix("bearer ")
        assert jwt.get_unverified_header(bearer)["kid"] == KEY_ID
        assert jwt.decode(bearer, public, algorithms=["ES256"])["iss"] == runtime.context.wallets.signer.team_id


def test_a_key_that_is_none_stops_the_start(runtime_with) -> None:
    with pytest.raises(ConfigurationError, match="WALLET_APNS_KEY_FILE: The push key cannot be read"):
        runtime_with(b"no key")


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"WALLET_APNS_KEY_ID": ""}, "go together"),
        ({"WALLET_SANDBOX": "1"}, "refused with Apple's push key"),
    ],
)
def test_half_a_key_and_a_sandbox_are_refused(runtime_with, key, environ, sentence) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        runtime_with(pem(key), **environ)


def renewed(context: ServerContext, **apns: str) -> ServerContext:
    """The same server after a certificate was imported."""
    family = make_development_certificates(pass_type_id="pass.a.b", team_id="TEAM123456", now=datetime.now(UTC))
    signer = Signer.load(
        certificate_pem=family.pass_certificate,
        key_pem=family.pass_key,
        intermediates_pem=family.intermediate,
        pass_type_id="pass.a.b",
        team_id="TEAM123456",
    )
    wallets = context.wallets
    return replace(context, wallets=replace(wallets, signer=signer, apns=replace(wallets.apns, **apns)))


@pytest.mark.parametrize("spoilt", [None, b"half a ke"])
def test_a_push_key_whose_file_is_gone_or_spoilt_stays_in_memory_when_keys_are_imported(
    runtime_with, server, key, tmp_path: Path, spoilt: bytes | None
) -> None:
    apns, root = server
    before = runtime_with(pem(key), WALLET_APNS_URL=apns.url, WALLET_APNS_CA_FILE=str(root))
    file = tmp_path / "push.p8"
    file.unlink() if spoilt is None else file.write_bytes(spoilt)
    context = renewed(before.context)
    keeper = RuntimeKeeper(before, lambda: context)
    with capture_logs() as said:
        runtime = keeper()
        assert keeper() is runtime
    assert [line["log_level"] for line in said] == ["error"]
    assert runtime.pusher is not before.pusher
    assert len(runtime.pusher.push(tokens(1))) == 1
    [fields] = apns.headers
    claims = jwt.decode(fields["authorization"].removeprefix("bearer "), options={"verify_signature": False})
    assert (claims["iss"], fields["apns-topic"]) == ("TEAM123456", "pass.a.b")
    runtime.pusher.close()


def test_keys_with_which_no_line_can_be_made_leave_the_old_lines(runtime_with, key) -> None:
    before = runtime_with(pem(key))
    context = renewed(before.context, url="nowhere")
    keeper = RuntimeKeeper(before, lambda: context)
    with capture_logs() as said:
        assert [keeper(), keeper()] == [before, before]
    assert [line["log_level"] for line in said] == ["error"]
    context = renewed(before.context)
    runtime = keeper()
    assert runtime.pusher is not before.pusher
    runtime.pusher.close()


def test_a_key_file_that_is_gone_is_trouble(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "there.p8").write_bytes(b"")
    named = {"WALLET_APNS_KEY_FILE": tmp_path / "gone.p8", "WALLET_APNS_CA_FILE": tmp_path / "there.p8"}
    found = unreadable_files(settings.model_copy(update=named))
    assert found == {"WALLET_APNS_KEY_FILE": True, "WALLET_APNS_CA_FILE": False}
