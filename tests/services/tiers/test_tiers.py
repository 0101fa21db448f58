"""Tiers in the database: reached at once, lowered by the clock, granted, protected, and told of in rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.factories import CAFE, program_file
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput
from wallet_server.purchases.models import Purchase, PurchaseLine
from wallet_server.tiers.models import MemberTier, TierChange
from wallet_server.tiers.queries import members_by_tier, standings, tiers
from wallet_server.tiers.services import grant_tier, protect_tier, reconsider, review_due, review_table

SKOPJE_MIDNIGHT = timedelta(hours=23)


def levels(*reaches: dict[str, Any] | None, window: dict[str, Any] | None = None, grace: int = 0) -> dict[str, Any]:
    """A tier table ``level0`` … with these ways to reach each."""
    found = [
        {"code": f"level{number}", "name": {"en": f"Level {number}"}, "grace_days": grace}
        | ({"reach": reach} if reach else {})
        for number, reach in enumerate(reaches)
    ]
    return {"window": window or {"kind": "lifetime"}, "levels": found}


ROLLING = {"kind": "rolling_days", "days": 30}
YEARLY = {"kind": "calendar_year"}


def held(shop: Shop, member_id: UUID | None = None) -> MemberTier:
    with reading(shop.engine, shop.program.id) as session:
        return session.exec(select(MemberTier).where(MemberTier.member_id == (member_id or shop.member_id))).one()


def steps(shop: Shop, member_id: UUID | None = None) -> list[tuple[str | None, str, str]]:
    return [(row.from_tier, row.to_tier, row.reason) for row in shop.tier_changes(member_id)]


def tick(shop: Shop, now: datetime) -> int:
    """The clock's work at this moment; how many turns it took."""
    for turn in range(20):
        with transaction(shop.engine, ALL_PROGRAMS) as session:
            if not review_due(session, now).looked_at:
                return turn
    raise AssertionError("the clock never came to rest")


def at(*day: int, hour: int = 12) -> datetime:
    return datetime(*day, hour, tzinfo=UTC)


def test_members_are_reconsidered_from_their_statistics(engine: Engine) -> None:
    shop = open_shop(engine, members=2)
    shop.record(purchase(shop.card, "A-1", 1_000_000))
    ids = [member.member_id for member in shop.members]
    with reading(engine, shop.program.id) as session:
        assert tiers(session, ids) == {ids[0]: "silver", ids[1]: "base"}
        found = standings(session, shop.program, ids, NOW)[ids[0]]
        assert (found.spend_minor, found.purchases, found.visits, found.tier) == (1_000_000, 1, 1, "silver")
        assert members_by_tier(session, shop.program) == {"base": 1, "silver": 1}
    assert steps(shop) == [("base", "silver", "reached")]
    with transaction(engine, shop.program.id) as session:
        for row in session.exec(select(MemberTier)):
            row.tier = "base"
            session.add(row)
        session.flush()
        assert reconsider(session, shop.program, ids, NOW) == {ids[0]: "silver", ids[1]: "base"}
    with reading(engine, shop.program.id) as session:
        assert tiers(session, ids) == {ids[0]: "silver", ids[1]: "base"}


def test_a_program_without_tiers_has_members_without(engine: Engine) -> None:
    shop = open_shop(engine, tiers={"levels": []})
    [done] = shop.record(purchase(shop.card, "A-1"))
    assert done.tier is None
    with reading(engine, shop.program.id) as session:
        assert session.exec(select(MemberTier)).all() == []
    assert tick(shop, NOW) == 0


def test_the_cafe_has_the_tiers_that_these_tests_are_about() -> None:
    assert [level["code"] for level in CAFE["tiers"]["levels"]] == ["base", "silver"]


def test_a_lifetime_level_stays(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"purchases": 2}]}))
    shop.record(purchase(shop.card, "1"), purchase(shop.card, "2"))
    assert held(shop).review_at is None
    assert tick(shop, NOW + timedelta(days=3650)) == 0
    assert held(shop).tier == "level1"


def test_a_batch_reaches_a_level_in_its_middle_and_leaves_one_step(engine: Engine) -> None:
    reach = ({"any": [{"purchases": 2}]}, {"any": [{"purchases": 3}]})
    shop = open_shop(engine, tiers=levels(None, *reach, window=YEARLY))
    done = shop.record(*(purchase(shop.card, str(number)) for number in range(3)), source="import")
    assert [item.tier for item in done] == ["level2"] * 3
    assert steps(shop) == [("level0", "level2", "reached")]


def test_a_year_s_level_is_kept_to_the_end_of_the_next_and_through_grace(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"spend_minor": 100_000}]}, window=YEARLY, grace=31))
    shop.record(purchase(shop.card, "1", 100_000))  # on 23 November 2026
    assert held(shop).review_at == at(2026, 12, 31, hour=23)  # midnight of New Year in Skopje
    tick(shop, at(2026, 12, 31, hour=23))
    assert (held(shop).tier, held(shop).grace_until, held(shop).review_at) == (
        "level1",
        None,
        at(2027, 12, 31, hour=23),
    )
    tick(shop, at(2027, 12, 31, hour=22))
    assert held(shop).grace_until is None
    tick(shop, at(2027, 12, 31, hour=23))
    assert (held(shop).tier, held(shop).grace_until) == ("level1", at(2028, 1, 31, hour=23))
    tick(shop, at(2028, 1, 31, hour=22))
    assert held(shop).tier == "level1"
    tick(shop, at(2028, 1, 31, hour=23))
    assert (held(shop).tier, held(shop).grace_until, held(shop).review_at) == ("level0", None, None)
    assert steps(shop) == [("level0", "level1", "reached"), ("level1", "level0", "lapsed")]


def test_a_level_reached_again_in_grace_stays(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"purchases": 2}]}, window=ROLLING, grace=10))
    shop.record(purchase(shop.card, "1"), purchase(shop.card, "2"))
    tick(shop, NOW)
    lapse = at(2026, 12, 22, hour=23)  # the 30 days with 23 November end on 22 December
    assert held(shop).review_at == at(2026, 11, 23, hour=23)  # reached today: looked at closely at the next midnight
    tick(shop, at(2026, 11, 23, hour=23))
    assert held(shop).review_at == lapse
    tick(shop, lapse)
    assert held(shop).grace_until == at(2027, 1, 1, hour=23)
    later = lapse + timedelta(days=3)
    shop.record(purchase(shop.card, "3", occurred_at=later), now=later)
    assert held(shop).grace_until == at(2027, 1, 1, hour=23)
    shop.record(purchase(shop.card, "4", occurred_at=later), now=later)
    assert (held(shop).tier, held(shop).grace_until) == ("level1", None)
    tick(shop, at(2027, 1, 1, hour=23))
    assert held(shop).tier == "level1"
    tick(shop, at(2027, 1, 24, hour=23))
    tick(shop, at(2027, 2, 4, hour=23))
    assert steps(shop) == [("level0", "level1", "reached"), ("level1", "level0", "lapsed")]


def test_a_purchase_never_lowers(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"purchases": 2}]}, window=ROLLING))
    shop.record(purchase(shop.card, "1"), purchase(shop.card, "2"))
    late = NOW + timedelta(days=60)  # the clock has been asleep for a month
    [done] = shop.record(purchase(shop.card, "3", occurred_at=late), now=late)
    assert done.tier == "level1"
    assert held(shop).review_at == late
    tick(shop, late)
    assert held(shop).tier == "level0"


def test_a_purchase_of_last_year_counts_for_this_one(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"purchases": 2}]}, window=YEARLY))
    january = at(2027, 1, 5)
    [late] = shop.record(purchase(shop.card, "1", occurred_at=at(2026, 12, 30)), now=january)
    [now] = shop.record(purchase(shop.card, "2", occurred_at=january), now=january)
    assert (late.tier, now.tier) == ("level0", "level0")  # one in each year: neither reaches it
    [late] = shop.record(purchase(shop.card, "3", occurred_at=at(2026, 12, 31)), now=january)
    assert late.tier == "level1"
    tick(shop, at(2027, 12, 31, hour=23))
    assert held(shop).tier == "level0"


def test_tenure_comes_by_itself(engine: Engine) -> None:
    reach = {"all": [{"tenure_days": 10}, {"purchases": 1}]}
    shop = open_shop(engine, members=2, tiers=levels(None, reach, {"any": [{"tenure_days": 20}]}))
    shop.record(purchase(shop.card, "1"))
    tick(shop, NOW)
    assert held(shop).review_at == at(2026, 12, 2, hour=23)
    tick(shop, at(2026, 12, 2, hour=22))
    assert held(shop).tier == "level0"
    tick(shop, at(2026, 12, 2, hour=23))
    assert held(shop).tier == "level1"
    assert held(shop, shop.members[1].member_id).tier == "level0"
    tick(shop, at(2026, 12, 12, hour=23))
    assert {held(shop, person.member_id).tier for person in shop.members} == {"level2"}
    assert held(shop).review_at is None


def line(sku: str | None, category: str | None, thousandths: int) -> LineInput:
    return LineInput(sku, category, thousandths, 10_000)


@pytest.mark.parametrize("window", [None, ROLLING, YEARLY])
def test_units_of_products_and_of_sub_categories(engine: Engine, window: dict[str, Any] | None) -> None:
    reach = {"any": [{"bought": {"quantity": 3, "categories": ["drinks"], "skus": ["burger"]}}]}
    shop = open_shop(engine, tiers=levels(None, reach, window=window))
    lines = (line("cappuccino", None, 1500), line(None, "food", 9000), line("burger", "food", 499))
    [one] = shop.record(purchase(shop.card, "1", lines=lines))
    [two] = shop.record(purchase(shop.card, "2", lines=(line("tea", "drinks", 1000),)))
    assert (one.tier, two.tier) == ("level0", "level0")  # 2.999 units
    [three] = shop.record(purchase(shop.card, "3", lines=(line(None, "coffee", 1),)))
    assert three.tier == "level1"


def undo(shop: Shop, receipt_id: str, now: datetime) -> str | None:
    """What a refund of a whole purchase leaves in the rows that tiers read."""
    with transaction(shop.engine, shop.program.id) as session:
        row = session.exec(select(Purchase).where(Purchase.receipt_id == receipt_id)).one()
        row.returned_minor, row.points_taken_back = row.total_minor - row.discount_minor, row.points_earned
        row.refunded_at = now
        session.add(row)
        for part in session.exec(select(PurchaseLine).where(PurchaseLine.purchase_id == row.id)):
            part.returned_thousandths = part.quantity_thousandths
            session.add(part)
        session.flush()
        decided = reconsider(session, shop.program, [row.member_id], now, reason="refunded", lowered=True)
    return decided[row.member_id]


def test_a_refund_lowers_at_once_but_not_below_protection_or_grace(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"purchases": 2}]}, window=ROLLING, grace=10))
    shop.record(purchase(shop.card, "1"), purchase(shop.card, "2"))
    assert undo(shop, "2", NOW) == "level0"
    assert steps(shop)[-1] == ("level1", "level0", "refunded")
    shop.record(purchase(shop.card, "3"))
    with transaction(engine, shop.program.id) as session:
        protect_tier(session, shop.program, shop.member_id, until=NOW + timedelta(days=5), actor="staff:test", now=NOW)
    tick(shop, NOW)
    assert undo(shop, "3", NOW) == "level1"
    tick(shop, NOW + timedelta(days=5))
    assert steps(shop)[-1] == ("level1", "level0", "ended")
    soon = NOW + timedelta(days=6)
    shop.record(purchase(shop.card, "4", occurred_at=soon), purchase(shop.card, "5", occurred_at=soon), now=soon)
    tick(shop, soon + timedelta(days=24))
    tick(shop, soon + timedelta(days=31))
    assert held(shop).grace_until is not None
    assert undo(shop, "5", soon + timedelta(days=31)) == "level1"


def test_a_temporary_tier_ends_at_what_was_reached_meanwhile(engine: Engine) -> None:
    reach = ({"any": [{"purchases": 2}]}, {"any": [{"purchases": 9}]})
    shop = open_shop(engine, tiers=levels(None, *reach, grace=30))
    until = NOW + timedelta(days=30)
    with transaction(engine, shop.program.id) as session:
        given = grant_tier(session, shop.program, shop.member_id, tier="level2", until=until, actor="a", now=NOW)
    assert given == "level2"
    tick(shop, NOW)
    assert held(shop).review_at == until
    [done] = shop.record(purchase(shop.card, "1"), purchase(shop.card, "2"))[-1:]
    assert done.tier == "level2"
    tick(shop, until - timedelta(seconds=1))
    assert held(shop).tier == "level2"
    tick(shop, until)
    assert (held(shop).tier, held(shop).protected_until) == ("level1", None)
    assert steps(shop) == [("level0", "level2", "granted"), ("level2", "level1", "ended")]
    with transaction(engine, shop.program.id) as session:
        later = until + timedelta(days=9)
        assert (
            grant_tier(session, shop.program, shop.member_id, tier="level0", until=later, actor="a", now=until)
            == "level1"
        )
    assert held(shop).protected_until is None


def test_grants_that_cannot_be(engine: Engine) -> None:
    shop = open_shop(engine)
    day = timedelta(days=1)
    with reading(engine, shop.program.id) as session:
        for code, member_id, tier, until in (
            ("unknown_tier", shop.member_id, "gold", NOW + day),
            ("unknown_member", new_id(), "silver", NOW + day),
            ("validation", shop.member_id, "silver", NOW),
            ("validation", shop.member_id, "silver", NOW + 4000 * day),
            ("validation", shop.member_id, "silver", (NOW + day).replace(tzinfo=None)),
        ):
            with pytest.raises(DomainError) as caught:
                grant_tier(session, shop.program, member_id, tier=tier, until=until, actor="a", now=NOW)
            assert caught.value.code == code
        with pytest.raises(DomainError):
            protect_tier(session, shop.program, shop.member_id, until=NOW, actor="a", now=NOW)


def test_a_new_table_lifts_at_once_and_lowers_after_its_grace(engine: Engine) -> None:
    shop = open_shop(engine, members=3, tiers=levels(None, {"any": [{"purchases": 2}]}))
    one, two, _three = shop.members
    shop.record(purchase(one.card_number, "1"), purchase(one.card_number, "2"), purchase(two.card_number, "3"))
    changed = levels(None, {"any": [{"purchases": 3}]}, {"any": [{"visits": 3}]}, grace=7)
    changed["levels"][1]["reach"] = {"any": [{"purchases": 3}]}
    other = open_table(shop, changed)
    review_all(other, NOW)
    assert (held(shop, one.member_id).tier, held(shop, two.member_id).tier) == ("level1", "level0")
    assert held(shop, one.member_id).grace_until == at(2026, 11, 29, hour=23)
    tick(other, at(2026, 11, 29, hour=23))
    assert steps(shop, one.member_id)[-1] == ("level1", "level0", "lapsed")
    easier = open_table(shop, levels(None, {"any": [{"purchases": 1}]}))
    review_all(easier, NOW)
    assert steps(shop, two.member_id) == [("level0", "level1", "table")]


def test_a_level_that_is_gone_is_left(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"purchases": 1}]}, {"any": [{"purchases": 2}]}))
    shop.record(purchase(shop.card, "1"), purchase(shop.card, "2"))
    fewer = open_table(shop, levels(None, {"any": [{"purchases": 1}]}))
    [done] = fewer.record(purchase(shop.card, "3"))
    assert done.tier == "level2"  # until the clock or the table's own review has seen to it
    tick(fewer, NOW)
    assert steps(shop)[-1] == ("level2", "level1", "table")


def open_table(shop: Shop, table: dict[str, Any]) -> Shop:
    """The same shop after publishing another tier table."""
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        file = ProgramFile.model_validate(program_file(tiers=table))
        applied = apply_program(session, file, now=NOW, actor="test")
        program = load_program(session, program_id=applied.program_id)
    return Shop(shop.engine, program, shop.members)


def review_all(shop: Shop, now: datetime) -> None:
    after: UUID | None = None
    while True:
        with transaction(shop.engine, shop.program.id) as session:
            done = review_table(session, shop.program, after, now, limit=2)
        if done.after is None:
            return
        after = done.after


def test_another_program_s_members_are_left_alone(engine: Engine) -> None:
    shop = open_shop(engine, tiers=levels(None, {"any": [{"purchases": 1}]}, window=ROLLING))
    shop.record(purchase(shop.card, "1"))
    with transaction(engine, ALL_PROGRAMS) as session:
        changed = review_due(session, NOW + timedelta(days=40)).changed
        assert changed == {shop.program.id: frozenset({shop.member_id})}
        assert (
            session.exec(select(TierChange).where(col(TierChange.actor) == "clock")).one().program_id == shop.program.id
        )


def test_business_dates_count_where_the_outlet_is(engine: Engine) -> None:
    outlets = [{"code": "A", "name": "A", "time_zone": "Pacific/Auckland"}, {"code": "B", "name": "B"}]
    shop = open_shop(engine, outlets=outlets, tiers=levels(None, {"any": [{"purchases": 1}]}, window=YEARLY))
    eve = at(2025, 12, 31)  # already 2026 in Auckland, still 2025 in Skopje
    shop.record(purchase(shop.card, "1", occurred_at=eve), now=NOW, source="import")
    tick(shop, at(2026, 12, 31, hour=23))
    assert held(shop).tier == "level1"
