"""On which moment points expire, and when a zeroing rule is due; pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.factories import program_file
from tests.unit.rules.programs import definition
from wallet_server.ledger.expiry import end_of_day, expires_at, grace_until, inactive_since, last_day
from wallet_server.ledger.zeroing import due_on, kept
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.points import CarryOver, ZeroingRule

SKOPJE = ZoneInfo("Europe/Skopje")


def program(zone: str = "Europe/Skopje", **points: Any) -> ProgramDefinition:
    section = {**program_file()["program"], "time_zone": zone, "points": points}
    return definition(program=section)


def local(*parts: int, zone: ZoneInfo = SKOPJE) -> datetime:
    return datetime(*parts, tzinfo=zone)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("expiry", "earned", "gone"),
    [
        ({"kind": "none"}, local(2026, 1, 1), None),
        ({"kind": "inactivity_days", "days": 5}, local(2026, 1, 1), None),
        ({"kind": "rolling_days", "days": 1}, local(2026, 1, 1, 0, 0), local(2026, 1, 3)),
        ({"kind": "rolling_days", "days": 1}, local(2026, 1, 1, 23, 59), local(2026, 1, 3)),
        ({"kind": "rolling_days", "days": 365}, local(2024, 2, 29, 12), local(2025, 3, 1)),
        # Both days on which the clocks are moved: 23 and 25 hours long.
        ({"kind": "rolling_days", "days": 1}, local(2026, 3, 28, 12), local(2026, 3, 30)),
        ({"kind": "rolling_days", "days": 1}, local(2026, 10, 24, 12), local(2026, 10, 26)),
        ({"kind": "fixed_date", "month": 12, "day": 31}, local(2026, 5, 1), local(2027, 1, 1)),
        ({"kind": "fixed_date", "month": 12, "day": 31}, local(2026, 12, 30, 23, 59), local(2027, 1, 1)),
        ({"kind": "fixed_date", "month": 12, "day": 31}, local(2026, 12, 31), local(2028, 1, 1)),
        ({"kind": "fixed_date", "month": 3, "day": 1}, local(2026, 3, 2), local(2027, 3, 2)),
    ],
)
def test_points_expire_at_the_end_of_a_local_day(
    expiry: dict[str, Any], earned: datetime, gone: datetime | None
) -> None:
    assert expires_at(program(expiry=expiry), earned) == gone


def test_the_day_is_that_of_the_programs_zone() -> None:
    late = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)  # already July in Skopje and Auckland, still June in Lima
    rolling = {"kind": "rolling_days", "days": 1}
    for zone in ("Europe/Skopje", "Pacific/Auckland", "America/Lima"):
        here = late.astimezone(ZoneInfo(zone)).date()
        assert expires_at(program(zone, expiry=rolling), late) == end_of_day(here + timedelta(days=1), zone)
    assert expires_at(program("America/Lima", expiry=rolling), late) == datetime(2026, 7, 2, 5, tzinfo=UTC)


def test_a_day_without_midnight_ends_where_the_next_begins() -> None:
    # In Santiago the clocks went from 23:59:59 on 6 September 2025 to 01:00.
    assert end_of_day(date(2025, 9, 6), "America/Santiago") == datetime(2025, 9, 7, 4, tzinfo=UTC)


def test_people_are_told_the_last_day() -> None:
    shop = program(expiry={"kind": "rolling_days", "days": 30})
    gone = expires_at(shop, local(2026, 1, 1, 12))
    assert gone is not None
    assert last_day(shop, gone) == date(2026, 1, 31)


def test_the_grace_is_of_whole_days() -> None:
    shop = program(refund_grace_days=7)
    assert grace_until(shop, local(2026, 1, 1, 0, 1)) == local(2026, 1, 9)
    assert grace_until(program(refund_grace_days=0), local(2026, 1, 1, 23)) == local(2026, 1, 2)


def test_inactivity_is_counted_in_days_that_are_over() -> None:
    assert inactive_since(date(2026, 1, 31), 30, "Europe/Skopje") == local(2026, 1, 2)


@pytest.mark.parametrize(
    ("rule", "today", "last"),
    [
        ({"month": 12, "day": 31}, date(2026, 12, 31), date(2025, 12, 31)),
        ({"month": 12, "day": 31}, date(2027, 1, 1), date(2026, 12, 31)),
        ({"month": 2, "day": 28}, date(2026, 3, 1), date(2026, 2, 28)),
        ({"month": 3, "day": 1}, date(2026, 3, 1), date(2025, 3, 1)),
        ({"day": 15}, date(2026, 3, 15), date(2026, 2, 15)),
        ({"day": 15}, date(2026, 3, 16), date(2026, 3, 15)),
        ({"day": 28}, date(2026, 1, 5), date(2025, 12, 28)),
        ({"day": 1}, date(2026, 1, 1), date(2025, 12, 1)),
    ],
)
def test_a_zeroing_rule_is_due_when_its_day_is_over(rule: dict[str, int], today: date, last: date) -> None:
    assert due_on(ZeroingRule(name="Year's end", **rule), today) == last


@pytest.mark.parametrize(
    ("carry_over", "points", "left"),
    [
        ({}, 100, 0),
        ({"percent": Decimal(10)}, 109, 10),
        ({"percent": Decimal("33.3")}, 10, 3),
        ({"max_points": 30}, 100, 30),
        ({"max_points": 30}, 20, 20),
        ({"percent": Decimal(50), "max_points": 30}, 100, 30),
        ({"percent": Decimal(50), "max_points": 30}, 40, 20),
        ({"percent": Decimal(100)}, 40, 40),
        ({"max_points": 0}, 40, 0),
    ],
)
def test_what_a_zeroing_carries_over(carry_over: dict[str, Any], points: int, left: int) -> None:
    assert kept(CarryOver(**carry_over), points) == left
