"""What is around the server: its public address, the clock, the disk, the mail server."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import smtplib
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import httpx
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import func, select

from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.doctor.findings import Finding, broken, good, note
from wallet_server.outbox.models import OutboxRow
from wallet_server.settings import Settings

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 4_096
CLOCK_NOTE: Final = timedelta(seconds=5)
CLOCK_BROKEN: Final = timedelta(minutes=1)
DISK_BROKEN_BYTES: Final = 200 * 1024 * 1024
DISK_NOTE_BYTES: Final = 2 * 1024 * 1024 * 1024
SMTP_PORT: Final = 587
SMTPS_PORT: Final = 465


def public_findings(settings: Settings, *, running: bool | None) -> list[Finding]:
    """Whether phones can reach the server under its public address."""
    url = settings.public_url
    parts = urlsplit(url)
    host = parts.hostname or ""
    set_it = "Set WALLET_PUBLIC_URL to the https address that phones reach."
    if _is_loopback(host):
        if settings.WALLET_SANDBOX:
            return [note("address", f"{url} is this machine: only simulated phones reach it.", set_it)]
        return [broken("address", f"{url} is this machine itself: no phone reaches it.", set_it)]
    found = []
    if parts.scheme != "https":
        found.append(broken("address", f"{url} is not https: iPhones refuse to ask it for updates.", set_it))
    if _is_private(host):
        found.append(note("address", f"{url} is in a private network: phones outside never hear of changes.", set_it))
    found += knock(url, host, running=running)
    return found


def knock(url: str, host: str, *, running: bool | None) -> list[Finding]:
    """Ask the public address for this server's sign of life."""
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=False) as http,
            http.stream("GET", f"{url}/healthz") as answer,
        ):
            text = next(answer.iter_bytes(ANSWER_BYTES_MAX), b"")
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return [
                broken(
                    "address",
                    f"The https certificate of {host} is not trusted: phones refuse it.",
                    "Let the reverse proxy get one from a public authority, with its whole chain.",
                )
            ]
        if running is False:
            return [note("address", f"{url} does not answer: the server does not run.", "Start it and ask again.")]
        return [
            broken(
                "address",
                f"{url} does not answer: {reason}.",
                f"See that {host} points to the reverse proxy, and that it passes on to this server.",
            )
        ]
    if answer.is_redirect:
        to = answer.headers.get("location", "elsewhere")
        return [
            broken(
                "address",
                f"{url} leads on to {to}: phones do not follow.",
                "Set WALLET_PUBLIC_URL to the address that answers itself.",
            )
        ]
    if answer.status_code != httpx.codes.OK or text != b'{"status":"ok"}':
        return [
            broken(
                "address",
                f"{url} is answered by somebody else (status {answer.status_code}).",
                "Let the reverse proxy pass every path on to this server.",
            )
        ]
    return [good("address", f"{url} is answered by this server.")]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _is_private(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_private


def clock_findings(settings: Settings, engine: Engine | None, now: datetime) -> list[Finding]:
    """Whether this machine's clock agrees with the database's, and has never run back."""
    cure = "Let a time service (chrony, systemd-timesyncd) set the clocks."
    if engine is None:
        return []
    there = _database_clock(engine)
    if there is not None and (apart := abs(there - now)) > CLOCK_NOTE:
        sentence = f"This machine's clock and the database's are {apart.total_seconds():.0f} s apart."
        return [broken("clock", sentence, cure) if apart > CLOCK_BROKEN else note("clock", sentence, cure)]
    if not settings.WALLET_SANDBOX:
        with reading(engine, ALL_PROGRAMS) as session:
            newest = session.execute(select(func.max(OutboxRow.created_at))).scalar()
        if newest is not None and newest - now > CLOCK_BROKEN:
            sentence = f"Work was written at {newest:%Y-%m-%d %H:%M} UTC, and the clock says {now:%Y-%m-%d %H:%M}."
            return [broken("clock", sentence, f"The clock has gone back. {cure}")]
    return [good("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC.")]


def _database_clock(engine: Engine) -> datetime | None:
    """What a database on another machine holds for the time; ``None`` for a file of this one."""
    if engine.dialect.name != "postgresql":
        return None
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    assert isinstance(found, datetime)
    return found


def disk_findings(settings: Settings) -> list[Finding]:
    """Whether the data folder's disk has room."""
    folder = settings.WALLET_DATA_DIR.resolve()
    free = shutil.disk_usage(folder).free
    words = f"{_size(free)} are free for {folder}"
    if free < DISK_BROKEN_BYTES:
        return [broken("disk", f"Only {words}: soon nothing can be recorded.", "Make room, or move WALLET_DATA_DIR.")]
    database = Path(folder / "wallet.sqlite")
    size = database.stat().st_size if database.exists() else 0
    if free < DISK_NOTE_BYTES or free < size:
        return [note("disk", f"Only {words}: too little for a backup beside it.", "Make room before it is needed.")]
    return [good("disk", f"{words}.")]


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def mail_findings(settings: Settings) -> list[Finding]:
    """Whether the mail server takes our name; nothing is sent."""
    if not settings.WALLET_SMTP_URL:
        return [note("mail", "No mail server is set: no mail is sent.", "If it is wanted, set WALLET_SMTP_URL.")]
    parts = urlsplit(settings.WALLET_SMTP_URL)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        return [broken("mail", "WALLET_SMTP_URL is no smtp:// address.", "Write smtp://user:password@host:587.")]
    host, cure = parts.hostname, "Correct WALLET_SMTP_URL (user, password, host, port), or let the port through."
    try:
        port = parts.port or (SMTPS_PORT if parts.scheme == "smtps" else SMTP_PORT)
        encrypted = parts.scheme == "smtps" or port == SMTPS_PORT
        line: smtplib.SMTP
        if encrypted:
            line = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        else:
            line = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
        with contextlib.closing(line):
            line.ehlo()
            if line.has_extn("starttls"):
                line.starttls(context=ssl.create_default_context())
                line.ehlo()
            elif not encrypted and (parts.password or parts.query != "tls=none") and not _is_loopback(host):
                return [broken("mail", f"{host} offers no encryption: nothing is sent.", "Use smtps:// and port 465.")]
            if parts.username:
                line.login(unquote(parts.username), unquote(parts.password or ""))
    except smtplib.SMTPAuthenticationError:
        return [broken("mail", f"{host} does not accept user and password.", cure)]
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return [broken("mail", f"{host} does not answer as a mail server: {error}.", cure)]
    return [good("mail", f"{host} takes mail from us.")]
