"""A member's page says what the phone was told, and why not when it was not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import pytest
from flask.testing import FlaskClient

from tests.conftest import NOW
from tests.web.conftest import Cast
from tests.web.helpers import text_of
from wallet_server.context import ServerContext
from wallet_server.db import new_id, transaction
from wallet_server.i18n import translator
from wallet_server.members.services import Enrolled
from wallet_server.notifications.governor import Kind
from wallet_server.notifications.models import Notification
from wallet_server.web.panel.member_messages import KINDS, REASONS, STATES, message_views


def a_message(**values: Any) -> Notification:
    owned = {"program_id": new_id(), "member_id": new_id()}
    known = {"origin": "change:1", "kind": "tier", "text": "", "state": "shown", "decided_at": NOW}
    return Notification(**{**owned, **known, **values})


@pytest.mark.parametrize(
    ("values", "title", "details"),
    [
        ({"text": "Gold now", "speaks": True}, "Gold now", ("iPhone: on the lock screen",)),
        ({"text": "Gold now"}, "Gold now", ("in silence",)),
        (
            {"text": "Gold now", "at_google": "notice", "google_told_at": NOW, "reason": "apple_limit"},
            "Gold now",
            ("enough messages on an iPhone for one day", "Google Wallet: with a notice"),
        ),
        ({"text": "+5", "at_google": "balance"}, "+5", ("Google Wallet: on its way",)),
        (
            {"state": "deferred", "reason": "quiet_hours", "deferred_until": NOW},
            "Level reached",
            ("until 11/23/26, 4:30\N{NARROW NO-BREAK SPACE}PM", "it was night for the member"),
        ),
        ({"state": "suppressed", "reason": "no_pass"}, "Level reached", ("the card is on no phone",)),
        ({"state": "merged", "reason": "merged"}, "Level reached", ()),
        ({"text": "20 %", "ended_at": NOW}, "20 %", ("in silence",)),
    ],
)
def test_a_decision_in_words(values: dict[str, Any], title: str, details: tuple[str, ...]) -> None:
    [view] = message_views([a_message(**values)], translator("en"), "Europe/Skopje")
    assert (view.title, view.details) == (title, details)
    assert (view.state == "Off the card since its end") == ("ended_at" in values)
    assert view.kind == ("Level reached" if values.get("text") else "")


def test_every_kind_and_reason_has_its_words() -> None:
    assert set(KINDS) == set(get_args(Kind))
    assert set(STATES) == {"shown", "ended", "merged", "deferred", "suppressed"}
    assert {"quiet_hours", "overtaken", "joined"} <= set(REASONS)


def test_the_page_lists_the_newest_decisions(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled
) -> None:
    page = f"/panel/programs/cafe-ohrid/members/{member.member_id}"
    heading = "What the phone was told, and why"
    assert heading not in text_of(manager.get(page))
    owned = {"program_id": cast.cafe.id, "member_id": member.member_id}
    with transaction(server.engine, cast.cafe.id) as session:
        for day in range(12):
            text = f"Message {day} <b>"
            at = NOW + timedelta(days=day)
            session.add(a_message(**owned, origin=f"change:{day}", text=text, decided_at=at, shown_at=at))
    answer = manager.get(page)
    assert heading in text_of(answer)
    assert "Message 11 &lt;b&gt;" in answer.get_data(as_text=True)
    assert "Message 1 " not in text_of(answer)
