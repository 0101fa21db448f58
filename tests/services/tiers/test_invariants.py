"""Each check of tiers finds exactly the row that was broken on purpose, in its own program."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.services.ledger.test_invariants import defenceless
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, new_id, reading, set_scope, transaction
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import current_file, load_program
from wallet_server.programs.services import apply_program
from wallet_server.tiers import invariants
from wallet_server.tiers.models import MemberTier, TierChange
from wallet_server.tiers.services import grant_tier, protect_tier, review_due

DAY = timedelta(days=1)
CHECKS = {check.__name__: check for check in invariants.CHECKS}
LEVELS = [
    {"code": "base", "name": "Member"},
    {"code": "silver", "name": "Silver", "reach": {"any": [{"spend_minor": 100_000}]}},
    {"code": "gold", "name": "Gold", "reach": {"any": [{"spend_minor": 9_000_000}]}, "grace_days": 5},
]


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """One has reached silver and was given gold for some days, one is protected, one is where everybody begins."""
    shop = open_shop(engine, members=3, tiers={"levels": LEVELS}, challenges=[], **{"pass": {}})
    for number in (0, 1):
        shop.record(purchase(shop.members[number].card_number, f"A-{number}", 200_000))
    first, second = (member.member_id for member in shop.members[:2])
    with transaction(engine, shop.program.id) as session:
        grant_tier(session, shop.program, first, tier="gold", until=NOW + DAY, actor="staff:x", now=NOW)
        protect_tier(session, shop.program, second, until=NOW + DAY, actor="staff:x", now=NOW)
    return shop


@pytest.fixture
def session(shop: Shop) -> Iterator[Session]:
    """Behind the back of the triggers that keep the history as it is."""
    with defenceless(shop.engine) as connection, Session(connection, info={"scope": ALL_PROGRAMS}) as session:
        yield session


def broken(session: Session) -> set[str]:
    return {name for name, check in CHECKS.items() if check(session)}


def look(shop: Shop, moment: object) -> None:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        review_due(session, moment)  # type: ignore[arg-type]


def test_what_the_services_write_breaks_nothing(shop: Shop) -> None:
    for days in (0, 0, 2, 10):
        with reading(shop.engine, ALL_PROGRAMS) as before:
            assert broken(before) == set()
        look(shop, NOW + days * DAY)
        with reading(shop.engine, ALL_PROGRAMS) as after:
            assert broken(after) == set()
    with reading(shop.engine, ALL_PROGRAMS) as after:
        reasons = after.exec(select(TierChange.reason).order_by(col(TierChange.id))).all()
    assert sorted(reasons) == ["ended", "granted", "reached", "reached"]


HELD, STEP = col(MemberTier.tier), TierChange


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        (sa.update(MemberTier).where(HELD == "gold").values(tier="silver"), "histories_end"),
        (sa.delete(MemberTier).where(HELD == "gold"), "histories_end"),
        (sa.update(STEP).where(col(STEP.to_tier) == "gold").values(from_tier="base"), "histories_end"),
        (sa.update(STEP).where(col(STEP.to_tier) == "gold").values(reason="liked"), "changes_say_why"),
        (sa.update(STEP).where(col(STEP.to_tier) == "gold").values(actor=""), "changes_say_why"),
        (sa.update(MemberTier).where(HELD == "gold").values(review_at=None), "promises_are"),
        (sa.update(MemberTier).where(HELD == "silver").values(review_at=NOW + 3 * DAY), "promises_are"),
        (sa.update(MemberTier).where(HELD == "silver").values(protected_until=NOW - DAY), "promises_are"),
        (sa.update(MemberTier).where(HELD == "silver").values(grace_until=NOW - DAY), "promises_are"),
        (sa.update(MemberTier).where(HELD == "base").values(tier="platinum"), "tiers_held"),
    ],
)
def test_a_broken_row_is_found_by_its_check(shop: Shop, session: Session, statement: sa.Update, check: str) -> None:
    assert session.connection().execute(statement).rowcount == 1
    [name] = broken(session)
    assert name.startswith(check)
    found = CHECKS[name](session)
    assert found[0].row
    assert found[0].detail
    set_scope(session, shop.program.id)
    assert CHECKS[name](session) == found
    set_scope(session, new_id())
    assert broken(session) == set()


def test_a_tier_that_the_program_had_is_left_over_and_not_wrong(shop: Shop) -> None:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        file = current_file(session, shop.program.id).model_dump(mode="json", by_alias=True, exclude_unset=True)
        file["tiers"]["levels"].pop()
        apply_program(session, ProgramFile.model_validate(file), now=NOW + timedelta(hours=1), actor="test")
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert load_program(session, program_id=shop.program.id).level("gold") is None
        assert session.exec(select(MemberTier).where(HELD == "gold")).all()
        assert broken(session) == set()
