"""A batch of purchases moves challenges; the rows agree with what a naive recount says."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import add_member, facts, line, publish
from tests.statements import heard
from wallet_server.challenges import queries
from wallet_server.challenges.models import ChallengeContribution, ChallengeProgress
from wallet_server.challenges.progress import contribution, window_key
from wallet_server.challenges.services import advance

TODAY = date(2026, 11, 23)
VOUCHER = {"voucher": {"kind": "free_product", "sku": "dinner"}}
VISITS = {
    "code": "dinner",
    "name": "Three visits",
    "metric": "visits",
    "target": 3,
    "window": {"kind": "calendar_month"},
    "max_per_day": 1,
    "reward": VOUCHER,
}
BURGERS = {"code": "burgers", "name": "Burgers", "metric": "quantity", "filter": {"skus": ["burger"]}, "target": 5}


def shown(states, code):
    return next((s.progress, s.completed, s.completions) for s in states if s.code == code)


def rows(session: Session, model) -> list:
    return session.exec(select(model).order_by(col(model.id))).all()


def test_three_visits_in_a_month_complete_the_challenge(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    for day in (9, 14):
        done = advance(session, program, [facts(member, date(2026, 11, day))], NOW)
        assert done.completions == []
    assert shown(done.states[member], "dinner") == (2, False, 0)
    third = facts(member, TODAY)
    done = advance(session, program, [third], NOW)
    assert [(c.challenge, c.window, c.round, c.purchase_id, c.origin) for c in done.completions] == [
        ("dinner", "2026-11", 1, third.purchase_id, "challenge:dinner:2026-11:1")
    ]
    assert shown(done.states[member], "dinner") == (0, True, 1)
    assert queries.states(session, program, [member], NOW) == {member: done.states[member]}
    [progress] = rows(session, ChallengeProgress)
    assert (progress.progress, progress.completions, progress.completed_at) == (3, 1, third.occurred_at)


def test_a_second_visit_on_one_day_does_not_count_and_leaves_no_row(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    done = advance(session, program, [facts(member, TODAY), facts(member, TODAY)], NOW)
    assert shown(done.states[member], "dinner") == (1, False, 0)
    done = advance(session, program, [facts(member, TODAY)], NOW)
    assert shown(done.states[member], "dinner") == (1, False, 0)
    assert len(rows(session, ChallengeContribution)) == 1


def test_a_late_receipt_counts_in_its_own_window(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    october = [facts(member, date(2026, 10, day)) for day in (3, 5)]
    advance(session, program, [facts(member, TODAY), *october], NOW)
    done = advance(session, program, [facts(member, date(2026, 10, 31))], NOW)
    assert [(c.window, c.round) for c in done.completions] == [("2026-10", 1)]
    assert shown(done.states[member], "dinner") == (1, False, 0)  # what runs now is November


def test_the_day_limit_also_holds_for_days_of_different_windows(session):
    program = publish(session, NOW, challenges=[VISITS | {"max_per_day": 2}])
    member = add_member(session, program, NOW)
    days = [date(2026, 10, 31), TODAY, TODAY]
    advance(session, program, [facts(member, day) for day in days], NOW)
    advance(session, program, [facts(member, day) for day in (*days, date(2026, 10, 31))], NOW)
    counted = {(row.window, row.progress) for row in rows(session, ChallengeProgress)}
    assert counted == {("2026-10", 2), ("2026-11", 2)}


def test_a_stamp_card_counts_products_over_receipts_and_starts_again(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    done = advance(session, program, [facts(member, TODAY, line("burger", "food", "4"))], NOW)
    assert shown(done.states[member], "burgers") == (4, False, 0)
    tomorrow = TODAY + timedelta(days=1)
    done = advance(session, program, [facts(member, tomorrow, line("burger", "food", "7"))], NOW)
    assert [(c.challenge, c.window, c.round) for c in done.completions] == [
        ("burgers", "all", 1),
        ("burgers", "all", 2),
    ]
    assert shown(done.states[member], "burgers") == (1, True, 2)


def test_a_category_includes_its_sub_categories(session):
    drinks = BURGERS | {"code": "drinks", "filter": {"categories": ["drinks"]}, "reward": VOUCHER}
    program = publish(session, NOW, challenges=[drinks])
    member = add_member(session, program, NOW)
    done = advance(session, program, [facts(member, TODAY, line("cappuccino", "coffee", "3"), line("x", "food"))], NOW)
    assert shown(done.states[member], "drinks") == (3, False, 0)


def test_once_is_once_in_a_life(session):
    program = publish(session, NOW, challenges=[VISITS | {"repeat": "once", "target": 1}])
    member = add_member(session, program, NOW)
    first = advance(session, program, [facts(member, date(2026, 10, 1)), facts(member, date(2026, 9, 1))], NOW)
    assert [c.window for c in first.completions] == ["2026-10"]
    later = advance(session, program, [facts(member, TODAY)], NOW)
    assert later.completions == []
    assert shown(later.states[member], "dinner") == (1, True, 0)
    assert shown(queries.states(session, program, [member], NOW)[member], "dinner")[:2] == (1, True)


def test_once_per_window_comes_back_with_the_window(session):
    program = publish(session, NOW, challenges=[VISITS | {"repeat": "once_per_window", "target": 1}])
    member = add_member(session, program, NOW)
    done = advance(session, program, [facts(member, d) for d in (date(2026, 10, 1), date(2026, 10, 2), TODAY)], NOW)
    assert [(c.window, c.round) for c in done.completions] == [("2026-10", 1), ("2026-11", 1)]


def test_the_window_that_runs_now_is_that_of_the_programs_zone(session):
    daily = VISITS | {"window": {"kind": "calendar_day"}, "target": 5}
    program = publish(session, NOW, challenges=[daily])
    member = add_member(session, program, NOW)
    advance(session, program, [facts(member, date(2026, 11, 24))], NOW)
    almost_midnight = NOW.replace(hour=23, minute=30)  # half past midnight in Skopje
    assert shown(queries.states(session, program, [member], almost_midnight)[member], "dinner") == (1, False, 0)
    assert shown(queries.states(session, program, [member], NOW)[member], "dinner") == (0, False, 0)


def test_a_program_without_challenges_costs_nothing(session):
    program = publish(session, NOW, challenges=[])
    member = add_member(session, program, NOW)
    assert advance(session, program, [facts(member, TODAY)], NOW).states == {member: ()}
    assert queries.states(session, program, [member], NOW) == {member: ()}


def test_counting_one_purchase_twice_breaks_a_constraint(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    bought = facts(member, TODAY, line("burger", "food"))
    advance(session, program, [bought], NOW)
    with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
        advance(session, program, [bought], NOW)


def test_a_large_batch_equals_a_naive_recount_and_takes_few_statements(session):
    program = publish(session, NOW)
    other = publish(session, NOW, slug="other")
    members = [add_member(session, program, NOW) for _ in range(40)]
    stranger = add_member(session, other, NOW)
    advance(session, other, [facts(stranger, TODAY)], NOW)
    rng = random.Random(7)
    bought = [
        facts(
            rng.choice(members),
            date(2026, 9, 1) + timedelta(days=rng.randrange(90)),
            *(line(rng.choice(["burger", "x"]), "food", rng.choice(["1", "2", "0.5"])) for _ in range(3)),
        )
        for _ in range(600)
    ]
    completions = []
    with heard(session) as said:
        for start in range(0, len(bought), 300):
            completions += advance(session, program, bought[start : start + 300], NOW).completions
    assert len(said) <= 10

    expected: defaultdict = defaultdict(int)
    days: defaultdict = defaultdict(int)
    for fact in bought:
        for challenge in program.file.challenges:
            amount = contribution(challenge, fact, program.ancestors)
            if challenge.max_per_day:
                amount = min(amount, challenge.max_per_day - days[fact.member_id, challenge.code, fact.business_date])
                days[fact.member_id, challenge.code, fact.business_date] += amount
            key = (fact.member_id, challenge.code, window_key(challenge.window.kind, fact.business_date))
            expected[key] += amount
    found = {
        (row.member_id, row.challenge, row.window): row
        for row in rows(session, ChallengeProgress)
        if row.program_id == program.id
    }
    assert {key: row.progress for key, row in found.items()} == {key: n for key, n in expected.items() if n}
    for (_member, code, _window), row in found.items():
        assert row.completions == row.progress // (3 if code == "dinner" else 5000)
    assert len(completions) == sum(row.completions for row in found.values())
    assert len({(c.member_id, c.origin) for c in completions}) == len(completions)


def test_a_session_of_one_program_counts_too(engine):
    from wallet_server.db import ALL_PROGRAMS, transaction

    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        member = add_member(session, program, NOW)
    for expected in (1, 2):
        with transaction(engine, program.id) as session:
            done = advance(session, program, [facts(member, TODAY - timedelta(days=expected))], NOW)
        assert shown(done.states[member], "dinner")[0] == expected
