"""A stand-in for Apple's certificate authority: a root, WWDR intermediates, and pass certificates from requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PASS_TYPE = "pass.com.example.cafe"
TEAM = "TEAM123456"
OID_PASS_TYPE = x509.ObjectIdentifier("1.2.840.113635.100.6.1.16")


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _name(common: str, unit: str | None = None, user: str | None = None) -> x509.Name:
    parts = [(NameOID.USER_ID, user), (NameOID.COMMON_NAME, common), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
    attributes = [x509.NameAttribute(oid, value) for oid, value in parts if value]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Apple Inc.")])


@dataclass
class Authority:
    """One certificate with its key: the root or an intermediate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


class AppleCA:
    """Makes what Apple makes; every check of ours that can fail has a way to make it fail here."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime.now(UTC)
        key = _key()
        name = _name("Apple Root CA", "Apple Certification Authority")
        self.root = Authority(key, self._sign(name, key.public_key(), name, key, days=9000, authority=True))
        self.wwdr = self.intermediate("G4")

    def intermediate(self, unit: str, *, days: int = 2000, since: int = 400) -> Authority:
        key = _key()
        name = _name("Apple Worldwide Developer Relations Certification Authority", unit)
        certificate = self._sign(
            name, key.public_key(), self.root.certificate.subject, self.root.key, days=days, since=since, authority=True
        )
        return Authority(key, certificate)

    def pass_certificate(
        self,
        request_pem: bytes,
        *,
        pass_type: str = PASS_TYPE,
        team: str = TEAM,
        named: str | None = None,
        extension: bool = True,
        days: int = 398,
        since: int = 1,
        issuer: Authority | None = None,
    ) -> bytes:
        """Apple's answer to a request, as DER: pass.cer."""
        request = x509.load_pem_x509_csr(request_pem)
        assert request.is_signature_valid
        public_key = request.public_key()
        assert isinstance(public_key, rsa.RSAPublicKey)
        assert public_key.key_size == 2048
        issuer = issuer or self.wwdr
        text = (named or pass_type).encode()
        extra = x509.UnrecognizedExtension(OID_PASS_TYPE, bytes((0x0C, len(text))) + text) if extension else None
        certificate = self._sign(
            _name(f"Pass Type ID: {pass_type}", team, pass_type),
            public_key,
            issuer.certificate.subject,
            issuer.key,
            days=days,
            since=since,
            authority=False,
            extra=extra,
        )
        return certificate.public_bytes(Encoding.DER)

    def write(self, folder: Path) -> None:
        """The files that Apple's page offers."""
        (folder / "AppleWWDRCAG4.cer").write_bytes(self.wwdr.der())
        (folder / "root.pem").write_bytes(self.root.pem())

    def _sign(
        self,
        subject: x509.Name,
        public_key: rsa.RSAPublicKey,
        issuer: x509.Name,
        issuer_key: rsa.RSAPrivateKey,
        *,
        days: int,
        authority: bool,
        since: int = 500,
        extra: x509.UnrecognizedExtension | None = None,
    ) -> x509.Certificate:
        start = self.now - timedelta(days=since)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if extra is not None:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(extra, critical=False).add_extension(usage, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())
