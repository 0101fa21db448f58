"""Rows to members and receipts: types, limits, and which rows are one receipt."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from wallet_server.imports import rows
from wallet_server.imports.files import Record
from wallet_server.imports.rows import MEMBER_COLUMNS, RECEIPT_COLUMNS, MemberRow, Read, ReceiptRow
from wallet_server.purchases.commands import LineInput

GOOD: dict[str, Any] = {
    "receipt_id": "R1",
    "outlet": "A",
    "external_id": "p1",
    "occurred_at": "2026-11-20T10:00:00+01:00",
    "sku": "burger",
    "quantity": "1",
    "unit_price_minor": "45000",
}


def line(number: int, problem: str | None = None, **values: Any) -> Record:
    merged = {**GOOD, **values}
    return Record(number, [merged.get(name) for name in RECEIPT_COLUMNS], problem)


def receipts(*records: Record) -> list[Read]:
    reads = list(rows.receipts(records))
    assert sum(read.records for read in reads) == len(records)
    return reads


def reason(read: Read) -> str:
    assert read.item is None
    return read.refusals[0].reason


def test_lines_that_stand_together_are_one_receipt():
    first, second = receipts(line(2), line(3, sku="cola", quantity="0.5"), line(4, receipt_id="R2"))
    assert isinstance(first.item, ReceiptRow)
    assert first.records == 2
    assert first.item.row == 2
    assert first.item.external_id == "p1"
    assert first.item.command.occurred_at == datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert first.item.command.lines == (
        LineInput("burger", None, 1000, 45000),
        LineInput("cola", None, 500, 45000),
    )
    assert isinstance(second.item, ReceiptRow)


def test_the_same_number_at_another_outlet_is_another_receipt():
    assert [read.records for read in receipts(line(2), line(3, outlet="B"))] == [1, 1]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"quantity": "0"}, "quantity: '0' is not above 0"),
        ({"quantity": "-1"}, "quantity: '-1' is not above 0"),
        ({"quantity": "1.0005"}, "more than three decimals"),
        ({"quantity": "NaN"}, "not above 0"),
        ({"quantity": "1e9"}, "not above 0 and up to"),
        ({"quantity": "one"}, "is not a number"),
        ({"quantity": None}, "quantity: is missing"),
        ({"unit_price_minor": "4.50"}, "is not a whole number"),
        ({"unit_price_minor": ""}, "is not a whole number"),
        ({"unit_price_minor": "9" * 30}, "is not a whole number"),
        ({"occurred_at": "2026-11-20T10:00:00"}, "needs its offset"),
        ({"occurred_at": "yesterday"}, "is not a time"),
        ({"occurred_at": None}, "occurred_at: is missing"),
        ({"external_id": None}, "one of card_number and external_id is needed"),
        ({"card_number": "9" * 16}, "one of card_number and external_id is needed"),
        ({"sku": "x" * 121}, "sku: longer than 120 characters"),
        ({"sku": "a\u202eb"}, "cannot be printed"),
        ({"sku": b"bytes"}, "bytes instead of a text"),
        ({"receipt_id": ""}, "receipt_id: is missing"),
    ],
)
def test_a_bad_value_refuses_the_receipt_and_says_why(values: dict[str, Any], sentence: str):
    [read] = receipts(line(2, **values))
    assert sentence in reason(read)
    assert read.refusals[0].row == 2


def test_one_bad_line_refuses_its_whole_receipt_and_no_other():
    reads = receipts(line(2), line(3, quantity="x"), line(4), line(5, receipt_id="R2"))
    assert [read.item is None for read in reads] == [True, False]
    assert [refusal.row for refusal in reads[0].refusals] == [3]


def test_an_unreadable_line_belongs_to_the_receipt_whose_number_it_begins_with():
    torn = line(3, "a NUL byte")
    [read] = receipts(line(2), torn, line(4))
    assert reason(read) == "a NUL byte"
    reads = receipts(line(2, receipt_id="R0"), torn, line(4), line(5, receipt_id="R2"))
    assert [read.item is None for read in reads] == [False, True, False]


def test_a_line_that_breaks_off_behind_its_number_still_belongs_to_its_receipt():
    broken = Record(3, ["R1", *[None] * (len(RECEIPT_COLUMNS) - 1)], "1 columns instead of 7")
    [read] = receipts(line(2), broken, line(4))
    assert reason(read) == "1 columns instead of 7"


def test_an_unreadable_line_of_nobody_leaves_its_neighbours_alone():
    nobody = Record(3, [None] * len(RECEIPT_COLUMNS), "not UTF-8")
    reads = receipts(line(2), nobody, line(4, receipt_id="R2"))
    assert [read.item is None for read in reads] == [False, True, False]


def test_lines_of_one_receipt_that_contradict_each_other_are_refused():
    [read] = receipts(line(2), line(3, external_id="p2"))
    assert "differ from the first line" in reason(read)


def test_more_lines_than_a_receipt_can_have_are_refused_without_keeping_them():
    [read] = receipts(*(line(number) for number in range(2, 3_000)))
    assert "more than 2000 lines" in reason(read)
    assert len(read.refusals) == rows.REASONS_MAX


@pytest.mark.parametrize("quantity", ["2.5", 2.5, Decimal("2.500"), " 2.5 "])
def test_a_quantity_is_taken_by_the_digits_that_it_shows(quantity: Any):
    [read] = receipts(line(2, quantity=quantity, unit_price_minor=100))
    assert isinstance(read.item, ReceiptRow)
    assert read.item.command.lines[0].quantity_thousandths == 2500


def members(**values: Any) -> Read:
    [read] = rows.members([Record(2, [values.get(name) for name in MEMBER_COLUMNS])])
    return read


def test_a_member_row_is_read_with_its_types():
    read = members(external_id=17, phone=" +38970123456 ", birthday="1990-04-25", marketing="Yes", name="")
    assert isinstance(read.item, MemberRow)
    assert (read.item.external_id, read.item.phone, read.item.name) == ("17", "+38970123456", None)
    assert read.item.birthday == date(1990, 4, 25)
    assert read.item.marketing is True
    assert members(email="a@b.mk").item is not None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "one of external_id, phone, email is needed"),
        ({"phone": "1", "birthday": "25.04.1990"}, "is not a day such as"),
        ({"phone": "1", "birthday": datetime(1990, 4, 25, tzinfo=UTC)}, "is not a day"),
        ({"phone": "1", "marketing": "maybe"}, "neither true nor false"),
        ({"phone": "1", "name": "x" * 300}, "longer than 254"),
    ],
)
def test_a_bad_member_row_is_refused_and_says_why(values: dict[str, Any], sentence: str):
    assert sentence in reason(members(**values))
