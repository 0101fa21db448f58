"""Bars towards the next level fall, or grow, at a local midnight, though nothing has happened to the member."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlmodel import Session, col

from tests.conftest import NOW
from tests.people import add_member, add_purchase, publish
from tests.workers.conftest import StoppedClock, Workshop
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.issuance import bars
from wallet_server.issuance.bars import _candidates, joined_ranges
from wallet_server.issuance.queries import card_states
from wallet_server.issuance.services import held_passes
from wallet_server.members.models import Card, Member
from wallet_server.purchases.models import Visit
from wallet_server.tiers.models import MemberTier
from workers.schedule import turn_days

DAY = timedelta(days=1)
BAR = {"pass": {"strip": {"kind": "progress"}}}
LEVELS = [{"code": "base", "name": "Base"}, {"code": "silver", "name": "Silver", "reach": {"any": [{"visits": 4}]}}]
ROLLING: dict[str, Any] = {"window": {"kind": "rolling_days", "days": 30}, "levels": LEVELS}


def settle(workshop: Workshop) -> None:
    turn_days(workshop.context)
    for _ring in range(6):
        workshop.work()


def opened(workshop: Workshop, **sections: Any) -> None:
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        workshop.program = publish(session, NOW, **{**BAR, "tiers": ROLLING, **sections})
    settle(workshop)


def bought(workshop: Workshop, member: UUID, days_ago: int, **values: Any) -> None:
    with transaction(workshop.engine, workshop.program.id) as session:
        add_purchase(session, workshop.program, member, NOW - days_ago * DAY, **values)


def visited(workshop: Workshop, member: UUID, days_ago: int) -> None:
    moment = NOW - days_ago * DAY
    with transaction(workshop.engine, workshop.program.id) as session:
        card = session.execute(sa.select(col(Card.id)).where(col(Card.member_id) == member)).scalar_one()
        session.add(
            Visit(
                program_id=workshop.program.id,
                outlet_id=workshop.program.outlet("A").id,
                visit_id=new_id().hex,
                member_id=member,
                card_id=card,
                occurred_at=moment,
                business_date=moment.date(),
                recorded_at=moment,
                recorded_by="test",
            )
        )


def versions(workshop: Workshop, *members: UUID) -> list[int]:
    return [workshop.issued(member).version for member in members]


def done(workshop: Workshop, member: UUID) -> int | None:
    with reading(workshop.engine, workshop.program.id) as session:
        issued = workshop.issued(member)
        [state] = card_states(session, workshop.program, [issued.id], workshop.clock.now(), news=lambda *_: {})
    return state.tier_done


def test_a_bar_falls_on_the_day_on_which_a_visit_leaves_it_on_both_wallets_once(
    workshop: Workshop, clock: StoppedClock
) -> None:
    opened(workshop)
    leaves, stays, nobodys = workshop.join(), workshop.join(), workshop.join()
    for member, token in ((leaves, "l"), (stays, "s")):
        workshop.at_google(workshop.on_phone(member, token))
    bought(workshop, leaves, 29)
    visited(workshop, leaves, 3)
    bought(workshop, stays, 28)
    bought(workshop, nobodys, 29)
    start = versions(workshop, leaves, stays, nobodys)
    assert (done(workshop, leaves), done(workshop, stays)) == (20, 10)
    settle(workshop)
    assert versions(workshop, leaves, stays, nobodys) == start
    pushed = len(workshop.pushes.tokens)
    clock.advance(8 * 3600)  # past midnight in Skopje
    for _again in range(3):
        settle(workshop)
    assert (done(workshop, leaves), done(workshop, stays)) == (10, 10)
    assert versions(workshop, leaves, stays, nobodys) == [start[0] + 1, *start[1:]]
    assert workshop.issued(leaves, "google").version == 2
    assert workshop.pushes.tokens[pushed:] == ["l"]
    clock.advance(86_400)
    settle(workshop)
    assert versions(workshop, leaves, stays) == [start[0] + 1, start[1] + 1]
    assert done(workshop, stays) == 0
    assert set(workshop.states()) == {"done"}


def test_a_visit_without_money_leaves_the_bar_as_well_also_after_days_without_a_server(
    workshop: Workshop, clock: StoppedClock
) -> None:
    opened(workshop)
    member, later = workshop.on_phone(workshop.join(), "m"), workshop.on_phone(workshop.join(), "l")
    visited(workshop, member, 27)
    visited(workshop, later, 25)
    settle(workshop)
    start = versions(workshop, member, later)
    clock.advance(4 * 86_400)
    settle(workshop)
    assert versions(workshop, member, later) == [start[0] + 1, start[1]]


def test_only_bars_that_really_are_others_are_raised(workshop: Workshop, clock: StoppedClock) -> None:
    spend = [LEVELS[0], {"code": "silver", "name": "Silver", "reach": {"any": [{"spend_minor": 4_000_000}]}}]
    opened(workshop, tiers={**ROLLING, "levels": spend})
    little, refunded, top, fresh = (workshop.on_phone(workshop.join(), token) for token in "abcd")
    bought(workshop, little, 29, total_minor=10)
    bought(workshop, refunded, 29, total_minor=500_000)
    bought(workshop, top, 29, total_minor=500_000)
    bought(workshop, fresh, 29, total_minor=500_000)
    with transaction(workshop.engine, workshop.program.id) as session:
        session.execute(
            sa.text("UPDATE purchase SET refunded_at = occurred_at WHERE member_id = :id").bindparams(
                sa.bindparam("id", refunded, sa.Uuid())
            )
        )
        # Promised by staff: nothing above, so there is no way to draw.
        tier = session.get_one(MemberTier, top)
        tier.tier, tier.protected_until = "silver", NOW + 90 * DAY
    settle(workshop)
    start = versions(workshop, little, refunded, top, fresh)
    clock.advance(8 * 3600)
    workshop.change(fresh)  # bought something after midnight: the card shows the new day already
    settle(workshop)
    assert versions(workshop, little, refunded, top, fresh) == [*start[:3], start[3] + 1]


def test_levels_that_draw_no_bar_and_programs_that_count_other_times_are_let_alone(
    workshop: Workshop, clock: StoppedClock
) -> None:
    look = {"name": "Silver", "when": {"tiers": ["silver"]}, "strip": {"kind": "progress"}}
    gold = {"code": "gold", "name": "Gold", "reach": {"any": [{"visits": 8}]}}
    opened(workshop, tiers={**ROLLING, "levels": [*LEVELS, gold]}, **{"pass": {"looks": [look]}})
    base, silver = workshop.on_phone(workshop.join(), "b"), workshop.on_phone(workshop.join(), "s")
    for member in (base, silver):
        bought(workshop, member, 29)
    with transaction(workshop.engine, workshop.program.id) as session:
        tier = session.get_one(MemberTier, silver)
        tier.tier, tier.protected_until = "silver", NOW + 90 * DAY
    settle(workshop)
    start = versions(workshop, base, silver)
    clock.advance(8 * 3600)
    settle(workshop)
    assert versions(workshop, base, silver) == [start[0], start[1] + 1]
    opened(workshop, tiers={"levels": LEVELS})
    rows = len(workshop.rows())
    clock.advance(86_400)
    settle(workshop)
    assert len(workshop.rows()) == rows, "a level that is kept for ever has a bar that only grows"


def test_time_in_the_program_moves_a_bar_on_the_days_of_its_steps(workshop: Workshop, clock: StoppedClock) -> None:
    level = {"code": "silver", "name": "Silver", "reach": {"any": [{"tenure_days": 80}]}}
    opened(workshop, tiers={"levels": [LEVELS[0], level]})
    odd, even = workshop.on_phone(workshop.join(), "o"), workshop.on_phone(workshop.join(), "e")
    with transaction(workshop.engine, workshop.program.id) as session:
        for member, days in ((odd, 5), (even, 6)):
            session.get_one(Member, member).joined_at = NOW - days * DAY
    settle(workshop)
    start = versions(workshop, odd, even)
    assert (done(workshop, odd), done(workshop, even)) == (2, 3)
    clock.advance(8 * 3600)
    settle(workshop)
    assert (done(workshop, odd), done(workshop, even)) == (3, 3)
    assert versions(workshop, odd, even) == [start[0] + 1, start[1]]


def test_many_bars_move_in_parts_each_once_and_after_the_season(
    workshop: Workshop, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "MEMBERS_AT_ONCE", 2)
    season = {
        "name": "Season",
        "when": {"dates": [{"from": "11-24", "to": "11-25", "yearly": True}], "tiers": ["base"]},
    }
    opened(workshop, **{"pass": {"strip": {"kind": "progress"}, "looks": [{**season, "background": "#16324f"}]}})
    members = [workshop.on_phone(workshop.join(), f"m{number}") for number in range(5)]
    for member in members:
        bought(workshop, member, 29)
    with transaction(workshop.engine, workshop.program.id) as session:
        for member in members[2:]:
            tier = session.get_one(MemberTier, member)
            tier.tier, tier.protected_until = "gone", NOW + 90 * DAY
    settle(workshop)
    start = versions(workshop, *members)
    clock.advance(8 * 3600)
    settle(workshop)
    assert versions(workshop, *members) == [version + 1 for version in start], "the season's cards are not raised twice"


def test_the_days_of_joining_that_make_a_step() -> None:
    monday, tuesday = date(2026, 11, 23), date(2026, 11, 24)
    ages = [(tuesday - day).days for first, last in joined_ranges([80], monday, tuesday) for day in {first, last}]
    assert ages == list(range(80, 0, -2))
    assert joined_ranges([40], monday, tuesday) == [(tuesday - 40 * DAY, tuesday - DAY)]
    assert joined_ranges([80], monday, monday + 7 * DAY) == [(tuesday - 80 * DAY, tuesday + 4 * DAY)]
    assert joined_ranges([4000, 4021, 4051], monday, tuesday) == [(tuesday - 4051 * DAY, tuesday - 100 * DAY)]
    assert joined_ranges([], monday, tuesday) == []


def test_the_indexes_find_who_may_have_moved(session: Session) -> None:
    program = publish(session, NOW, **BAR, tiers=ROLLING)
    add_purchase(session, program, add_member(session, program, NOW), NOW)
    today = NOW.date()
    wanted = _candidates(program, today - DAY, today, new_id(), held_passes(program.id))
    dialect = session.get_bind().dialect
    said = str(wanted.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    if dialect.name == "postgresql":
        session.execute(sa.text("SET LOCAL enable_seqscan = off"))
    explain = "EXPLAIN " if dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    plan = "\n".join(str(row) for row in session.connection().exec_driver_sql(explain + said.replace("%", "%%")))
    assert "ix_purchase_program_id_occurred_at" in plan
    assert "ix_visit_program_id_occurred_at" in plan
    assert "ix_issued_pass_program_id_member_id" in plan
