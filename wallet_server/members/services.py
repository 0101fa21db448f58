"""Enrolling people: one at a till or on the enrol page, or thousands of an import, by the same code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, Literal, overload
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from wallet_server.db import insert_rows, new_id
from wallet_server.errors import DomainError
from wallet_server.issuance.services import issue_passes
from wallet_server.ledger.models import MemberBalance
from wallet_server.members import consents, identity
from wallet_server.members.consents import Answer
from wallet_server.members.models import Card, Consent, Member, MemberStatistics
from wallet_server.members.queries import cards_of_members
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import parts
from wallet_server.staff import audit
from wallet_server.tiers.models import MemberTier
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

IMPORT_CHANNEL: Final = "import"
MEMBER_ACTOR: Final = "member"
ENROL_MAX: Final = 5_000
"""How many people one call takes."""
_ROUNDS_MAX: Final = 3

Key = tuple[str, str]
"""What a person is known by: ``("phone", "+38970123456")``."""


@dataclass(frozen=True, kw_only=True)
class Enrol:
    """A wish to join; needs a phone number, an e-mail address, or an id of the shop's own system.

    ``outlet`` is an outlet's code. ``marketing`` is the answer to that question, ``None`` if it was not
    asked. ``card_number`` is a number that the person had before us; ours is made up at random.
    """

    phone: str | None = None
    email: str | None = None
    language: str | None = None
    name: str | None = None
    birthday: date | None = None
    channel: str = "web"
    outlet: str | None = None
    referral_code: str | None = None
    external_id: str | None = None
    marketing: bool | None = None
    card_number: str | None = None


@dataclass(frozen=True)
class Enrolled:
    """A membership; ``created`` is false where the person had it before."""

    member_id: UUID
    card_id: UUID
    card_number: str
    created: bool


@dataclass(frozen=True)
class _Person:
    """An :class:`Enrol` in the form that is kept."""

    row: dict[str, Any]
    marketing: bool | None
    referral_code: str | None
    card_number: str | None

    @property
    def known_by(self) -> tuple[Key, ...]:
        return tuple((name, self.row[name]) for name in ("phone", "email", "external_id") if self.row[name])


@dataclass
class _Batch:
    """People on their way in, by their place in the caller's list."""

    session: Session
    program: ProgramDefinition
    now: datetime
    actor: str
    people: dict[int, _Person] = field(default_factory=dict)
    members: dict[int, tuple[UUID, bool]] = field(default_factory=dict)
    refused: dict[int, DomainError] = field(default_factory=dict)

    def refuse(self, index: int, error: DomainError) -> None:
        self.refused[index] = error
        self.people.pop(index, None)

    def new(self) -> Iterator[tuple[_Person, UUID]]:
        for index, (member_id, created) in self.members.items():
            if created:
                yield self.people[index], member_id


def enrol(session: Session, program: ProgramDefinition, command: Enrol, *, now: datetime, actor: str) -> Enrolled:
    """Make somebody a member, or find the membership that the person has.

    An existing member is left as is: whoever types a known phone number has not shown to be its owner. Only
    a marketing answer that staff or a till pass on (``actor`` other than ``member``) is recorded.
    Raises ``DomainError``: ``validation`` with the ``field``; ``unknown_outlet``; ``member_conflict`` where
    the phone number and the e-mail address are two members'; ``card_taken``.
    """
    [enrolled] = enrol_many(session, program, [command], now=now, actor=actor)
    if enrolled.created and actor.startswith("staff:"):
        audit.record(
            session,
            program_id=program.id,
            actor=actor,
            action="member.enrolled",
            subject=enrolled.card_number,
            now=now,
        )
    return enrolled


@overload
def enrol_many(
    session: Session, program: ProgramDefinition, commands: Sequence[Enrol], *, now: datetime, actor: str
) -> list[Enrolled]: ...


@overload
def enrol_many(
    session: Session,
    program: ProgramDefinition,
    commands: Sequence[Enrol],
    *,
    now: datetime,
    actor: str,
    on_error: Literal["return"],
) -> list[Enrolled | DomainError]: ...


def enrol_many(
    session: Session,
    program: ProgramDefinition,
    commands: Sequence[Enrol],
    *,
    now: datetime,
    actor: str,
    on_error: Literal["raise", "return"] = "raise",
) -> list[Enrolled] | list[Enrolled | DomainError]:
    """:func:`enrol` for up to 5,000 people in a few statements; answers in the order of ``commands``.

    With ``on_error="return"`` a refusal stands in its place and the others join all the same; otherwise the
    first refusal is raised before anything is written. Somebody who is there twice joins once.
    """
    assert len(commands) <= ENROL_MAX, "enrol in batches"
    batch = _Batch(session, program, now, actor)
    for index, command in enumerate(commands):
        try:
            batch.people[index] = _person(program, command, now)
        except DomainError as error:
            batch.refused[index] = error
    _refuse_strangers(batch)
    for _round in range(_ROUNDS_MAX):
        rows = _unknown(batch)
        if batch.refused and on_error == "raise":
            raise batch.refused[min(batch.refused)]
        inserted = _insert_members(session, rows.values())
        batch.members.update({index: (row["id"], True) for index, row in rows.items() if row["id"] in inserted})
        if len(batch.members) == len(batch.people):
            break
    assert len(batch.members) == len(batch.people), "somebody could neither be found nor inserted"
    _complete(batch)
    _believe(batch)
    cards = cards_of_members(session, {member_id for member_id, _created in batch.members.values()})
    enrolled = {
        index: Enrolled(member_id, cards[member_id].id, cards[member_id].number, created)
        for index, (member_id, created) in batch.members.items()
    }
    return [enrolled.get(index) or batch.refused[index] for index in range(len(commands))]


def _person(program: ProgramDefinition, command: Enrol, now: datetime) -> _Person:
    phone = identity.parse_phone(command.phone, program.section.country) if command.phone else None
    email = identity.parse_email(command.email) if command.email else None
    external_id = identity.parse_external_id(command.external_id) if command.external_id else None
    if not (phone or email or external_id):
        raise DomainError("validation", "a phone number or an e-mail address is needed", field="phone")
    language = (command.language or program.default_language).strip().lower().split("-")[0]
    if language not in program.languages:
        raise identity.invalid("language", f"is one of {', '.join(program.languages)}")
    outlet = program.outlet(command.outlet) if command.outlet else None
    today = now.astimezone(ZoneInfo(outlet.zone if outlet else program.time_zone)).date()
    row = {
        "program_id": program.id,
        "phone": phone,
        "email": email,
        "external_id": external_id,
        "name": identity.parse_name(command.name or ""),
        "birthday": identity.check_birthday(command.birthday, today) if command.birthday else None,
        "language": language,
        "channel": identity.parse_channel(command.channel),
        "outlet_id": outlet.id if outlet else None,
        "referred_by_id": None,
        "joined_at": now,
    }
    card_number = identity.parse_card_number(command.card_number) if command.card_number else None
    referral_code = (command.referral_code or "").strip().upper() or None
    return _Person(row, command.marketing, referral_code, card_number)


def _refuse_strangers(batch: _Batch) -> None:
    """Refuse referral codes that nobody has and cards that somebody else has."""
    people = batch.people
    referrers = _values(batch, Member.referral_code, Member.id, (person.referral_code for person in people.values()))
    owners = _values(batch, Card.number, Card.member_id, (person.card_number for person in people.values()))
    known = _known(batch, people.values()) if owners else {}
    claimed: dict[str, _Person] = {}
    for index, person in list(people.items()):
        if person.referral_code is not None:
            if person.referral_code not in referrers:
                batch.refuse(index, identity.invalid("referral_code", "is nobody's"))
                continue
            person.row["referred_by_id"] = referrers[person.referral_code]
        if person.card_number is not None:
            first = claimed.setdefault(person.card_number, person)
            owner = owners.get(person.card_number)
            shared = first is not person and not set(first.known_by) & set(person.known_by)
            if shared or (owner and owner not in {known.get(key) for key in person.known_by}):
                message = f"card {person.card_number} is somebody else's"
                batch.refuse(index, DomainError("card_taken", message, status=409))


def _unknown(batch: _Batch) -> dict[int, dict[str, Any]]:
    """Find the people that are members; returns rows for those who are not.

    Run again after inserting: somebody whose row was not taken has joined in the same instant through
    another request, or stands twice in the batch, and is found now.
    """
    waiting = {index: person for index, person in batch.people.items() if index not in batch.members}
    known = _known(batch, waiting.values())
    rows: dict[int, dict[str, Any]] = {}
    claimed: dict[Key, int] = {}
    for index, person in waiting.items():
        existing = {known[key] for key in person.known_by if key in known}
        earlier = {claimed[key] for key in person.known_by if key in claimed}
        if len(existing) + len(earlier) > 1:
            message = "these contacts belong to two different members"
            batch.refuse(index, DomainError("member_conflict", message, status=409))
        elif existing:
            batch.members[index] = (existing.pop(), False)
        elif not earlier:
            rows[index] = {"id": new_id(), "referral_code": identity.new_referral_code(), **person.row}
            claimed.update(dict.fromkeys(person.known_by, index))
    return rows


def _insert_members(session: Session, rows: Iterable[dict[str, Any]]) -> set[UUID]:
    # In one order everywhere, so that two batches with the same people wait for each other, not in a circle.
    ordered = sorted(rows, key=lambda row: (row["phone"] or "", row["email"] or "", row["external_id"] or ""))
    if not ordered:
        return set()
    dialect_insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = dialect_insert(Member).on_conflict_do_nothing().returning(col(Member.id))
    return set(session.execute(statement, ordered).scalars())


def _complete(batch: _Batch) -> None:
    """Give the new members their card, balance, statistics, tier, consents and passes."""
    new = list(batch.new())
    if not new:
        return
    session, program, now = batch.session, batch.program, batch.now
    numbers = _card_numbers(batch, [person.card_number for person, _member_id in new])
    owned: list[dict[str, Any]] = [{"program_id": program.id, "member_id": member_id} for _person, member_id in new]
    cards = [
        {**row, "id": new_id(), "number": number, "created_at": now} for row, number in zip(owned, numbers, strict=True)
    ]
    statistics = [{**row, "marketing": bool(person.marketing)} for row, (person, _id) in zip(owned, new, strict=True)]
    insert_rows(session, Card, cards)
    insert_rows(session, MemberBalance, owned)
    insert_rows(session, MemberStatistics, statistics)
    if program.first_level is not None:
        # Where a level may come with time alone, the clock is to find out when.
        level = {"tier": program.first_level.code, "since": now}
        level["review_at"] = now if program.file.tiers.asks_tenure else None
        insert_rows(session, MemberTier, [{**row, **level} for row in owned])
    answers = []
    for person, member_id in new:
        source = person.row["channel"]
        if source != IMPORT_CHANNEL:  # whoever is imported has read no terms of ours
            answers.append(consents.row(program.id, member_id, "terms", Answer(True, source), now))
        if person.marketing is not None:
            answers.append(consents.row(program.id, member_id, "marketing", Answer(person.marketing, source), now))
    insert_rows(session, Consent, answers)
    issue_passes(session, program, [(card["member_id"], card["id"]) for card in cards], now)
    joined = zip((person for person, _member_id in new), cards, strict=True)
    emit(session, program.id, [_event(batch, *one) for one in joined if one[0].row["channel"] != IMPORT_CHANNEL], now)


def _event(batch: _Batch, person: _Person, card: Mapping[str, Any]) -> Event:
    """What others are told of a new member: not who it is, which they may ask us."""
    outlet_id = person.row["outlet_id"]
    data = {
        "member_id": str(card["member_id"]),
        "card_number": card["number"],
        "channel": person.row["channel"],
        "language": person.row["language"],
        "outlet": batch.program.outlet_by_id(outlet_id).section.code if outlet_id else None,
    }
    return Event("member.enrolled", card["member_id"], data)


def _believe(batch: _Batch) -> None:
    """Record what existing members answered, if it was not an unknown visitor who said so."""
    if batch.actor == MEMBER_ACTOR:
        return
    answers: dict[UUID, Answer] = {}
    for index, (member_id, created) in batch.members.items():
        marketing = batch.people[index].marketing
        if not created and marketing is not None:
            answers[member_id] = Answer(marketing, batch.people[index].row["channel"])
    consents.record_marketing(batch.session, batch.program.id, answers, batch.now)


def _card_numbers(batch: _Batch, given: Sequence[str | None]) -> list[str]:
    numbers = [number or identity.new_card_number() for number in given]
    # 10^14 numbers: one is taken about once in a century, and then the next is not.
    taken = _values(batch, Card.number, Card.member_id, numbers).keys()
    return [
        identity.new_card_number() if number in taken and given[index] is None else number
        for index, number in enumerate(numbers)
    ]


def _known(batch: _Batch, people: Iterable[_Person]) -> dict[Key, UUID]:
    wanted: dict[str, list[str]] = {}
    for person in people:
        for name, value in person.known_by:
            wanted.setdefault(name, []).append(value)
    found: dict[Key, UUID] = {}
    for name, values in wanted.items():
        members = _values(batch, getattr(Member, name), Member.id, values)
        found.update({(name, value): member_id for value, member_id in members.items()})
    return found


def _values(batch: _Batch, key: Any, value: Any, wanted: Iterable[str | None]) -> dict[str, UUID]:
    """``value`` by ``key`` of the program's rows whose ``key`` is wanted."""
    found: dict[str, UUID] = {}
    of_program = key.class_.program_id == batch.program.id
    for part in parts(item for item in wanted if item):
        found.update(dict(batch.session.execute(sa.select(key, value).where(of_program, key.in_(part))).all()))
    return found
