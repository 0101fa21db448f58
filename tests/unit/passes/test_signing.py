from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from passes.apple import der
from passes.apple.cms import verify_signature
from passes.apple.signing import CertificateProblem
from tests.unit.passes.cards import NOW, PASS_TYPE_ID, TEAM_ID, loaded_signer


def elliptic_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("unreadable_certificate", lambda own, other: {"certificate_pem": b"not PEM"}),
        ("unreadable_certificate", lambda own, other: {"intermediates_pem": b""}),
        ("unreadable_key", lambda own, other: {"key_pem": b"not PEM"}),
        ("unreadable_key", lambda own, other: {"key_pem": elliptic_key()}),
        ("unreadable_key", lambda own, other: {"key_password": b"there is none"}),
        ("key_mismatch", lambda own, other: {"key_pem": other.pass_key}),
        ("issuer_mismatch", lambda own, other: {"intermediates_pem": other.intermediate}),
        ("issuer_mismatch", lambda own, other: {"intermediates_pem": own.root}),
        ("pass_type_mismatch", lambda own, other: {"pass_type_id": "pass.other"}),
        ("team_mismatch", lambda own, other: {"team_id": "OTHER"}),
    ],
)
def test_parts_that_do_not_belong_together_are_named(certificates, other_certificates, code, change):
    with pytest.raises(CertificateProblem) as caught:
        loaded_signer(certificates, **change(certificates, other_certificates))
    assert caught.value.code == code
    assert str(caught.value).endswith(".")


def test_the_issuer_is_found_among_several_of_the_same_name(certificates, other_certificates):
    signer = loaded_signer(certificates, intermediates_pem=other_certificates.intermediate + certificates.intermediate)
    assert signer.intermediate == x509.load_pem_x509_certificate(certificates.intermediate)


def test_an_encrypted_key_opens_with_its_password(certificates):
    key = load_pem_private_key(certificates.pass_key, None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    signer = loaded_signer(certificates, key_pem=encrypted, key_password=b"secret", validate_key=False)
    assert signer.sign(b"{}", now=NOW) == loaded_signer(certificates).sign(b"{}", now=NOW)


def test_signing_outside_the_validity_says_so(signer):
    with pytest.raises(CertificateProblem, match="expired on 2027-12-25"):
        signer.sign(b"{}", now=NOW + timedelta(days=400))
    with pytest.raises(CertificateProblem) as caught:
        signer.check(NOW - timedelta(days=2))
    assert caught.value.code == "not_yet_valid"


def test_a_memory_gives_a_signature_back_to_the_same_manifest_and_certificate_only(
    signer, certificates, other_certificates, roots
):
    class Memory:
        def __init__(self):
            self.kept = {}
            self.made = 0

        def once(self, key, make):
            if key not in self.kept:
                self.made += 1
                self.kept[key] = make()
            return self.kept[key]

    memory = Memory()
    first = signer.sign(b"{}", now=NOW, memory=memory)
    assert first == signer.sign(b"{}", now=NOW)
    assert signer.sign(b"{}", now=NOW + timedelta(days=3), memory=memory) == first
    identity = {"pass_type_id": PASS_TYPE_ID, "team_id": TEAM_ID}
    signed_at = verify_signature(first, b"{}", trusted_roots=roots, now=NOW + timedelta(days=3), **identity)
    assert signed_at == NOW.replace(microsecond=0)
    assert signer.sign(b'{"a":1}', now=NOW, memory=memory) == signer.sign(b'{"a":1}', now=NOW)
    other = loaded_signer(other_certificates)
    assert other.sign(b"{}", now=NOW, memory=memory) == other.sign(b"{}", now=NOW)
    assert memory.made == len(memory.kept) == 3
    with pytest.raises(CertificateProblem, match="expired"):
        signer.sign(b"{}", now=NOW + timedelta(days=400), memory=memory)


def test_development_certificates_are_not_apple_s(signer, certificates):
    assert not signer.issued_by_apple
    assert b"PRIVATE" not in certificates.root + certificates.intermediate + certificates.server_certificate
    assert "PRIVATE" not in repr(certificates)
    assert signer.not_after == signer.certificate.not_valid_after_utc
    assert signer.not_before.tzinfo is UTC


@given(st.integers(min_value=0, max_value=2**160))
def test_integers_survive_der(value):
    assert der.decode(der.encode_integer(value)).integer() == value


@given(st.binary(max_size=70_000))
def test_octets_survive_der(content):
    assert der.decode(der.encode(der.OCTET_STRING, content)).content == content


@given(st.binary(max_size=200))
def test_any_bytes_are_der_or_a_der_error(data):
    try:
        element = der.decode(data)
    except der.DerError:
        return
    assert element.raw == data
