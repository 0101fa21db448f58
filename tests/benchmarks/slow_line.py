"""A line to a server as phones and clouds have it: not the loopback's, where an answer takes no time."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Final

LATENCY_SECONDS: Final = 0.05
START_SECONDS_MAX: Final = 120


@contextmanager
def slow_line(port: int) -> Iterator[int]:
    """A TCP line to this port that takes 25 ms each way, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_carry, args=(port, theirs), daemon=True)
    process.start()
    try:
        assert ours.poll(START_SECONDS_MAX), "the slow line did not start"
        yield ours.recv()
    finally:
        process.terminate()
        process.join(10)


def _carry(port: int, ready: Connection) -> None:
    async def serve() -> None:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_delay(reader, there_writer), _delay(there_reader, writer))

        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def _delay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(65_536):
        loop.call_later(LATENCY_SECONDS / 2, writer.write, data)
    loop.call_later(LATENCY_SECONDS / 2, writer.close)
