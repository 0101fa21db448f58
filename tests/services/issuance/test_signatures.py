"""What one process has signed no other signs again, whatever happens to either or to the file between them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from wallet_server.issuance import signatures
from wallet_server.issuance.press import Kept
from wallet_server.issuance.signatures import FILE_BYTES, PLACES, RECORD_BYTES, ROW_BYTES, SignatureBook

KEY = bytes(range(32))
VALUE = b"261123163000Z" + b"s" * 256


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signatures.cache"


@pytest.fixture
def open_book(path: Path) -> Iterator[Callable[[], SignatureBook]]:
    with contextlib.ExitStack() as books:

        def make() -> SignatureBook:
            book = SignatureBook(path)
            books.callback(book.close)
            return book

        yield make


def never() -> bytes:
    raise AssertionError("it was made again")


def process(code: str, path: Path) -> subprocess.Popen[str]:
    """Another process with ``book`` open."""
    start = (
        f"import time; from wallet_server.issuance.signatures import SignatureBook; book = SignatureBook({path!r})\n"
    )
    start = start.replace("PosixPath", "__import__('pathlib').Path")
    return subprocess.Popen([sys.executable, "-c", start + code], stdout=subprocess.PIPE, text=True)


def test_what_was_made_is_kept_for_all_who_come_later(open_book, path) -> None:
    assert open_book().once(KEY, lambda: VALUE) == VALUE
    assert open_book().once(KEY, never) == VALUE
    assert open_book().once(KEY[::-1], lambda: b"other") == b"other"
    assert path.stat().st_size == FILE_BYTES
    assert path.stat().st_mode & 0o777 == 0o600


def test_threads_that_ask_at_once_have_it_made_once(open_book) -> None:
    books, gate, made = [open_book(), open_book()], threading.Barrier(16), []

    def make() -> bytes:
        made.append(1)
        time.sleep(0.05)
        return VALUE

    def ask(number: int) -> bytes:
        gate.wait(10)
        return books[0].once(KEY, make)

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(ask, range(16))) == {VALUE}
    assert made == [1]


def test_processes_that_ask_at_once_have_each_made_once(path) -> None:
    code = """
import hashlib, sys
made = 0
book.on_made = lambda: globals().update(made=made + 1)
def make():
    time.sleep(0.001)
    return b"v" * 269
for number in range(150):
    assert book.once(hashlib.sha256(b"%d" % number).digest(), make) == b"v" * 269
print(made)
"""
    running = [process(code, path) for _ in range(3)]
    counts = [int(one.communicate(timeout=60)[0]) for one in running]
    assert sum(counts) == 150


def test_a_process_that_is_killed_while_it_signs_leaves_nothing_behind(open_book, path) -> None:
    stuck = process(f"book.once({KEY!r}, lambda: print('signing', flush=True) or time.sleep(600))", path)
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == "signing\n"
    stuck.send_signal(signal.SIGKILL)
    stuck.wait(10)
    stuck.stdout.close()
    begun = []
    assert open_book().once(KEY, lambda: begun.append(1) or VALUE) == VALUE
    assert open_book().once(KEY, never) == VALUE


def test_one_that_signs_for_too_long_is_not_waited_for(open_book, path, monkeypatch) -> None:
    monkeypatch.setattr(signatures, "WAIT_SECONDS_MAX", 0.05)
    slow = process(f"book.once({KEY!r}, lambda: print('signing', flush=True) or time.sleep(600))", path)
    assert slow.stdout is not None
    slow.stdout.readline()
    try:
        assert open_book().once(KEY, lambda: VALUE) == VALUE
    finally:
        slow.kill()
        slow.wait(10)
        slow.stdout.close()


@pytest.mark.parametrize("at", [40, 42, 60, 310, RECORD_BYTES - 1])
def test_a_record_that_was_written_by_half_counts_as_none(open_book, path, at) -> None:
    open_book().once(KEY, lambda: VALUE)
    row = int.from_bytes(KEY[:4], "big") % signatures.ROWS
    with path.open("r+b") as file:
        file.seek(row * ROW_BYTES)
        assert file.read(32) == KEY
        file.seek(row * ROW_BYTES + at)
        byte = file.read(1)
        file.seek(row * ROW_BYTES + at)
        file.write(bytes([byte[0] ^ 1]))
    assert open_book().once(KEY, lambda: b"new") == b"new"
    assert open_book().once(KEY, never) == b"new"


def test_the_oldest_of_a_full_row_gives_way(open_book) -> None:
    book = open_book()
    keys = [KEY[:31] + bytes([number]) for number in range(PLACES + 1)]
    for key in keys:
        book.once(key, lambda key=key: key)
    for key in keys[1:]:
        assert book.once(key, never) == key
    assert book.once(keys[0], lambda: b"again") == b"again"


def test_a_value_that_is_too_long_is_made_but_not_kept(open_book) -> None:
    book, long = open_book(), b"x" * (signatures.VALUE_BYTES_MAX + 1)
    assert book.once(KEY, lambda: long) == long
    assert book.once(KEY, lambda: b"y") == b"y"


def test_a_file_that_cannot_be_used_is_gone_without_for_a_while(path, monkeypatch) -> None:
    path.mkdir()
    book = SignatureBook(path)
    with capture_logs() as logs:
        assert [book.once(KEY, lambda: VALUE) for _ in range(3)] == [VALUE] * 3
    assert [entry["event"].split(":")[0] for entry in logs] == ["signatures cannot be kept now"]
    path.rmdir()
    monkeypatch.setattr(book, "_unusable_until", time.monotonic())
    assert book.once(KEY, lambda: VALUE) == VALUE
    assert book.once(KEY, never) == VALUE
    book.close()


def test_a_full_disk_does_not_stop_passes(open_book, monkeypatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    made: list[int] = []
    assert open_book().once(KEY, lambda: made.append(1) or VALUE) == VALUE
    assert made == [1]


def test_an_error_of_the_signer_is_the_callers_and_blocks_nobody(open_book) -> None:
    book = open_book()
    with pytest.raises(ZeroDivisionError):
        book.once(KEY, lambda: bytes(1 // 0))
    assert book.once(KEY, lambda: VALUE) == VALUE


# -- what one process keeps -------------------------------------------------------------------------


def test_kept_values_are_bounded_by_their_size() -> None:
    kept: Kept[bytes] = Kept(10, len)
    for number in range(5):
        kept.get(number, lambda: b"1234")
    assert kept.get(4, never) == kept.get(3, never) == b"1234"
    assert kept.get(2, lambda: b"new") == b"new"
    assert kept.get("huge", lambda: b"x" * 11) == b"x" * 11
    assert kept.get("huge", lambda: b"again") == b"again"


def test_threads_that_want_the_same_value_have_it_made_once_and_a_failure_is_tried_again() -> None:
    kept: Kept[int] = Kept(4)
    gate, tries = threading.Barrier(8), []

    def make() -> int:
        tries.append(1)
        time.sleep(0.02)
        if len(tries) == 1:
            raise ValueError("the first fails")
        return 7

    def ask(_number: int) -> int | str:
        gate.wait(10)
        try:
            return kept.get("key", make)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert sorted(map(str, answers)) == ["7"] * 7 + ["the first fails"]
    assert len(tries) == 2
