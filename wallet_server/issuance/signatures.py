"""Signatures that were made, in one file that all processes of this machine share: nothing is signed twice.

The file is a table of fixed size. A signature's key says in which row it may lie; a row has eight places, and
the oldest gives way. It holds no pass and no secret: a key is a hash over a pass's files and the certificate, so
another version, another look and another certificate are other keys, and nothing in it can be out of date.

Nothing has to be tidied up: a process that dies lets its locks go, a record that was written by half fails its
sum and counts as none, and the whole file may be deleted at any time. Machines do not share it: each signs once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

FILE_NAME: Final = "signatures.cache"
ROWS: Final = 16_384
PLACES: Final = 8
VALUE_BYTES_MAX: Final = 528
"""A time and an RSA value of 4096 bits."""
WAIT_SECONDS_MAX: Final = 2.0
"""How long to wait for another who signs the same; then it is signed twice."""
POLL_SECONDS: Final = 0.0005
RETRY_SECONDS: Final = 60.0
"""How long to go without a file that could not be used."""
_LOCKS: Final = 64
_HEAD: Final = struct.Struct(">32sQH")
_SUM_BYTES: Final = 6
RECORD_BYTES: Final = _HEAD.size + VALUE_BYTES_MAX + _SUM_BYTES
ROW_BYTES: Final = RECORD_BYTES * PLACES
FILE_BYTES: Final = ROW_BYTES * ROWS
"""About 75 MB when it is full; the file is sparse until then."""


class SignatureBook:
    """A :class:`passes.apple.signing.SignatureMemory`. Safe for threads; the file is made at the first use.

    A file that cannot be used (a full disk) costs only the memory: signatures are then made each time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._unusable_until = float("-inf")
        self._opening = threading.Lock()
        # Record locks belong to the process: its own threads need locks of their own.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self.on_made: Callable[[], None] = lambda: None
        """Called for each signature that this process makes."""

    def once(self, key: bytes, make: Callable[[], bytes]) -> bytes:
        """The value kept under ``key`` (32 bytes), else a new one, which only one of all who ask at once makes."""
        row = int.from_bytes(key[:4], "big") % ROWS
        file = self._open()
        if file is None:
            return self._made(make)
        try:
            if (kept := self._find(file, row, key)) is not None:
                return kept
            with self._locked(file, row):
                if (kept := self._find(file, row, key)) is not None:
                    return kept
                value = self._made(make)
                self._keep(file, row, key, value)
                return value
        except OSError as error:
            self._give_up(error)
            return self._made(make)

    def close(self) -> None:
        """Let the file go; the next use opens it again."""
        with self._opening:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _made(self, make: Callable[[], bytes]) -> bytes:
        value = make()
        self.on_made()
        return value

    def _open(self) -> int | None:
        if time.monotonic() < self._unusable_until:
            return None
        if self._file is None:
            with self._opening:
                if self._file is None:
                    try:
                        file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                        if os.fstat(file).st_size != FILE_BYTES:
                            os.ftruncate(file, FILE_BYTES)
                        self._file = file
                    except OSError as error:
                        self._give_up(error)
        return self._file

    def _give_up(self, error: OSError) -> None:
        self._unusable_until = time.monotonic() + RETRY_SECONDS
        structlog.get_logger().warning(
            "signatures cannot be kept now: passes that are asked for again are signed again",
            path=str(self._path),
            error=error.strerror,
        )

    def _find(self, file: int, row: int, key: bytes) -> bytes | None:
        data = os.pread(file, ROW_BYTES, row * ROW_BYTES)
        for start in range(0, len(data), RECORD_BYTES):
            if data.startswith(key, start):
                record = data[start : start + RECORD_BYTES]
                _key, _made_at, size = _HEAD.unpack_from(record)
                if record[-_SUM_BYTES:] == _sum(record[:-_SUM_BYTES]):
                    return record[_HEAD.size : _HEAD.size + size]
        return None

    def _keep(self, file: int, row: int, key: bytes, value: bytes) -> None:
        if len(value) > VALUE_BYTES_MAX:
            return
        try:
            self._write(file, row, key, value)
        except OSError as error:
            self._give_up(error)

    def _write(self, file: int, row: int, key: bytes, value: bytes) -> None:
        data = os.pread(file, ROW_BYTES, row * ROW_BYTES)
        heads = [_HEAD.unpack_from(data, start) for start in range(0, len(data), RECORD_BYTES)]
        same = [place for place, head in enumerate(heads) if head[0] == key]
        place = same[0] if same else min(range(PLACES), key=lambda place: heads[place][1])
        record = _HEAD.pack(key, time.time_ns(), len(value)) + value.ljust(VALUE_BYTES_MAX, b"\0")
        os.pwrite(file, record + _sum(record), row * ROW_BYTES + place * RECORD_BYTES)

    @contextlib.contextmanager
    def _locked(self, file: int, row: int) -> Iterator[None]:
        """Hold the row against all threads and processes; after a while go on without."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        own = self._locks[row % _LOCKS]
        has_own = own.acquire(timeout=WAIT_SECONDS_MAX)
        try:
            held = has_own and _lock(file, row, deadline)
            try:
                yield
            finally:
                if held:
                    fcntl.lockf(file, fcntl.LOCK_UN, 1, row)
        finally:
            if has_own:
                own.release()


def _lock(file: int, row: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        else:
            return True


def _sum(record: bytes) -> bytes:
    return hashlib.sha256(record).digest()[:_SUM_BYTES]
