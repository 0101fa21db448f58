"""A whole sandbox in a thread of its own, with a pass server beside it."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from passes.apple.signing import Signer
from tests.services.sandbox.shop import PassShop
from wallet_server.issuance.credentials import DEVELOPMENT_PASS_TYPE_ID, DEVELOPMENT_TEAM_ID
from wallet_server.sandbox.client import ControlClient
from wallet_server.sandbox.process import Ports, Sandbox
from wallet_server.sandbox.setup import SandboxState, prepare, required_state
from wallet_server.sandbox.wire import Http1Server
from wallet_server.settings import load_settings

PASS_TYPE_ID = DEVELOPMENT_PASS_TYPE_ID


class MovedClock:
    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Running:
    sandbox: Sandbox
    ports: Ports
    state: SandboxState
    folder: Path
    shop: PassShop
    clock: MovedClock
    loop: asyncio.AbstractEventLoop

    @property
    def client(self) -> ControlClient:
        return ControlClient(self.state)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def phone(self, serial: str | None = None, **options: str) -> str:
        """A new phone's id, with a pass of the shop on it."""
        if serial is not None:
            options["install"] = self.shop.url(serial)
        return self.client.post("phones", **options)["id"]

    def detail(self, phone_id: str) -> dict[str, Any]:
        return self.client.get("phones", phone_id)

    def until(self, phone_id: str, condition: Callable[[dict[str, Any]], Any], seconds: float = 10) -> dict[str, Any]:
        """Wait until the phone is as it should be; fails with its diary."""
        end = time.monotonic() + seconds
        while True:
            detail = self.detail(phone_id)
            if condition(detail):
                return detail
            assert time.monotonic() < end, [(event["kind"], event["details"]) for event in detail["events"]]
            time.sleep(0.01)


def signer_of(folder: Path) -> Signer:
    return Signer.load(
        certificate_pem=(folder / "apple/pass.pem").read_bytes(),
        key_pem=(folder / "apple/pass-key.pem").read_bytes(),
        intermediates_pem=(folder / "apple/intermediate.pem").read_bytes(),
        pass_type_id=PASS_TYPE_ID,
        team_id=DEVELOPMENT_TEAM_ID,
        validate_key=False,
    )


@contextmanager
def running_sandbox(prepared: Path, folder: Path, *, fixed_google_port: bool = False) -> Iterator[Running]:
    """Start a sandbox on a copy of a prepared data folder, on free ports.

    With ``fixed_google_port`` the Google stand-in has the port that its key file names.
    """
    if not folder.exists():
        shutil.copytree(prepared, folder)
    if fixed_google_port:
        prepare(load_settings({"WALLET_DATA_DIR": str(folder), "WALLET_SANDBOX": "1"}))  # on a port that is free now
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Running:
        shop = PassShop(signer_of(folder))
        server = Http1Server(shop.answer)
        shop.public_url = f"http://127.0.0.1:{await server.start(0)}"
        clock = MovedClock()
        prepared_state = required_state(folder)
        google_port = prepared_state.google_port if fixed_google_port else 0
        state = replace(
            prepared_state,
            apns_port=0,
            google_port=google_port,
            control_port=0,
            smtp_port=0,
            public_url=shop.public_url,
        )
        sandbox = Sandbox(folder, state, clock, retry_delays_seconds=(0.01, 0.01))
        ports = await sandbox.start()
        servers.append(server)
        return Running(sandbox, ports, replace(state, control_port=ports.control), folder, shop, clock, loop)

    servers: list[Http1Server] = []
    running = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    try:
        yield running
    finally:
        running.run(running.sandbox.stop())
        running.run(servers[0].stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
