"""The main job whole: a year of a grocery beside a running group, phones, a promotion, and the oracle's word.

Nothing is measured that is not also right: each step compares what the server, the phones and DuckDB say, and
a difference ends the run.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.group import Group, children_of, running_group
from tests.walks.grocery_oracle import Oracle, oracle
from wallet_server.campaigns.queries import progress
from wallet_server.campaigns.services import create, launch
from wallet_server.db import ALL_PROGRAMS, create_engine, reading, transaction
from wallet_server.programs.queries import load_program
from wallet_server.sandbox.client import ControlClient
from wallet_server.segments.condition import Condition, Range
from wallet_server.segments.services import save_segment

PHONES = 200
PROMOTION = "Fresh bread this weekend: 10% back for you"
TIERS = ("silver", "gold")
PARTS = ("valkey", "sandbox", "workers", "web")
"""Words of the command lines of a group's processes; ``workers`` are dispatcher, tick and the two workers."""
SECONDS_MAX = 3_600
SETTLE_SECONDS_MAX = 600


def measure(data: Path, *, households: int | None = None, months: int = 12, phones: int = PHONES) -> dict[str, Any]:
    """Play the main job and return its figures; raises ``AssertionError`` at the first thing that is wrong."""
    size = [*(("--households", str(households)) if households else ()), "--months", str(months)]
    folder = data / "grocery"
    with running_group(data) as group:
        _command(group, "import", "grocery-files", str(folder), *size)
        _command(group, "program", "apply", str(folder / "grocery.yaml"))
        _command(group, "import", "members", "--program", "grocery", str(folder / "members.parquet"))
        _command(group, "sandbox", "phones", str(phones), "--program", "grocery")
        started = time.monotonic()
        _command(group, "import", "receipts", "--program", "grocery", str(folder / "receipts.parquet"))
        import_seconds = time.monotonic() - started
        engine = create_engine(f"sqlite:///{data / 'wallet.sqlite'}")
        expected = oracle(households=households, months=months)
        _compare_ledger(engine, expected)
        settle_seconds = _wait_for_empty_outbox(engine)
        _compare_phones(engine, group, phones)
        reached = _promote(engine, group)
        memory = _memory_mb(group)
        verify_started = time.monotonic()
        _command(group, "verify")
        verify_seconds = time.monotonic() - verify_started
        engine.dispose()
    return {
        "baskets": expected.baskets,
        "lines": expected.lines,
        "members": len(expected.points),
        "import_seconds": round(import_seconds, 1),
        "baskets_per_second": round(expected.baskets / import_seconds),
        "phones": phones,
        "phones_settled_seconds_after_import": round(settle_seconds, 1),
        "promotion": reached,
        "memory_mb": memory,
        "verify_seconds": round(verify_seconds, 1),
    }


def _command(group: Group, *arguments: str) -> str:
    done: subprocess.CompletedProcess[str] = group.command(*arguments, timeout=SECONDS_MAX)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def _compare_ledger(engine: Engine, expected: Oracle) -> None:
    with engine.connect() as connection:

        def rows(statement: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

        balances = rows(
            "SELECT external_id, spendable FROM member JOIN member_balance ON member_id = member.id"
            " JOIN program ON program.id = member.program_id WHERE slug = 'grocery'"
        )
        assert dict(balances) == expected.points
        completed = rows(
            'SELECT external_id, "window" FROM challenge_progress JOIN member ON member.id = member_id'
            " WHERE challenge = 'three-visits' AND completions > 0"
        )
        assert set(completed) == expected.visits3
        passes = rows(
            "SELECT wallet, count(*) FROM issued_pass JOIN program ON program.id = program_id"
            " WHERE slug = 'grocery' GROUP BY wallet"
        )
        assert dict(passes) == {"apple": len(expected.points), "google": len(expected.points)}


def _wait_for_empty_outbox(engine: Engine) -> float:
    """Seconds until nothing is left to be told to any phone."""
    started = time.monotonic()
    while True:
        with engine.connect() as connection:
            left = connection.execute(
                sa.text("SELECT count(*) FROM outbox WHERE state IN ('waiting', 'leased')")
            ).scalar_one()
            failed = connection.execute(sa.text("SELECT count(*) FROM outbox WHERE state = 'failed'")).scalar_one()
        assert failed == 0, f"{failed} outbox rows were given up"
        if left == 0:
            return time.monotonic() - started
        assert time.monotonic() - started < SETTLE_SECONDS_MAX, f"{left} outbox rows still wait"
        time.sleep(0.2)


def _shown(group: Group, count: int) -> dict[str, dict[str, Any]]:
    """Serial → what the phone that holds it shows, and the phone's id."""
    phones = ControlClient.of(group.data).get("phones", limit=500)["phones"]
    shown = {card["serial"]: {**card, "phone": phone["id"]} for phone in phones for card in phone["passes"]}
    assert len(shown) == count, f"{len(shown)} phones hold passes"
    return shown


def _compare_phones(engine: Engine, group: Group, count: int) -> None:
    """Every phone shows the ledger's balance: pushes are out, so only fetches may still be under way."""
    deadline = time.monotonic() + 60
    while True:
        with engine.connect() as connection:
            ledger = dict(
                connection.execute(
                    sa.text(
                        "SELECT serial, spendable FROM issued_pass JOIN member_balance USING (member_id)"
                        " WHERE wallet = 'apple'"
                    )
                ).all()
            )
        wrong = {
            serial: (card["values"]["points"], ledger[serial])
            for serial, card in _shown(group, count).items()
            if card["values"]["points"] != ledger[serial]
        }
        if not wrong:
            return
        assert time.monotonic() < deadline, f"phones show other balances than the ledger: {wrong}"
        time.sleep(0.5)


def _promote(engine: Engine, group: Group) -> dict[str, int]:
    """Send a promotion to a segment; each phone of it shows one banner, and no other phone any."""
    with reading(engine, ALL_PROGRAMS) as session:
        program = load_program(session, slug="grocery")
    shown = _shown(group, len(ControlClient.of(group.data).get("phones", limit=500)["phones"]))
    with transaction(engine, program.id) as session:
        now = _now(group)
        condition = Condition(
            tiers=list(TIERS),
            visits_last_30_days=Range(at_most=0),  # the year is long over
            days_since_last_visit=Range(at_least=30),
        )
        segment = save_segment(
            session, program, code="bread", name="Bread", condition=condition, actor="system:bench", now=now
        )
        campaign = create(
            session,
            program,
            name="Bread",
            segment_id=segment.id,
            message={program.default_language: PROMOTION},
            actor="system:bench",
            now=now,
        )
        audience = launch(session, program, campaign.id, now=now, actor="system:bench")
    _wait_for_empty_outbox(engine)
    with reading(engine, program.id) as session:
        sent = progress(session, campaign.id)
    assert sent.finished, sent
    with engine.connect() as connection:
        expected = set(
            connection.execute(
                sa.text(
                    "SELECT serial FROM issued_pass JOIN member_tier USING (member_id)"
                    " WHERE wallet = 'apple' AND live AND tier IN ('silver', 'gold')"
                )
            ).scalars()
        )
    assert expected, "no phone is in the segment"
    client = ControlClient.of(group.data)
    deadline = time.monotonic() + 60
    while True:
        banners = {
            serial: [
                banner["text"]
                for banner in client.get("phones", card["phone"])["banners"]
                if PROMOTION in banner["text"]
            ]
            for serial, card in shown.items()
        }
        assert all(len(texts) <= 1 for texts in banners.values()), "a phone showed the promotion twice"
        reached = {serial for serial, texts in banners.items() if texts}
        assert reached <= expected, "a phone outside the segment showed the promotion"
        if reached == expected:
            break
        assert time.monotonic() < deadline, f"{len(expected - reached)} phones did not show the promotion"
        time.sleep(0.5)
    return {"audience": audience, "shown": sent.shown, "phones": len(reached)}


def _now(group: Group) -> Any:
    from wallet_server.clock import SandboxClock

    return SandboxClock(create_engine(f"sqlite:///{group.data / 'wallet.sqlite'}")).now()


def _memory_mb(group: Group) -> dict[str, int]:
    """Memory of the running group by process: proportional set size, so that shared pages count once."""
    found: dict[str, int] = {}
    for process_id in [group.process.pid, *children_of(group.process.pid)]:
        words = Path(f"/proc/{process_id}/cmdline").read_text().split("\0")
        name = next((part for part in PARTS if any(part in word for word in words)), "up")
        pages = Path(f"/proc/{process_id}/smaps_rollup").read_text()
        kilobytes = next(int(line.split()[1]) for line in pages.splitlines() if line.startswith("Pss:"))
        found[name] = found.get(name, 0) + kilobytes // 1024
    found["total"] = sum(found.values())
    return found
