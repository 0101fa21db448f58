"""Segments select the members that the condition says, at the moment asked."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest
from sqlmodel import select

from tests.conftest import NOW
from tests.people import add_member, add_purchase, publish
from wallet_server.campaigns import services as campaigns
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.members.models import MemberStatistics
from wallet_server.members.tags import set_tags
from wallet_server.segments.condition import Condition
from wallet_server.segments.models import Segment
from wallet_server.segments.queries import condition_of, count, find_segment, list_segments, members_where
from wallet_server.segments.services import delete_segment, save_segment
from wallet_server.staff import audit
from wallet_server.tiers.models import MemberTier

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def ids(session, program, condition, now=NOW):
    found = session.execute(members_where(program, Condition.model_validate(condition), now)).scalars().all()
    assert len(found) == len(set(found)) == count(session, program, Condition.model_validate(condition), now)
    return set(found)


def save(session, program, **values):
    known = {"code": "vip", "name": "VIP", "condition": Condition(tiers=["silver"]), "actor": "staff:o", "now": NOW}
    return save_segment(session, program, **known | values)


def test_everybody_of_this_program_only(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    mine = {add_member(session, program, NOW) for _ in range(3)}
    add_member(session, other, NOW)
    assert ids(session, program, {}) == mine


def test_tiers(session):
    program = publish(session, NOW)
    add_member(session, program, NOW)
    silver = add_member(session, program, NOW, tier="silver")
    assert ids(session, program, {"tiers": ["silver"]}) == {silver}
    assert len(ids(session, program, {"tiers": ["silver", "base"]})) == 2


def test_tags(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    vip, press, both, stranger = (add_member(session, owner, NOW) for owner in (program, program, program, other))
    add_member(session, program, NOW)
    for owner, member_id, tags in (
        (program, vip, ["vip"]),
        (program, press, ["press", "x"]),
        (program, both, ["vip", "press"]),
        (other, stranger, ["vip"]),
    ):
        set_tags(session, owner, member_id, tags, actor="staff:o", now=NOW)
    assert ids(session, program, {"tags": ["vip"]}) == {vip, both}
    assert ids(session, program, {"tags": ["vip", "press"]}) == {vip, press, both}
    assert ids(session, program, {"tags": ["gone"]}) == set()


def test_visits_are_those_of_the_thirty_days_up_to_now(session):
    program = publish(session, NOW)
    none, old, edge, two, future = (add_member(session, program, NOW) for _ in range(5))
    add_purchase(session, program, old, NOW - 30 * DAY)
    add_purchase(session, program, edge, NOW - 30 * DAY + SECOND)
    add_purchase(session, program, two, NOW)
    add_purchase(session, program, two, NOW - DAY)
    add_purchase(session, program, future, NOW + SECOND)
    nobody = {none, old, future}
    assert ids(session, program, {"visits_last_30_days": {"at_most": 0}}) == nobody
    assert ids(session, program, {"visits_last_30_days": {"at_least": 0}}) == {*nobody, edge, two}
    assert ids(session, program, {"visits_last_30_days": {"at_least": 1}}) == {edge, two}
    assert ids(session, program, {"visits_last_30_days": {"at_least": 1, "at_most": 1}}) == {edge}
    assert ids(session, program, {"visits_last_30_days": {"at_most": 1}}) == {*nobody, edge}
    assert ids(session, program, {"visits_last_30_days": {"at_least": 2}}, NOW + 28 * DAY) == {two}
    assert ids(session, program, {"visits_last_30_days": {"at_least": 2}}, NOW + 29 * DAY) == set()


def test_days_since_the_last_visit_are_whole_and_need_a_visit(session):
    program = publish(session, NOW)
    never = add_member(session, program, NOW)
    at = {
        name: add_member(session, program, NOW, last_visit_at=NOW - ago)
        for name, ago in {
            "ahead": -5 * timedelta(minutes=1),
            "now": timedelta(0),
            "almost seven": 7 * DAY - SECOND,
            "seven": 7 * DAY,
            "almost eight": 8 * DAY - SECOND,
            "eight": 8 * DAY,
        }.items()
    }

    def names(**wanted):
        found = ids(session, program, {"days_since_last_visit": wanted})
        assert never not in found
        return {name for name, member in at.items() if member in found}

    assert names(at_least=0) == set(at)
    assert names(at_most=0) == {"ahead", "now"}
    assert names(at_least=7) == {"seven", "almost eight", "eight"}
    assert names(at_most=7) == {"ahead", "now", "almost seven", "seven", "almost eight"}
    assert names(at_least=7, at_most=7) == {"seven", "almost eight"}


def test_all_parts_must_hold_as_a_naive_recount_says(session):
    program = publish(session, NOW)
    rng = random.Random(3)
    visits, last = {}, {}
    for _ in range(120):
        days = sorted(rng.randrange(90) for _ in range(rng.randrange(5)))
        last_visit_at = NOW - timedelta(days=days[0], hours=1) if days else None
        member = add_member(session, program, NOW, tier=rng.choice(["base", "silver"]), last_visit_at=last_visit_at)
        for day in days:
            add_purchase(session, program, member, NOW - timedelta(days=day, hours=1))
        visits[member], last[member] = sum(day < 30 for day in days), days[0] if days else None
    tiers = dict(session.execute(select(MemberTier.member_id, MemberTier.tier)).all())
    condition = {
        "tiers": ["silver"],
        "visits_last_30_days": {"at_least": 1, "at_most": 2},
        "days_since_last_visit": {"at_least": 5, "at_most": 20},
    }
    expected = {
        member
        for member in visits
        if tiers[member] == "silver"
        and 1 <= visits[member] <= 2
        and last[member] is not None
        and 5 <= last[member] <= 20
    }
    assert expected
    assert ids(session, program, condition) == expected


def test_a_member_without_statistics_or_tier_matches_only_what_asks_neither(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    for model in (MemberStatistics, MemberTier):
        session.delete(session.get(model, member))
    session.flush()
    assert ids(session, program, {"visits_last_30_days": {"at_most": 3}}) == {member}
    assert ids(session, program, {"tiers": ["base"]}) == set()
    assert ids(session, program, {"days_since_last_visit": {"at_least": 0}}) == set()


def test_a_segment_is_saved_changed_and_audited(session):
    program = publish(session, NOW)
    first = save(session, program)
    again = save(session, program, name=" Best guests ", condition=Condition(tiers=["base"]), now=NOW + DAY)
    assert (again.id, again.name, again.updated_at) == (first.id, "Best guests", NOW + DAY)
    assert condition_of(again) == Condition(tiers=["base"])
    assert [s.code for s in list_segments(session, program)] == ["vip"]
    session.flush()
    assert [r.action for r in audit.newest(session, program.id)][:2] == ["segment.saved", "segment.saved"]
    delete_segment(session, program, first.id, actor="staff:o", now=NOW + DAY)
    assert list_segments(session, program) == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"code": ""}, "code"),
        ({"code": "../x"}, "code"),
        ({"code": "x" * 64}, "code"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"condition": Condition(tiers=["platinum"])}, "tiers"),
    ],
)
def test_a_bad_segment_is_refused_and_not_saved(session, values, field):
    program = publish(session, NOW)
    with pytest.raises(DomainError) as refused:
        save(session, program, **values)
    assert (refused.value.code, refused.value.extra["field"]) == ("validation", field)
    assert session.exec(select(Segment)).all() == []


def test_the_number_of_segments_is_limited(session, monkeypatch):
    monkeypatch.setattr("wallet_server.segments.services.SEGMENTS_MAX", 1)
    program = publish(session, NOW)
    save(session, program)
    save(session, program, name="the same code is no new segment")
    with pytest.raises(DomainError, match="at most 1 segments"):
        save(session, program, code="second")


def test_a_segment_that_a_campaign_was_made_for_is_kept(session):
    program = publish(session, NOW)
    segment = save(session, program)
    campaigns.create(
        session, program, name="c", segment_id=segment.id, message={"mk": "Здраво"}, actor="staff:o", now=NOW
    )
    with pytest.raises(DomainError) as refused:
        delete_segment(session, program, segment.id, actor="staff:o", now=NOW)
    assert (refused.value.code, refused.value.status) == ("segment_in_use", 409)
    assert find_segment(session, program, code="vip").id == segment.id


def test_a_segment_that_a_rule_asks_for_is_kept(session):
    rule = {"name": "Welcome back", "family": "customer", "when": {"segments": ["quiet"]}, "earn": {"multiply": 2}}
    sections = [{"code": code, "name": code, "when": {}} for code in ("quiet", "loud")]
    program = publish(session, NOW, segments=sections, rules=[rule])
    quiet, loud = (find_segment(session, program, code=code).id for code in ("quiet", "loud"))
    with pytest.raises(DomainError) as refused:
        delete_segment(session, program, quiet, actor="staff:o", now=NOW)
    assert (refused.value.code, refused.value.status) == ("segment_in_use", 409)
    assert refused.value.extra == {"rule": "Welcome back"}
    delete_segment(session, program, loud, actor="staff:o", now=NOW)
    program = publish(session, NOW, segments=sections, rules=[])
    delete_segment(session, program, quiet, actor="staff:o", now=NOW)
    assert list_segments(session, program) == []


def test_another_programs_segment_does_not_exist(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    segment = save(session, program)
    for wanted in ({"segment_id": segment.id}, {"segment_id": new_id()}, {"code": "vip"}):
        with pytest.raises(DomainError) as refused:
            find_segment(session, other, **wanted)
        assert (refused.value.code, refused.value.status) == ("unknown_segment", 404)


def test_a_program_has_so_many_segments_and_no_more(session, monkeypatch):
    program = publish(session, NOW)
    monkeypatch.setattr("wallet_server.segments.services.SEGMENTS_MAX", 1)
    save(session, program)
    with pytest.raises(DomainError) as refusal:
        save(session, program, code="other")
    assert (refusal.value.code, refusal.value.status) == ("too_many_segments", 409)
    assert save(session, program, name="Others").name == "Others"


def test_of_two_who_save_a_new_code_at_once_one_is_told(engine):
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
    refused: list[str] = []

    def second() -> None:
        try:
            with transaction(engine, program.id) as session:
                save(session, program)
        except DomainError as error:
            refused.append(error.code)

    thread = threading.Thread(target=second)
    with transaction(engine, program.id) as session:
        save(session, program)
        session.flush()
        thread.start()
        # PostgreSQL lets the other look before we commit; SQLite's writers take turns, and it finds ours.
        thread.join(0.3)
    thread.join(20)
    assert refused == (["segment_exists"] if engine.dialect.name == "postgresql" else [])
    with reading(engine, program.id) as session:
        assert [segment.code for segment in list_segments(session, program)] == ["vip"]
