from __future__ import annotations

import pytest
from cryptography import x509

from passes.apple.development import DevelopmentCertificates, make_development_certificates
from passes.apple.signing import Signer
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
