"""Sign a pass's manifest with a Pass Type ID certificate.

The signature is a detached CMS SignedData in DER (RFC 5652) with SHA-256 and RSA, holding the leaf and the
intermediate certificate and the three signed attributes content-type, signing-time and message-digest;
without signing-time Wallet refuses the pass. It is computed over the manifest's bytes as they are: the
usual S/MIME helpers turn line feeds into CRLF first, and the pass then fails on the phone.

Sources: developer.apple.com/documentation/walletpasses/building-a-pass; Apple's open pass builder (digest
algorithm and the certificate checks).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol
from zlib import crc32

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtensionOID, NameOID

from passes.apple import der

OID_DATA = "1.2.840.113549.1.7.1"
OID_SIGNED_DATA = "1.2.840.113549.1.7.2"
OID_CONTENT_TYPE = "1.2.840.113549.1.9.3"
OID_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
OID_SIGNING_TIME = "1.2.840.113549.1.9.5"
OID_SHA256 = "2.16.840.1.101.3.4.2.1"
OID_RSA = "1.2.840.113549.1.1.1"
OID_PASS_TYPE = x509.ObjectIdentifier("1.2.840.113635.100.6.1.16")
"""Apple's certificate extension that holds the Pass Type ID as a UTF8String."""


class CertificateProblem(Exception):
    """The certificates cannot sign passes. `code` is stable, the message is a sentence with the cure."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class SignatureMemory(Protocol):
    """Keeps what was signed, so that the same file is not signed twice."""

    def once(self, key: bytes, make: Callable[[], bytes]) -> bytes:
        """The bytes kept under `key` (32 bytes), or else those that `make` makes, kept for the next who asks."""


class Signer:
    """A Pass Type ID certificate with its key and intermediate, checked once and ready to sign.

    Safe to share between threads: RSA releases the interpreter lock, and nothing here changes.
    """

    def __init__(
        self,
        *,
        certificate: x509.Certificate,
        key: rsa.RSAPrivateKey,
        intermediate: x509.Certificate,
        pass_type_id: str,
        team_id: str,
    ) -> None:
        """Check that the parts belong together. Validity in time is `check`'s business.

        Raises `CertificateProblem`: ``key_mismatch``, ``pass_type_mismatch``, ``team_mismatch`` or
        ``issuer_mismatch``.
        """
        if _public_bytes(certificate) != key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
            raise CertificateProblem(
                "key_mismatch", "The private key does not belong to the certificate; import the pair again."
            )
        _check_identity(certificate, pass_type_id, team_id)
        _check_issuer(certificate, intermediate)
        self.certificate = certificate
        self.intermediate = intermediate
        self.pass_type_id = pass_type_id
        self.team_id = team_id
        self._key = key
        self.not_before = max(certificate.not_valid_before_utc, intermediate.not_valid_before_utc)
        self.not_after = min(certificate.not_valid_after_utc, intermediate.not_valid_after_utc)
        """After this moment phones refuse new passes; installed ones keep working."""
        self.fingerprint: str = certificate.fingerprint(hashes.SHA256()).hex()
        """SHA-256 of the certificate, in hex."""
        self._layout = _Layout.of(certificate, intermediate, signature_bytes=key.key_size // 8)
        self.head_bytes = len(self._layout.shipped_head)
        """How much at the start of each signature is the same: the certificates are in it."""
        self.head_crc32 = crc32(self._layout.shipped_head)

    @classmethod
    def load(
        cls,
        *,
        certificate_pem: bytes,
        key_pem: bytes,
        intermediates_pem: bytes,
        pass_type_id: str,
        team_id: str,
        key_password: bytes | None = None,
        validate_key: bool = True,
    ) -> Signer:
        """Read PEM. Of several intermediates the one that issued the certificate is taken.

        `validate_key=False` skips the slow check of the RSA primes (45 ms): for worker processes that load a
        key which was validated when it was imported.

        Raises `CertificateProblem` with ``unreadable_certificate``, ``unreadable_key`` or a code of
        `__init__`.
        """
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            intermediates = x509.load_pem_x509_certificates(intermediates_pem)
        except ValueError as error:
            raise CertificateProblem(
                "unreadable_certificate",
                "The certificate or the intermediate is not PEM; convert Apple's .cer with `openssl x509 -inform der`.",
            ) from error
        try:
            key = load_pem_private_key(key_pem, key_password, unsafe_skip_rsa_key_validation=not validate_key)
        except (ValueError, TypeError) as error:
            raise CertificateProblem(
                "unreadable_key", "The private key is not PEM, or its password is missing or wrong."
            ) from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise CertificateProblem("unreadable_key", "Apple issues Pass Type IDs for RSA keys; this key is not RSA.")
        return cls(
            certificate=certificate,
            key=key,
            intermediate=_issuer_among(certificate, intermediates),
            pass_type_id=pass_type_id,
            team_id=team_id,
        )

    @property
    def issued_by_apple(self) -> bool:
        """Whether the chain names Apple. Simulators must not run on certificates that real phones trust."""
        names = self.intermediate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        return any(name.value == "Apple Inc." for name in names)

    def check(self, now: datetime) -> None:
        """Raise `CertificateProblem` (``not_yet_valid`` or ``expired``) unless the certificates hold now."""
        if now < self.not_before:
            raise CertificateProblem(
                "not_yet_valid", f"The certificate is valid from {self.not_before:%Y-%m-%d}; check the clock."
            )
        if now > self.not_after:
            raise CertificateProblem(
                "expired",
                f"The certificate expired on {self.not_after:%Y-%m-%d}; renew it in Apple's developer"
                " account and import it. Installed passes keep working.",
            )

    def sign(self, manifest: bytes, *, now: datetime, memory: SignatureMemory | None = None) -> bytes:
        """Return the `signature` file for `manifest`; arguments and errors are those of `sign_digest`."""
        return self.sign_digest(hashlib.sha256(manifest).digest(), now=now, memory=memory)

    def sign_digest(self, digest: bytes, *, now: datetime, memory: SignatureMemory | None = None) -> bytes:
        """Return the `signature` file for the manifest with this SHA-256, signed at `now`. Same input, same bytes.

        With a `memory` a manifest that this certificate has signed before gets that signature, of its own time.

        Raises `CertificateProblem` when the certificate is not valid at `now`.
        """
        self.check(now)
        layout = self._layout
        middle = layout.before_digest + digest
        if memory is None:
            made = self._time_and_value(middle, now)
        else:
            key = hashlib.sha256(layout.shipped_head + middle).digest()
            made = memory.once(key, lambda: self._time_and_value(middle, now))
        pieces = (layout.shipped_head, made[:_TIME_BYTES], middle, layout.before_value, made[_TIME_BYTES:])
        return b"".join(pieces)

    def _time_and_value(self, middle: bytes, now: datetime) -> bytes:
        """The two parts of a signature that are not its manifest's alone."""
        time = _utc_time(int(now.timestamp()))
        digest = hashlib.sha256(self._layout.signed_head + time + middle).digest()
        return time + self._key.sign(_DIGEST_INFO + digest, _PADDING, _DIGEST_INFO_IS_THERE)

    def client_certificate_pem(self) -> bytes:
        """Return leaf and intermediate: the client certificate for APNs is the one that signs passes."""
        return self.certificate.public_bytes(Encoding.PEM) + self.intermediate.public_bytes(Encoding.PEM)

    def client_key_pem(self) -> bytes:
        """Return the private key, unencrypted, for the TLS library. Never write it to a file."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


_SHA256_ALGORITHM = der.encode(der.SEQUENCE, der.encode_oid(OID_SHA256), der.encode(der.NULL))
_RSA_ALGORITHM = der.encode(der.SEQUENCE, der.encode_oid(OID_RSA), der.encode(der.NULL))
_PADDING = padding.PKCS1v15()
_TIME_BYTES = len("261123163000Z")
_DIGEST_BYTES = 32
# What PKCS #1 puts before a digest (RFC 8017 9.2), once instead of with a search for the algorithm at each signature.
_NO_DIGEST = der.encode(der.OCTET_STRING, bytes(_DIGEST_BYTES))
_DIGEST_INFO = der.encode(der.SEQUENCE, _SHA256_ALGORITHM, _NO_DIGEST)[:-_DIGEST_BYTES]
_DIGEST_INFO_IS_THERE = NoDigestInfo()


@dataclass(frozen=True, slots=True)
class _Layout:
    """The structure around a time, a digest and an RSA value: nothing else differs between two signatures.

    ``signed_head`` and ``shipped_head`` lead up to the time. Signed is the SET of attributes; shipped is the
    same content under the implicit tag [0], inside of the whole structure (RFC 5652 5.4).
    """

    signed_head: bytes
    shipped_head: bytes
    before_digest: bytes
    before_value: bytes

    @classmethod
    def of(cls, certificate: x509.Certificate, intermediate: x509.Certificate, *, signature_bytes: int) -> _Layout:
        """Encode the whole structure once with empty values, and cut it where the values go."""
        attributes = [
            _attribute(OID_CONTENT_TYPE, der.encode_oid(OID_DATA)),
            _attribute(OID_SIGNING_TIME, der.encode(der.UTC_TIME, bytes(_TIME_BYTES))),
            _attribute(OID_MESSAGE_DIGEST, der.encode(der.OCTET_STRING, bytes(_DIGEST_BYTES))),
        ]
        assert attributes == sorted(attributes), "DER sorts a SET; the lengths alone decide here"
        joined = b"".join(attributes)
        tail = _RSA_ALGORITHM + der.encode(der.OCTET_STRING, bytes(signature_bytes))
        signer_info = der.encode(
            der.SEQUENCE,
            der.encode_integer(1),
            der.encode(der.SEQUENCE, raw_issuer(certificate), der.encode_integer(certificate.serial_number)),
            _SHA256_ALGORITHM,
            der.encode(der.CONTEXT_0, joined),
            tail,
        )
        signed_data = der.encode(
            der.SEQUENCE,
            der.encode_integer(1),
            der.encode_set([_SHA256_ALGORITHM]),
            der.encode(der.SEQUENCE, der.encode_oid(OID_DATA)),
            der.encode_set([item.public_bytes(Encoding.DER) for item in (certificate, intermediate)], der.CONTEXT_0),
            der.encode(der.SET, signer_info),
        )
        whole = der.encode(der.SEQUENCE, der.encode_oid(OID_SIGNED_DATA), der.encode(der.CONTEXT_0, signed_data))
        time_at = len(attributes[0]) + len(attributes[1]) - _TIME_BYTES
        signed = der.encode(der.SET, joined)
        return cls(
            signed_head=signed[: len(signed) - len(joined) + time_at],
            shipped_head=whole[: len(whole) - len(tail) - len(joined) + time_at],
            before_digest=joined[time_at + _TIME_BYTES : -_DIGEST_BYTES],
            before_value=tail[:-signature_bytes],
        )


@lru_cache(maxsize=4)
def _utc_time(second: int) -> bytes:
    """Return a second since 1970 as a UTCTime (RFC 5280 4.1.2.5.1); many passes are signed in the same one."""
    return datetime.fromtimestamp(second, UTC).strftime("%y%m%d%H%M%SZ").encode("ascii")


def _attribute(oid: str, value: bytes) -> bytes:
    return der.encode(der.SEQUENCE, der.encode_oid(oid), der.encode(der.SET, value))


def raw_issuer(certificate: x509.Certificate) -> bytes:
    """Return the issuer's name as it is encoded in the certificate: names are compared by their bytes."""
    fields = der.decode(certificate.tbs_certificate_bytes).children()
    # version [0] (present in every v3 certificate), serial, algorithm, issuer
    return fields[3].raw


def subject_value(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str | None:
    """Return the first value of one attribute of the subject (UID, OU), or None."""
    values = certificate.subject.get_attributes_for_oid(oid)
    return str(values[0].value) if values else None


def _check_identity(certificate: x509.Certificate, pass_type_id: str, team_id: str) -> None:
    found = subject_value(certificate, NameOID.USER_ID)
    if found != pass_type_id:
        raise CertificateProblem(
            "pass_type_mismatch",
            f"The certificate is for the Pass Type ID {found!r}, but {pass_type_id!r} is configured.",
        )
    found = subject_value(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    if found != team_id:
        raise CertificateProblem(
            "team_mismatch", f"The certificate belongs to the team {found!r}, but {team_id!r} is configured."
        )


def _issuer_among(certificate: x509.Certificate, candidates: list[x509.Certificate]) -> x509.Certificate:
    for candidate in candidates:
        try:
            _check_issuer(certificate, candidate)
        except CertificateProblem:
            continue
        return candidate
    wanted = certificate.issuer.rfc4514_string()
    raise CertificateProblem(
        "issuer_mismatch",
        f"None of the intermediates issued the certificate; download the one named {wanted} from Apple.",
    )


def _check_issuer(certificate: x509.Certificate, intermediate: x509.Certificate) -> None:
    """Names alone do not tell Apple's generations apart in every case; the keys do."""
    try:
        certificate.verify_directly_issued_by(intermediate)
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        subject = intermediate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        matches = authority.key_identifier == subject.digest
    except x509.ExtensionNotFound as error:
        if error.oid not in (ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.SUBJECT_KEY_IDENTIFIER):
            raise
        matches = True  # nothing to compare; the signature itself has been checked
    except (InvalidSignature, ValueError, TypeError):
        matches = False
    if not matches:
        raise CertificateProblem(
            "issuer_mismatch", "The intermediate certificate did not issue the Pass Type ID certificate."
        )


def _public_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
