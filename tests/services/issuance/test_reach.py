"""How far a publication reaches: counted where somebody holds a card, measured where enough was sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.db import new_id
from wallet_server.issuance import reach as rooms
from wallet_server.issuance.models import Device, IssuedPass, Registration
from wallet_server.issuance.reach import Pace, Reach, pace_of, progress_of, reach_of, seconds_to_renew
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.definition import ProgramDefinition

SECOND = timedelta(seconds=1)


def pass_of(session: Session, member_id: UUID) -> IssuedPass:
    return session.exec(select(IssuedPass).where(IssuedPass.member_id == member_id, IssuedPass.wallet == "apple")).one()


def register(session: Session, issued: IssuedPass, device: Device) -> None:
    session.add(device)
    session.flush()
    session.add(Registration(program_id=issued.program_id, device_id=device.id, pass_id=issued.id, registered_at=NOW))
    session.flush()


def phone(name: str) -> Device:
    return Device(library_identifier=name, push_token=name, created_at=NOW, token_at=NOW)


def google_card(session: Session, program: ProgramDefinition, member_id: UUID, **values: Any) -> None:
    apple = pass_of(session, member_id)
    same = {"program_id": program.id, "member_id": member_id, "card_id": apple.card_id}
    moments = {"last_modified": NOW, "changed_at": NOW, "created_at": NOW}
    row = {"live": True, **same, **moments, **values}
    session.add(IssuedPass(id=new_id(), wallet="google", serial=f"g{apple.serial}", **row))
    session.flush()


def test_only_cards_that_somebody_holds_are_counted_and_each_phone_once(session: Session) -> None:
    cafe, bakery = publish(session, NOW), publish(session, NOW, "bakery")
    ana, marko, gone = (add_member(session, cafe, NOW) for _ in range(3))
    add_member(session, cafe, NOW, live=False)
    stranger = add_member(session, bakery, NOW)
    pass_of(session, gone).voided_at = NOW
    shared = phone("shared")
    register(session, pass_of(session, ana), shared)
    register(session, pass_of(session, marko), shared)
    register(session, pass_of(session, ana), phone("second"))
    register(session, pass_of(session, gone), phone("of one who left"))
    register(session, pass_of(session, stranger), phone("a stranger's"))
    google_card(session, cafe, ana)
    google_card(session, cafe, marko, live=False)
    assert reach_of(session, cafe.id) == Reach(members=2, apple_passes=2, apple_phones=2, google_cards=1)
    nobody = publish(session, NOW, "nobody")
    assert reach_of(session, nobody.id) == Reach(members=0, apple_passes=0, apple_phones=0, google_cards=0)


def test_the_pace_is_measured_at_the_last_publication_or_assumed(session: Session, monkeypatch: Any) -> None:
    monkeypatch.setattr(rooms, "MEASURED_PASSES_MIN", 3)
    cafe = publish(session, NOW)
    members = [add_member(session, cafe, NOW) for _ in range(5)]
    assert pace_of(session, cafe.id, NOW) == Pace(rooms.APPLE_A_SECOND_ASSUMED, measured=False)
    for number, member_id in enumerate(members):
        pass_of(session, member_id).pushed_at = NOW + number * SECOND / 2
    session.flush()
    assert pace_of(session, cafe.id, NOW) == Pace(2.5, measured=True)
    # What was pushed on another day, for another reason, says nothing of it.
    assert not pace_of(session, cafe.id, NOW - timedelta(days=1)).measured
    session.execute(sa.update(IssuedPass).values(pushed_at=NOW))
    assert not pace_of(session, cafe.id, NOW).measured  # all in one moment: no pace


def test_the_time_is_apples_and_googles_together() -> None:
    reach = Reach(members=1, apple_passes=1_000, apple_phones=1_200, google_cards=400)
    assert seconds_to_renew(reach, Pace(200.0, measured=False)) == 5 + 20
    assert seconds_to_renew(Reach(members=0, apple_passes=0, apple_phones=0, google_cards=0), Pace(1.0, False)) == 0


def test_progress_counts_since_the_publication(session: Session) -> None:
    cafe = publish(session, NOW)
    members = [add_member(session, cafe, NOW - timedelta(days=2)) for _ in range(4)]
    for place, member_id in enumerate(members):
        issued = pass_of(session, member_id)
        issued.changed_at = NOW + SECOND if place < 3 else NOW - SECOND
        issued.pushed_at = NOW + 2 * SECOND if place < 2 else NOW - SECOND
        issued.fetched_at = NOW + 3 * SECOND if place < 1 else None
        issued.push_error = "410 Unregistered" if place == 2 else None
    google_card(session, cafe, members[0], changed_at=NOW + SECOND, pushed_at=NOW + SECOND)
    session.execute(sa.delete(OutboxRow))
    found = progress_of(session, cafe.id, NOW)
    apple, google = found.apple, found.google
    assert (apple.held, apple.renewed, apple.sent, apple.fetched, apple.refused) == (4, 3, 2, 1, 1)
    assert (google.held, google.renewed, google.sent, google.fetched, google.refused) == (1, 1, 1, 1, 0)
    assert not found.at_work


def test_workers_are_at_work_while_a_row_of_this_program_waits(session: Session) -> None:
    cafe, bakery = publish(session, NOW), publish(session, NOW, "bakery")
    publish(session, NOW, **{"pass": {"background": "#222222"}})
    assert progress_of(session, cafe.id, NOW).at_work
    assert not progress_of(session, bakery.id, NOW).at_work
    session.execute(sa.update(OutboxRow).where(col(OutboxRow.program_id) == cafe.id).values(state="done"))
    assert not progress_of(session, cafe.id, NOW).at_work
