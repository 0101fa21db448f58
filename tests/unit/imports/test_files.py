"""Reading files: what is a record, what is a bad one, and that reading goes on behind it."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wallet_server.errors import DomainError
from wallet_server.imports.files import LINE_BYTES_MAX, RECORD_LINES_MAX, Record, open_table

COLUMNS = ("id", "name", "note")


def read(path: Path, content: bytes | None = None, required: tuple[str, ...] = ("id",)) -> list[Record]:
    if content is not None:
        path.write_bytes(content)
    with open_table(path, COLUMNS, required) as table:
        records = list(table.records)
        assert table.position == table.total
        return records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def test_columns_are_found_by_name_in_any_order_and_missing_ones_are_none(path: Path):
    assert read(path, b"name,id\nAna,1\nBo,2\n") == [
        Record(2, ["1", "Ana", None]),
        Record(3, ["2", "Bo", None]),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "id,name\n1,Ана\n",
        "\ufeffid,name\r\n1,Ана\r\n",
        "id;name\n1;Ана\n",
        "id\tname\n1\tАна\n",
        ' ID , Name\n1,"Ана"\n',
        "id,name\n\n1,Ана\n\n",
    ],
)
def test_what_spreadsheets_write_is_read(path: Path, content: str):
    assert [record.values for record in read(path, content.encode())] == [["1", "Ана", None]]


def test_quotes_may_hold_separators_and_line_feeds_and_lines_are_still_counted(path: Path):
    assert read(path, b'id,name\n1,"A, ""B""\nC"\n2,D\n') == [
        Record(2, ["1", 'A, "B"\nC', None]),
        Record(4, ["2", "D", None]),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"2", "1 columns instead of 2"),
        (b"2,x,y", "3 columns instead of 2"),
        (b"2,a\x00b", "a NUL byte"),
        (b"2,\xff\xfe", "not UTF-8 (byte 3)"),
        (b'2,"never closed', "a quote is opened and not closed"),
        (b'2,"closed"early', "not a line of CSV: ',' expected after '\"'"),
        (b"2,a\rb", "not a line of CSV"),
        (b"2," + b"x" * LINE_BYTES_MAX, "the line is longer than"),
        (b"2," + b"x" * (3 * LINE_BYTES_MAX), "the line is longer than"),
    ],
)
@pytest.mark.parametrize("after", [1, RECORD_LINES_MAX + 5])
def test_a_bad_line_is_told_with_its_number_and_the_rest_is_read(path: Path, line: bytes, problem: str, after: int):
    rest = b"".join(b"%d,good\n" % number for number in range(3, 3 + after))
    records = read(path, b"id,name\n1,good\n" + line + b"\n" + rest)
    assert [record.number for record in records if record.problem] == [3]
    [bad] = [record for record in records if record.problem]
    assert (bad.problem or "").startswith(problem)
    assert bad.values[0] == "2"
    good = [record.values for record in records if not record.problem]
    assert good == [["1", "good", None], *([str(number), "good", None] for number in range(3, 3 + after))]


def test_a_file_that_ends_in_the_middle_of_a_line_is_told_because_half_a_price_is_a_wrong_price(path: Path):
    records = read(path, b"id,name\n1,1250\n2,12")
    assert [record.problem is None for record in records] == [True, False]
    assert "put a line feed at its end" in (records[1].problem or "")


def test_a_quote_that_happens_to_be_closed_by_the_next_one_is_a_value_and_the_odd_one_is_told(path: Path):
    records = read(path, b"id,name\n" + b'7,"\n' * 501)
    assert [record.number for record in records] == list(range(2, 503, 2))
    assert [record.number for record in records if record.problem] == [502]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"name\nx\n", "the column id is missing"),
        (b"id,name,id\n", "the column id is there twice"),
        (b"id,nmae\n", "unknown column 'nmae'; columns are id, name, note"),
        (b"id,name", "line 1: the file ends in the middle"),
        ("id\n".encode("utf-16"), "UTF-16"),
        (b"id" + b",x" * 100 + b"\n", "more than 64 columns"),
        (b"PAR1 half a file", "is damaged, or only half of a file"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused_in_a_sentence(path: Path, content: bytes, sentence: str):
    path.write_bytes(content)
    with pytest.raises(DomainError) as refused, open_table(path, COLUMNS, ("id",)):
        pass
    assert refused.value.code == "import_file"
    assert sentence in refused.value.detail


def test_a_missing_file_is_refused_in_a_sentence(tmp_path: Path):
    with pytest.raises(DomainError, match="No such file"), open_table(tmp_path / "no.csv", COLUMNS, ()):
        pass


def test_parquet_is_read_with_its_own_types(tmp_path: Path):
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table({"Name": ["Ana", None], "id": [1, 2], "note": [0.5, math.nan]}), path)
    records = read(path)
    assert records[0] == Record(1, (1, "Ana", 0.5))
    assert records[1].values[:2] == (2, None)


def test_half_a_parquet_file_is_refused(tmp_path: Path):
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table({"id": list(range(10_000))}), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DomainError, match="only half of a file"), open_table(path, COLUMNS, ("id",)):
        pass


def test_a_parquet_file_that_is_damaged_inside_stops_with_a_sentence(tmp_path: Path):
    path = tmp_path / "people.parquet"
    pq.write_table(
        pa.table({"id": [f"person {n}" for n in range(50_000)]}), path, row_group_size=10_000, compression="zstd"
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2_000] = bytes(2_000)
    path.write_bytes(content)
    with pytest.raises(DomainError, match="damaged behind row"), open_table(path, COLUMNS, ("id",)) as table:
        list(table.records)
