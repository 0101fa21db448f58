"""Enrolling: the same person is the same member, whoever asks, however often, at whatever moment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.factories import CAFE, program_file
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.issuance.models import IssuedPass
from wallet_server.ledger.models import MemberBalance
from wallet_server.members import queries
from wallet_server.members.consents import Answer, record_marketing
from wallet_server.members.models import Card, Consent, Member, MemberStatistics
from wallet_server.members.services import Enrol, Enrolled, enrol, enrol_many
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.staff.models import AuditRecord
from wallet_server.tiers.models import MemberTier
from wallet_server.tokens import TokenMint

TABLES = (Member, Card, MemberBalance, MemberStatistics, MemberTier, Consent, IssuedPass)


def publish(engine: Engine, **sections: Any) -> ProgramDefinition:
    with transaction(engine, ALL_PROGRAMS) as session:
        file = ProgramFile.model_validate(program_file(**sections))
        applied = apply_program(session, file, now=NOW, actor="cli")
        return load_program(session, program_id=applied.program_id)


@pytest.fixture
def cafe(engine: Engine) -> ProgramDefinition:
    return publish(engine)


def join(engine: Engine, program: ProgramDefinition, actor: str = "member", **fields: Any) -> Enrolled:
    with transaction(engine, program.id) as session:
        return enrol(session, program, Enrol(**fields), now=NOW, actor=actor)


def counts(engine: Engine, program: ProgramDefinition) -> list[int]:
    with reading(engine, program.id) as session:
        return [session.exec(select(sa.func.count()).select_from(table)).one() for table in TABLES]


def answers_of(session: Session, member_id: UUID) -> Sequence[Consent]:
    """What a member said to each kind of consent, the newest last."""
    mine = select(Consent).where(Consent.member_id == member_id)
    return session.exec(mine.order_by(col(Consent.at), col(Consent.id))).all()


def test_somebody_joins_with_one_field(engine: Engine, cafe: ProgramDefinition) -> None:
    enrolled = join(engine, cafe, phone="070 123 456", channel="Poster", marketing=True, outlet="B")
    assert enrolled.created
    assert len(enrolled.card_number) == 16
    with reading(engine, cafe.id) as session:
        found = queries.member_of_card(session, enrolled.card_number)
        consents = answers_of(session, enrolled.member_id)
        tier = session.exec(select(MemberTier.tier)).one()
        marketing = session.exec(select(MemberStatistics.marketing)).one()
        wallets = set(session.exec(select(IssuedPass.wallet)).all())
        balance = session.exec(select(MemberBalance)).one()
    member = found.member
    assert (member.id, found.card.id) == (enrolled.member_id, enrolled.card_id)
    assert (member.phone, member.email, member.language, member.channel) == ("+38970123456", None, "mk", "poster")
    assert member.outlet_id == cafe.outlet("B").id
    assert member.joined_at == NOW
    assert (tier, marketing, wallets) == ("base", True, {"apple", "google"})
    assert (balance.spendable, balance.pending, balance.owed, balance.sequence) == (0, 0, 0, 0)
    assert sorted((consent.kind, consent.granted, consent.source) for consent in consents) == [
        ("marketing", True, "poster"),
        ("terms", True, "poster"),
    ]
    assert {consent.text_version for consent in consents} == {"2026-11"}


def test_the_same_person_joins_twice_and_is_one_member(engine: Engine, cafe: ProgramDefinition) -> None:
    first = join(engine, cafe, phone="+389 70 123 456", channel="poster", name="Ана")
    before = counts(engine, cafe)
    again = join(engine, cafe, phone="070/123-456", channel="till", name="Somebody else", email="thief@example.com")
    assert again == Enrolled(first.member_id, first.card_id, first.card_number, created=False)
    assert counts(engine, cafe) == before
    with reading(engine, cafe.id) as session:
        member = queries.member_by_id(session, first.member_id)
    assert (member.channel, member.name, member.email) == ("poster", "Ана", None)


def test_what_a_stranger_says_about_marketing_is_not_believed(engine: Engine, cafe: ProgramDefinition) -> None:
    first = join(engine, cafe, email="Ana@Example.com", marketing=False)
    join(engine, cafe, email="ana@example.COM", marketing=True)
    with reading(engine, cafe.id) as session:
        assert session.exec(select(MemberStatistics.marketing)).one() is False
    join(engine, cafe, actor="key:wk_abc", email="ana@example.com", marketing=True, channel="till")
    with reading(engine, cafe.id) as session:
        assert session.exec(select(MemberStatistics.marketing)).one() is True
        newest = answers_of(session, first.member_id)[-1]
    assert (newest.kind, newest.granted, newest.source) == ("marketing", True, "till")
    with transaction(engine, cafe.id) as session:
        no = {first.member_id: Answer(False, "page")}
        answers = [record_marketing(session, cafe.id, no, NOW) for _ in "12"]
    assert answers == [{first.member_id}, set()], "the same answer again is no news"


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({}, "validation", "phone"),
        ({"phone": "12"}, "validation", "phone"),
        ({"phone": "070 123 456 ext. 7"}, "validation", "phone"),
        ({"email": "ana@"}, "validation", "email"),
        ({"email": "ana@example.com", "language": "de"}, "validation", "language"),
        ({"email": "ana@example.com", "name": "a" * 121}, "validation", "name"),
        ({"email": "ana@example.com", "birthday": date(2026, 11, 24)}, "validation", "birthday"),
        ({"email": "ana@example.com", "birthday": date(1899, 12, 31)}, "validation", "birthday"),
        ({"email": "ana@example.com", "channel": "a b"}, "validation", "channel"),
        ({"email": "ana@example.com", "external_id": " \n"}, "validation", "external_id"),
        ({"email": "ana@example.com", "referral_code": "NOBODY"}, "validation", "referral_code"),
        ({"email": "ana@example.com", "card_number": "x"}, "validation", "card_number"),
        ({"email": "ana@example.com", "outlet": "Z"}, "unknown_outlet", None),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_kept(
    engine: Engine, cafe: ProgramDefinition, fields: dict[str, Any], code: str, field: str | None
) -> None:
    with transaction(engine, cafe.id) as session, pytest.raises(DomainError) as refused:
        enrol(session, cafe, Enrol(**fields), now=NOW, actor="member")
    assert (refused.value.code, refused.value.extra.get("field")) == (code, field)
    assert counts(engine, cafe) == [0] * len(TABLES)


def test_contacts_of_two_members_are_a_conflict(engine: Engine, cafe: ProgramDefinition) -> None:
    join(engine, cafe, phone="070 123 456")
    join(engine, cafe, email="ana@example.com")
    with pytest.raises(DomainError) as refused:
        join(engine, cafe, phone="070 123 456", email="ana@example.com")
    assert (refused.value.code, refused.value.status) == ("member_conflict", 409)


def test_an_invited_friend_is_tied_to_who_invited(engine: Engine, cafe: ProgramDefinition) -> None:
    ana = join(engine, cafe, phone="070 123 456")
    with reading(engine, cafe.id) as session:
        code = queries.member_by_id(session, ana.member_id).referral_code
        assert queries.member_by_referral_code(session, code.lower()) is not None
    ben = join(engine, cafe, phone="070 123 457", referral_code=code.lower())
    with reading(engine, cafe.id) as session:
        assert queries.member_by_id(session, ben.member_id).referred_by_id == ana.member_id


def test_a_card_that_was_in_use_before_us_keeps_its_number(engine: Engine, cafe: ProgramDefinition) -> None:
    old = join(engine, cafe, external_id="h-1", card_number="OLD-0001", channel="import")
    assert old.card_number == "OLD-0001"
    with pytest.raises(DomainError) as refused:
        join(engine, cafe, external_id="h-2", card_number="OLD-0001", channel="import")
    assert refused.value.code == "card_taken"
    assert not join(engine, cafe, external_id="h-1", card_number="OLD-0001", channel="import").created
    with reading(engine, cafe.id) as session:
        assert queries.cards_of_external_ids(session, ["h-1", "h-2"]) == {"h-1": "OLD-0001"}
        assert session.exec(select(Consent)).all() == []


def test_a_batch_answers_in_order_and_one_bad_row_stops_no_other(engine: Engine, cafe: ProgramDefinition) -> None:
    join(engine, cafe, external_id="h-0")
    commands = [
        Enrol(external_id="h-1", channel="import"),
        Enrol(phone="nonsense", channel="import"),
        Enrol(external_id="h-0", channel="import"),
        Enrol(external_id="h-1", channel="import"),
        Enrol(external_id="h-2", card_number="OLD-1", channel="import"),
        Enrol(external_id="h-3", card_number="OLD-1", channel="import"),
    ]
    with transaction(engine, cafe.id) as session:
        answers = enrol_many(session, cafe, commands, now=NOW, actor="cli", on_error="return")
    assert [answer.code if isinstance(answer, DomainError) else answer.created for answer in answers] == [
        True, "validation", False, False, True, "card_taken",
    ]  # fmt: skip
    assert answers[0].member_id == answers[3].member_id
    with transaction(engine, cafe.id) as session, pytest.raises(DomainError):
        enrol_many(session, cafe, [Enrol(external_id="h-9"), Enrol()], now=NOW, actor="cli")
    assert counts(engine, cafe)[0] == 3


def test_thousands_join_in_a_few_statements(engine: Engine, cafe: ProgramDefinition) -> None:
    commands = [
        Enrol(external_id=f"h-{number}", phone=f"+38970{200000 + number}", channel="import") for number in range(2500)
    ]
    with heard(engine) as said, transaction(engine, cafe.id) as session:
        answers = enrol_many(session, cafe, commands, now=NOW, actor="cli")
    assert len({answer.card_number for answer in answers}) == 2500
    assert counts(engine, cafe) == [2500, 2500, 2500, 2500, 2500, 0, 5000]
    assert len(said) < 60


def test_two_tills_that_enrol_one_person_at_once_get_the_same_member(engine: Engine, cafe: ProgramDefinition) -> None:
    start = threading.Barrier(8)

    def till(number: int) -> Enrolled:
        start.wait(timeout=20)
        return join(engine, cafe, actor=f"key:{number}", phone="070 123 456", channel="till")

    for _ in range(3):
        with transaction(engine, ALL_PROGRAMS) as session:
            for table in reversed(TABLES):
                session.execute(sa.delete(table))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(till, range(8)))
        assert len({answer.member_id for answer in answers}) == 1
        assert len({answer.card_number for answer in answers}) == 1
        assert sum(answer.created for answer in answers) == 1
        assert counts(engine, cafe) == [1, 1, 1, 1, 1, 1, 2]


def test_another_program_has_its_own_members(engine: Engine, cafe: ProgramDefinition) -> None:
    other = publish(engine, program={**CAFE["program"], "slug": "other"}, tiers={"levels": []})
    ana = join(engine, cafe, phone="070 123 456")
    elsewhere = join(engine, other, phone="070 123 456")
    assert elsewhere.created
    assert elsewhere.member_id != ana.member_id
    with reading(engine, other.id) as session:
        assert session.exec(select(MemberTier)).all() == []
        with pytest.raises(NotFoundError) as refused:
            queries.member_of_card(session, ana.card_number)
        assert refused.value.code == "unknown_card"
        with pytest.raises(NotFoundError):
            queries.member_by_id(session, ana.member_id)
    # A session over all programs still looks only into the program it was given.
    with transaction(engine, ALL_PROGRAMS) as session:
        again = enrol(session, other, Enrol(phone="070 123 456"), now=NOW, actor="member")
        ben = enrol(session, cafe, Enrol(phone="070 123 457", card_number="OLD-1"), now=NOW, actor="member")
        other_ben = enrol(session, other, Enrol(phone="070 123 457", card_number="OLD-1"), now=NOW, actor="member")
    assert again.member_id == elsewhere.member_id
    assert (ben.created, other_ben.created) == (True, True)


def test_a_blocked_card_is_told_apart_from_an_unknown_one(engine: Engine, cafe: ProgramDefinition) -> None:
    ana = join(engine, cafe, phone="070 123 456")
    with transaction(engine, cafe.id) as session:
        session.execute(sa.update(Card).values(blocked_at=NOW))
        with pytest.raises(DomainError) as refused:
            queries.member_of_card(session, ana.card_number)
    assert refused.value.code == "card_blocked"


def test_a_page_token_leads_to_its_member_until_it_is_revoked(engine: Engine, cafe: ProgramDefinition) -> None:
    ana = join(engine, cafe, phone="070 123 456")
    mint = TokenMint("0123456789abcdefghijklmnopqrstuvwxyz")
    token = mint.page_token(ana.member_id)
    with transaction(engine, ALL_PROGRAMS) as session:
        assert queries.member_by_page_token(session, mint, token).id == ana.member_id
        session.execute(sa.update(Member).values(token_generation=1))
        session.expire_all()
        for wrong in (token, "", "ää", token[:-2], TokenMint("f" * 40).page_token(ana.member_id, 1)):
            with pytest.raises(NotFoundError) as refused:
                queries.member_by_page_token(session, mint, wrong)
            assert refused.value.code == "unknown_member"


def test_members_are_found_by_what_staff_type(engine: Engine, cafe: ProgramDefinition) -> None:
    ana = join(engine, cafe, phone="070 123 456", name="Ана Петровска", external_id="h-1")
    join(engine, cafe, email="ben_100%@example.com", name="Ben")
    found = {
        "Ана": "Ана Петровска",
        "ана": "Ана Петровска",
        "петровска": "Ана Петровска",
        "070 123": "Ана Петровска",
        "+389 70": "Ана Петровска",
        "h-1": "Ана Петровска",
        ana.card_number[:6]: "Ана Петровска",
        "BEN": "Ben",
        "100%": "Ben",
    }
    with reading(engine, cafe.id) as session:
        for text, name in found.items():
            assert [member.name for member in queries.search(session, text)] == [name], text
        assert queries.search(session, "nobody") == []
        assert queries.search(session, "___") == []
        everybody = queries.search(session, "")
        assert [member.name for member in everybody] == ["Ben", "Ана Петровска"]
        assert [member.name for member in queries.search(session, "", limit=1, before=everybody[0].id)] == [
            "Ана Петровска"
        ]


def test_staff_who_enrol_somebody_are_audited(engine: Engine, cafe: ProgramDefinition) -> None:
    ana = join(engine, cafe, actor="staff:boss@example.com", phone="070 123 456")
    join(engine, cafe, actor="staff:boss@example.com", phone="070 123 456")
    with reading(engine, ALL_PROGRAMS) as session:
        rows = session.exec(select(AuditRecord).where(AuditRecord.action == "member.enrolled")).all()
    assert [(row.actor, row.subject) for row in rows] == [("staff:boss@example.com", ana.card_number)]
