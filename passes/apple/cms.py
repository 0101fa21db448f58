"""Check a pass's detached signature as a phone does: the structure, the digests, the chain, the identity.

Sources: RFC 5652 (CMS SignedData, 5.4 message digest calculation); Apple's certificate attributes (UID holds
the Pass Type ID, OU the team).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from passes.apple import der
from passes.apple.signing import (
    OID_CONTENT_TYPE,
    OID_DATA,
    OID_MESSAGE_DIGEST,
    OID_SHA256,
    OID_SIGNED_DATA,
    OID_SIGNING_TIME,
    raw_issuer,
    subject_value,
)

_OID_SHA1 = "1.3.14.3.2.26"
_CERTIFICATES_MAX = 10
_DIGESTS: dict[bytes, hashes.HashAlgorithm] = {
    der.encode_oid(OID_SHA256): hashes.SHA256(),
    # Old libraries still sign with it and phones take it; we only ever read it.
    der.encode_oid(_OID_SHA1): hashes.SHA1(),  # noqa: S303
}


class SignatureProblem(Exception):
    """The signature does not hold. `code` is stable, the message is the sentence why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class _SignerInfo:
    issuer: bytes
    serial_number: int
    digest: hashes.HashAlgorithm
    attributes: dict[bytes, der.Element]
    signed_bytes: bytes
    signature: bytes


def verify_signature(
    signature: bytes,
    manifest: bytes,
    *,
    trusted_roots: Sequence[x509.Certificate],
    pass_type_id: object,
    team_id: object,
    now: datetime,
) -> datetime:
    """Return when the manifest was signed. Raises `SignatureProblem`."""
    try:
        certificates, signer = _parse(signature)
    except (der.DerError, ValueError, IndexError) as error:
        raise SignatureProblem(
            "bad_signature", f"The signature is not a detached PKCS #7 signature in DER: {error}."
        ) from error
    leaf = next(
        (
            item
            for item in certificates
            if item.serial_number == signer.serial_number and raw_issuer(item) == signer.issuer
        ),
        None,
    )
    if leaf is None:
        raise SignatureProblem("chain", "The signer's certificate is not in the signature.")
    signed_at = _check_attributes(signer, manifest)
    _check_value(signer, leaf)
    _check_chain(leaf, certificates, trusted_roots, now)
    if not leaf.not_valid_before_utc <= signed_at <= leaf.not_valid_after_utc:
        raise SignatureProblem("expired_certificate", "The pass was signed outside the certificate's validity.")
    _check_identity(leaf, pass_type_id, team_id)
    return signed_at


def _parse(signature: bytes) -> tuple[list[x509.Certificate], _SignerInfo]:
    content_type, wrapped = der.decode(signature).expect(der.SEQUENCE).children()
    if content_type.raw != der.encode_oid(OID_SIGNED_DATA):
        raise ValueError("it is not SignedData")
    (signed_data,) = wrapped.expect(der.CONTEXT_0).children()
    _version, _digests, encapsulated, *rest = signed_data.expect(der.SEQUENCE).children()
    if len(encapsulated.children()) != 1:
        raise ValueError("it carries the content instead of being detached")
    certificates: list[x509.Certificate] = []
    for element in rest:
        if element.tag == der.CONTEXT_0:
            found = element.children()
            if len(found) > _CERTIFICATES_MAX:
                raise ValueError("it carries too many certificates")
            certificates = [x509.load_der_x509_certificate(item.raw) for item in found]
    (signer,) = rest[-1].expect(der.SET).children()
    return certificates, _parse_signer(signer)


def _parse_signer(element: der.Element) -> _SignerInfo:
    _version, identifier, algorithm, *rest = element.expect(der.SEQUENCE).children()
    issuer, serial_number = identifier.expect(der.SEQUENCE).children()
    digest = _DIGESTS.get(algorithm.children()[0].raw)
    if digest is None:
        raise ValueError("its digest is neither SHA-256 nor SHA-1")
    attributes: dict[bytes, der.Element] = {}
    signed_bytes = b""
    if rest[0].tag == der.CONTEXT_0:
        attributes_element, *rest = rest
        signed_bytes = der.encode(der.SET, attributes_element.content)
        for attribute in attributes_element.children():
            oid, values = attribute.expect(der.SEQUENCE).children()
            (value,) = values.expect(der.SET).children() or [der.Element(der.NULL, b"", b"")]
            attributes[oid.raw] = value
    _algorithm, value_element = rest[:2]
    return _SignerInfo(
        issuer=issuer.raw,
        serial_number=serial_number.integer(),
        digest=digest,
        attributes=attributes,
        signed_bytes=signed_bytes,
        signature=value_element.expect(der.OCTET_STRING).content,
    )


def _check_attributes(signer: _SignerInfo, manifest: bytes) -> datetime:
    time = signer.attributes.get(der.encode_oid(OID_SIGNING_TIME))
    if time is None:
        raise SignatureProblem("no_signing_time", "The signature has no signing time, which Wallet requires.")
    content_type = signer.attributes.get(der.encode_oid(OID_CONTENT_TYPE))
    if content_type is None or content_type.raw != der.encode_oid(OID_DATA):
        raise SignatureProblem("bad_signature", "The signature's content type is not data.")
    digest = signer.attributes.get(der.encode_oid(OID_MESSAGE_DIGEST))
    if digest is None or digest.content != hashlib.new(signer.digest.name, manifest).digest():
        raise SignatureProblem(
            "wrong_digest", "Manifest signature did not verify: it was made over other bytes than these."
        )
    return _time(time)


def _time(element: der.Element) -> datetime:
    text = element.content.decode("ascii", "replace")
    pattern = {der.UTC_TIME: "%y%m%d%H%M%SZ", der.GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(element.tag)
    try:
        if pattern is None:
            raise ValueError("not a time")
        return datetime.strptime(text, pattern).replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureProblem("no_signing_time", f"The signing time {text!r} is not a time.") from error


def _check_value(signer: _SignerInfo, leaf: x509.Certificate) -> None:
    key = leaf.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signer.signature, signer.signed_bytes, padding.PKCS1v15(), signer.digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signer.signature, signer.signed_bytes, ec.ECDSA(signer.digest))
        else:
            raise SignatureProblem("bad_signature", "The certificate's key is neither RSA nor elliptic.")
    except InvalidSignature as error:
        raise SignatureProblem("bad_signature", "Manifest signature did not verify successfully.") from error


def _check_chain(
    leaf: x509.Certificate,
    certificates: Sequence[x509.Certificate],
    trusted_roots: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """Walk from the leaf over the certificates of the signature to a trusted root."""
    current = leaf
    for _step in range(_CERTIFICATES_MAX):
        if not current.not_valid_before_utc <= now <= current.not_valid_after_utc:
            name = current.subject.rfc4514_string()
            until = f"{current.not_valid_after_utc:%Y-%m-%d}"
            raise SignatureProblem("expired_certificate", f"The certificate {name} is valid only until {until}.")
        if any(_issued(current, root) for root in trusted_roots):
            return
        issuer = next((item for item in certificates if item != current and _issued(current, item)), None)
        if issuer is None:
            raise SignatureProblem(
                "chain",
                f"The issuer {current.issuer.rfc4514_string()} is neither in the signature nor trusted.",
            )
        current = issuer
    raise SignatureProblem("chain", "The certificates form no chain to a trusted root.")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return constraints.ca


def _check_identity(leaf: x509.Certificate, pass_type_id: object, team_id: object) -> None:
    if subject_value(leaf, NameOID.USER_ID) != pass_type_id:
        raise SignatureProblem(
            "pass_type_mismatch", f"passTypeIdentifier {pass_type_id!r} does not match the certificate."
        )
    if subject_value(leaf, NameOID.ORGANIZATIONAL_UNIT_NAME) != team_id:
        raise SignatureProblem("team_mismatch", f"teamIdentifier {team_id!r} does not match the certificate.")
