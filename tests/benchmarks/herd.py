"""What phones ask of the web server: is it still the newest, and all of them at once after a campaign.

The server is granian as ``wallet-server up`` starts it; in the herd it has two processes, each pass is on two
phones, and the phones come from addresses of their own, as behind a proxy.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from werkzeug.http import http_date

from tests.benchmarks.market import new_postgres, open_market
from tests.benchmarks.nghttp2 import tool, tool_environment
from tests.group import children_of
from tests.postgres import postgres_server
from tests.web.wallet_api.wire import Line, web_server
from wallet_server.context import ServerContext, make_context
from wallet_server.db import ALL_PROGRAMS, insert_rows, new_id, reading, transaction
from wallet_server.issuance.models import Device, IssuedPass, Registration
from wallet_server.issuance.pushes import tag_passes
from wallet_server.issuance.services import passes_changed
from wallet_server.ledger.postings import earn
from wallet_server.ledger.services import post
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.settings import Settings, load_settings

TRIVIAL = "/healthz"
CONNECTIONS = 4
PHONES_OF_A_PASS = 2
PROCESSES = 2
AT_ONCE = 64
ROWS_AT_ONCE = 1_000
POINTS = 10
SAMPLE_SECONDS = 0.25
HERD_SECONDS_MAX = 1_800


def asked(data: Path, *, rounds: int, requests: int, phones: int) -> dict[str, Any]:
    """Both parts on both databases. Raises ``AssertionError`` where a pass was signed twice or a phone went away."""
    data.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {}
    with postgres_server() as folder:
        for kind in ("sqlite", "postgresql"):
            url = new_postgres(folder, "herd") if kind == "postgresql" else ""
            with _shop(data / kind, url, max(1, phones // PHONES_OF_A_PASS)) as shop:
                result[kind] = {"unchanged": _unchanged(shop, rounds, requests), "herd": _herd(shop)}
    return result


@dataclass
class _Shop:
    """A program whose members have their pass on two phones each."""

    settings: Settings
    context: ServerContext
    program: ProgramDefinition
    log: Path

    @property
    def pass_type(self) -> str:
        return self.context.wallets.pass_type_id

    def passes(self) -> list[Any]:
        table = IssuedPass.__table__.c  # type: ignore[attr-defined]
        columns = (table.id, table.member_id, table.serial, table.last_modified, table.update_tag)
        with reading(self.context.engine, ALL_PROGRAMS) as session:
            return list(session.execute(sa.select(*columns).where(table.wallet == "apple").order_by(table.id)))

    def proof(self, row: Any) -> str:
        return f"ApplePass {self.context.mint.authentication_token(row.id)}"

    def target(self, row: Any) -> str:
        return f"/apple/v1/passes/{self.pass_type}/{row.serial}"

    def list_of(self, row: Any, number: int, tag: int) -> str:
        return f"/apple/v1/devices/{number}-{row.serial}/registrations/{self.pass_type}?passesUpdatedSince={tag}"


@contextmanager
def _shop(data: Path, url: str, members: int) -> Iterator[_Shop]:
    data.mkdir(parents=True)
    settings = load_settings(
        {
            "WALLET_DATA_DIR": str(data),
            "WALLET_PUBLIC_URL": "http://127.0.0.1:8000",
            "WALLET_PROXIES": "1",
            "DATABASE_URL": url,
        }
    )
    context = make_context(settings)
    try:
        market = open_market(context.engine, members=members)
        shop = _Shop(settings, context, market.program, data / "web.log")
        _register(shop)
        yield shop
    finally:
        context.engine.dispose()


def _register(shop: _Shop) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    rows = shop.passes()
    for start in range(0, len(rows), ROWS_AT_ONCE):
        devices, ties = [], []
        for row in rows[start : start + ROWS_AT_ONCE]:
            for number in range(PHONES_OF_A_PASS):
                device: dict[str, Any] = {"id": new_id(), "library_identifier": f"{number}-{row.serial}"}
                devices.append({**device, "push_token": device["id"].hex, "created_at": now, "token_at": now})
                tie = {"id": new_id(), "program_id": shop.program.id, "device_id": device["id"], "pass_id": row.id}
                ties.append({**tie, "registered_at": now})
        with transaction(shop.context.engine, ALL_PROGRAMS) as session:
            insert_rows(session, Device, devices)
            insert_rows(session, Registration, ties)
            session.execute(sa.update(IssuedPass).where(IssuedPass.wallet == "apple").values(live=True))  # type: ignore[arg-type]


# -- unchanged ----------------------------------------------------------------------------------------


def _unchanged(shop: _Shop, rounds: int, requests: int) -> dict[str, Any]:
    """Requests a second that bring 304, beside the same server's trivial endpoint; shares are medians of rounds."""
    bare: list[float] = []
    ours: list[float] = []
    with web_server(shop.settings, shop.log, processes=1) as line:
        # Read behind its start, which finds a certificate that it does not know and counts all as changed.
        row = shop.passes()[0]
        proof = {"Authorization": shop.proof(row), "If-Modified-Since": http_date(row.last_modified)}
        assert line.ask("GET", shop.target(row), proof).status == 304
        for _round in range(rounds):
            bare.append(_rate(line, TRIVIAL, requests, {}))
            ours.append(_rate(line, shop.target(row), requests, proof))
    return {
        "trivial per second": round(statistics.median(bare)),
        "unchanged per second": round(statistics.median(ours)),
        "share of the trivial": round(statistics.median(map(float.__truediv__, ours, bare)), 2),
    }


def _rate(line: Line, target: str, requests: int, headers: dict[str, str]) -> float:
    command = [tool("h2load"), "--h1", f"-n{requests}", f"-c{CONNECTIONS}", "-t1"]
    command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    address = f"http://127.0.0.1:{line.port}{target}"
    done = subprocess.run(
        [*command, address], capture_output=True, text=True, check=True, timeout=600, env=tool_environment()
    )
    assert f"{requests} succeeded" in done.stdout, done.stdout
    match = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    assert match is not None, done.stdout
    return float(match[1])


# -- the herd -----------------------------------------------------------------------------------------


def _herd(shop: _Shop) -> dict[str, Any]:
    with web_server(shop.settings, shop.log, processes=PROCESSES) as line, _memory_of(line.process_id) as memory:
        before = {row.id: row for row in shop.passes()}
        first = next(iter(before.values()))
        for _process in range(8):
            line.ask("GET", shop.target(first), {"Authorization": shop.proof(first)})  # pictures are drawn, once
        memory.begin()
        signed = _signed(line)
        _campaign(shop, list(before.values()))
        phones = [
            [
                f"10.{number}.{place >> 8 & 255}.{place & 255}",
                shop.list_of(row, number, before[row.id].update_tag),
                shop.target(row),
                shop.proof(row),
                http_date(before[row.id].last_modified),
            ]
            for place, row in enumerate(shop.passes())
            for number in range(PHONES_OF_A_PASS)
        ]
        told = _woken(line, phones)
        signed = _signed(line) - signed
    taken = sorted(told["taken"])
    assert len(taken) == len(phones), f"{len(phones) - len(taken)} phones went away"
    assert all(len(digests) == 1 for digests in told["digests"].values()), "two phones have two files of one version"
    assert signed == len(before), f"{len(before)} passes were signed {signed} times"
    return {
        "phones": len(phones),
        "passes": len(before),
        "signatures": round(signed),
        "phones per second": round(len(phones) / told["seconds"]),
        "median seconds to the pass": round(statistics.median(taken), 3),
        "p99 seconds to the pass": round(taken[int(len(taken) * 0.99) - 1], 3),
        "memory of the web processes before, mb": round(memory.before),
        "memory of the web processes at most, mb": round(memory.most),
    }


def _campaign(shop: _Shop, rows: list[Any]) -> None:
    """Every member is given points, every pass says so, and its tag follows, as the push job has it."""
    now = datetime.now(UTC)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        gifts = [earn(row.member_id, POINTS, reason="Campaign", occurred_at=now, kind="reward") for row in part]
        with transaction(shop.context.engine, shop.program.id) as session:
            post(session, shop.program.id, gifts, now)
            passes_changed(session, shop.program, [row.member_id for row in part], now)
        with transaction(shop.context.engine, ALL_PROGRAMS) as session:
            tag_passes(session, [row.id for row in part], now)


def _woken(line: Line, phones: list[list[str]]) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.crowd"],
        input=json.dumps({"port": line.port, "at_once": AT_ONCE, "phones": phones}),
        capture_output=True,
        text=True,
        timeout=HERD_SECONDS_MAX,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _signed(line: Line) -> float:
    metrics = line.ask("GET", "/metrics").body.decode()
    found = re.search(r"^wallet_passes_signed_total ([\d.]+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


class _Memory:
    """The memory of a server's processes in MB, each page counted once (PSS), sampled while they work."""

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id
        self.before = 0.0
        self.most = 0.0

    def begin(self) -> None:
        self.before = self.most = self.now()

    def now(self) -> float:
        kilobytes = 0
        for one in (self._process_id, *children_of(self._process_id)):
            with suppress(OSError):  # it has just ended
                rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
                found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
                kilobytes += int(found[1]) if found else 0
        return kilobytes / 1024


@contextmanager
def _memory_of(process_id: int) -> Iterator[_Memory]:
    memory = _Memory(process_id)
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            memory.most = max(memory.most, memory.now())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield memory
    finally:
        stop.set()
        sampler.join()
