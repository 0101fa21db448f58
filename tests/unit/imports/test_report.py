"""The list of refused rows says what the database says, whatever happens in between."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from wallet_server.errors import DomainError
from wallet_server.imports.report import HEADER, RefusalFile, harmless
from wallet_server.imports.rows import Refusal


def refusal(row: int, subject: str = "R1") -> Refusal:
    return Refusal(row, subject, "validation", 'why, and "how"\nfar')


def listed(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(HEADER)
    return [row[0] for row in rows[1:]]


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    return tmp_path / "receipts.csv"


def test_what_is_committed_stays_and_what_is_rolled_back_goes(imported: Path):
    with RefusalFile(imported, keep_up_to_row=0) as file:
        file.add([refusal(2), refusal(3)])
        file.commit()
        file.add([refusal(4)])
        file.roll_back()
        assert listed(file.path) == ["2", "3"]
        file.add([refusal(5)])
        file.commit()
        file.add([refusal(6)])
    assert listed(file.path) == ["2", "3", "5"]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_an_interrupted_list_is_continued_behind_the_rows_that_were_done(imported: Path):
    with RefusalFile(imported, keep_up_to_row=0) as file:
        file.add([refusal(2, "=1+1"), refusal(9)])
        file.commit()
    with RefusalFile(imported, keep_up_to_row=5) as file:
        file.add([refusal(8)])
        file.commit()
    assert listed(file.path) == ["2", "8"]
    assert "'=1+1" in file.path.read_text()
    assert "''=1+1" not in file.path.read_text()


def test_without_refusals_there_is_no_list_and_an_old_one_goes(imported: Path):
    imported.with_name("receipts.csv.errors.csv").write_text("old")
    with RefusalFile(imported, keep_up_to_row=0) as file:
        file.commit()
        file.roll_back()
    assert not file.path.exists()


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_formula_is_disarmed(text: str):
    assert harmless(text) == f"'{text}"
    assert harmless(f"a{text}") == f"a{text}"


def test_a_list_that_a_crash_has_torn_keeps_what_was_before(imported: Path):
    with RefusalFile(imported, keep_up_to_row=0) as file:
        file.add([refusal(2, "Ана"), refusal(3)])
        file.commit()
    torn = file.path.read_bytes() + '4,"Ан'.encode()[:-1] + b"\0" * 300_000
    file.path.write_bytes(torn)
    with RefusalFile(imported, keep_up_to_row=3) as file:
        assert listed(file.path) == ["2", "3"]
        file.add([refusal(4)])
        file.commit()
    assert listed(file.path) == ["2", "3", "4"]
    assert [path.name for path in imported.parent.iterdir()] == [file.path.name]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_list_that_cannot_be_read_is_not_begun_anew(imported: Path):
    path = imported.with_name("receipts.csv.errors.csv")
    path.mkdir()
    with pytest.raises(DomainError, match="cannot be read") as refused:
        RefusalFile(imported, keep_up_to_row=5)
    assert refused.value.code == "import_file"


def test_a_list_that_cannot_be_put_in_its_place_leaves_the_old_one(imported: Path, monkeypatch: pytest.MonkeyPatch):
    with RefusalFile(imported, keep_up_to_row=0) as file:
        file.add([refusal(2), refusal(9)])
        file.commit()

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DomainError, match="cannot be written"):
        RefusalFile(imported, keep_up_to_row=5)
    assert listed(file.path) == ["2", "9"]
