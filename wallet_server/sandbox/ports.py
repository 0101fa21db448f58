"""Free ports of this machine for the stand-ins, which only ever listen on the loopback."""

from __future__ import annotations

import socket
from typing import Final

HOST: Final = "127.0.0.1"


def free_ports(count: int, preferred: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Return ``count`` different ports that nobody listens on now.

    A ``preferred`` port is kept where it is still free, so that addresses written down before a restart
    stay right. Another program may take a port before it is used; binding it then fails loudly.
    """
    probes: list[socket.socket] = []
    try:
        for index in range(count):
            wanted = preferred[index] if index < len(preferred) else 0
            probe = socket.socket()
            probes.append(probe)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except OSError:
                probe.bind((HOST, 0))
        return tuple(int(probe.getsockname()[1]) for probe in probes)
    finally:
        for probe in probes:
            probe.close()
