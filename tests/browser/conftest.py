"""A real Chromium before a real server (granian) with the café in its database.

Every page is watched: anything that the Content-Security-Policy forbids, and any script error, fails the
test that caused it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.factories import CAFE
from tests.watched import OpenPage, watched_pages
from tests.web.helpers import PASSWORD, QUICK
from wallet_server import migrations
from wallet_server.context import make_context
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.members.services import Enrol, enrol
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.services import record_purchase
from wallet_server.settings import load_settings
from wallet_server.staff.services import create_staff

START_S_MAX = 60
LONG_RECEIPT = "W" * 80
"""Some tills number like this, and no page may break over it."""
OWNER = "owner@cafe.example"


@dataclass(frozen=True)
class Site:
    """A running server: its address, the member that it starts with, and its database for what workers would do."""

    url: str
    member_id: str
    member_path: str
    database_url: str


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Path, _apple_template: Path) -> Iterator[Site]:
    """The café with its owner and Ana, who has bought three times, served on a free port."""
    data = tmp_path_factory.mktemp("site")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = load_settings({"WALLET_DATA_DIR": str(data), "WALLET_PUBLIC_URL": url})
    context = make_context(settings)
    migrations.upgrade(context.engine)
    member_id, token = _seed(context)
    context.engine.dispose()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--blocking-threads", "4", "--log-level", "warning", "wsgi:application"],
        env={**os.environ, **settings.environment()},
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        _wait_for(f"{url}/readyz", server)
        yield Site(url, member_id, f"/m/{token}", settings.database_url)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _seed(context: Any) -> tuple[str, str]:
    now = datetime.now(UTC)
    with transaction(context.engine, ALL_PROGRAMS) as session:
        program_id = apply_program(session, ProgramFile.model_validate(CAFE), now=now, actor="cli").program_id
        create_staff(
            session, program_id=program_id, email=OWNER, role="owner", password=PASSWORD, now=now, actor="cli",
            passwords=QUICK,
        )  # fmt: skip
    with transaction(context.engine, program_id) as session:
        program = load_program(session, program_id=program_id)
        ana = enrol(
            session,
            program,
            Enrol(phone="+38970123456", name="Ana Petrovska", language="en", marketing=True),
            now=now - timedelta(days=5),
            actor="member",
        )
        enrol(session, program, Enrol(phone="+38970654321", name="Марко Стојановски"), now=now, actor="member")
    for day in range(3):
        moment = now - timedelta(days=3 - day)
        lines = (LineInput("burger", None, 2000, 45000), LineInput("cappuccino", None, 1000, 30000))
        with transaction(context.engine, program_id) as session:
            receipt = RecordPurchase(f"A-{day}" if day else LONG_RECEIPT, ana.card_number, "A", moment, lines)
            record_purchase(session, program, receipt, now=moment, source="till", recorded_by="key:test")
    return str(ana.member_id), context.mint.page_token(ana.member_id)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)


@pytest.fixture
def open_page(chromium: Browser, site: Site) -> Iterator[OpenPage]:
    """Open a fresh, watched browser. Refused requests (4xx) are the tests' own matter."""
    with watched_pages(chromium, site.url, seconds=15, ignore="Failed to load resource") as open_one:
        yield open_one


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A page in a browser of its own."""
    return open_page()


@pytest.fixture
def staff_page(page: Page) -> Page:
    """A page on which the owner of the café is signed in."""
    page.goto("/panel/login")
    page.get_by_label("E-mail address").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/members")
    return page
