"""What we show to Apple and Google."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.engine import Engine
from sqlmodel import col, select

from passes.apple.signing import Signer
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.doctor.findings import Finding, broken, good, note
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.credentials import Wallets, load_google, load_wallets
from wallet_server.issuance.keys import APPLE, KeyProblem, KeyVault, programs_with_certificates, stored_signer
from wallet_server.issuance.models import WalletKey
from wallet_server.programs.models import Program
from wallet_server.settings import Settings

EXPIRY_NOTE: Final = timedelta(days=60)
PUSH_TIMEOUT_S: Final = 5.0
GET_ONE: Final = "Get one: `wallet-server apple csr` begins, docs/wallets.md leads through."
RENEW: Final = "Renew it: `wallet-server apple csr`, then docs/wallets.md. Passes on phones stay as they are."


def apple_findings(settings: Settings, engine: Engine, now: datetime) -> list[Finding]:
    """The certificates of all programs, and whether Apple's push service is reached."""
    try:
        wallets = load_wallets(settings, now, engine)
    except KeyProblem as problem:
        cure = "Give WALLET_SECRET_KEY its old value, or run `wallet-server apple reseal`."
        return (
            [broken("Apple", "The stored keys were sealed under another WALLET_SECRET_KEY.", cure)]
            if (problem.code == "sealed_otherwise")
            else [broken("Apple", str(problem), GET_ONE)]
        )
    except ConfigurationError as error:
        return [broken("Apple", str(error), "Mend the files that WALLET_APPLE_… name, or unset all three.")]
    found = [_default(settings, wallets, now)]
    with reading(engine, ALL_PROGRAMS) as session:
        vault = KeyVault(settings.WALLET_SECRET_KEY)
        for program_id in programs_with_certificates(session):
            program = session.get_one(Program, program_id)
            signer = stored_signer(session, vault, program_id, now)
            assert signer is not None
            found.append(_certificate(signer, f" (program {program.slug})", f" --program {program.slug}", now))
        waiting = session.exec(
            select(WalletKey).where(WalletKey.kind == APPLE, col(WalletKey.certificate).is_(None))
        ).all()
        found += [
            note(
                "Apple",
                f"A request of {row.created_at:%Y-%m-%d} waits for Apple's certificate.",
                "Upload it and import the answer: `wallet-server apple csr` shows it again.",
            )
            for row in waiting
        ]
        stored = session.exec(
            select(WalletKey.id).where(
                WalletKey.kind == APPLE, col(WalletKey.program_id).is_(None), col(WalletKey.certificate).is_not(None)
            )
        ).first()
    if stored is not None and settings.WALLET_APPLE_CERTIFICATE_FILE is not None:
        found.append(
            note(
                "Apple",
                "An imported certificate is not used: WALLET_APPLE_CERTIFICATE_FILE goes before it.",
                "Unset WALLET_APPLE_CERTIFICATE_FILE and WALLET_APPLE_KEY_FILE.",
            )
        )
    if not wallets.development or settings.WALLET_SANDBOX:
        found += _push_service(wallets)
    return found


def _default(settings: Settings, wallets: Wallets, now: datetime) -> Finding:
    if not wallets.development:
        finding = _certificate(wallets.signer, "", "", now)
        for name, wanted, has in (
            ("WALLET_APPLE_PASS_TYPE_ID", settings.WALLET_APPLE_PASS_TYPE_ID, wallets.pass_type_id),
            ("WALLET_APPLE_TEAM_ID", settings.WALLET_APPLE_TEAM_ID, wallets.signer.team_id),
        ):
            if wanted and wanted != has:
                return broken(
                    "Apple", f"The certificate is for {has}, {name} is {wanted}.", "Correct or unset the setting."
                )
        return finding
    sentence = "Passes are signed with a development certificate: iPhones will refuse them."
    if settings.WALLET_SANDBOX:
        return note("Apple", f"{sentence[:-1]}, simulated phones take them.", GET_ONE)
    if wallets.google is not None:
        return note("Apple", f"{sentence[:-1]}; only Google Wallet is set up.", GET_ONE)
    return broken("Apple", sentence, GET_ONE)


def _certificate(signer: Signer, whose: str, option: str, now: datetime) -> Finding:
    name = f"{signer.pass_type_id}{whose}"
    until = f"{signer.not_after:%Y-%m-%d}"
    left = signer.not_after - now
    renew = RENEW.replace("apple csr", f"apple csr{option}")
    if not signer.issued_by_apple:
        return broken("Apple", f"The certificate of {name} is not Apple's: iPhones will refuse its passes.", GET_ONE)
    if left < timedelta(0):
        return broken("Apple", f"The certificate of {name} expired on {until}: no pass is given out.", renew)
    if now < signer.not_before:
        return broken(
            "Apple",
            f"The certificate of {name} is valid from {signer.not_before:%Y-%m-%d}, which the clock says is to come.",
            "Set the clock of this machine.",
        )
    if left < EXPIRY_NOTE:
        days = "today" if left.days == 0 else "tomorrow" if left.days == 1 else f"in {left.days} days, on {until}"
        return note("Apple", f"The certificate of {name} expires {days}.", renew)
    return good("Apple", f"The certificate of {name} (team {signer.team_id}) is valid until {until}.")


def _push_service(wallets: Wallets) -> Iterator[Finding]:
    """Whether the push service is reached: a TLS handshake, nothing is sent."""
    parts = urlsplit(wallets.apns.url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        trust = ssl.create_default_context(cafile=wallets.apns.ca_file)
        with (
            socket.create_connection((host, port), timeout=PUSH_TIMEOUT_S) as line,
            trust.wrap_socket(line, server_hostname=host),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        yield broken(
            "Apple",
            f"{host} shows a certificate that is not trusted: {error.verify_message}.",
            "Update the system's certificate authorities, or set WALLET_APNS_CA_FILE; a firewall may read along.",
        )
    except OSError as error:
        yield broken(
            "Apple",
            f"Apple's push service ({host}, port {port}) is not reached: {error.strerror or error}.",
            f"Let this machine connect to {host}, port {port}: phones hear of no change meanwhile.",
        )
    else:
        yield good("Apple", f"The push service {host} answers.")


def google_findings(settings: Settings, engine: Engine) -> list[Finding]:
    """Whether Google Wallet is set up; `google check` asks Google itself."""
    try:
        google = load_google(settings, engine)
    except ConfigurationError as error:
        return [
            broken("Google", str(error), "Load the account's key again, and `wallet-server google import-account`.")
        ]
    if google is None:
        return [
            note(
                "Google",
                "Google Wallet is not set up: Android phones get the member's page only.",
                "If it is wanted: `wallet-server google import-account`, see docs/wallets.md.",
            )
        ]
    return [good("Google", f"Issuer {google.issuer_id}, {google.account.email}. `google check` asks Google.")]
