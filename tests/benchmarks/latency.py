"""From a purchase's 201 to the new balance on the phone, through the whole running group.

The group is a real ``wallet-server up --demo``; the phones are the sandbox's, reached by pushes over HTTP/2
and fetching over HTTP as devices do. The clock stops when the phone has put the new pass away.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.group import Group, running_group
from wallet_server.sandbox.client import ControlClient

PHONES = 10
OUTLET = "bazaar"
POLL_SECONDS = 0.002
WAIT_SECONDS_MAX = 60


def measure(data: Path, purchases: int = 500, pause_seconds: float = 0.1) -> dict[str, Any]:
    """Seconds to the phone (median, 95th percentile, largest) over single purchases on an idle server."""
    with running_group(data) as group, httpx.Client(base_url=group.url, timeout=30) as till:
        till.headers["Authorization"] = f"Bearer {group.logins['api_key']}"
        cards = [_member_with_phone(group, till, index) for index in range(PHONES)]
        seconds: list[float] = []
        with _phone_store(data) as store:
            for number in range(purchases):
                card, serial = cards[number % PHONES]
                seconds.append(_one(till, store, card, serial, number))
                time.sleep(pause_seconds)
    ordered = sorted(seconds)
    return {
        "purchases": purchases,
        "median_seconds": round(statistics.median(ordered), 3),
        "p95_seconds": round(ordered[int(len(ordered) * 0.95) - 1], 3),
        "max_seconds": round(ordered[-1], 3),
    }


def _member_with_phone(group: Group, till: httpx.Client, index: int) -> tuple[str, str]:
    answer = till.post(
        "/api/v1/members",
        json={"email": f"latency{index}@example.com", "consents": {"marketing": True}},
        headers={"Idempotency-Key": f"latency-member-{index}"},
    )
    answer.raise_for_status()
    member = answer.json()
    control = ControlClient.of(group.data)
    phone = control.post("phones", name=f"Latency {index}", language="en", install=member["apple_pass_url"])
    [card] = phone["passes"]
    return member["card_number"], card["serial"]


def _one(till: httpx.Client, store: sqlite3.Connection, card: str, serial: str, number: int) -> float:
    before = _updates(store, serial)
    answer = till.post(
        "/api/v1/purchases",
        json={
            "receipt_id": f"latency-{number}",
            "card_number": card,
            "outlet": OUTLET,
            "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
            "lines": [{"quantity": 1, "unit_price_minor": 30000}],
        },
        headers={"Idempotency-Key": f"latency-{number}"},
    )
    answered = time.monotonic()
    answer.raise_for_status()
    while _updates(store, serial) == before:
        if time.monotonic() - answered > WAIT_SECONDS_MAX:
            raise RuntimeError(f"purchase {number} never reached the phone")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - answered


def _updates(store: sqlite3.Connection, serial: str) -> int:
    [count] = store.execute("SELECT updates FROM installed_pass WHERE serial = ?", (serial,)).fetchone()
    return int(count)


@contextmanager
def _phone_store(data: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{data / 'sandbox.sqlite'}?mode=ro", uri=True, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()
