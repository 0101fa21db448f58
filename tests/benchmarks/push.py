"""Pushes: the sender beside h2load on the same nghttpd, the whole job with its rows, and what faults cost.

Server and client share the machine, so shares are what counts: the median of some turns of h2load and of the sender,
with the CPU time of the sender's process for a push. ``*_50ms`` goes through a line that takes 25 ms each way. The
whole job begins with the members' changes and ends when every push is accepted and recorded; it is run through the
workers' own code, without Valkey, whose ring costs a job of 400 members 2.5 ms. A change is ``silent`` (new colours),
or a ``balance`` of which every member is told: the governor decides about each, finds words and writes them down. What
it takes is the difference. 100,000 members take some minutes, most of them to enrol: fewer with
``--set members=10000``.
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col

from passes.apple.push import TOKENS_MAX, ApnsSender
from passes.apple.push_outcome import PushVerdict
from tests.benchmarks.market import new_postgres, open_market
from tests.benchmarks.nghttp2 import tool, tool_environment
from tests.benchmarks.slow_line import slow_line
from tests.postgres import postgres_server
from tests.unit.passes.apns_faults import OK, FaultyApns
from wallet_server.context import ServerContext, make_context
from wallet_server.db import ALL_PROGRAMS, insert_rows, new_id, reading, refresh_planner_statistics, transaction
from wallet_server.garbage import few_collections
from wallet_server.issuance.credentials import make_development_folder
from wallet_server.issuance.models import Device, IssuedPass, Registration
from wallet_server.issuance.services import passes_changed
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.models import Notification
from wallet_server.notifications.services import tell
from wallet_server.outbox import services as outbox
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.settings import load_settings
from workers.dispatcher import LONG_ROWS_PER_RING
from workers.jobs import work
from workers.runtime import make_runtime

STREAMS = 300
START_SECONDS_MAX = 120
FAULT_EVERY = 97
"""A prime, so that faults meet rows and streams at ever different places."""
TURNS = 5
ROUNDS_MAX = 200
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz-bench"


def measure(data: Path, *, pushes: int = 40_000, members: int = 100_000, faulty: int = 10_000) -> dict[str, Any]:
    """The figures for so many pushes, for 1,000 and for ``members`` members, and for ``faulty`` under faults.

    Raises ``AssertionError`` when a push was lost or recorded wrongly.
    """
    make_development_folder(_settings(data, "", "https://127.0.0.1"), datetime.now(UTC))
    result: dict[str, Any] = {}
    with nghttpd(data, max(members, TOKENS_MAX)) as port, slow_line(port) as slow_port:
        share_of = _client(data, port, slow_port, pushes, result)
        with postgres_server() as folder:
            for kind in ("sqlite", "postgresql"):
                result[kind] = _fan_out(data, folder, kind, port, sorted({min(1_000, members), members}), share_of)
    if faulty:
        result["faults"] = _faults(data, faulty)
    return result


# -- the client alone ---------------------------------------------------------------------------------


def _client(data: Path, port: int, slow_port: int, pushes: int, result: dict[str, Any]) -> float:
    """Fill in the figures of both lines; the requests a second of h2load on the fast one."""
    h2load_rate = _beside_h2load(data, port, pushes, result)
    _beside_h2load(data, slow_port, max(pushes // 8, 1_000), result, "_50ms")
    return h2load_rate


def _beside_h2load(data: Path, port: int, count: int, result: dict[str, Any], line: str = "") -> float:
    h2load_rates, rates, shares, costs = [], [], [], []
    for _turn in range(TURNS):
        h2load_rates.append(h2load(data, port, count))
        rate, microseconds = _push_rate(data / "apple", port, count)
        rates.append(rate)
        shares.append(rate / h2load_rates[-1])
        costs.append(microseconds)
    result[f"h2load_per_second{line}"] = round(median(h2load_rates))
    result[f"client_per_second{line}"] = round(median(rates))
    result[f"client_share{line}"] = round(median(shares), 3)
    result[f"client_cpu_microseconds_per_push{line}"] = round(median(costs), 1)
    return median(h2load_rates)


def _push_rate(folder: Path, port: int, count: int) -> tuple[float, float]:
    """Pushes a second, and the CPU time of a push in microseconds."""
    with ApnsSender(
        f"https://127.0.0.1:{port}",
        certificate_pem=(folder / "pass.pem").read_bytes() + (folder / "intermediate.pem").read_bytes(),
        key_pem=(folder / "pass-key.pem").read_bytes(),
        topic="pass.bench",
        ca_file=str(folder / "root.pem"),
        streams_max=STREAMS,
    ) as apns:
        apns.push([token(0)])  # h2load's clock starts with the connection open, too
        begun, cpu_begun = time.perf_counter(), time.process_time()
        done = 0
        while done < count:
            batch = [token(number) for number in range(min(TOKENS_MAX, count - done))]
            outcomes = apns.push(batch)
            assert all(outcome.verdict is PushVerdict.ACCEPTED for outcome in outcomes), outcomes[0]
            done += len(batch)
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
        return done / seconds, 1e6 * cpu_seconds / done


def h2load(data: Path, port: int, count: int) -> float:
    """Requests a second of h2load: one connection, as many streams as ours, the same bodies and paths."""
    addresses = data / f"urls-{port}"
    addresses.write_text(
        "".join(f"https://127.0.0.1:{port}/3/device/{token(number)}\n" for number in range(TOKENS_MAX))
    )
    body = data / "body"
    body.write_text("{}")
    command = [tool("h2load"), f"-n{count}", "-c1", "-t1", f"-m{STREAMS}", f"-i{addresses}", f"-d{body}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600, env=tool_environment())
    assert f"{count} succeeded" in done.stdout, done.stdout
    match = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    assert match is not None, done.stdout
    return float(match[1])


# -- the whole job ------------------------------------------------------------------------------------


def _fan_out(
    data: Path, postgres: str, kind: str, port: int, sizes: Sequence[int], h2load_rate: float
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    taken: dict[str, list[float]] = {"silent": [], "balance": []}
    for size in sizes:
        name = f"push_{kind}_{size}"
        url = f"sqlite:///{data / name}.sqlite" if kind == "sqlite" else new_postgres(postgres, name)
        with _shop(data, url, f"https://127.0.0.1:{port}", size) as shop:
            for change, per_member in taken.items():
                seconds = shop.fan_out(told=change == "balance")
                shop.check()
                per_member.append(seconds / size)
                figures[f"{change}_members_per_second_{size}"] = round(size / seconds)
                figures[f"{change}_microseconds_per_member_{size}"] = round(1e6 * seconds / size)
            shop.check_told()
        governor = taken["balance"][-1] - taken["silent"][-1]
        figures[f"governor_microseconds_per_member_{size}"] = round(1e6 * governor)
    figures["whole_job_share"] = round(1 / taken["silent"][-1] / h2load_rate, 3)
    for change, per_member in taken.items():
        figures[f"{change}_cost_per_member_of_most_to_fewest"] = round(per_member[-1] / per_member[0], 2)
    return figures


@dataclass
class _Clock:
    """The machine's, moved on where a back-off would be waited for."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class _Shop:
    context: ServerContext
    clock: _Clock
    program: ProgramDefinition
    members: Sequence[UUID]

    def fan_out(self, *, told: bool = False) -> float:
        """Change every member's pass, push until nothing is left to do; the seconds it took.

        ``told``: it is the balance that has changed, of which phones speak.
        """
        with few_collections():  # as a worker's process has it
            return self._fan_out(told)

    def _fan_out(self, told: bool) -> float:
        runtime = make_runtime(self.context)
        try:
            begun = time.perf_counter()
            with transaction(self.context.engine, self.program.id) as session:
                if told:
                    noticed = dict.fromkeys(self.members, Noticed(points=25))
                    tell(session, self.program, noticed, self.clock.now(), priority=10)
                else:
                    passes_changed(session, self.program, self.members, self.clock.now(), priority=10)
            for _round in range(ROUNDS_MAX):
                self._work_all(runtime)
                if not self._left():
                    break
                self.clock.ahead += outbox.BACK_OFF_MAX
            return time.perf_counter() - begun
        finally:
            runtime.close()

    def _work_all(self, runtime: Any) -> None:
        while True:
            with transaction(self.context.engine, ALL_PROGRAMS) as session:
                ids = outbox.due(session, "push", self.clock.now(), limit=16 * LONG_ROWS_PER_RING)
            if not ids:
                return
            for start in range(0, len(ids), LONG_ROWS_PER_RING):
                work(runtime, ids[start : start + LONG_ROWS_PER_RING])

    def _left(self) -> int:
        waiting = OutboxRow.state.in_(("waiting", "leased"))  # type: ignore[attr-defined]
        with reading(self.context.engine, ALL_PROGRAMS) as session:
            return session.scalar(sa.select(sa.func.count()).where(waiting, OutboxRow.queue == "push")) or 0

    def check(self) -> int:
        """Every pass is recorded as pushed once with the version it has, and no row was given up; how many."""
        with reading(self.context.engine, ALL_PROGRAMS) as session:
            states = Counter(session.scalars(sa.select(OutboxRow.state).where(OutboxRow.queue == "push")))
            pushed = session.scalar(
                sa.select(sa.func.count()).where(
                    IssuedPass.wallet == "apple", IssuedPass.pushed_version == IssuedPass.version
                )
            )
        assert set(states) == {"done"}, states
        assert pushed == len(self.members), f"{pushed} of {len(self.members)} pushes were recorded"
        return pushed

    def check_told(self) -> None:
        """Every member was shown one message."""
        shown = sa.select(sa.func.count()).where(col(Notification.state) == "shown", col(Notification.text) != "")
        with reading(self.context.engine, ALL_PROGRAMS) as session:
            messages = session.scalar(shown)
        assert messages == len(self.members), f"{messages} of {len(self.members)} members were told"


@contextmanager
def _shop(data: Path, database_url: str, apns_url: str, members: int) -> Iterator[_Shop]:
    """A program whose members all have their pass on a phone."""
    settings = _settings(data, database_url, apns_url)
    clock = _Clock()
    context = replace(make_context(settings), clock=clock)
    try:
        market = open_market(context.engine, members=members)
        now = datetime.now(UTC) - timedelta(seconds=5)
        with transaction(context.engine, ALL_PROGRAMS) as session:
            passes = session.execute(
                sa.select(IssuedPass.id, IssuedPass.member_id).where(IssuedPass.wallet == "apple")
            ).all()
            devices = [new_id() for _pass in passes]
            for start in range(0, len(passes), 1_000):
                part = range(start, min(start + 1_000, len(passes)))
                insert_rows(
                    session,
                    Device,
                    [
                        {
                            "id": devices[number],
                            "library_identifier": f"phone-{number}",
                            "push_token": token(number),
                            "created_at": now,
                            "token_at": now,
                        }
                        for number in part
                    ],
                )
                insert_rows(
                    session,
                    Registration,
                    [
                        {
                            "id": new_id(),
                            "program_id": market.program.id,
                            "device_id": devices[number],
                            "pass_id": passes[number].id,
                            "registered_at": now,
                        }
                        for number in part
                    ],
                )
            session.execute(sa.update(IssuedPass).where(IssuedPass.wallet == "apple").values(live=True))
            session.execute(sa.update(OutboxRow).values(state="done", finished_at=now))
        refresh_planner_statistics(context.engine)  # as after an import; a server in use does so by itself
        context.engine.dispose()
        yield _Shop(context, clock, market.program, [row.member_id for row in passes])
    finally:
        context.engine.dispose()


# -- faults -------------------------------------------------------------------------------------------


def _faults(data: Path, members: int) -> dict[str, Any]:
    """GOAWAY, 503, resets and cut lines under a whole job: nothing lost, everything recorded once."""
    folder = data / "apple"
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "root.pem"))
    tls.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.set_alpn_protocols(["h2"])
    chance = random.Random(4)
    made: Counter[str] = Counter()
    accepted: Counter[str] = Counter()

    def decide(pushed: str, times: int) -> Any:
        if int(pushed, 16) % FAULT_EVERY == 7 and times == 1:
            fault = chance.choice(("goaway", "reset", "cancel", "drop", "503"))
            made[fault] += 1
            return (503, {"reason": "ServiceUnavailable"}) if fault == "503" else fault
        accepted[pushed] += 1
        return OK

    with (
        FaultyApns(tls, decide) as server,
        _shop(data, f"sqlite:///{data / 'push_faults.sqlite'}", server.url, members) as shop,
    ):
        seconds = shop.fan_out()
        recorded = shop.check()
        lost = members - len(accepted)
    assert lost == 0, f"{lost} phones were never told"
    return {
        "pushes": members,
        **{f"made_{name}": count for name, count in sorted(made.items())},
        "lost": lost,
        "recorded": recorded,
        "told_more_than_once": sum(count > 1 for count in accepted.values()),
        "seconds": round(seconds, 1),
    }


# -- servers ------------------------------------------------------------------------------------------


def token(number: int) -> str:
    """A phone's push token."""
    return f"{number:064x}"


def _settings(data: Path, database_url: str, apns_url: str) -> Any:
    authority = data / "apple" / "root.pem"
    return load_settings(
        {
            "WALLET_DATA_DIR": str(data),
            "WALLET_SECRET_KEY": SECRET,
            "WALLET_PUBLIC_URL": "http://127.0.0.1:8000",
            "WALLET_APNS_URL": apns_url,
            # Made with the settings themselves: the very first ones come before it.
            **({"WALLET_APNS_CA_FILE": str(authority)} if authority.is_file() else {}),
            "DATABASE_URL": database_url or f"sqlite:///{data / 'wallet.sqlite'}",
        }
    )


@contextmanager
def nghttpd(data: Path, tokens: int) -> Iterator[int]:
    """nghttpd on a free port of 127.0.0.1 that answers 200 to that many tokens."""
    devices = data / "htdocs" / "3" / "device"
    devices.mkdir(parents=True)
    for number in range(tokens):
        (devices / token(number)).touch()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(tool("nghttpd"), "--address=127.0.0.1", f"--max-concurrent-streams={STREAMS}"),
            *(f"--htdocs={data / 'htdocs'}", str(port)),
            *(str(data / "apple" / "server-key.pem"), str(data / "apple" / "server.pem")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=tool_environment(),
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        threading.Event().wait(0.05)
    raise AssertionError("nghttpd did not start")
