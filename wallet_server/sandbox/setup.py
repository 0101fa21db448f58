"""Prepare a sandbox: certificates, a service account, ports, and the settings that point at the stand-ins."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from wallet_server.errors import ConfigurationError, DomainError
from wallet_server.issuance.credentials import development_folder, make_development_folder
from wallet_server.sandbox.ports import HOST, free_ports
from wallet_server.settings import Settings

STATE_FILE: Final = "sandbox.json"
ISSUER_ID: Final = "3388000000022222222"
MAIL_FROM: Final = "cards@sandbox.example"
CLIENT_EMAIL: Final = "wallet-server@sandbox.example"


@dataclass(frozen=True, slots=True)
class SandboxState:
    """Where the sandbox's process listens; kept in the data folder, readable by its owner only."""

    apns_port: int
    google_port: int
    control_port: int
    smtp_port: int
    control_secret: str
    public_url: str


def prepare(settings: Settings) -> Settings:
    """Make what the sandbox needs and return settings that use its stand-ins.

    Addresses of APNs, Google and a mail server that are set already are left alone. Ports stay the same over
    restarts while they are free. Raises :class:`ConfigurationError` without ``WALLET_SANDBOX``, or for a folder
    that cannot be written.
    """
    if not settings.WALLET_SANDBOX:
        raise ConfigurationError("the sandbox is only there where WALLET_SANDBOX=1 is set")
    data = settings.WALLET_DATA_DIR.resolve()
    old = read_state(data)
    preferred = (old.apns_port, old.google_port, old.control_port, old.smtp_port) if old else ()
    apns_port, google_port, control_port, smtp_port = free_ports(4, preferred)
    secret = old.control_secret if old else secrets.token_urlsafe(32)
    state = SandboxState(apns_port, google_port, control_port, smtp_port, secret, settings.public_url)
    try:
        # The machine's clock: certificates are judged by it, also where the business clock has moved.
        certificates = make_development_folder(settings, datetime.now(UTC))
        account = _service_account(data, state)
        _write_private(data / STATE_FILE, json.dumps(asdict(state), indent=2))
    except OSError as error:
        raise ConfigurationError(f"the sandbox's files: {error.filename}: {error.strerror}") from error
    return _pointed_at(settings, state, certificates, account)


def joined(settings: Settings) -> Settings:
    """The settings of a sandbox that was prepared before, so that a command sees what its server sees.

    Makes nothing. Without a sandbox, or before its first start, they are left as they are.
    """
    data = settings.WALLET_DATA_DIR.resolve()
    state = read_state(data) if settings.WALLET_SANDBOX else None
    if state is None:
        return settings
    if "WALLET_PUBLIC_URL" not in settings.model_fields_set:
        settings = settings.model_copy(update={"WALLET_PUBLIC_URL": state.public_url})
    return _pointed_at(settings, state, development_folder(settings), service_account_path(data))


def _pointed_at(settings: Settings, state: SandboxState, certificates: Path, account: Path) -> Settings:
    """The settings with the stand-ins' addresses; those that are set already are left alone."""
    changes: dict[str, Any] = {}
    if not settings.WALLET_APNS_URL:
        changes["WALLET_APNS_URL"] = f"https://{HOST}:{state.apns_port}"
        changes["WALLET_APNS_CA_FILE"] = (certificates / "root.pem").resolve()
    if not settings.WALLET_GOOGLE_API_URL and not settings.WALLET_GOOGLE_ISSUER_ID:
        changes["WALLET_GOOGLE_API_URL"] = google_url(state)
        changes["WALLET_GOOGLE_ISSUER_ID"] = ISSUER_ID
        changes["WALLET_GOOGLE_SERVICE_ACCOUNT_FILE"] = account
    if not settings.WALLET_SMTP_URL:
        changes["WALLET_SMTP_URL"] = f"smtp://{HOST}:{state.smtp_port}"
        changes["WALLET_MAIL_FROM"] = MAIL_FROM
    return settings.model_copy(update=changes)


def command(settings: Settings) -> Sequence[str]:
    """The command line of the sandbox's process, after :func:`prepare`."""
    state = required_state(settings.WALLET_DATA_DIR)
    return (
        *(sys.executable, "-m", "wallet_server.sandbox", "--data", str(settings.WALLET_DATA_DIR.resolve())),
        *("--public-url", state.public_url, "--apns-port", str(state.apns_port)),
        *("--google-port", str(state.google_port), "--control-port", str(state.control_port)),
        *("--smtp-port", str(state.smtp_port)),
    )


def is_ready(settings: Settings) -> bool:
    """Whether the sandbox's process answers."""
    from wallet_server.sandbox.client import ControlClient

    try:
        ControlClient(required_state(settings.WALLET_DATA_DIR), timeout_seconds=2).get("health")
    except DomainError:
        return False
    return True


def google_url(state: SandboxState) -> str:
    """The address of the Google stand-in."""
    return f"http://{HOST}:{state.google_port}"


def token_uri(state: SandboxState) -> str:
    """Where service accounts of the Google stand-in get their tokens."""
    return f"{google_url(state)}/token"


def read_state(data_folder: Path) -> SandboxState | None:
    """The state that :func:`prepare` wrote, ``None`` where there is none or it cannot be read."""
    try:
        return SandboxState(**json.loads((data_folder / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # prepare() writes a new one: nothing in it is worth a stop


def required_state(data_folder: Path) -> SandboxState:
    """The state, or :class:`ConfigurationError`."""
    state = read_state(data_folder)
    if state is None:
        raise ConfigurationError(f"{data_folder / STATE_FILE} is missing: the sandbox was not prepared")
    return state


def service_account_path(data_folder: Path) -> Path:
    """The key file of the sandbox's service account."""
    return data_folder / "google" / "service-account.json"


def service_account_key(data_folder: Path) -> rsa.RSAPrivateKey:
    """The key in it. Raises ``OSError`` or ``ValueError`` if it is missing or damaged."""
    document = json.loads(service_account_path(data_folder).read_text(encoding="utf-8"))
    key = load_pem_private_key(document["private_key"].encode(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the service account's key is not RSA")
    return key


def _service_account(data: Path, state: SandboxState) -> Path:
    """Write the key file in the shape of Google's; the key is kept, the address follows the port."""
    path = service_account_path(data)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        key = service_account_key(data)
    except (OSError, ValueError, KeyError):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    document = {
        "type": "service_account",
        "project_id": "wallet-server-sandbox",
        "private_key_id": "sandbox",
        "private_key": pem,
        "client_email": CLIENT_EMAIL,
        "client_id": "100000000000000000000",
        "token_uri": token_uri(state),
    }
    _write_private(path, json.dumps(document, indent=2))
    return path


def _write_private(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
