"""``google``: the service account, and whether Google knows it."""

from __future__ import annotations

from pathlib import Path

import click

from passes.apple.certificates import FILE_BYTES_MAX
from wallet_server.cli.common import open_database
from wallet_server.cli.doctor import tell
from wallet_server.clock import SystemClock
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.doctor.google import CONSOLE, check_google
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.credentials import load_google
from wallet_server.issuance.keys import KeyVault, import_google_account
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.sandbox.setup import joined
from wallet_server.settings import load_settings


@click.group()
def google() -> None:
    """Google Wallet's account: docs/wallets.md."""


@google.command("import-account")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True))
@click.option("--issuer", "issuer_id", required=True, help=f"The issuer id, a number: {CONSOLE}.")
def import_account(file: Path, issuer_id: str) -> None:
    """Keep FILE, the service account's key (JSON), encrypted in the database. FILE is not needed after that."""
    settings = load_settings()
    with file.open("rb") as opened:
        key_file = opened.read(FILE_BYTES_MAX)
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        account = import_google_account(
            session,
            KeyVault(settings.WALLET_SECRET_KEY),
            key_file=key_file,
            issuer_id=issuer_id,
            now=SystemClock().now(),
        )
    click.secho(f"Imported: {account.email} acts for issuer {issuer_id}.", fg="green")
    click.echo(f"A running server uses it within seconds. Delete {file}: it is not needed any more.")
    click.echo("Ask `wallet-server google check` whether Google takes it.")
    if settings.WALLET_GOOGLE_ISSUER_ID:
        click.secho("WALLET_GOOGLE_ISSUER_ID is set and goes before it: unset it.", fg="yellow", err=True)


@google.command()
@click.option("--program", "slug", help="Program whose class is written (not needed if there is only one).")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(slug: str | None, as_json: bool) -> None:
    """Ask Google: token, permissions, the program's class, and whether Google's notices can reach us."""
    settings = joined(load_settings())
    with open_database() as database:
        parameters = load_google(settings, database.engine)
        if parameters is None:
            raise ConfigurationError("Google Wallet is not set up: begin with `wallet-server google import-account`")
        program: ProgramDefinition | None = None
        with reading(database.engine, ALL_PROGRAMS) as session:
            slugs = [slug] if slug else [row.slug for row in list_programs(session)]
            if len(slugs) == 1:
                program = load_program(session, slug=slugs[0])
    if len(slugs) > 1:
        raise ConfigurationError(f"say --program: there are {', '.join(sorted(slugs))}")
    tell(check_google(parameters, program, public_url=settings.public_url), as_json=as_json)
