from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from passes.apple.development import DevelopmentCertificates, make_development_certificates
from passes.apple.signing import Signer
from passes.google.account import ServiceAccount
from tests.unit.passes.cards import NOW, PASS_TYPE_ID, TEAM_ID


@pytest.fixture(scope="session")
def certificates() -> DevelopmentCertificates:
    return make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=NOW)


@pytest.fixture(scope="session")
def other_certificates() -> DevelopmentCertificates:
    return make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=NOW)


@pytest.fixture(scope="session")
def signer(certificates) -> Signer:
    return Signer.load(
        certificate_pem=certificates.pass_certificate,
        key_pem=certificates.pass_key,
        intermediates_pem=certificates.intermediate,
        pass_type_id=PASS_TYPE_ID,
        team_id=TEAM_ID,
    )


@pytest.fixture(scope="session")
def roots(certificates) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(certificates.root)]


@pytest.fixture(scope="session")
def account_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def account_file(account_key) -> bytes:
    pem = account_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "wallet@example.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "private_key_id": "key1",
            "token_uri": "https://token.example.com/token",
        }
    ).encode()


@pytest.fixture(scope="session")
def account(account_file) -> ServiceAccount:
    return ServiceAccount.load(account_file)


@pytest.fixture(scope="session")
def apns_files(tmp_path_factory) -> Path:
    """Certificates that are valid today, because TLS looks at the clock of the machine."""
    folder = tmp_path_factory.mktemp("apns")
    family = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=datetime.now(UTC))
    stranger = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=datetime.now(UTC))
    for name in ("root", "intermediate", "pass_certificate", "pass_key", "server_certificate", "server_key"):
        (folder / name).write_bytes(getattr(family, name))
    (folder / "stranger_certificate").write_bytes(stranger.pass_certificate)
    (folder / "stranger_key").write_bytes(stranger.pass_key)
    (folder / "stranger_root").write_bytes(stranger.root)
    return folder


@pytest.fixture
def tls(apns_files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(apns_files / "root"))
    context.load_cert_chain(apns_files / "server_certificate", apns_files / "server_key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context
