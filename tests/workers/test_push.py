"""``pass.changed``: who is told, how often, and what is learned from the answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import col, select
from structlog.testing import capture_logs

from passes.apple.push_outcome import PushVerdict
from tests.conftest import NOW
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.google import GoogleTroubleError
from wallet_server.issuance.invariants import CHECKS
from wallet_server.issuance.queries import changed_serials
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.services import tell
from wallet_server.outbox import services as outbox
from wallet_server.outbox.models import OutboxRow
from workers import google
from workers.jobs import work


@pytest.fixture(autouse=True)
def _invariants_hold(workshop):
    yield
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        assert [violation for check in CHECKS for violation in check(session)] == []


def test_a_change_rings_every_phone_that_holds_the_pass_and_nobody_else(workshop):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.on_phone(ana, "ab")
    bojan = workshop.on_phone(workshop.join(), "bb")
    workshop.join()
    workshop.change(ana)
    workshop.work()
    assert workshop.pushes.batches == [["aa", "ab"]]
    assert workshop.states() == ["done"]
    issued = workshop.issued(ana)
    assert (issued.pushed_version, issued.pushed_at, issued.update_tag) == (2, NOW, NOW.timestamp() * 1000)
    assert workshop.issued(bojan).update_tag == 0


def test_the_phone_finds_the_change_when_it_asks_after_the_push(workshop):
    ana = workshop.on_phone(workshop.join(), "aa")
    heard = []

    def ask() -> None:
        with reading(workshop.engine, ALL_PROGRAMS) as session:
            heard.append(changed_serials(session, "phone-aa", 0))

    workshop.pushes.meanwhile = ask
    workshop.change(ana)
    workshop.work()
    assert heard[0].serials == (workshop.issued(ana).serial,), "pushed before the tag was visible"


def test_changes_that_came_together_are_one_push(workshop):
    ana = workshop.on_phone(workshop.join(), "aa")
    for _ in range(3):
        workshop.change(ana)
    workshop.work()
    assert workshop.pushes.batches == [["aa"]]
    assert workshop.states() == ["done"] * 3
    assert workshop.issued(ana).pushed_version == 4


def test_a_batch_of_many_is_as_many_statements_as_one_of_two(workshop):
    members = [workshop.on_phone(workshop.join(), f"{number:02x}") for number in range(30)]
    counts = []
    for told in (members[:1], members[1:3], members[3:]):  # the very first makes the row of tags
        with transaction(workshop.engine, workshop.program.id) as session:
            tell(session, workshop.program, {member: Noticed(points=5) for member in told}, workshop.clock.now())
        with heard(workshop.engine) as said:
            workshop.work()
        counts.append(len(said))
        workshop.clock.advance(60)
    assert counts[1] == counts[2]
    assert workshop.states() == ["done"] * 3
    assert {workshop.issued(member).pushed_version for member in members} == {3}, "raised, and once more with words"


def test_a_phone_with_two_changed_passes_is_rung_once(workshop):
    passes = [workshop.on_phone(workshop.join(), "aa", "one phone") for _ in range(2)]
    workshop.change(*passes)
    workshop.work()
    assert workshop.pushes.batches == [["aa"]]
    assert {workshop.issued(member_id).pushed_version for member_id in passes} == {2}


def test_what_was_pushed_already_is_passed_over(workshop):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    workshop.work()
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        from wallet_server.issuance.services import announce

        announce(session, workshop.program.id, [workshop.issued(ana).id], NOW)
    workshop.work()
    assert workshop.pushes.batches == [["aa"]]
    assert workshop.states() == ["done", "done"]


def test_a_change_during_the_push_is_pushed_by_its_own_row(workshop):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    workshop.pushes.meanwhile = lambda: workshop.change(ana)
    workshop.work()
    assert workshop.issued(ana).pushed_version == 2
    assert workshop.states() == ["done", "waiting"]
    workshop.work()
    assert workshop.pushes.batches == [["aa"], ["aa"]]
    assert workshop.issued(ana).pushed_version == 3


def test_a_phone_that_is_gone_is_forgotten_and_the_row_is_done(workshop, clock):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.on_phone(ana, "bb")
    clock.advance(60)
    workshop.pushes.answers["aa"] = (PushVerdict.GONE, 410, "Unregistered", clock.now())
    workshop.change(ana)
    workshop.work()
    assert workshop.devices() == ["bb"]
    assert workshop.issued(ana).live
    assert workshop.states() == ["done"]


def test_a_phone_that_came_back_after_the_410_stays(workshop, clock):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.pushes.answers["aa"] = (PushVerdict.GONE, 410, "Unregistered", NOW - timedelta(seconds=1))
    workshop.change(ana)
    workshop.work()
    assert workshop.devices() == ["aa"]
    assert workshop.states() == ["waiting"], "the living phone was not to be rung again"


def test_a_bad_token_is_dropped_but_many_mean_that_we_are_wrong(workshop):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.pushes.answers["aa"] = (PushVerdict.BAD_TOKEN, 400, "BadDeviceToken", None)
    workshop.change(ana)
    workshop.work()
    assert workshop.devices() == []
    assert not workshop.issued(ana).live

    crowd = [workshop.on_phone(workshop.join(), f"{number:02x}") for number in range(20)]
    for token in ("00", "01"):
        workshop.pushes.answers[token] = (PushVerdict.BAD_TOKEN, 400, "DeviceTokenNotForTopic", None)
    workshop.change(*crowd)
    with capture_logs() as logs:
        workshop.work()
    assert len(workshop.devices()) == 20, "phones were dropped for our own fault"
    assert workshop.states() == ["done", "waiting"]
    assert any("certificate" in entry["event"] for entry in logs)


def test_a_busy_push_service_is_asked_again_later_and_the_other_rows_are_done(workshop, clock):
    ana = workshop.on_phone(workshop.join(), "aa")
    bojan = workshop.on_phone(workshop.join(), "bb")
    workshop.change(ana)
    workshop.change(bojan)
    workshop.pushes.answers["aa"] = (PushVerdict.RETRY_LATER, 503, "ServiceUnavailable", None)
    workshop.work()
    assert workshop.states() == ["waiting", "done"]
    [row, _] = workshop.rows()
    assert row.error == "503 ServiceUnavailable"
    assert NOW < row.not_before <= NOW + timedelta(seconds=2)
    workshop.work()
    assert len(workshop.pushes.batches) == 1, "tried before its time"
    workshop.pushes.answers.clear()
    clock.advance(2)
    workshop.work()
    assert workshop.pushes.batches[1] == ["aa"]
    assert workshop.states() == ["done", "done"]
    assert workshop.issued(ana).pushed_version == 2


def test_an_outage_of_hours_fails_no_row(workshop, clock):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    workshop.pushes.answers["aa"] = (PushVerdict.RETRY_LATER, 0, "unreachable", None)
    for _ in range(50):
        workshop.work()
        clock.advance(301)
    assert workshop.states() == ["waiting"]
    workshop.pushes.answers.clear()
    workshop.work()
    assert workshop.states() == ["done"]


def test_a_wrong_certificate_raises_an_alarm_and_loses_nothing(workshop):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    workshop.pushes.answers["aa"] = (PushVerdict.CONFIGURATION, 403, "BadCertificate", None)
    with capture_logs() as logs:
        workshop.work()
    assert [entry["reason"] for entry in logs if entry["log_level"] == "error"] == ["BadCertificate"]
    assert workshop.states() == ["waiting"]
    assert workshop.devices() == ["aa"]


def test_one_bad_row_does_not_hold_up_the_others(workshop):
    """Mautic #7226: one recipient's error stopped the whole send."""
    ana = workshop.on_phone(workshop.join(), "aa")
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        for payload in ({"v": 1, "pass_ids": ["no id"]}, {"v": 1}):
            outbox.add(
                session, topic="pass.changed", queue="push", program_id=workshop.program.id, payload=payload, now=NOW
            )
    workshop.change(ana)
    with capture_logs():
        workshop.work()
    assert workshop.states() == ["waiting", "waiting", "done"]
    assert workshop.pushes.tokens == ["aa"]


def test_a_topic_of_a_newer_server_waits_for_a_newer_worker(workshop):
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        outbox.add(session, topic="moon.risen", queue="push", program_id=workshop.program.id, payload={}, now=NOW)
    with capture_logs():
        workshop.work()
    [row] = workshop.rows()
    assert (row.state, "moon.risen" in row.error) == ("waiting", True)


def test_rq_orphan_double_run(workshop, clock):
    """A worker that hung comes back while its heir is done: the phones notice nothing, the row stays done."""
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)

    def meanwhile_the_lease_lapses() -> None:
        clock.advance(31)
        workshop.work()

    workshop.pushes.meanwhile = meanwhile_the_lease_lapses
    workshop.work()
    [row] = workshop.rows()
    assert (row.state, row.lease_generation, row.lapses) == ("done", 2, 1)
    assert workshop.pushes.batches == [["aa"], ["aa"]]


def test_an_orphan_cannot_give_back_what_its_heir_has_done(workshop, clock):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)

    def heir() -> None:
        clock.advance(31)
        workshop.pushes.answers.clear()
        workshop.work()
        workshop.pushes.answers["aa"] = (PushVerdict.RETRY_LATER, 0, "unreachable", None)

    workshop.pushes.meanwhile = heir
    workshop.work()
    assert workshop.states() == ["done"]


def test_a_worker_that_dies_three_times_on_a_row_does_not_get_a_fourth(workshop, clock):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    [row] = workshop.rows()

    class Killed(BaseException):
        """Stands for SIGKILL: no handler of ours may catch it."""

    for _ in range(outbox.LAPSES_MAX):

        def die() -> None:
            raise Killed

        workshop.pushes.meanwhile = die
        with pytest.raises(Killed):
            work(workshop.runtime, [row.id])
        clock.advance(31)
    workshop.work()
    assert len(workshop.pushes.batches) == outbox.LAPSES_MAX
    with transaction(workshop.engine) as session:
        assert outbox.bury(session, clock.now()) == [row.id]
    # The next change of the pass brings a row of its own.
    workshop.change(ana)
    workshop.work()
    assert workshop.states() == ["failed", "done"]


def test_cards_at_google_are_written_with_their_newest_version(workshop):
    ana = workshop.at_google(workshop.join())
    workshop.change(ana)
    workshop.change(ana)
    workshop.work()
    issued = workshop.issued(ana, "google")
    assert workshop.cards.cards == [(issued.serial, 3, 0)]
    assert (issued.pushed_version, workshop.states()) == (3, ["done", "done"])


@pytest.mark.parametrize("ours", [True, False])
def test_trouble_at_google_is_tried_again_and_leaves_apple_alone(workshop, clock, ours):
    ana = workshop.at_google(workshop.on_phone(workshop.join(), "aa"))
    workshop.change(ana)
    workshop.cards.trouble = GoogleTroubleError("503 backendError", ours=ours)
    with capture_logs() as logs:
        workshop.work()
    assert workshop.issued(ana).pushed_version == 2
    assert workshop.states() == ["waiting"]
    assert any(entry["log_level"] == "error" for entry in logs) == ours
    workshop.cards.trouble = None
    clock.advance(2)
    workshop.work()
    assert workshop.states() == ["done"]
    assert workshop.pushes.batches == [["aa"]], "the phone was rung for nothing"


def test_what_google_cannot_take_in_one_turn_waits_unread(workshop, clock, monkeypatch):
    monkeypatch.setattr(google, "CARDS_A_TURN_MAX", 2)
    members = [workshop.at_google(workshop.join()) for _ in range(3)]
    workshop.change(*members)
    workshop.work()
    assert (len(workshop.cards.cards), workshop.states()) == (2, ["waiting"])
    clock.advance(600)
    workshop.work()
    assert (len(workshop.cards.cards), workshop.states()) == (3, ["done"])


def test_without_google_set_up_a_row_waits_and_says_why(workshop):
    ana = workshop.at_google(workshop.join())
    workshop.change(ana)
    runtime = replace(workshop.runtime, google=None)
    work(runtime, [row.id for row in workshop.rows()])
    assert [row.error for row in workshop.rows()] == ["Google Wallet is not set up"]


def test_time_outs_of_the_job_leave_the_rows_to_the_lease(workshop):
    """F9: RQ's time-out is raised in the middle of whatever runs."""
    from rq.timeouts import JobTimeoutException

    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)

    def too_late() -> None:
        raise JobTimeoutException("25 seconds are over")

    workshop.pushes.meanwhile = too_late
    with pytest.raises(JobTimeoutException):
        workshop.work()
    with reading(workshop.engine) as session:
        row = session.exec(select(OutboxRow).order_by(col(OutboxRow.id))).one()
    assert (row.state, row.lease_until) == ("leased", NOW + outbox.LEASE)
