"""What is kept of the member's state is what a refund reads again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from uuid import UUID

from wallet_server.purchases.facts import facts_document, read_facts
from wallet_server.rules.receipt import Line, MemberFacts, OwnCoefficient, Receipt

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FACTS = MemberFacts(
    member_id=UUID(int=1),
    spendable=0,
    carried=Fraction(1, 3),
    tier="silver",
    purchases=9,
    joined_at=NOON,
    birthday=date(2000, 2, 29),
    cards=frozenset({"2", "1"}),
    segments=frozenset({"loyal"}),
    tags=frozenset({"press"}),
    own=(
        OwnCoefficient(Fraction(5, 2)),
        OwnCoefficient(Fraction(8), "B", ends_at=NOON, redeem_max_percent=Fraction(30)),
    ),
)
RECEIPT = Receipt("A", NOON, (Line(1, 1000, 100, "x", ("coffee", "drinks"), 40), Line(2, 1000, 100, "y", ("food",))))


def test_facts_come_back_from_json_as_they_were() -> None:
    document = json.loads(json.dumps(facts_document(FACTS, RECEIPT)))
    assert read_facts(document, FACTS.member_id) == FACTS
    assert document["birthday"] == "02-29"
    assert (document["above"], document["costs"]) == ({"coffee": ["drinks"]}, {"x": 40})


def test_no_year_of_birth_is_kept() -> None:
    document = facts_document(replace(FACTS, birthday=date(1987, 6, 5)), RECEIPT)
    assert "1987" not in json.dumps(document)
    assert read_facts(document, FACTS.member_id).birthday == date(2000, 6, 5)


def test_nothing_that_no_rule_asked_for_is_kept() -> None:
    bare = MemberFacts(FACTS.member_id, spendable=70)
    document = facts_document(bare, Receipt("A", NOON, (Line(1, 1000, 100),)))
    assert document == {"tier": None, "purchases": 0, "carried": "0"}
    assert read_facts(document, bare.member_id) == replace(bare, spendable=0)
