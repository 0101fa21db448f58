"""``up``: everything in one process group, on embedded defaults or on what the settings name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import sqlalchemy as sa

from wallet_server import demo as demo_program
from wallet_server import migrations
from wallet_server.cli.common import require_free_port
from wallet_server.context import make_context
from wallet_server.embedded import answers, valkey_command
from wallet_server.errors import ConfigurationError
from wallet_server.sandbox import setup as sandbox_setup
from wallet_server.settings import Settings, load_settings
from wallet_server.supervisor import Part, Supervisor

QUEUES = ("push", "bulk")
READY_TEXT = "ready for work"
"""What dispatcher, tick and workers say when they have begun (``workers.__main__``)."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder (WALLET_DATA_DIR).")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(2, 64), help="Worker processes.")
@click.option("--web-processes", default=1, show_default=True, type=click.IntRange(1, 64), help="Web processes.")
@click.option("--demo", is_flag=True, help="A sandbox with a demo program, simulated phones and logins.")
def up(  # noqa: PLR0917 - the options of a command
    host: str, port: int, data: Path | None, workers: int, web_processes: int, demo: bool
) -> None:
    """Run everything: database, Valkey, web, workers, dispatcher, tick.

    Prints the addresses when ready. Ctrl-C or SIGTERM stops all of it.
    """
    started = time.monotonic()
    public_url = None if os.environ.get("WALLET_PUBLIC_URL") else f"http://{_reachable(host)}:{port}"
    settings = load_settings(
        WALLET_DATA_DIR=str(data) if data else None, WALLET_SANDBOX="1" if demo else None, WALLET_PUBLIC_URL=public_url
    )
    require_free_port(host, port)
    supervisor = Supervisor()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, supervisor.request_stop)
    with _only_one(settings.WALLET_DATA_DIR), tempfile.TemporaryDirectory(prefix="wallet-") as runtime_folder:
        try:
            web = _Web(host, port, web_processes)
            logins = _start(supervisor, settings, Path(runtime_folder), web=web, workers=workers, demo=demo)
            if not supervisor.stopping:
                _welcome(settings, logins, time.monotonic() - started)
                supervisor.watch()
        finally:
            if supervisor.stopping:
                click.echo("stopping …")
            supervisor.stop()
    click.echo("stopped")


@dataclass(frozen=True, slots=True)
class _Web:
    """Where the web listens, and with how many processes."""

    host: str
    port: int
    processes: int

    @property
    def command(self) -> list[str]:
        return ["web", "--host", self.host, "--port", str(self.port), "--processes", str(self.processes)]

    def is_ready(self) -> bool:
        address = f"http://{_reachable(self.host)}:{self.port}/readyz"
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _start(
    supervisor: Supervisor, settings: Settings, runtime: Path, *, web: _Web, workers: int, demo: bool
) -> demo_program.Logins | None:
    """Start the parts in order; each is ready before the next begins."""
    if settings.WALLET_SANDBOX:
        settings = sandbox_setup.prepare(settings)
    if not settings.REDIS_URL:
        socket_path = runtime / "valkey.sock"
        settings = settings.model_copy(update={"REDIS_URL": f"unix://{socket_path}?db=0"})
        valkey = valkey_command(settings.WALLET_DATA_DIR.resolve() / "valkey", socket_path)
        _step("Valkey")
        supervisor.start(Part("valkey", valkey, is_ready=lambda: answers(socket_path)))
    environment = settings.environment()
    os.environ.update(environment)

    _step("database")
    context = make_context(settings)
    try:
        migrations.upgrade(context.engine)
    except sa.exc.OperationalError as error:
        raise ConfigurationError(f"the database cannot be used: {error.orig}") from error
    logins = demo_program.install(context) if demo else None
    context.engine.dispose()

    if settings.WALLET_SANDBOX:
        _step("simulated phones")
        sandbox = sandbox_setup.command(settings)
        supervisor.start(Part("sandbox", sandbox, environment, is_ready=lambda: sandbox_setup.is_ready(settings)))
    _step("web server, workers, dispatcher, tick")
    this = [sys.executable, "-m", "wallet_server"]
    background = [Part("dispatcher", [*this, "dispatcher"], environment, ready_text=READY_TEXT)]
    background.append(Part("tick", [*this, "tick"], environment, ready_text=READY_TEXT))
    for index in range(workers):
        queue = QUEUES[index % len(QUEUES)]
        name = f"{queue}-{index // len(QUEUES) + 1}"
        background.append(Part(name, [*this, "worker", queue], environment, ready_text=READY_TEXT))
    supervisor.start(Part("web", [*this, *web.command], environment, is_ready=web.is_ready), *background)
    return logins


def _step(what: str) -> None:
    click.echo(f"  starting {what} …")


@contextlib.contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Refuse a second group on the same data folder."""
    with (data / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"another `wallet-server up` already runs on {data}") from error
        yield


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound


def _welcome(settings: Settings, logins: demo_program.Logins | None, seconds: float) -> None:
    width = min(shutil.get_terminal_size().columns, 96)
    public = settings.public_url
    rows = [("Panel", f"{public}/panel/")]
    if logins:
        rows += [("Join", f"{public}/join/{logins.program}/poster"), ("Simulated phones", f"{public}/sandbox/phones")]
    rows += [("Till API", f"{public}/api/v1/docs"), ("Data", str(settings.WALLET_DATA_DIR.resolve()))]
    click.echo("\n" + "─" * width)
    click.secho(f"Wallet Server is ready after {seconds:.1f} s", bold=True)
    for name, value in rows:
        click.echo(f"  {name:<17} {value}")
    if logins:
        click.echo("\n  Sign in to the panel as")
        for email, password, role in logins.staff:
            click.echo(f"    {role:<8} {email:<22} {password}")
        click.echo(f"  Till key          {logins.api_key}")
        click.echo(
            "\n  Try first\n"
            "    1. Open the join page, type a phone number, and open the pass on a simulated phone.\n"
            "    2. In the panel, find the member and record a purchase.\n"
            "    3. Watch the phone: a banner shows the new balance."
        )
    click.echo("─" * width)
    click.echo("Ctrl-C stops everything.")
