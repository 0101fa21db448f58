"""The wallets' private keys: made here, sealed at rest, and matched with what Apple answers.

A key is sealed with AES-256-GCM (NIST SP 800-38D) under a key that HKDF (RFC 5869) derives from
``WALLET_SECRET_KEY``; its row's id and kind are authenticated with it, so that a sealed key that somebody
moves to another row does not open. A stolen copy of the database alone signs nothing.

Old certificates stay beside the new one: a renewal changes which of them signs, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from passes.apple import certificates as files
from passes.apple.signing import CertificateProblem, Signer
from passes.google.account import GoogleAccountProblem, ServiceAccount
from wallet_server.db import new_id
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.models import IssuedPass, WalletKey
from wallet_server.programs.models import Program

APPLE: Final = "apple"
GOOGLE: Final = "google"
_SEAL_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12


class KeyProblem(ConfigurationError):
    """A key or certificate cannot be used; the message is a sentence with the cure, ``code`` is in docs/wallets.md."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class KeyVault:
    """Seals and opens private keys under one ``WALLET_SECRET_KEY``."""

    def __init__(self, secret_key: str) -> None:
        derived = HKDF(SHA256(), length=32, salt=None, info=b"wallet-server:key-vault").derive(secret_key.encode())
        self._cipher = AESGCM(derived)

    def seal(self, key_id: UUID, kind: str, secret: bytes) -> bytes:
        """A version byte, a random nonce of 96 bits, and the ciphertext with its tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _SEAL_VERSION + nonce + self._cipher.encrypt(nonce, secret, _bound_to(key_id, kind))

    def open(self, key_id: UUID, kind: str, sealed: bytes) -> bytes:
        """The secret. Raises :class:`KeyProblem` ``sealed_otherwise``."""
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] != _SEAL_VERSION:
                raise InvalidTag
            return self._cipher.decrypt(nonce, text, _bound_to(key_id, kind))
        except (InvalidTag, ValueError) as error:
            raise KeyProblem(
                "sealed_otherwise",
                "a wallet's key in the database was sealed under another WALLET_SECRET_KEY: give the server that one"
                " again, or run `wallet-server apple reseal --old-key-file FILE`",
            ) from error


def _bound_to(key_id: UUID, kind: str) -> bytes:
    return b"wallet_key:" + kind.encode() + b":" + key_id.bytes


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What Apple makes a certificate from. ``again``: it was asked for before and not answered yet."""

    pem: bytes
    again: bool


@dataclass(frozen=True, slots=True)
class ImportedCertificate:
    """What was imported. ``renewal``: older passes of the same type are out and stay as they are."""

    identity: files.PassIdentity
    not_after: datetime
    intermediate: str
    by_apple: bool
    renewal: bool


def signing_request(session: Session, vault: KeyVault, program: Program | None, now: datetime) -> SigningRequest:
    """Make a key and its request; while Apple's answer is not imported the same request comes again."""
    program_id = program.id if program else None
    name = f"Wallet Server {program.slug}" if program else "Wallet Server"
    waiting = session.exec(_apple_keys(program_id).where(col(WalletKey.certificate).is_(None))).first()
    if waiting is not None:
        return SigningRequest(files.new_signing_request(_private_key(vault, waiting), name), again=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key_id = new_id()
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    session.add(
        WalletKey(
            id=key_id,
            program_id=program_id,
            kind=APPLE,
            fingerprint=_fingerprint(key),
            sealed=vault.seal(key_id, APPLE, secret),
            created_at=now,
        )
    )
    return SigningRequest(files.new_signing_request(key, name), again=False)


def import_certificate(
    session: Session,
    vault: KeyVault,
    program: Program | None,
    *,
    certificate: tuple[str, bytes],
    intermediates: tuple[str, bytes],
    expected: files.PassIdentity,
    default_type: str = "",
    now: datetime,
) -> ImportedCertificate:
    """Take Apple's answer to a signing request; files are given as name and content.

    ``expected`` holds what is configured, empty where nothing is; ``default_type`` is the pass type that the
    environment's own certificate gives all programs, if there is one. ``now`` is the machine's time. Raises
    :class:`KeyProblem`; nothing is changed then.
    """
    program_id = program.id if program else None
    try:
        found = files.read_certificates(certificate[1], certificate[0])
        leaf = found[0]
        identity = files.pass_identity(leaf)
        row = _key_of(session, leaf, program)
        files.check_dates(leaf, now, "The certificate", "make a new one at Apple from `wallet-server apple csr`.")
        candidates = files.read_certificates(intermediates[1], intermediates[0])
        intermediate = files.issuer_among(leaf, candidates, now)
        _check_expected(identity, expected)
        signer = Signer(
            certificate=leaf,
            key=_private_key(vault, row),
            intermediate=intermediate,
            pass_type_id=identity.pass_type_id,
            team_id=identity.team_id,
        )
    except CertificateProblem as problem:
        raise KeyProblem(problem.code, str(problem)) from problem
    older = session.exec(_apple_keys(program_id).where(col(WalletKey.certificate).is_not(None))).all()
    before = {item.identity for item in older}
    if program_id is not None and not before:
        shared = session.exec(_apple_keys(None).where(col(WalletKey.certificate).is_not(None)))
        before = {default_type} if default_type else {item.identity for item in shared}
    _refuse_another_type(session, program_id, identity, before)
    row.identity, row.team_id = identity.pass_type_id, identity.team_id
    row.certificate, row.intermediate = leaf.public_bytes(Encoding.DER), intermediate.public_bytes(Encoding.DER)
    row.not_after, row.imported_at = signer.not_after, now
    session.add(row)
    return ImportedCertificate(
        identity=identity,
        not_after=signer.not_after,
        intermediate=intermediate.subject.rfc4514_string(),
        by_apple=signer.issued_by_apple,
        renewal=any(item.identity == identity.pass_type_id and item.id != row.id for item in older),
    )


def stored_signer(session: Session, vault: KeyVault, program_id: UUID | None, now: datetime) -> Signer | None:
    """The signer of a program, or of all that have none of their own; ``None`` without a certificate.

    Of several certificates the one that holds longest of those in force signs; once none is in force, the
    one that expired last, whose :meth:`Signer.check` then says so. Raises :class:`KeyProblem`.
    """
    rows = session.exec(_apple_keys(program_id).where(col(WalletKey.certificate).is_not(None))).all()
    signers = [_signer(vault, row) for row in sorted(rows, key=_expiry, reverse=True)]
    in_force = [signer for signer in signers if signer.not_before <= now]
    return next(iter(in_force or signers), None)


def imported_keys(session: Session) -> frozenset[tuple[UUID, datetime]]:
    """Which keys were imported, and when: another set than before says that keys have to be read again."""
    rows = session.exec(select(WalletKey.id, WalletKey.imported_at).where(col(WalletKey.imported_at).is_not(None)))
    return frozenset((key_id, imported_at) for key_id, imported_at in rows if imported_at is not None)


def programs_with_certificates(session: Session) -> list[UUID]:
    """The programs that have a certificate of their own."""
    rows = session.exec(select(WalletKey.program_id).where(col(WalletKey.certificate).is_not(None)).distinct())
    return [program_id for program_id in rows if program_id is not None]


def import_google_account(
    session: Session, vault: KeyVault, *, key_file: bytes, issuer_id: str, now: datetime
) -> ServiceAccount:
    """Keep Google's service account; one that was kept before is replaced. Raises :class:`KeyProblem`."""
    if not issuer_id.isdecimal():
        raise KeyProblem("issuer_mismatch", "Google's issuer id is a number, shown in the Google Pay & Wallet Console.")
    try:
        account = ServiceAccount.load(key_file)
    except GoogleAccountProblem as problem:
        raise KeyProblem("unreadable_key", str(problem)) from problem
    for row in session.exec(select(WalletKey).where(WalletKey.kind == GOOGLE)):
        session.delete(row)
    session.flush()
    key_id = new_id()
    canonical = json.dumps(json.loads(key_file), separators=(",", ":")).encode()
    session.add(
        WalletKey(
            id=key_id,
            kind=GOOGLE,
            fingerprint=hashlib.sha256(canonical).hexdigest(),
            sealed=vault.seal(key_id, GOOGLE, canonical),
            identity=issuer_id,
            created_at=now,
            imported_at=now,
        )
    )
    return account


def stored_google_account(session: Session, vault: KeyVault) -> tuple[str, ServiceAccount] | None:
    """Issuer id and service account, if one was imported. Raises :class:`KeyProblem`."""
    row = session.exec(select(WalletKey).where(WalletKey.kind == GOOGLE)).first()
    if row is None:
        return None
    return row.identity, ServiceAccount.load(vault.open(row.id, GOOGLE, row.sealed))


def reseal(session: Session, old: KeyVault, new: KeyVault) -> int:
    """Seal every key anew after ``WALLET_SECRET_KEY`` was changed; return how many there are."""
    rows = session.exec(select(WalletKey)).all()
    for row in rows:
        row.sealed = new.seal(row.id, row.kind, old.open(row.id, row.kind, row.sealed))
        session.add(row)
    return len(rows)


def _apple_keys(program_id: UUID | None) -> SelectOfScalar[WalletKey]:
    return select(WalletKey).where(WalletKey.kind == APPLE, col(WalletKey.program_id) == program_id)


def _expiry(row: WalletKey) -> datetime:
    assert row.not_after is not None
    return row.not_after


def _fingerprint(key: rsa.RSAPrivateKey | x509.Certificate) -> str:
    return hashlib.sha256(files.public_bytes(key)).hexdigest()


def _private_key(vault: KeyVault, row: WalletKey) -> rsa.RSAPrivateKey:
    # The seal proves that it is the key that was put there: the slow check of its primes says nothing more.
    secret = vault.open(row.id, row.kind, row.sealed)
    key = load_der_private_key(secret, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _signer(vault: KeyVault, row: WalletKey) -> Signer:
    assert row.certificate is not None
    assert row.intermediate is not None
    return Signer(
        certificate=x509.load_der_x509_certificate(row.certificate),
        key=_private_key(vault, row),
        intermediate=x509.load_der_x509_certificate(row.intermediate),
        pass_type_id=row.identity,
        team_id=row.team_id,
    )


def _key_of(session: Session, certificate: x509.Certificate, program: Program | None) -> WalletKey:
    row = session.exec(select(WalletKey).where(WalletKey.fingerprint == _fingerprint(certificate))).first()
    option = f" --program {program.slug}" if program else ""
    if row is None:
        raise KeyProblem(
            "key_mismatch",
            "The certificate was not made from a request of this server; run"
            f" `wallet-server apple csr{option}` and make a certificate from that.",
        )
    if row.program_id != (program.id if program else None):
        owner = session.get(Program, row.program_id) if row.program_id else None
        words = f"of the program {owner.slug}; say --program {owner.slug}" if owner else "of all programs; no --program"
        raise KeyProblem("key_mismatch", f"The certificate was made from the request {words}.")
    return row


def _check_expected(identity: files.PassIdentity, expected: files.PassIdentity) -> None:
    if expected.pass_type_id and identity.pass_type_id != expected.pass_type_id:
        raise KeyProblem(
            "pass_type_mismatch",
            f"The certificate is for {identity.pass_type_id}, but WALLET_APPLE_PASS_TYPE_ID is"
            f" {expected.pass_type_id}; change the setting, or make the certificate for that pass type.",
        )
    if expected.team_id and identity.team_id != expected.team_id:
        raise KeyProblem(
            "team_mismatch",
            f"The certificate belongs to the team {identity.team_id}, but WALLET_APPLE_TEAM_ID is"
            f" {expected.team_id}; change the setting, or sign in at Apple with the other team.",
        )


def _refuse_another_type(
    session: Session, program_id: UUID | None, identity: files.PassIdentity, before: set[str]
) -> None:
    """A phone takes an update only under the type that the pass has: a change would orphan what is out."""
    if not before or identity.pass_type_id in before:
        return
    statement = select(IssuedPass.id).where(IssuedPass.wallet == APPLE, col(IssuedPass.live))
    if program_id is not None:
        statement = statement.where(IssuedPass.program_id == program_id)
    elif own := programs_with_certificates(session):
        statement = statement.where(col(IssuedPass.program_id).not_in(own))
    if session.exec(statement.limit(1)).first() is not None:
        raise KeyProblem(
            "pass_type_in_use",
            f"Phones hold passes of the type {', '.join(sorted(before))}, and would refuse updates of the type"
            f" {identity.pass_type_id}; renew the certificate of the old type instead.",
        )
