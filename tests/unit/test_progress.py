"""What counts for a challenge, in which window, and which rounds it completes."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.people import facts, line
from wallet_server.challenges.progress import (
    ROUNDS_MAX_PER_PURCHASE,
    Standing,
    advanced,
    allowed_today,
    contribution,
    state_of,
    window_key,
)
from wallet_server.programs.file import Challenge

MEMBER = UUID(int=7)
DAY = date(2026, 11, 23)
PARENTS = {"espresso": "coffee", "coffee": "drinks", "drinks": None, "food": None}


def ancestors(category: str) -> tuple[str, ...]:
    chain = [category]
    while (parent := PARENTS.get(chain[-1])) is not None:
        chain.append(parent)
    return tuple(chain)


def challenge(**values: object) -> Challenge:
    voucher = {"voucher": {"kind": "free_product", "sku": "dinner"}}
    return Challenge.model_validate(
        {"code": "c", "name": "C", "metric": "visits", "target": 3, "reward": voucher} | values
    )


@pytest.mark.parametrize(
    ("kind", "day", "key"),
    [
        ("none", DAY, "all"),
        ("calendar_day", DAY, "2026-11-23"),
        ("calendar_week", DAY, "2026-W48"),
        ("calendar_week", date(2027, 1, 1), "2026-W53"),  # an ISO week belongs to the year of its Thursday
        ("calendar_week", date(2024, 12, 30), "2025-W01"),
        ("calendar_month", DAY, "2026-11"),
        ("calendar_month", date(2026, 2, 1), "2026-02"),
        ("calendar_year", DAY, "2026"),
    ],
)
def test_each_window_has_a_key(kind, day, key):
    assert window_key(kind, day) == key


@pytest.mark.parametrize(
    ("metric", "filter", "expected"),
    [
        ("visits", {}, 1),
        ("purchases", {}, 1),
        ("spend_minor", {}, 1_000),  # the receipt's own total
        ("quantity", {}, 3_750),
        ("quantity", {"skus": ["burger"]}, 2_000),
        ("spend_minor", {"skus": ["burger"]}, 400),
        ("quantity", {"categories": ["drinks"]}, 1_750),  # with what lies below
        ("quantity", {"categories": ["espresso"]}, 1_000),
        ("spend_minor", {"categories": ["coffee"], "skus": ["ristretto"]}, 150),
        ("visits", {"categories": ["drinks"], "skus": ["burger"]}, 0),  # no line is both
        ("visits", {"skus": ["pizza"]}, 0),
        ("visits", {"outlets": ["A"]}, 1),
        ("visits", {"outlets": ["B"]}, 0),
        ("quantity", {"outlets": ["A", "B"], "skus": ["burger"]}, 2_000),
    ],
)
def test_a_purchase_counts_what_the_filter_lets_through(metric, filter, expected):
    bought = facts(
        MEMBER,
        DAY,
        line("burger", "food", "2", 400),
        line("ristretto", "espresso", "1", 150),
        line("water", "drinks", "0.75", 50),
        total_minor=1_000,
    )
    assert contribution(challenge(metric=metric, target=1_000, filter=filter), bought, ancestors) == expected


def test_a_receipt_without_lines_is_a_visit_but_holds_no_product():
    empty = facts(MEMBER, DAY, total_minor=500)
    assert contribution(challenge(), empty, ancestors) == 1
    assert contribution(challenge(metric="spend_minor", target=500), empty, ancestors) == 500
    assert contribution(challenge(metric="quantity"), empty, ancestors) == 0
    assert contribution(challenge(filter={"skus": ["x"]}), empty, ancestors) == 0


def test_a_line_without_category_is_in_no_category():
    bought = facts(MEMBER, DAY, line("misc", None))
    assert contribution(challenge(filter={"categories": ["food"]}), bought, ancestors) == 0


def test_one_receipt_completes_a_limited_number_of_rounds():
    bulk = challenge(metric="quantity", target=2)
    bought = facts(MEMBER, DAY, line("nail", None, "999999"))
    amount = contribution(bulk, bought, ancestors)
    _standing, rounds = advanced(bulk, Standing(), amount, completed_elsewhere=False)
    assert len(rounds) == ROUNDS_MAX_PER_PURCHASE


def test_a_day_has_its_limit_in_units_of_the_target():
    visits, burgers = challenge(max_per_day=1), challenge(metric="quantity", max_per_day=2)
    assert [allowed_today(visits, 1, counted) for counted in (0, 1)] == [1, 0]
    assert [allowed_today(burgers, 1_500, counted) for counted in (0, 1_000, 2_000, 2_500)] == [1_500, 1_000, 0, 0]
    assert allowed_today(challenge(), 5, 100) == 5


@pytest.mark.parametrize(
    ("repeat", "rounds", "completions"),
    [
        ("unlimited", [[], [], [1], [], [], [2], [3, 4]], 4),
        ("once_per_window", [[], [], [1], [], [], [], []], 1),
        ("once", [[], [], [1], [], [], [], []], 1),
    ],
)
def test_rounds_are_completed_at_each_multiple_of_the_target(repeat, rounds, completions):
    three, standing, seen = challenge(repeat=repeat), Standing(), []
    for amount in (1, 1, 1, 1, 1, 1, 6):
        standing, done = advanced(three, standing, amount, completed_elsewhere=False)
        seen.append(list(done))
    assert seen == rounds
    assert standing == Standing(12, completions)


def test_once_means_once_over_all_windows():
    _standing, rounds = advanced(challenge(repeat="once"), Standing(2, 0), 1, completed_elsewhere=True)
    assert list(rounds) == []


@pytest.mark.parametrize(
    ("repeat", "standing", "elsewhere", "expected"),
    [
        ("unlimited", Standing(2, 0), False, (2, False, False)),
        ("unlimited", Standing(3, 1), False, (0, True, False)),
        ("unlimited", Standing(7, 2), False, (1, True, False)),
        ("once_per_window", Standing(2, 0), True, (2, False, False)),
        ("once_per_window", Standing(7, 1), False, (3, True, True)),
        ("once", Standing(0, 0), True, (3, True, True)),
        ("once", Standing(2, 0), False, (2, False, False)),
    ],
)
def test_people_see_the_running_round(repeat, standing, elsewhere, expected):
    state = state_of(challenge(repeat=repeat), "2026-11", standing, completed_elsewhere=elsewhere)
    assert (state.progress, state.completed, state.finished) == expected
    assert state.target == 3


def test_a_quantity_shows_in_whole_units_and_keeps_its_parts():
    kilos = challenge(metric="quantity", target=5)
    standing, rounds = advanced(kilos, Standing(), 2_500, completed_elsewhere=False)
    assert (state_of(kilos, "all", standing, completed_elsewhere=False).progress, list(rounds)) == (2, [])
    standing, rounds = advanced(kilos, standing, 2_500, completed_elsewhere=False)
    assert (state_of(kilos, "all", standing, completed_elsewhere=False).progress, list(rounds)) == (0, [1])


def test_another_target_takes_nothing_back():
    standing = Standing(6, 2)
    raised = challenge(target=10)
    state = state_of(raised, "all", standing, completed_elsewhere=False)
    assert (state.progress, state.completions) == (6, 2)
    standing, rounds = advanced(raised, standing, 5, completed_elsewhere=False)
    assert (standing, list(rounds)) == (Standing(11, 2), [])


@given(
    amounts=st.lists(st.integers(1, 50), max_size=40),
    target=st.integers(1, 30),
    repeat=st.sampled_from(["unlimited", "once_per_window", "once"]),
)
def test_any_way_of_slicing_completes_the_same_rounds(amounts, target, repeat):
    goal, standing, rounds = challenge(target=target, repeat=repeat), Standing(), []
    for amount in amounts:
        standing, done = advanced(goal, standing, amount, completed_elsewhere=False)
        rounds += done
    whole, at_once = advanced(goal, Standing(), sum(amounts), completed_elsewhere=False)
    assert standing == whole
    assert rounds == list(at_once) == list(range(1, standing.completions + 1))
    expected = sum(amounts) // target
    assert standing.completions == (expected if repeat == "unlimited" else min(expected, 1))
    shown = state_of(goal, "all", standing, completed_elsewhere=False)
    assert 0 <= shown.progress <= target
    if repeat == "unlimited":
        assert shown.progress == sum(amounts) % target
