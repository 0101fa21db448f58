"""What tests of pages do all the time: move the clock, enrol somebody, send a form as a browser would."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from wallet_server.context import ServerContext
from wallet_server.db import transaction
from wallet_server.members.services import Enrol, Enrolled, enrol
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.segments.condition import Condition
from wallet_server.segments.services import save_segment
from wallet_server.staff.passwords import Passwords

PASSWORD = "correct horse battery staple"
QUICK = Passwords(time_cost=1, memory_kib=8, parallelism=1)
"""argon2 that does not take its time."""


class StoppedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, duration: timedelta) -> None:
        self.moment += duration


def add_segment(
    server: ServerContext, program: ProgramDefinition, clock: StoppedClock, name: str = "Everybody", **condition: Any
) -> UUID:
    """A saved segment; without a condition it is everybody."""
    with transaction(server.engine, program.id) as session:
        made = save_segment(
            session, program, code=name.lower(), name=name, condition=Condition(**condition), actor="cli",
            now=clock.now(),
        )  # fmt: skip
        return made.id


def enrol_member(server: ServerContext, program: ProgramDefinition, clock: StoppedClock, **fields: Any) -> Enrolled:
    """A new member of a program."""
    with transaction(server.engine, program.id) as session:
        return enrol(session, program, Enrol(**fields), now=clock.now(), actor="member")


def csrf_of(client: FlaskClient, url: str) -> str:
    """The CSRF proof of the form on a page."""
    text = client.get(url).get_data(as_text=True)
    found = re.search(r'name="csrf_token" value="([^"]+)"', text)
    assert found is not None, f"{url} has no form"
    return html.unescape(found.group(1))


def form_key_of(client: FlaskClient, url: str) -> str:
    """The key of the form on a page, by which a button pressed twice acts once."""
    found = re.search(r'name="key" value="([0-9a-f]{32})"', client.get(url).get_data(as_text=True))
    assert found is not None, f"{url} has no form with a key"
    return found[1]


def submit(client: FlaskClient, url: str, values: Mapping[str, Any], *, page: str = "", **options: Any) -> TestResponse:
    """Post a form as a browser would: with the proof from its page (``page``, or the form's own address)."""
    return client.post(url, data={"csrf_token": csrf_of(client, page or url), **values}, **options)


def text_of(response: TestResponse) -> str:
    """What a reader sees, roughly: the body without tags and entities."""
    return html.unescape(re.sub(r"<[^>]+>", " ", response.get_data(as_text=True)))
