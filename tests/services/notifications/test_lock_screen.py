"""What iPhones really say: random lives of a card, and phones that fetch when they like.

The lock screen is the simulator's, which compares fields as iOS was seen to do.
"""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import Session, select

from passes.apple.pass_json import pass_json
from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.db import new_id
from wallet_server.faces.apple import GENERIC_MESSAGES, PassFile, lock_screen_message
from wallet_server.issuance.content import CardLinks, pass_content
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.queries import card_states
from wallet_server.issuance.services import passes_changed
from wallet_server.ledger.models import MemberBalance
from wallet_server.notifications.facts import Noticed, Win
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import said_to
from wallet_server.notifications.services import Wanted, ask
from wallet_server.notifications.settling import Change, settle, wake

LINKS = CardLinks(page_url="https://x.example/m/1", update_url="https://x.example/apple", authentication_token="t" * 20)
LANGUAGE, ZONE = "en", "Europe/Skopje"
STEPS = 60


class Life:
    """A member whose card changes, and what the phones that hold it have said."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session = session
        self.random = random.Random(seed)
        self.now = NOW
        self.program = publish(
            session,
            NOW,
            notifications={"quiet_hours": {"from": "21:00", "to": "09:00"}, "messages_per_day": 4, "merge_seconds": 60},
        )
        self.member = add_member(session, self.program, NOW, language=LANGUAGE)
        self.count = 0
        self.phones: dict[str, tuple[PassFile, list[str]]] = {name: (self.card(), []) for name in "abc"}

    def step(self) -> None:
        self.now += timedelta(seconds=self.random.choice([1, 5, 30, 600, 7_200, 20_000]))
        self.random.choice([self.purchase, self.purchase, self.challenge, self.promotion, self.silent_change])()
        wake(self.session, self.now)

    def purchase(self) -> None:
        self.count += 1
        self.session.get_one(MemberBalance, self.member).spendable += self.count
        self.session.flush()
        self.happens(Noticed(points=self.count, wins=(Win(f"c{self.count}"),) if self.random.random() < 0.3 else ()))

    def challenge(self) -> None:
        self.count += 1
        self.happens(Noticed(wins=(Win(f"c{self.count}"),)))

    def promotion(self) -> None:
        self.count += 1
        ask(
            self.session, self.program, [Wanted(self.member, f"campaign:{self.count}", f"Offer {self.count}")], self.now
        )

    def silent_change(self) -> None:
        passes_changed(self.session, self.program, [self.member], self.now)

    def happens(self, noticed: Noticed) -> None:
        settle(self.session, [Change(self.program.id, f"change:{new_id().hex}", {self.member: noticed})], self.now)

    def card(self) -> PassFile:
        issued = self.session.exec(select(IssuedPass).where(IssuedPass.member_id == self.member)).one()
        [state] = card_states(self.session, self.program, [issued.id], self.now, news=said_to)
        content = pass_content(self.program, state, LINKS)
        document: dict[str, Any] = pass_json(content, pass_type_id="pass.com.example", team_id="TEAM123456")
        return PassFile(json.loads(json.dumps(document)), content.translations)

    def fetch(self, name: str, at: datetime | None = None) -> str | None:
        """What the phone says when it gets the card as it is now."""
        old, heard = self.phones[name]
        new = self.card()
        message = lock_screen_message(old, new, LANGUAGE, ZONE)
        self.phones[name] = new, [*heard, message] if message else heard
        issued = self.session.exec(select(IssuedPass).where(IssuedPass.member_id == self.member)).one()
        issued.fetched_at = at or self.now
        self.session.flush()
        return message


@pytest.mark.parametrize("seed", range(4))
def test_a_phone_says_one_thing_at_a_time_and_nothing_twice(session, seed):
    life = Life(session, seed)
    loud: set[str] = set()
    for _ in range(STEPS):
        life.step()
        session.expire_all()
        for name, chance in (("a", 1.0), ("b", 0.5), ("c", 0.1)):
            if life.random.random() < chance:
                message = life.fetch(name)
                assert message not in GENERIC_MESSAGES.values(), "two fields spoke at once"
                if message:
                    said = said_to(session, [life.member])[life.member]
                    assert message == getattr(said, said.speaks)
        speaking = session.exec(select(Notification.text).where(Notification.speaks, Notification.state == "shown"))
        loud = set(speaking)
    for _card, heard in life.phones.values():
        assert len(heard) == len(set(heard)), "an old message was said again"
        assert set(heard) <= loud
    # Who fetches at once has heard everything, if only with what came in the same moment; who is late, never more.
    everything, often, seldom = (set(life.phones[name][1]) for name in "abc")
    assert [text for text in loud if not any(text in message for message in everything)] == []
    assert len(seldom) <= len(often) <= len(loud)
    assert len(loud) >= 10, "the life was too quiet to prove anything"
