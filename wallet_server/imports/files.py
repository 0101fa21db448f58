"""Reading tables from CSV and Parquet files: streamed, with a limit on everything, one bad record at a time.

CSV as in RFC 4180: UTF-8 with or without a byte order mark, columns by name in the first line, separated by
commas, semicolons or tabs (spreadsheets write what their country uses). A record that cannot be read is
handed out with its ``problem``, and reading goes on behind it.

Stricter than the RFC in one point: the last line needs its line feed. Without one nobody can tell a whole
file from the first half of an upload, and half a price is a wrong price.
"""

from __future__ import annotations

import csv
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from wallet_server.errors import DomainError

LINE_BYTES_MAX: Final = 65_536
RECORD_LINES_MAX: Final = 20
"""Line feeds may stand inside quotes, but a quote that is never closed must not swallow the file."""
COLUMNS_MAX: Final = 64
PARQUET_BATCH_ROWS: Final = 8_192
_DELIMITERS: Final = (",", ";", "\t")
_OPEN_QUOTE: Final = "a quote is opened and not closed"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class Record(NamedTuple):
    """One record of a file.

    ``number`` is the line (CSV) or row (Parquet) where it begins, from 1. ``values`` follow the columns that
    were asked for, ``None`` where the file has no such column. With a ``problem`` they are only a guess that
    may help to say which receipt the record belongs to.
    """

    number: int
    values: Sequence[Any]
    problem: str | None = None


class Table:
    """An open file. ``position`` grows to ``total``: bytes of a CSV file, rows of a Parquet file."""

    def __init__(self, total: int, records: Iterator[Record], position: Callable[[], int]) -> None:
        self.total = total
        self.records = records
        self._position = position

    @property
    def position(self) -> int:
        """How far the file has been read."""
        return self._position()


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex. Raises ``DomainError(import_file)`` if it cannot be read."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_table(path: Path, columns: Sequence[str], required: Sequence[str]) -> Iterator[Table]:
    """Open a CSV or Parquet file (told apart by their first bytes) for reading the named ``columns``.

    Raises ``DomainError(import_file)`` if it is neither, or lacks one of the ``required`` columns, or has
    columns that we do not know: a misspelt name must not lose a column silently.
    """
    with _opened(path) as file:
        start = file.read(4)
        file.seek(0)
        if start == b"PAR1":
            yield _parquet(path, file, columns, required)
        elif start[:2] in _UTF16_MARKS:
            raise DomainError("import_file", f"{path.name}: is UTF-16 text; save it as CSV UTF-8")
        else:
            yield _csv(path, file, columns, required)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise DomainError("import_file", f"{path}: {error.strerror}") from error
    with file:
        yield file


def _chosen(path: Path, found: Sequence[str], columns: Sequence[str], required: Sequence[str]) -> list[int | None]:
    """Where each asked column stands in the file."""
    names = [name.strip().lower() for name in found]
    problems = []
    twice = sorted({name for name in names if names.count(name) > 1})
    unknown = [name for name in names if name not in columns]
    missing = [name for name in required if name not in names]
    if missing:
        problems.append(f"the column {', '.join(missing)} is missing")
    if twice:
        problems.append(f"the column {', '.join(twice)} is there twice")
    if unknown:
        shown = ", ".join(repr(name[:40]) for name in unknown[:5])
        problems.append(f"unknown column {shown}; columns are {', '.join(columns)}")
    if problems:
        raise DomainError("import_file", f"{path.name}: {'; '.join(problems)}")
    return [names.index(name) if name in names else None for name in columns]


# --- Parquet ---


def _parquet(path: Path, file: BufferedReader, columns: Sequence[str], required: Sequence[str]) -> Table:
    read = 0

    def records(parquet: pq.ParquetFile, present: Sequence[str | None]) -> Iterator[Record]:
        nonlocal read
        wanted = [name for name in present if name is not None]
        try:
            for batch in parquet.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                data = batch.to_pydict()
                nothing = [None] * batch.num_rows
                for values in zip(*(nothing if name is None else data[name] for name in present), strict=True):
                    read += 1
                    yield Record(read, values)
        except (pa.ArrowException, OSError) as error:
            raise DomainError("import_file", f"{path.name}: damaged behind row {read}: {error}") from error

    try:
        parquet = pq.ParquetFile(file)
        found = parquet.schema_arrow.names
        total = parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DomainError("import_file", f"{path.name}: is damaged, or only half of a file: {error}") from error
    present = [None if index is None else found[index] for index in _chosen(path, found, columns, required)]
    return Table(total, records(parquet, present), lambda: read)


# --- CSV ---


class _UnreadableLineError(Exception):
    def __init__(self, text: str, problem: str) -> None:
        super().__init__(problem)
        self.text = text
        self.problem = problem


class _Lines:
    """The lines of a CSV file as :mod:`csv` takes them, with the possibility to go back to a record's second."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._waiting: deque[str | _UnreadableLineError] = deque()
        self.taken: list[str | _UnreadableLineError] = []
        self.number = 0
        self.position = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.taken) >= RECORD_LINES_MAX:
            raise _UnreadableLineError("", _OPEN_QUOTE)
        line = self._waiting.popleft() if self._waiting else self._read()
        self.taken.append(line)
        if isinstance(line, _UnreadableLineError):
            raise line
        return line

    def _read(self) -> str | _UnreadableLineError:
        raw = self._file.readline(LINE_BYTES_MAX + 1)
        if not raw:
            raise StopIteration
        self.position += len(raw)
        if len(raw) > LINE_BYTES_MAX and not raw.endswith(b"\n"):
            while (rest := self._file.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                self.position += len(rest)
            self.position += len(rest)
            return _unreadable(raw, f"the line is longer than {LINE_BYTES_MAX:,} bytes")
        if not raw.endswith(b"\n"):
            return _unreadable(
                raw, "the file ends in the middle of this line; if it is whole, put a line feed at its end"
            )
        if b"\x00" in raw:
            return _unreadable(raw, "a NUL byte")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            return _unreadable(raw, f"not UTF-8 (byte {error.start + 1})")

    def finish_record(self) -> None:
        """The lines that were taken are one record."""
        self.number += len(self.taken)
        self.taken.clear()

    def give_back(self) -> str | _UnreadableLineError:
        """Only the first line that was taken is bad; the others are read again."""
        first = self.taken[0]
        self._waiting.extendleft(reversed(self.taken[1:]))
        self.number += 1
        self.taken.clear()
        return first


def _unreadable(raw: bytes, problem: str) -> _UnreadableLineError:
    return _UnreadableLineError(raw.decode("utf-8", "replace"), problem)


def _csv(path: Path, file: BufferedReader, columns: Sequence[str], required: Sequence[str]) -> Table:
    lines = _Lines(file)
    if file.read(3) == b"\xef\xbb\xbf":
        lines.position = 3
    else:
        file.seek(0)
    try:
        header = next(lines)
    except StopIteration:
        raise DomainError("import_file", f"{path.name}: is empty") from None
    except _UnreadableLineError as error:
        raise DomainError("import_file", f"{path.name}: line 1: {error.problem}") from None
    lines.finish_record()
    delimiter = max(_DELIMITERS, key=header.count)
    found = next(csv.reader([header], delimiter=delimiter))
    if len(found) > COLUMNS_MAX:
        raise DomainError("import_file", f"{path.name}: more than {COLUMNS_MAX} columns")
    chosen = _chosen(path, found, columns, required)
    total = path.stat().st_size
    return Table(total, _csv_records(lines, delimiter, len(found), chosen), lambda: lines.position)


def _csv_records(lines: _Lines, delimiter: str, width: int, chosen: Sequence[int | None]) -> Iterator[Record]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)

    def ordered(values: Sequence[str]) -> list[str | None]:
        return [values[index] if index is not None and index < len(values) else None for index in chosen]

    while True:
        number = lines.number + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except _UnreadableLineError as error:
            first = lines.give_back()
            problem = first.problem if isinstance(first, _UnreadableLineError) else _OPEN_QUOTE
            text = first if isinstance(first, str) else first.text
            yield Record(number, ordered(_split(text or error.text, delimiter)), problem)
            continue
        except csv.Error as error:
            first = lines.give_back()
            problem = _OPEN_QUOTE if "unexpected end" in str(error) else f"not a line of CSV: {error}"
            yield Record(number, ordered(_split(str(first), delimiter)), problem)
            continue
        lines.finish_record()
        if not values:
            continue
        if len(values) != width:
            yield Record(number, ordered(values), f"{len(values)} columns instead of {width}")
            continue
        yield Record(number, ordered(values))


def _split(text: str, delimiter: str) -> list[str]:
    return [part.strip().strip('"') for part in text[:LINE_BYTES_MAX].rstrip("\r\n").split(delimiter)[:COLUMNS_MAX]]
