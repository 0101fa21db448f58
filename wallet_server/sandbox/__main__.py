"""``python -m wallet_server.sandbox``: the sandbox's process. Prints one line when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from wallet_server.clock import SandboxClock
from wallet_server.db import create_engine
from wallet_server.errors import ConfigurationError
from wallet_server.sandbox.process import Sandbox
from wallet_server.sandbox.setup import SandboxState, required_state
from wallet_server.settings import Settings, load_settings


async def run(settings: Settings, state: SandboxState) -> None:
    """Serve until SIGTERM or SIGINT."""
    engine = create_engine(settings.database_url, pool_size=1)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        sandbox = Sandbox(settings.WALLET_DATA_DIR.resolve(), state, SandboxClock(engine))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the sandbox's certificates or keys cannot be read: {error}") from error
    try:
        ports = await sandbox.start()
        sys.stdout.write(f"ready {json.dumps(asdict(ports))}\n")
        sys.stdout.flush()
        await stopping.wait()
    except OSError as error:
        raise ConfigurationError(f"the sandbox cannot listen: {error.strerror or error}") from error
    finally:
        await sandbox.stop()
        engine.dispose()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m wallet_server.sandbox", description=__doc__)
    parser.add_argument("--data", type=Path, help="data folder, prepared by `wallet-server up`")
    parser.add_argument("--public-url", help="address of the web server, as the phones call it")
    for name in ("apns", "google", "control", "smtp"):
        parser.add_argument(f"--{name}-port", type=int, help="as prepared, if not given")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    given = {name: value for name, value in vars(options).items() if value is not None and name != "data"}
    try:
        settings = load_settings(WALLET_DATA_DIR=str(options.data) if options.data else None)
        if not settings.WALLET_SANDBOX:
            raise ConfigurationError("the sandbox is only there where WALLET_SANDBOX=1 is set")
        asyncio.run(run(settings, replace(required_state(settings.WALLET_DATA_DIR), **given)))
    except ConfigurationError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
