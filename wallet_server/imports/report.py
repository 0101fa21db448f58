"""The list of refused rows beside an imported file: what it names is to be corrected and imported again."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from wallet_server.errors import DomainError
from wallet_server.imports.rows import Refusal

HEADER: Final = ("row", "subject", "code", "reason")
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


class RefusalFile:
    """``FILE.errors.csv``: made with the first refusal, gone when there is none.

    Rows are written before their batch is committed and cut off again if it is not, so that after any
    interruption the file says what the database says.
    """

    def __init__(self, imported: Path, *, keep_up_to_row: int) -> None:
        """Continue the list of an interrupted run, whose refusals up to a row of the file are kept.

        Raises ``DomainError(import_file)`` for a list that cannot be read or written: without it nobody would hear
        again of what was refused before.
        """
        self.path = imported.with_name(f"{imported.name}.errors.csv")
        kept = _kept(self.path, keep_up_to_row) if keep_up_to_row else []
        self._file: IO[str] | None = None
        self._committed = 0
        if kept:
            final, self.path = self.path, self.path.with_name(f"{self.path.name}.new")
            self._write(kept)
            self._to_place(final)
            self.commit()
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> RefusalFile:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self.roll_back()
            self._file.close()

    def add(self, refusals: Sequence[Refusal]) -> None:
        """Write refusals that :meth:`commit` or :meth:`roll_back` decides on."""
        if refusals:
            self._write([(str(one.row), one.subject, one.code, one.reason) for one in refusals])

    def commit(self) -> None:
        """The batch is in the database."""
        if self._file is not None:
            self._committed = self._file.tell()

    def roll_back(self) -> None:
        """The batch is not in the database."""
        if self._file is not None:
            self._file.seek(self._committed)
            self._file.truncate()

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text)
        if self._file is None:
            writer.writerow(HEADER)
        writer.writerows([harmless(cell) for cell in row] for row in rows)
        try:
            if self._file is None:
                # What people bought and who they are: for the owner of the file only.
                descriptor = os.open(self.path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
                self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
            self._file.write(text.getvalue())
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _to_place(self, final: Path) -> None:
        # At once and whole: a run that is stopped right here has lost nothing.
        try:
            self.path = self.path.replace(final)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> DomainError:
        return DomainError("import_file", f"{self.path} cannot be written: {error.strerror}")


def _kept(path: Path, up_to_row: int) -> list[list[str]]:
    """The rows of a list up to a row of the imported file; what a crash has torn at its end is behind them."""
    rows: list[list[str]] = []
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file, contextlib.suppress(csv.Error):
            for row in csv.reader(file):
                if len(row) == len(HEADER) and row[0].isdecimal():
                    rows.append(row)  # noqa: PERF401 - those before a torn one are kept
    except FileNotFoundError:
        return []  # nothing was refused
    except OSError as error:
        raise DomainError("import_file", f"{path} cannot be read: {error.strerror}") from error
    # What harmless() put in front stays as it is: a quote is never a formula.
    return [row for row in rows if int(row[0]) <= up_to_row]
