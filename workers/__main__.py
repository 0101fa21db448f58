"""``python -m workers worker QUEUE | dispatcher | tick``: one process of the background."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence

import structlog

from wallet_server import migrations
from wallet_server.context import ContextKeeper, ServerContext, make_context
from wallet_server.errors import ConfigurationError
from wallet_server.garbage import collect_rarely
from wallet_server.logs import configure_logging
from wallet_server.settings import Settings, load_settings
from workers.dispatcher import Dispatcher
from workers.queues import QUEUES, connect, queue, work_until_stopped
from workers.runtime import RuntimeKeeper, make_runtime
from workers.schedule import Scheduler


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part until SIGTERM or SIGINT; 0 after a clean stop, 2 for a configuration that cannot work."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("worker", help="work on one queue").add_argument("queue", choices=QUEUES)
    parts.add_parser("dispatcher", help="announce outbox rows that are due")
    parts.add_parser("tick", help="do what is due by the clock")
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        settings = load_settings()
        context = make_context(settings)
        migrations.require_head(context.engine)
        if options.part == "worker":
            _work(settings, context, options.queue)
        elif options.part == "dispatcher":
            _dispatch(settings, context)
        else:
            _tick(context)
    except ConfigurationError as error:
        structlog.get_logger().error(str(error))
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _work(settings: Settings, context: ServerContext, name: str) -> None:
    url = _redis_url(settings)
    runtime = RuntimeKeeper(make_runtime(context), ContextKeeper(context).current)
    _say_ready("worker")
    try:
        work_until_stopped(url, name, runtime, pause=time.sleep)
    finally:
        runtime.close()


def _dispatch(settings: Settings, context: ServerContext) -> None:
    connection = connect(_redis_url(settings))
    bells = [queue(name, connection) for name in QUEUES]
    stop = _stop_event()
    _say_ready("dispatcher")
    Dispatcher(context.engine, context.clock, bells).run(stop)


def _tick(context: ServerContext) -> None:
    stop = _stop_event()
    _say_ready("tick")
    Scheduler(ContextKeeper(context).current, time.monotonic).run(stop)


def _say_ready(part: str) -> None:
    # After everything that a wrong setting can stop: the supervisor waits for this line.
    collect_rarely()
    structlog.get_logger().info("ready for work", part=part)


def _redis_url(settings: Settings) -> str:
    if not settings.REDIS_URL:
        raise ConfigurationError("REDIS_URL is not set: workers and dispatcher need a Valkey or Redis")
    return settings.REDIS_URL


def _stop_event() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


if __name__ == "__main__":
    sys.exit(main())
