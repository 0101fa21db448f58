"""What has happened becomes one message: now, in silence, in the morning, or together with something else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import add_member, add_purchase, publish
from wallet_server.db import new_id
from wallet_server.issuance.content import Said
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.services import PASS_CHANGED
from wallet_server.ledger.models import MemberBalance
from wallet_server.members.models import Card, MemberStatistics
from wallet_server.members.services import Enrol, enrol_many
from wallet_server.notifications.facts import Noticed, Win
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import messages_of_member, newest, said_to
from wallet_server.notifications.services import Decision, Wanted, ask, prune, tell
from wallet_server.notifications.settling import TRUE_FOR, Change, settle, wake
from wallet_server.outbox.models import OutboxRow
from wallet_server.tiers.models import MemberTier

NIGHT = datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
"""Half past ten in the evening in Skopje."""
MORNING = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
QUIET = {"notifications": {"quiet_hours": {"from": "21:00", "to": "09:00"}}}
SECOND = timedelta(seconds=1)


def change(program, noticed, origin=None) -> Change:
    return Change(program.id, origin or f"change:{new_id().hex}", noticed)


def rows(session: Session, member) -> list[tuple]:
    session.expire_all()
    found = session.exec(select(Notification).where(Notification.member_id == member).order_by(col(Notification.id)))
    return [(row.kind, row.state, row.reason) for row in found]


def said(session: Session, member) -> Said | None:
    return said_to(session, [member]).get(member)


def version(session: Session, member) -> int:
    session.expire_all()
    return session.exec(select(IssuedPass.version).where(IssuedPass.member_id == member)).one()


def has(session: Session, member, points: int) -> None:
    session.get_one(MemberBalance, member).spendable = points
    session.flush()


def fetched(session: Session, member, at: datetime) -> None:
    session.exec(select(IssuedPass).where(IssuedPass.member_id == member)).one().fetched_at = at
    session.flush()


def guest(session: Session, program, **values):
    return add_member(session, program, NOW, **{"language": "en", "marketing": False, **values})


def test_points_and_a_level_are_one_message(session):
    program = publish(session, NOW)
    level = program.file.tiers.levels[-1]
    member = guest(session, program, tier=level.code)
    has(session, member, 145)
    settle(session, [change(program, {member: Noticed(points=25, tier=level.code)})], NOW)
    text = f"+25 points, 145 in all. Your level is {level.name['en']} now."
    assert said(session, member) == Said(latest=text, speaks="latest")
    assert rows(session, member) == [("balance", "shown", "")]
    assert version(session, member) == 2, "a phone that came early has to come again"
    assert newest(session, [member]) == {}, "what happened is no offer"


def test_a_change_is_decided_once(session):
    program = publish(session, NOW)
    member = guest(session, program)
    once = change(program, {member: Noticed(points=25)})
    settle(session, [once], NOW)
    settle(session, [once], NOW + SECOND)
    settle(session, [once, once], NOW + SECOND)
    assert rows(session, member) == [("balance", "shown", "")]
    assert version(session, member) == 2


def test_changes_of_one_batch_are_one_message(session):
    program = publish(session, NOW)
    member, other = guest(session, program), guest(session, program)
    batch = [change(program, {member: Noticed(points=points)}) for points in (5, 7)]
    settle(session, [*batch, change(program, {other: Noticed(points=1)})], NOW)
    assert said(session, member).latest.startswith("+12 points")
    assert said(session, other).latest.startswith("+1 point,")
    first, second = session.exec(select(Notification).where(Notification.member_id == member)).all()
    assert {first.state, second.state} == {"merged", "shown"}
    merged, shown = (first, second) if first.state == "merged" else (second, first)
    assert (merged.merged_into, merged.reason, merged.shown_at, merged.speaks) == (shown.id, "merged", None, False)


def test_a_batch_of_more_messages_than_one_statement_holds_is_whole(session):
    program = publish(session, NOW)
    people = [Enrol(email=f"guest{number}@example.com", channel="till") for number in range(1_200)]
    members = [one.member_id for one in enrol_many(session, program, people, now=NOW, actor="test")]
    batch = [change(program, {member: Noticed(points=1) for member in members})]
    settle(session, batch, NOW)
    settle(session, batch, NOW + SECOND)
    decided = session.exec(select(Notification.member_id, Notification.decided_at)).all()
    assert sorted(row.member_id for row in decided) == sorted(members)
    assert {row.decided_at for row in decided} == {NOW}


def test_what_no_phone_has_yet_is_said_again_with_what_follows(session):
    program = publish(session, NOW)
    member = guest(session, program)
    for second, points in enumerate((5, 7, 9)):
        settle(session, [change(program, {member: Noticed(points=points)})], NOW + second * SECOND)
    assert said(session, member).latest.startswith("+21 points")
    fetched(session, member, NOW + 3 * SECOND)
    settle(session, [change(program, {member: Noticed(points=1)})], NOW + 4 * SECOND)
    assert said(session, member).latest.startswith("+1 point,")
    assert [reason for _kind, _state, reason in rows(session, member)] == ["", "joined", "joined", ""]


def test_a_promotion_that_no_phone_has_yet_is_not_lost(session):
    program = publish(session, NOW)
    member = guest(session, program, marketing=True)
    ask(session, program, [Wanted(member, "campaign:1", "Two for one")], NOW)
    settle(session, [change(program, {member: Noticed(points=5)})], NOW + SECOND)
    found = said(session, member)
    assert (found.news, found.speaks) == ("Two for one", "latest")
    assert found.latest == "+5 points, 0 in all. Two for one"


def test_in_the_night_the_balance_is_silent_and_the_level_waits_for_the_morning(session):
    program = publish(session, NOW, **QUIET)
    level = program.file.tiers.levels[-1]
    member = guest(session, program, tier=level.code)
    settle(session, [change(program, {member: Noticed(points=25)})], NIGHT)
    settle(session, [change(program, {member: Noticed(points=5, tier=level.code)})], NIGHT + SECOND)
    assert rows(session, member) == [("balance", "suppressed", "quiet_hours"), ("tier", "deferred", "quiet_hours")]
    assert said(session, member) is None
    assert version(session, member) == 1, "nothing to add to what the purchase itself has changed"
    assert wake(session, MORNING - SECOND) == 0
    assert wake(session, MORNING) == 1
    assert said(session, member) == Said(latest=f"Your level is {level.name['en']} now.", speaks="latest")
    assert rows(session, member)[1] == ("tier", "shown", "")
    [work] = session.exec(select(OutboxRow).where(OutboxRow.topic == PASS_CHANGED)).all()
    assert (work.priority, "notes" in work.payload) == (10, False)
    assert wake(session, MORNING) == 0


def test_what_the_night_brought_is_one_message_in_the_morning(session):
    program = publish(session, NOW, **QUIET)
    member = guest(session, program)
    code = program.file.challenges[0].code
    settle(session, [change(program, {member: Noticed(wins=(Win(code),))})], NIGHT)
    settle(session, [change(program, {member: Noticed(wins=(Win("gone"),))})], NIGHT + SECOND)
    settle(session, [change(program, {member: Noticed(points=5)})], MORNING)
    name = program.file.challenges[0].name["en"]
    assert said(session, member).latest == f"+5 points, 0 in all. {name} completed. gone completed."
    assert rows(session, member) == [
        ("challenge", "merged", "merged"),
        ("challenge", "merged", "merged"),
        ("balance", "shown", ""),
    ]


def test_a_level_that_is_lost_again_by_the_morning_is_not_told(session):
    program = publish(session, NOW, **QUIET)
    level = program.file.tiers.levels[-1]
    member = guest(session, program, tier=level.code)
    settle(session, [change(program, {member: Noticed(tier=level.code)})], NIGHT)
    session.get_one(MemberTier, member).tier = "base"
    session.flush()
    wake(session, MORNING)
    assert rows(session, member) == [("tier", "suppressed", "overtaken")]


def test_what_waited_too_long_is_not_told(session):
    program = publish(session, NOW, **QUIET)
    member = guest(session, program)
    settle(session, [change(program, {member: Noticed(wins=(Win("dinner"),))})], NIGHT)
    wake(session, NIGHT + TRUE_FOR + timedelta(hours=14))
    assert rows(session, member) == [("challenge", "suppressed", "expired")]


def test_the_night_is_that_of_the_outlet_of_the_newest_visit(session):
    outlets = [{"code": "A", "name": "Ohrid"}, {"code": "B", "name": "Lisbon", "time_zone": "America/New_York"}]
    program = publish(session, NOW, outlets=outlets, **QUIET)
    member = guest(session, program, last_visit_at=NOW)
    add_purchase(session, program, member, NOW - timedelta(days=1), outlet="A")
    add_purchase(session, program, member, NOW, outlet="B")
    settle(session, [change(program, {member: Noticed(points=5)})], NIGHT)
    assert rows(session, member) == [("balance", "shown", "")], "it is half past four in the afternoon there"


def test_both_wallets_are_told_in_their_own_way(session):
    program = publish(session, NOW)
    member = guest(session, program, live=False)
    card = session.exec(select(Card).where(Card.member_id == member)).one()
    moments = {"last_modified": NOW, "changed_at": NOW, "created_at": NOW}
    owned = {"program_id": program.id, "member_id": member, "card_id": card.id}
    session.add(IssuedPass(wallet="google", serial="g1", live=True, **moments, **owned))
    session.flush()
    for minute, noticed in enumerate((Noticed(points=1), Noticed(points=1, wins=(Win("dinner"),)), Noticed(points=1))):
        settle(session, [change(program, {member: noticed})], NOW + timedelta(minutes=minute))
    settle(session, [change(program, {member: Noticed(wins=(Win("walk"),))})], NOW + timedelta(minutes=4))
    found = sorted(messages_of_member(session, member), key=lambda row: row.decided_at)
    assert [row.at_google for row in found] == ["balance", "notice", "balance", "text"]
    assert [row.reason for row in found] == ["", "", "", "google_limit"]
    assert not any(row.speaks for row in found)


def test_telling_travels_with_the_work_for_passes_that_somebody_holds(session):
    program = publish(session, NOW)
    member, silent, passless = guest(session, program), guest(session, program), guest(session, program, live=False)
    noticed = Noticed(points=5, wins=(Win("dinner", "B-1"),))
    tell(session, program, {member: noticed, silent: Noticed(), passless: noticed}, NOW)
    session.flush()
    [work] = session.exec(select(OutboxRow)).all()
    assert len(work.payload["pass_ids"]) == 2
    found = Change.of(program.id, work.payload)
    assert found.noticed == {member: noticed}
    assert Change.of(program.id, {"v": 1, "pass_ids": []}) is None


def test_a_deferred_promotion_is_decided_again_when_its_time_has_come(session):
    program = publish(session, NOW, **QUIET)
    member = guest(session, program, marketing=True)
    wanted = [Wanted(member, "campaign:1", "Two for one", expires_at=NIGHT + timedelta(days=2))]
    deferred = ask(session, program, wanted, NIGHT)[member]
    assert deferred == Decision("deferred", "quiet_hours", MORNING)
    assert ask(session, program, wanted, NIGHT + SECOND)[member] == Decision("deferred", "already", MORNING)
    assert wake(session, MORNING) == 0, "a promotion is the campaign's to ask for"
    session.get_one(MemberStatistics, member).marketing = False
    session.flush()
    assert ask(session, program, wanted, MORNING)[member] == Decision("suppressed", "no_consent")
    assert ask(session, program, wanted, MORNING)[member] == Decision("suppressed", "already")


def test_old_decisions_are_forgotten_but_not_what_the_pass_shows(session):
    program = publish(session, NOW)
    member = guest(session, program, marketing=True)
    ask(session, program, [Wanted(member, "campaign:1", "Two for one")], NOW)
    for day in (1, 2, 3):
        settle(session, [change(program, {member: Noticed(points=day)})], NOW + timedelta(days=day))
    assert prune(session, NOW + timedelta(days=2, hours=1)) == 2
    assert prune(session, NOW + timedelta(days=30)) == 0
    assert said(session, member) == Said(news="Two for one", latest="+3 points, 0 in all.", speaks="latest")


@pytest.mark.parametrize("who", ["voided", "gone"])
def test_nobody_is_told_anything_without_a_pass(session, who):
    program = publish(session, NOW)
    member = guest(session, program, live=who != "gone")
    if who == "voided":
        session.exec(select(IssuedPass).where(IssuedPass.member_id == member)).one().voided_at = NOW
        session.flush()
    settle(session, [change(program, {member: Noticed(points=5)})], NOW)
    assert rows(session, member) == [("balance", "suppressed", "no_pass")]
    assert version(session, member) == 1
