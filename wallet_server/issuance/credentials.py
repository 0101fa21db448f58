"""What we show to the wallets: Apple's certificate and push address, Google's issuer.

What the environment names comes first, then what was imported into the database (:mod:`.keys`). Without
Apple's certificate in either a development certificate is made in the data folder at the first start. Real
iPhones refuse passes signed with it; the simulator, which trusts its root, takes them.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from passes.apple.development import DevelopmentCertificates, make_development_certificates
from passes.apple.provider_token import ProviderKeyProblem, load_push_key
from passes.apple.signing import CertificateProblem, Signer
from passes.google.account import GoogleAccountProblem, ServiceAccount
from wallet_server.db import reading
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.keys import (
    KeyVault,
    imported_keys,
    programs_with_certificates,
    stored_google_account,
    stored_signer,
)
from wallet_server.issuance.models import WalletKey
from wallet_server.settings import Settings

DEVELOPMENT_PASS_TYPE_ID: Final = "pass.development.wallet-server"  # noqa: S105 - a name, not a secret
DEVELOPMENT_TEAM_ID: Final = "DEVELOPER0"

KEY_FILES: Final = (
    "WALLET_APPLE_CERTIFICATE_FILE",
    "WALLET_APPLE_KEY_FILE",
    "WALLET_APPLE_WWDR_FILE",
    "WALLET_APNS_KEY_FILE",
    "WALLET_APNS_CA_FILE",
    "WALLET_GOOGLE_SERVICE_ACCOUNT_FILE",
)
_PUSH_KEY: Final = "WALLET_APNS_KEY_FILE"
_FILES: Final = {
    "root": "root.pem",
    "intermediate": "intermediate.pem",
    "pass_certificate": "pass.pem",
    "pass_key": "pass-key.pem",
    "server_certificate": "server.pem",
    "server_key": "server-key.pem",
}


@dataclass(frozen=True, slots=True)
class ApnsParameters:
    """Where to push, and whom to trust there (``None``: the public authorities)."""

    url: str
    ca_file: str | None


@dataclass(frozen=True, slots=True)
class GoogleParameters:
    """Google Wallet's issuer, its service account and the API's address."""

    issuer_id: str
    account: ServiceAccount
    api_url: str
    places: bool = False
    """Google has allowed this issuer to tell where outlets are."""


@dataclass(frozen=True, slots=True)
class OfType:
    """The programs whose passes are of one type: these, or all but these."""

    program_ids: frozenset[UUID]
    all_but: bool


@dataclass(frozen=True, slots=True)
class Wallets:
    """The credentials of both wallets; ``google`` is ``None`` where Google Wallet is not set up."""

    signer: Signer
    apns: ApnsParameters
    google: GoogleParameters | None
    development: bool
    """Signed by our own root: no real iPhone takes the passes."""
    programs: Mapping[UUID, Signer] = field(default_factory=dict)
    """The certificates of programs that have their own; ``signer`` is that of all others."""
    imported: frozenset[tuple[UUID, datetime]] = frozenset()
    """The imported keys that this was read from; see :func:`.keys.imported_keys`."""

    @property
    def pass_type_id(self) -> str:
        return self.signer.pass_type_id

    def signer_of(self, program_id: UUID) -> Signer:
        """Who signs the passes of a program; its push topic and the pass type are the certificate's."""
        return self.programs.get(program_id, self.signer)

    def says_the_same_as(self, other: Wallets) -> bool:
        """Whether signers and Google's account are those of ``other``, whatever was imported in between."""

        def said(wallets: Wallets) -> tuple[Any, ...]:
            programs = {program_id: signer.fingerprint for program_id, signer in wallets.programs.items()}
            google = wallets.google
            account = google and (google.issuer_id, google.account.signer.key_id, google.account.email)
            return wallets.signer.fingerprint, programs, account

        return said(self) == said(other)

    def programs_of_type(self, pass_type_id: str) -> OfType:
        """Which programs' passes are of a type."""
        own = {program_id for program_id, signer in self.programs.items() if signer.pass_type_id == pass_type_id}
        if pass_type_id == self.pass_type_id:
            return OfType(frozenset(self.programs.keys() - own), all_but=True)
        return OfType(frozenset(own), all_but=False)


def development_folder(settings: Settings) -> Path:
    """Where the development certificates are: ``root.pem``, ``server.pem``, ``server-key.pem`` and the pass's."""
    return settings.WALLET_DATA_DIR / "apple"


def make_development_folder(settings: Settings, now: datetime) -> Path:
    """Make the development certificates unless they are there; of processes that race, one wins.

    ``now`` is the machine's time: certificates are judged by real clocks. A family that has expired is
    replaced. Raises :class:`ConfigurationError` if the folder cannot be written.
    """
    folder = development_folder(settings)
    if _usable(folder, settings, now):
        return folder
    certificates = make_development_certificates(
        pass_type_id=settings.WALLET_APPLE_PASS_TYPE_ID or DEVELOPMENT_PASS_TYPE_ID,
        team_id=settings.WALLET_APPLE_TEAM_ID or DEVELOPMENT_TEAM_ID,
        now=now,
    )
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}")
    try:
        _write(draft, certificates)
        _put_in_place(draft, folder, settings, now)
    except OSError as error:
        raise ConfigurationError(f"the development certificates in {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(folder: Path, certificates: DevelopmentCertificates) -> None:
    folder.mkdir(mode=0o700)
    for attribute, name in _FILES.items():
        descriptor = os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(getattr(certificates, attribute))


def _put_in_place(draft: Path, folder: Path, settings: Settings, now: datetime) -> None:
    # A rename is the whole agreement: it fails on a folder that is there, so nobody sees half a family.
    for _ in range(3):
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            if _usable(folder, settings, now):
                return
            old = folder.with_name(f"{folder.name}.old-{secrets.token_hex(4)}")
            try:
                folder.rename(old)
            except FileNotFoundError:
                continue  # another process is replacing it too
            shutil.rmtree(old, ignore_errors=True)
        else:
            return
    raise ConfigurationError(f"the development certificates in {folder} are damaged: remove the folder")


def _usable(folder: Path, settings: Settings, now: datetime) -> bool:
    try:
        signer = _development_signer(folder, settings)
        signer.check(now)
    except (OSError, CertificateProblem):
        return False
    return all((folder / name).is_file() for name in _FILES.values())


def _development_signer(folder: Path, settings: Settings) -> Signer:
    return Signer.load(
        certificate_pem=(folder / _FILES["pass_certificate"]).read_bytes(),
        key_pem=(folder / _FILES["pass_key"]).read_bytes(),
        intermediates_pem=(folder / _FILES["intermediate"]).read_bytes(),
        pass_type_id=settings.WALLET_APPLE_PASS_TYPE_ID or DEVELOPMENT_PASS_TYPE_ID,
        team_id=settings.WALLET_APPLE_TEAM_ID or DEVELOPMENT_TEAM_ID,
        validate_key=False,
    )


def load_wallets(settings: Settings, now: datetime, engine: Engine | None = None) -> Wallets:
    """Read the credentials; ``now`` is the machine's time. Without ``engine`` none of the imported ones.

    Raises :class:`ConfigurationError` with a sentence and the cure for certificates that do not fit
    together, cannot be read, or (in the sandbox) are Apple's own. An expired certificate does not stop the
    start: the till must go on, only passes are no longer signed.
    """
    development, programs, imported = False, {}, frozenset[tuple[UUID, datetime]]()
    try:
        if engine is not None:
            # Before the keys themselves: what is imported meanwhile is then seen as new the next time.
            imported = _imported(engine)
            programs = _stored_signers_of_programs(settings, now, engine)
        if settings.WALLET_APPLE_CERTIFICATE_FILE is not None:
            signer = _configured_signer(settings)
        elif engine is not None and (stored := _stored_signer(settings, now, engine)) is not None:
            signer = stored
        else:
            signer, development = _development_signer(make_development_folder(settings, now), settings), True
    except CertificateProblem as problem:
        raise ConfigurationError(f"Apple's certificate: {problem}") from problem
    except OSError as error:
        raise ConfigurationError(f"Apple's certificate: {error.filename}: {error.strerror}") from error
    if settings.WALLET_SANDBOX and any(one.issued_by_apple for one in (signer, *programs.values())):
        raise ConfigurationError(
            "WALLET_SANDBOX is refused with Apple's certificates: a moved clock must not reach phones"
        )
    ca_file = settings.WALLET_APNS_CA_FILE
    return Wallets(
        signer=signer,
        apns=ApnsParameters(settings.apns_url, str(ca_file) if ca_file else None),
        google=load_google(settings, engine) if engine is not None else _google(settings),
        development=development,
        programs=programs,
        imported=imported,
    )


def unreadable_files(settings: Settings) -> dict[str, bool]:
    """By setting that names a file with a key or certificate, whether the file cannot be read at this moment.

    Processes that run have it in memory and go on; their next start would fail. The push key is also spoilt when
    it is there and no key: of the others the keeper of the context tells.
    """
    paths = {name: getattr(settings, name) for name in KEY_FILES}
    found = {name: not os.access(path, os.R_OK) for name, path in paths.items() if path is not None}
    if found.get(_PUSH_KEY) is False:
        found[_PUSH_KEY] = not _is_push_key(paths[_PUSH_KEY])
    return found


def _is_push_key(path: Path) -> bool:
    try:
        load_push_key(path.read_bytes())
    except (OSError, ProviderKeyProblem):
        return False
    return True


def load_google(settings: Settings, engine: Engine) -> GoogleParameters | None:
    """Google's parameters of the environment, else the imported ones. Raises :class:`ConfigurationError`."""
    return _google(settings) or _stored_google(settings, engine)


def _imported(engine: Engine) -> frozenset[tuple[UUID, datetime]]:
    with _stored(engine) as session:
        return imported_keys(session) if session else frozenset()


def _stored_signer(settings: Settings, now: datetime, engine: Engine) -> Signer | None:
    with _stored(engine) as session:
        return stored_signer(session, KeyVault(settings.WALLET_SECRET_KEY), None, now) if session else None


def _stored_signers_of_programs(settings: Settings, now: datetime, engine: Engine) -> dict[UUID, Signer]:
    with _stored(engine) as session:
        if session is None:
            return {}
        vault = KeyVault(settings.WALLET_SECRET_KEY)
        found = {one: stored_signer(session, vault, one, now) for one in programs_with_certificates(session)}
    return {program_id: signer for program_id, signer in found.items() if signer is not None}


def _stored_google(settings: Settings, engine: Engine) -> GoogleParameters | None:
    with _stored(engine) as session:
        found = stored_google_account(session, KeyVault(settings.WALLET_SECRET_KEY)) if session else None
    return _parameters(settings, *found) if found else None


@contextmanager
def _stored(engine: Engine) -> Iterator[Session | None]:
    """The database of imported keys; ``None`` where it has no tables yet, at the first start."""
    try:
        if not sa.inspect(engine).has_table(WalletKey.__tablename__):
            yield None
            return
        with reading(engine) as session:
            yield session
    except sa.exc.DatabaseError as error:
        raise ConfigurationError(f"the database cannot be used: {error.orig}") from error


def _configured_signer(settings: Settings) -> Signer:
    certificate, key, intermediate = (
        settings.WALLET_APPLE_CERTIFICATE_FILE,
        settings.WALLET_APPLE_KEY_FILE,
        settings.WALLET_APPLE_WWDR_FILE,
    )
    assert certificate is not None
    assert key is not None
    assert intermediate is not None  # the settings let none of the three come alone
    return Signer.load(
        certificate_pem=certificate.read_bytes(),
        key_pem=key.read_bytes(),
        intermediates_pem=intermediate.read_bytes(),
        pass_type_id=settings.WALLET_APPLE_PASS_TYPE_ID,
        team_id=settings.WALLET_APPLE_TEAM_ID,
    )


def _google(settings: Settings) -> GoogleParameters | None:
    if not settings.WALLET_GOOGLE_ISSUER_ID:
        return None
    path = settings.WALLET_GOOGLE_SERVICE_ACCOUNT_FILE
    assert path is not None  # the settings say that the two go together
    try:
        account = ServiceAccount.load(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"WALLET_GOOGLE_SERVICE_ACCOUNT_FILE: {path}: {error.strerror}") from error
    except GoogleAccountProblem as problem:
        raise ConfigurationError(f"WALLET_GOOGLE_SERVICE_ACCOUNT_FILE: {path}: {problem}") from problem
    return _parameters(settings, settings.WALLET_GOOGLE_ISSUER_ID, account)


def _parameters(settings: Settings, issuer_id: str, account: ServiceAccount) -> GoogleParameters:
    return GoogleParameters(issuer_id, account, settings.google_api_url, settings.WALLET_GOOGLE_PLACES)
