"""Receipts that are recorded together: what they name, which of them are refused, and their members, locked.

Two rounds of reading, whatever the size of the batch (:mod:`wallet_server.reads`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from wallet_server.challenges.queries import Before, before_asked
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.ledger.expiry import book_expired, lock_asked
from wallet_server.ledger.postings import Balance
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import categories_asked, costs_asked, load_program
from wallet_server.purchases.commands import CardRow, RecordPurchase, Source
from wallet_server.purchases.plan import Person, business_date, version_for
from wallet_server.purchases.queries import cards_asked, people_asked_for, receipts_asked
from wallet_server.reads import Asked, known, one_round
from wallet_server.rules.book import rule_book
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.queries import standings_asked, with_windows
from wallet_server.webhooks.services import listeners_asked

Receipt = tuple[UUID, str]
"""An outlet's id and its number of the receipt."""


@dataclass
class Batch:
    """The commands, who brought each, and what has been refused so far, by place.

    ``versions`` are those in force at the moments of late receipts.
    """

    program: ProgramDefinition
    commands: Sequence[RecordPurchase]
    actors: Sequence[str]
    now: datetime
    source: Source
    raise_errors: bool
    versions: Mapping[datetime, ProgramDefinition] = field(default_factory=dict)
    refused: dict[int, DomainError] = field(default_factory=dict)

    def refuse(self, index: int, error: DomainError) -> None:
        """Refuse one command; raises the error where the first one ends the batch."""
        if self.raise_errors:
            raise error
        self.refused[index] = error

    def refuse_where(self, check: Callable[[RecordPurchase], object]) -> None:
        """Refuse the commands for which ``check`` raises a ``DomainError``."""
        for index, command in self.accepted():
            try:
                check(command)
            except DomainError as error:
                self.refuse(index, error)

    def refuse_recorded(self, recorded: Mapping[Receipt, UUID]) -> None:
        """Refuse receipts that there are already."""
        for index, receipt in self.receipts().items():
            if receipt in recorded:
                self.refuse(index, duplicate(recorded[receipt]))

    def accepted(self) -> list[tuple[int, RecordPurchase]]:
        """The commands that are not refused, with their places."""
        return [(index, command) for index, command in enumerate(self.commands) if index not in self.refused]

    def receipts(self) -> dict[int, Receipt]:
        """The receipts of the accepted commands, by place."""
        return {
            index: (version_for(self.program, self.versions, command).outlet(command.outlet).id, command.receipt_id)
            for index, command in self.accepted()
        }


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What a batch names, as the database knows it."""

    cards: Mapping[str, CardRow]
    categories: Mapping[str, str | None]
    costs: Mapping[str, int]
    recorded: Mapping[Receipt, UUID]


@dataclass(frozen=True, slots=True)
class Members:
    """The members of a batch, locked."""

    balances: dict[UUID, Balance]
    standings: dict[UUID, Standing]
    people: Mapping[UUID, Person]
    challenges: Before


def look_up(session: Session, batch: Batch) -> LookedUp:
    """Cards, products and receipts in one round; commands that name an unknown card or outlet are refused."""
    program, versions = batch.program, batch.versions
    batch.refuse_where(lambda command: version_for(program, versions, command).outlet(command.outlet))
    commands = [command for _index, command in batch.accepted()]
    with one_round(session) as ask:
        cards = ask(cards_asked(program.id, {command.card_number for command in commands}))
        categories = ask(categories_of(program, commands))
        costs = ask(costs_of(program, versions.values(), commands))
        recorded = ask(receipts_asked(program.id, batch.receipts().values()))
        ask(listeners_asked(session, program.id))  # remembered for what is told of the purchases
    batch.refuse_where(lambda command: usable_card(cards.value, command.card_number))
    return LookedUp(cards.value, categories.value, costs.value, recorded.value)


def lock_members(session: Session, batch: Batch, cards: Mapping[str, CardRow]) -> Members:
    """Lock the balances, and read in the same round what only who holds the lock may rely upon."""
    program, now, commands = batch.program, batch.now, [command for _index, command in batch.accepted()]
    member_ids = {cards[command.card_number].member_id for command in commands}
    dates = {business_date(program, batch.versions, command) for command in commands}
    board_asked, days_asked = before_asked(program, member_ids, dates, now)
    with one_round(session) as ask:
        locked = ask(lock_asked(program.id, member_ids, now))
        standings = ask(standings_asked(program, member_ids))
        board, days = ask(board_asked), ask(days_asked)
    # An import brings its past: what of it has expired by now is the tick's to say.
    is_past = batch.source == "import"
    balances = locked.value.balances if is_past else book_expired(session, program, locked.value, now)
    return Members(
        balances,
        with_windows(session, program, standings.value, now),
        people_asked_for(session, program, member_ids, now, versions=batch.versions.values()),
        Before(board.value, days.value),
    )


def usable_card(cards: Mapping[str, CardRow], number: str) -> CardRow:
    """Raises ``NotFoundError(unknown_card)``, ``DomainError(card_blocked)``."""
    card = cards.get(number)
    if card is None:
        raise NotFoundError("unknown_card", "there is no card with this number in this program")
    if card.blocked:
        raise DomainError("card_blocked", "this card is blocked", status=409)
    return card


def versions_of(
    session: Session, program: ProgramDefinition, commands: Sequence[RecordPurchase], source: Source
) -> dict[datetime, ProgramDefinition]:
    """The versions in force at the moments of late receipts; an import brings its past under today's rules."""
    if source == "import":
        return {}
    late = {command.occurred_at for command in commands if command.occurred_at < program.published_at}
    return {moment: load_program(session, program_id=program.id, at=moment) for moment in sorted(late)}


def categories_of(program: ProgramDefinition, commands: Sequence[RecordPurchase]) -> Asked[dict[str, str | None]]:
    """The categories of the products for which the till names none."""
    skus = {line.sku for command in commands for line in command.lines if line.sku and line.category is None}
    return categories_asked(program.id, skus)


def costs_of(
    program: ProgramDefinition, versions: Collection[ProgramDefinition], commands: Sequence[RecordPurchase]
) -> Asked[dict[str, int]]:
    """What the products cost, if a rule of the program asks for margins."""
    if not any("margin_percent" in rule_book(version).asks for version in (program, *versions)):
        return known({})
    return costs_asked(program.id, {line.sku for command in commands for line in command.lines if line.sku})


def duplicate(purchase_id: UUID) -> DomainError:
    """That a receipt has been recorded before."""
    return DomainError(
        "duplicate_receipt", "this receipt has been recorded before", status=409, purchase_id=str(purchase_id)
    )
