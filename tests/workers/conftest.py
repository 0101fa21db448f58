"""A worker whose lines to the wallets end in lists, on a real database, with a clock that a test moves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from passes.apple.push_outcome import PushOutcome, PushVerdict
from tests.conftest import NOW
from tests.people import publish
from tests.services.webhooks.receiver import Receiver, listening
from tests.workers.desk import Desk
from wallet_server.context import ServerContext, make_context
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.deliveries import record_fetch
from wallet_server.issuance.google import GoogleTroubleError
from wallet_server.issuance.google_events import google_object_made
from wallet_server.issuance.models import Device, IssuedPass
from wallet_server.issuance.phones import register_device
from wallet_server.issuance.services import passes_changed
from wallet_server.mail.letters import Letter
from wallet_server.mail.sender import Outcome, Verdict
from wallet_server.members.services import Enrol, enrol
from wallet_server.outbox.models import OutboxRow
from wallet_server.settings import Settings
from workers.jobs import work
from workers.runtime import Runtime, make_webhooks


@dataclass
class RecordedMails:
    """A mail server as a list; ``answers`` are what it says to the next mails instead of taking them."""

    engine: Engine
    letters: list[Letter] = field(default_factory=list)
    answers: list[Outcome | BaseException] = field(default_factory=list)
    noted: list[bool] = field(default_factory=list)

    def send(self, letter: Letter, hand_over: Callable[[], bool]) -> Outcome:
        assert self.engine.pool.checkedout() == 0, "a transaction is open during a network call"
        self.noted.append(hand_over())
        if not self.noted[-1]:
            return Outcome(Verdict.WITHHELD)
        answer = self.answers.pop(0) if self.answers else Outcome(Verdict.SENT, "250 taken")
        if isinstance(answer, BaseException):
            raise answer
        if answer.verdict in (Verdict.SENT, Verdict.UNSURE):
            self.letters.append(letter)
        return answer


class StoppedClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class RecordedPushes:
    """Apple's push service as a list; ``answers`` gives single tokens another verdict."""

    engine: Engine
    batches: list[list[str]] = field(default_factory=list)
    answers: dict[str, tuple[PushVerdict, int, str, datetime | None]] = field(default_factory=dict)
    meanwhile: Callable[[], None] | None = None

    def push(self, tokens: Sequence[str], *, deadline_seconds: float = 0) -> list[PushOutcome]:
        assert self.engine.pool.checkedout() == 0, "a transaction is open during a network call"
        self.batches.append(list(tokens))
        if self.meanwhile:
            then, self.meanwhile = self.meanwhile, None
            then()
        return [self._outcome(token) for token in tokens]

    def _outcome(self, token: str) -> PushOutcome:
        verdict, status, reason, timestamp = self.answers.get(token, (PushVerdict.ACCEPTED, 200, "", None))
        return PushOutcome(token, status, reason, timestamp, verdict)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def tokens(self) -> list[str]:
        return [token for batch in self.batches for token in batch]


@dataclass
class RecordedCards:
    """Google Wallet as a list; ``trouble`` is raised instead while it is set."""

    engine: Engine
    cards: list[tuple[str, int, int]] = field(default_factory=list)
    """Serial, version, points."""
    announced: list[int] = field(default_factory=list)
    """Balances that phones were to be told of."""
    messages: list[Any] = field(default_factory=list)
    silent: bool = False
    """The day's notices are used up."""
    trouble: GoogleTroubleError | None = None

    def put(
        self, program: Any, state: Any, *, page_url: str, notify: bool = False, messages: Sequence[Any] = ()
    ) -> dict[str, bool]:
        assert self.engine.pool.checkedout() == 0, "a transaction is open during a network call"
        assert "/m/" in page_url
        if self.trouble:
            raise self.trouble
        self.cards.append((state.serial, state.version, state.spendable))
        if notify:
            self.announced.append(state.spendable)
        self.messages.extend(messages)
        return {one.id: one.notify and not self.silent for one in messages}

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Workshop:
    """One program, a worker, and looks into the tables."""

    context: ServerContext
    runtime: Runtime
    clock: StoppedClock
    pushes: RecordedPushes
    cards: RecordedCards
    program: Any
    mails: RecordedMails
    members: int = 0

    @property
    def engine(self) -> Engine:
        return self.context.engine

    def join(self, **values: Any) -> UUID:
        self.members += 1
        command = Enrol(phone=f"+389701{self.members:05d}", **values)
        with transaction(self.engine, self.program.id) as session:
            return enrol(session, self.program, command, now=self.clock.now(), actor="member").member_id

    def issued(self, member_id: UUID, wallet: str = "apple") -> IssuedPass:
        with reading(self.engine, ALL_PROGRAMS) as session:
            return session.exec(
                select(IssuedPass).where(IssuedPass.member_id == member_id, IssuedPass.wallet == wallet)
            ).one()

    def on_phone(self, member_id: UUID, token: str, device: str | None = None) -> UUID:
        """Put the member's pass on a phone with this push token."""
        issued = self.issued(member_id)
        with transaction(self.engine, ALL_PROGRAMS) as session:
            record_fetch(session, issued.id, issued.version, self.clock.now())
            row = session.get_one(IssuedPass, issued.id)
            register_device(session, row, device=device or f"phone-{token}", push_token=token, now=self.clock.now())
        return member_id

    def at_google(self, member_id: UUID) -> UUID:
        issued = self.issued(member_id, "google")
        with transaction(self.engine, ALL_PROGRAMS) as session:
            google_object_made(session, issued.id, issued.version, self.clock.now())
        return member_id

    def change(self, *member_ids: UUID) -> None:
        with transaction(self.engine, self.program.id) as session:
            passes_changed(session, self.program, member_ids, self.clock.now())

    def rows(self) -> list[OutboxRow]:
        with reading(self.engine) as session:
            return list(session.exec(select(OutboxRow).order_by(col(OutboxRow.id))))

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def devices(self) -> list[str]:
        with reading(self.engine) as session:
            return sorted(session.exec(select(Device.push_token)))

    def work(self) -> None:
        """Ring once for everything that is there."""
        work(self.runtime, [row.id for row in self.rows() if row.id is not None])


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def workshop(engine: Engine, settings: Settings, clock: StoppedClock) -> Iterator[Workshop]:
    context = make_context(settings)
    made = make_workshop(context, clock)
    yield made
    made.runtime.webhooks.close()
    context.engine.dispose()


def make_workshop(context: ServerContext, clock: Any) -> Workshop:
    settings = context.settings.model_copy(
        update={"WALLET_SMTP_URL": "smtp://127.0.0.1", "WALLET_MAIL_FROM": "cards@cafe.example"}
    )
    context = replace(context, clock=clock, settings=settings)
    pushes, cards = RecordedPushes(context.engine), RecordedCards(context.engine)
    mails = RecordedMails(context.engine)
    runtime = Runtime(
        context=context,
        pusher=pushes,
        google=cards,
        webhooks=make_webhooks(context),
        mail=mails,
        chance=random.Random(1),
    )
    with transaction(context.engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
    return Workshop(context, runtime, clock, pushes, cards, program, mails)


@pytest.fixture
def desk(workshop: Workshop) -> Desk:
    return Desk(workshop)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as one:
        yield one
