"""A self-made certificate family for machines that have none from Apple.

It has the shape of Apple's: a root, an intermediate in WWDR's place, and a Pass Type ID leaf with UID, OU
and Apple's extension. A phone refuses it, because the root is not Apple's; the simulator trusts the root
and otherwise checks the same things. A server certificate for the local APNs stand-in comes along.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from passes.apple import der
from passes.apple.signing import OID_PASS_TYPE

ORGANIZATION = "Wallet Server Development"
_AUTHORITY_DAYS = 3650
_LEAF_DAYS = 398  # what Apple and browsers allow a leaf


@dataclass(frozen=True, slots=True)
class DevelopmentCertificates:
    """PEM files. The root's and the intermediate's private keys are thrown away: nothing more is issued."""

    root: bytes
    intermediate: bytes
    pass_certificate: bytes
    pass_key: bytes = field(repr=False)
    server_certificate: bytes
    """For a local stand-in of APNs: the certificate, then the intermediate that issued it."""
    server_key: bytes = field(repr=False)


def make_development_certificates(
    *,
    pass_type_id: str,
    team_id: str,
    now: datetime,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1"),
) -> DevelopmentCertificates:
    """Make the family, valid from a day before `now` (clocks differ) for ten years, leaves for 398 days."""
    return _Family(now).make(pass_type_id, team_id, hosts)


class _Family:
    def __init__(self, now: datetime) -> None:
        self._start = now - timedelta(days=1)
        self._root_key = _new_key()
        self._root_name = _name("Wallet Server Development Root CA")
        self._root = self._authority(
            self._root_name, self._root_key.public_key(), self._root_name, self._root_key, path_length=1
        )
        self._intermediate_key = _new_key()
        self._intermediate_name = _name("Wallet Server Development Relations Certification Authority", unit="G4")
        self._intermediate = self._authority(
            self._intermediate_name,
            self._intermediate_key.public_key(),
            self._root_name,
            self._root_key,
            path_length=0,
        )

    def make(self, pass_type_id: str, team_id: str, hosts: tuple[str, ...]) -> DevelopmentCertificates:
        pass_key, server_key = _new_key(), _new_key()
        leaf = self._leaf(_pass_subject(pass_type_id, team_id), pass_key.public_key())
        pass_certificate = (
            leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.UnrecognizedExtension(OID_PASS_TYPE, der.encode(der.UTF8_STRING, pass_type_id.encode())),
                critical=False,
            )
            .sign(self._intermediate_key, hashes.SHA256())
        )
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        server_certificate = (
            self._leaf(_name(hosts[0]), server_key.public_key())
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(names, critical=False)
            .sign(self._intermediate_key, hashes.SHA256())
        )
        intermediate = self._intermediate.public_bytes(Encoding.PEM)
        return DevelopmentCertificates(
            root=self._root.public_bytes(Encoding.PEM),
            intermediate=intermediate,
            pass_certificate=pass_certificate.public_bytes(Encoding.PEM),
            pass_key=_key_pem(pass_key),
            server_certificate=server_certificate.public_bytes(Encoding.PEM) + intermediate,
            server_key=_key_pem(server_key),
        )

    def _authority(
        self,
        subject: x509.Name,
        public_key: rsa.RSAPublicKey,
        issuer: x509.Name,
        issuer_key: rsa.RSAPrivateKey,
        *,
        path_length: int,
    ) -> x509.Certificate:
        return (
            self._builder(subject, public_key, issuer, issuer_key.public_key(), _AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(issuer_key, hashes.SHA256())
        )

    def _leaf(self, subject: x509.Name, public_key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
        return (
            self._builder(subject, public_key, self._intermediate_name, self._intermediate_key.public_key(), _LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
        )

    def _builder(
        self,
        subject: x509.Name,
        public_key: rsa.RSAPublicKey,
        issuer: x509.Name,
        issuer_key: rsa.RSAPublicKey,
        days: int,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._start)
            .not_valid_after(self._start + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        )


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(common_name: str, unit: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if unit is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION))
    return x509.Name(attributes)


def _pass_subject(pass_type_id: str, team_id: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, pass_type_id),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Pass Type ID: {pass_type_id}"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, team_id),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
        ]
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
