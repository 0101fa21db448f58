"""A settlement report as a table of text that spreadsheets read. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date
from typing import Final

from wallet_server.errors import DomainError
from wallet_server.partners.queries import CompanyRow, SettlementReport

COLUMNS: Final = (
    "month",
    "company",
    "issued_points",
    "issued_value_minor",
    "owes_minor",
    "honoured_points",
    "honoured_value_minor",
    "gets_minor",
    "balance_minor",
)
YEAR_MIN: Final = 1970
YEAR_MAX: Final = 2999
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def parse_month(text: str) -> date:
    """``"2026-10"`` as the first day of the month; raises ``DomainError(validation)``."""
    try:
        month = date.fromisoformat(f"{text}-01")
    except ValueError:
        month = None
    if month is None or len(text) != len("2026-10") or not YEAR_MIN <= month.year <= YEAR_MAX:
        raise DomainError("validation", f"{text[:20]!r} is no month such as 2026-10", field="month")
    return month


def report_csv(report: SettlementReport, program_name: str) -> str:
    """One line a company, the program last: its balance makes the sum of all balances zero."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in report.partners:
        writer.writerow(_cells(report.month, row.company, row, row.balance_minor))
    writer.writerow(_cells(report.month, program_name, report.program, report.program_balance_minor))
    return text.getvalue()


def _cells(month: date, name: str, row: CompanyRow, balance_minor: int) -> Iterator[str | int]:
    yield f"{month:%Y-%m}"
    # A spreadsheet would take such a name for a formula.
    yield f"'{name}" if name.startswith(_FORMULA) else name
    yield from (row.issued.points, row.issued.value_minor, row.issued.issuer_owes_minor)
    yield from (row.honoured.points, row.honoured.value_minor, row.honoured.honourer_gets_minor, balance_minor)
