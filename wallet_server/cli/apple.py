"""``apple``: from a key made here to a certificate that signs passes."""

from __future__ import annotations

import os
from pathlib import Path

import click
from sqlmodel import Session, select

from passes.apple.certificates import ACCOUNT_PAGE, FILE_BYTES_MAX, WWDR_PAGE, PassIdentity
from wallet_server.cli.common import open_database
from wallet_server.clock import SystemClock
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.errors import ConfigurationError, NotFoundError
from wallet_server.issuance.keys import KeyVault, import_certificate, reseal, signing_request
from wallet_server.programs.models import Program
from wallet_server.settings import SECRET_KEY_BYTES_MIN, Settings, load_settings

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
_PROGRAM = click.option("--program", "slug", help="Only for this program, which gets a pass type of its own.")


@click.group()
def apple() -> None:
    """Apple Wallet's certificate, step by step: docs/wallets.md."""


@apple.command()
@_PROGRAM
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the request to this file, not to the screen."
)
def csr(slug: str | None, out: Path | None) -> None:
    """Make a private key, kept encrypted in the database, and the request to upload to Apple.

    Until the certificate is imported the same request comes again.
    """
    settings = load_settings()
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        program = _program(session, slug)
        request = signing_request(session, KeyVault(settings.WALLET_SECRET_KEY), program, SystemClock().now())
    if out is None:
        click.echo(request.pem.decode(), nl=False)
    else:
        _write(out, request.pem)
    option = f" --program {slug}" if slug else ""
    which = "is the one of before" if request.again else "belongs to a new key in the database"
    say = [
        f"{out or 'The request'} {which}.",
        f"1. Upload it at {ACCOUNT_PAGE}",
        "   (a Pass Type ID, Create Certificate), and load the certificate, pass.cer.",
        f"2. Load Apple's intermediate certificate, WWDR G4, from {WWDR_PAGE}",
        f"3. wallet-server apple import-certificate pass.cer --wwdr AppleWWDRCAG4.cer{option}",
    ]
    click.echo("\n".join(say), err=True)
    if settings.WALLET_APPLE_CERTIFICATE_FILE and not slug:
        click.echo("WALLET_APPLE_CERTIFICATE_FILE is set, and goes before what is imported: unset it then.", err=True)


@apple.command("import-certificate")
@click.argument("file", type=_FILE)
@_PROGRAM
@click.option("--wwdr", type=_FILE, help="Apple's intermediate certificate (WALLET_APPLE_WWDR_FILE).")
def import_certificate_(file: Path, slug: str | None, wwdr: Path | None) -> None:
    """Take FILE, Apple's answer to the request (DER or PEM), and sign passes with it from now on.

    A renewal leaves the passes on phones as they are.
    """
    settings = load_settings()
    wwdr = wwdr or settings.WALLET_APPLE_WWDR_FILE
    if wwdr is None:
        raise ConfigurationError(
            f"Apple's intermediate certificate is missing: load WWDR G4 from {WWDR_PAGE}, and name it with --wwdr"
        )
    certificate, intermediates = (str(file), _read(file)), (str(wwdr), _read(wwdr))
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        imported = import_certificate(
            session,
            KeyVault(settings.WALLET_SECRET_KEY),
            _program(session, slug),
            certificate=certificate,
            intermediates=intermediates,
            expected=_expected(settings, slug),
            default_type=_type_of_environment(settings),
            now=SystemClock().now(),
        )
    whose = f"passes of {slug}" if slug else "passes"
    click.secho(f"{'Renewed' if imported.renewal else 'Imported'}: {whose} can be signed.", fg="green")
    click.echo(f"  pass type    {imported.identity.pass_type_id}")
    click.echo(f"  team         {imported.identity.team_id}")
    click.echo(f"  valid until  {imported.not_after:%Y-%m-%d}")
    click.echo("A running server uses it within seconds. Ask `wallet-server doctor`.")
    if not imported.by_apple:
        click.secho("This certificate is not Apple's: iPhones will refuse its passes.", fg="yellow", err=True)
    if settings.WALLET_APPLE_CERTIFICATE_FILE and not slug:
        click.secho("WALLET_APPLE_CERTIFICATE_FILE is set and goes before it: unset it.", fg="yellow", err=True)


@apple.command("reseal")
@click.option("--old-key-file", type=_FILE, required=True, help="File with the WALLET_SECRET_KEY of before.")
def reseal_(old_key_file: Path) -> None:
    """Encrypt all stored keys anew, after WALLET_SECRET_KEY was changed. All or nothing."""
    settings = load_settings()
    old = _read(old_key_file).decode("utf-8", "replace").strip()
    if len(old) < SECRET_KEY_BYTES_MIN:
        raise ConfigurationError(f"{old_key_file} does not hold a WALLET_SECRET_KEY: it is too short")
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        count = reseal(session, KeyVault(old), KeyVault(settings.WALLET_SECRET_KEY))
    click.echo(f"{count} keys are sealed under the new WALLET_SECRET_KEY; restart the server")


def _program(session: Session, slug: str | None) -> Program | None:
    if slug is None:
        return None
    found = session.exec(select(Program).where(Program.slug == slug)).one_or_none()
    if found is None:
        raise NotFoundError("unknown_program", f"there is no program {slug!r}")
    return found


def _expected(settings: Settings, slug: str | None) -> PassIdentity:
    """What the settings say of all programs; a program's own pass type belongs to nobody's setting."""
    if slug is not None:
        return PassIdentity("", "")
    return PassIdentity(settings.WALLET_APPLE_PASS_TYPE_ID, settings.WALLET_APPLE_TEAM_ID)


def _type_of_environment(settings: Settings) -> str:
    return settings.WALLET_APPLE_PASS_TYPE_ID if settings.WALLET_APPLE_CERTIFICATE_FILE else ""


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
