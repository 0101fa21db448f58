"""``web``, ``worker``, ``dispatcher``, ``tick``: the parts one by one, for several machines."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import NoReturn

import click

from wallet_server import migrations
from wallet_server.cli.common import require_free_port
from wallet_server.context import make_context
from wallet_server.errors import ConfigurationError
from wallet_server.settings import load_settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="Web processes.")
@click.option("--threads", default=16, show_default=True, type=click.IntRange(1, 64), help="Requests at once in each.")
def web(host: str, port: int, processes: int, threads: int) -> None:
    """Serve wsgi.py with granian, two to three times as fast here as gunicorn; any WSGI server can."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    settings = load_settings()
    os.environ.update(settings.environment())
    # Here and not in granian's workers, which would fail one after the other, each with a traceback.
    require_free_port(host, port)
    context = make_context(settings)
    migrations.require_head(context.engine)
    context.engine.dispose()
    if processes > 1:
        # Each process counts for itself; through files of this folder /metrics can add them up.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="wallet-metrics-"))
    Granian(
        "wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=processes,
        blocking_threads=threads,
        backlog=256,
        backpressure=threads * 16,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    ).serve()


@click.command()
@click.argument("queue", type=click.Choice(["push", "bulk"]), default="push")
def worker(queue: str) -> None:
    """Work on one queue. One queue a process: a job that RQ hands out on two queues can be lost for ever."""
    _run_workers_module("worker", queue)


@click.command()
def dispatcher() -> None:
    """Ring the workers for outbox rows that are due, and again for those that nobody took."""
    _run_workers_module("dispatcher")


@click.command()
def tick() -> None:
    """Do what is due by the clock: pending points, pruning."""
    _run_workers_module("tick")


def _run_workers_module(*arguments: str) -> NoReturn:
    # Another process image, because this package may not depend on the queue's library.
    settings = load_settings()
    if not settings.REDIS_URL and arguments[0] != "tick":
        raise ConfigurationError("REDIS_URL is not set: `wallet-server up` runs an embedded Valkey, the parts do not")
    environment = {**os.environ, **settings.environment()}
    os.execve(sys.executable, [sys.executable, "-m", "workers", *arguments], environment)  # noqa: S606 - no shell
