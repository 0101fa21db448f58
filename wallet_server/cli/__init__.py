"""The command line: ``wallet-server …``, one file a command group.

Commands are imported when they are called, so that ``wallet-server --help`` and shell completion are quick.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from wallet_server import __version__
from wallet_server.errors import ConfigurationError, DomainError

COMMANDS = {
    "up": ("wallet_server.cli.up", "up", "Run everything: database, Valkey, web, workers."),
    "web": ("wallet_server.cli.parts", "web", "Run the web server alone."),
    "worker": ("wallet_server.cli.parts", "worker", "Run one worker process on one queue."),
    "dispatcher": ("wallet_server.cli.parts", "dispatcher", "Run the dispatcher, which rings the workers."),
    "tick": ("wallet_server.cli.parts", "tick", "Run the clockwork of recurring work."),
    "doctor": ("wallet_server.cli.doctor", "doctor", "Look at the whole installation, and say what to mend."),
    "migrate": ("wallet_server.cli.database", "migrate", "Bring the database to this version of the program."),
    "verify": ("wallet_server.cli.database", "verify", "Check every invariant of the stored data."),
    "program": ("wallet_server.cli.programs", "program", "Programs as files; ready ones; settlement."),
    "api-key": ("wallet_server.cli.programs", "api_key", "Keys of tills."),
    "staff": ("wallet_server.cli.programs", "staff", "People who work with the panel."),
    "apple": ("wallet_server.cli.apple", "apple", "Apple Wallet's key and certificate."),
    "google": ("wallet_server.cli.google", "google", "Google Wallet's account."),
    "import": ("wallet_server.cli.imports", "import_", "Bring in members and receipts from files."),
    "sandbox": ("wallet_server.cli.sandbox", "sandbox", "The moved clock and the simulated phones."),
    "bench": ("wallet_server.cli.bench", "bench", "Run the benchmarks."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name, _help = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_module, _name, help_) in COMMANDS.items()])


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="wallet-server")
def cli() -> None:
    """A self-hosted loyalty server whose cards live in Apple and Google Wallet."""


def main() -> None:
    """Run the command line; what the world did wrong is one sentence on standard error and exit code 1."""
    os.umask(0o077)  # database, keys and sockets are this user's alone, and those of every child
    try:
        cli()
    except (ConfigurationError, DomainError) as error:
        code = f" ({error.code})" if isinstance(error, ConfigurationError) and error.code else ""
        click.echo(f"wallet-server: {error}{code}", err=True)
        sys.exit(1)
