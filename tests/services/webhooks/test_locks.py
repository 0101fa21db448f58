"""Workers and the panel at the same webhook at the same time: they wait for each other, and neither dies of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.people import publish
from tests.postgres import wait_until_somebody_waits
from tests.services.webhooks.conftest import POLICY, URL, deliveries
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.webhooks.deliveries import Outcome, claim, settle
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import create_webhook, disable_webhook, emit, rotate_secret

OWNER = "staff:owner@cafe.example"


def test_switching_off_while_an_answer_is_written_down_is_no_deadlock(postgresql_engine: Engine) -> None:
    with transaction(postgresql_engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        same = {"actor": OWNER, "now": NOW}
        webhook = create_webhook(session, program.id, url=URL, events=("*",), policy=POLICY, **same)
        member = new_id()
        emit(session, program.id, [Event("member.enrolled", member, {})], NOW)
    with transaction(postgresql_engine, ALL_PROGRAMS) as session:
        [line] = claim(session, {webhook.id: [str(member)]}, NOW).lines

    def write_down() -> None:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            settle(session, {line: [Outcome(line.messages[0], 500, "no")]}, NOW, 0.5)

    with ThreadPoolExecutor(1) as worker:
        with transaction(postgresql_engine, program.id) as session:
            rotate_secret(session, program.id, webhook.id, **same)
            session.flush()
            written = worker.submit(write_down)
            wait_until_somebody_waits(postgresql_engine)
            disable_webhook(session, program.id, webhook.id, because="away", **same)
        written.result(30)
    with reading(postgresql_engine, ALL_PROGRAMS) as session:
        [message] = deliveries(session)
        assert (message.state, message.last_error, message.last_status) == ("failed", "away", None)
