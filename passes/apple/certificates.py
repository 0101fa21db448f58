"""Read what Apple hands out: certificates as DER or PEM, and tell what is wrong with the one that was given.

Sources: developer.apple.com/help/account, "Create Pass Type ID certificates" and the table of WWDR
intermediate certificates; Apple's open pass builder (the subject's UID and OU); RFC 2986 for requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs12
from cryptography.x509.oid import NameOID

from passes.apple import der
from passes.apple.signing import OID_PASS_TYPE, CertificateProblem, raw_issuer, subject_value

FILE_BYTES_MAX = 65_536
WWDR_PAGE = "https://www.apple.com/certificateauthority/"
ACCOUNT_PAGE = "https://developer.apple.com/account/resources/identifiers/list/passTypeId"


@dataclass(frozen=True, slots=True)
class PassIdentity:
    """What a Pass Type ID certificate says of itself."""

    pass_type_id: str
    team_id: str


def new_signing_request(key: rsa.RSAPrivateKey, common_name: str) -> bytes:
    """A certificate signing request in PEM. Apple looks at nothing but the public key in it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def public_bytes(key: rsa.RSAPrivateKey | x509.Certificate) -> bytes:
    """The public key as DER (SubjectPublicKeyInfo): what a certificate and its private key have in common."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def read_certificates(data: bytes, file: str) -> list[x509.Certificate]:
    """The certificates of a file, PEM (one or more) or DER (one).

    Raises `CertificateProblem` ``unreadable_certificate``, which says what the file is instead.
    """
    if len(data) > FILE_BYTES_MAX:
        raise CertificateProblem(
            "unreadable_certificate", f"{file} is larger than any certificate; give the .cer file that Apple lets load."
        )
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(_without_line_end(data))]
    except ValueError as error:
        raise CertificateProblem("unreadable_certificate", f"{file} {_what_it_is(data)}") from error


def _without_line_end(data: bytes) -> bytes:
    """DER without the line end that an editor or a mail puts behind it; other bytes too many stay, and are refused.

    The certificate says itself how long it is: its own last byte may be a line end as well.
    """
    if len(data) < 4 or data[:2] != b"\x30\x82":  # a SEQUENCE of 256 to 65,535 bytes, as any certificate is
        return data
    end = 4 + int.from_bytes(data[2:4], "big")
    return data[:end] if data[end:].strip(b"\r\n \t") == b"" else data


def _what_it_is(data: bytes) -> str:
    if b"CERTIFICATE REQUEST-----" in data:
        return "is the request, not Apple's answer; upload it to Apple and import the .cer file that Apple gives."
    if b"PRIVATE KEY-----" in data:
        return "is a private key; the server has made its own, import the .cer file that Apple gives."
    if data.lstrip()[:1] == b"<":
        return "is a web page; sign in at Apple and load the certificate again."
    try:
        pkcs12.load_key_and_certificates(data, None)
    except ValueError as error:
        is_pkcs12 = "password" in str(error).lower()
    else:
        is_pkcs12 = True
    if is_pkcs12:
        return (
            "is a .p12 bundle with a key of its own; take certificate and key out with `openssl pkcs12` and name"
            " them in WALLET_APPLE_CERTIFICATE_FILE and WALLET_APPLE_KEY_FILE, or begin with `wallet-server apple csr`."
        )
    return "is no certificate, neither DER nor PEM, or it is damaged; load it from Apple again."


def pass_identity(certificate: x509.Certificate) -> PassIdentity:
    """Check that this is a Pass Type ID certificate, and return whose.

    Raises `CertificateProblem` ``not_a_pass_certificate``, or ``pass_type_mismatch`` if it contradicts itself.
    """
    extensions = [item.value for item in certificate.extensions if item.oid == OID_PASS_TYPE]
    uid = subject_value(certificate, NameOID.USER_ID)
    team = subject_value(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    if not extensions or not uid or not team:
        name = subject_value(certificate, NameOID.COMMON_NAME) or certificate.subject.rfc4514_string() or "no name"
        raise CertificateProblem(
            "not_a_pass_certificate",
            f"The certificate ({name}) is not for passes; make one of the kind Pass Type ID Certificate at"
            f" {ACCOUNT_PAGE}.",
        )
    value = extensions[0]
    assert isinstance(value, x509.UnrecognizedExtension)
    try:
        named = der.decode(value.value).content.decode()
    except (ValueError, IndexError):
        named = ""
    if named != uid:
        raise CertificateProblem(
            "pass_type_mismatch",
            f"The certificate names two pass types, {uid!r} and {named!r}; it is damaged, load it from Apple again.",
        )
    return PassIdentity(uid, team)


def check_dates(certificate: x509.Certificate, now: datetime, what: str, cure: str) -> None:
    """Raise `CertificateProblem` ``not_yet_valid`` or ``expired`` unless the certificate holds `now`."""
    if now < certificate.not_valid_before_utc:
        raise CertificateProblem(
            "not_yet_valid",
            f"{what} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and this machine's clock"
            f" says {now:%Y-%m-%d %H:%M}; set the clock.",
        )
    if now > certificate.not_valid_after_utc:
        raise CertificateProblem("expired", f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; {cure}")


def issuer_among(certificate: x509.Certificate, candidates: list[x509.Certificate], now: datetime) -> x509.Certificate:
    """The intermediate that issued a certificate, valid now.

    Raises `CertificateProblem` ``issuer_mismatch`` with the name of the right one, ``issuer_is_root``, or a
    code of `check_dates`.
    """
    wanted = _authority_name(certificate.issuer)
    for candidate in candidates:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        try:
            is_authority = candidate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_authority = False
        if not is_authority:
            raise CertificateProblem(
                "issuer_mismatch", f"The certificate that issued it is no authority; load {wanted} from {WWDR_PAGE}."
            )
        if raw_issuer(candidate) == raw_issuer(certificate):
            raise CertificateProblem(
                "issuer_is_root",
                f"The certificate was issued by a root, not by Apple's intermediate; load {wanted} from {WWDR_PAGE}.",
            )
        check_dates(
            candidate, now, "Apple's intermediate certificate", f"load the one in force, {wanted}, from {WWDR_PAGE}."
        )
        return candidate
    given = ", ".join(_authority_name(candidate.subject) for candidate in candidates)
    if given == wanted:
        given = "another of that name"  # Apple has renewed it under the same name, with another key
    raise CertificateProblem(
        "issuer_mismatch",
        f"The certificate was issued by {wanted}, but the intermediate given is {given};"
        f" load the right one from {WWDR_PAGE}.",
    )


def _authority_name(name: x509.Name) -> str:
    parts = [
        str(attribute.value)
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
        for attribute in name.get_attributes_for_oid(oid)
    ]
    return '"' + " ".join(parts or [name.rfc4514_string()]) + '"'
