"""Files with keys and certificates as editors, mails and other systems leave them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from passes.apple.certificates import read_certificates
from passes.apple.provider_token import load_push_key
from passes.apple.signing import CertificateProblem
from passes.google.account import ServiceAccount
from tests.unit.passes.cards import loaded_signer

BOM = b"\xef\xbb\xbf"
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "Unix": lambda file: file,
    "CRLF": lambda file: file.replace(b"\n", b"\r\n"),
    "BOM": lambda file: BOM + file,
    "BOM and CRLF": lambda file: BOM + file.replace(b"\n", b"\r\n"),
    "lines behind it": lambda file: file + b"\n\r\n \n",
    "no line end": lambda file: file.rstrip(b"\n"),
}
any_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@any_form
def test_a_certificate_in_pem(certificates, form):
    wanted = x509.load_pem_x509_certificate(certificates.pass_certificate)
    assert read_certificates(form(certificates.pass_certificate), "pass.pem") == [wanted]
    both = form(certificates.pass_certificate + certificates.intermediate)
    assert read_certificates(both, "chain.pem")[0] == wanted
    assert len(read_certificates(both, "chain.pem")) == 2


@any_form
def test_the_files_of_the_settings(certificates, form):
    signer = loaded_signer(
        certificates,
        certificate_pem=form(certificates.pass_certificate),
        key_pem=form(certificates.pass_key),
        intermediates_pem=form(certificates.intermediate),
    )
    assert signer.fingerprint == loaded_signer(certificates).fingerprint


@any_form
def test_a_push_key(form):
    key = ec.generate_private_key(ec.SECP256R1())
    file = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert load_push_key(form(file)).private_numbers() == key.private_numbers()


@any_form
def test_the_key_of_a_service_account(certificates, form):
    file = {
        "type": "service_account",
        "client_email": "shop@example.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": certificates.pass_key.decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    assert ServiceAccount.load(form(json.dumps(file, indent=2).encode())).email == file["client_email"]


def der_of(certificates) -> bytes:
    return x509.load_pem_x509_certificate(certificates.pass_certificate).public_bytes(Encoding.DER)


@pytest.mark.parametrize("behind", [b"", b"\n", b"\r\n", b"\n\n", b" \t\r\n"])
def test_a_certificate_in_der_with_a_line_end_behind_it(certificates, behind):
    [found] = read_certificates(der_of(certificates) + behind, "pass.cer")
    assert found.public_bytes(Encoding.DER) == der_of(certificates)


def test_a_certificate_that_itself_ends_in_a_line_end_keeps_it(certificates):
    whole = der_of(certificates)[:-1] + b"\n"  # another signature, which nobody has looked at yet
    for behind in (b"", b"\n"):
        [found] = read_certificates(whole + behind, "pass.cer")
        assert found.public_bytes(Encoding.DER) == whole


@pytest.mark.parametrize("change", [lambda file: file + b"x", lambda file: file + b"\0\n", lambda file: file[:-1]])
def test_other_bytes_too_many_or_too_few_are_refused(certificates, change):
    with pytest.raises(CertificateProblem) as caught:
        read_certificates(change(der_of(certificates)), "pass.cer")
    assert caught.value.code == "unreadable_certificate"
