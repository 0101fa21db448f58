"""What has happened, in words: one message, in the member's language, with its numbers."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.factories import program_file
from wallet_server.notifications.facts import Noticed, Win
from wallet_server.notifications.wording import Background, sentences
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.tiers.projection import Need, Next

NEXT = Next("gold", (Need("purchases", 3),), False, None)


@pytest.fixture(scope="module")
def program() -> ProgramDefinition:
    file = ProgramFile.model_validate(program_file())
    return ProgramDefinition(
        id=UUID(int=1), slug="cafe", version=1, file=file, outlets={}, closed_outlets={}, parents={}
    )


def say(program: ProgramDefinition, noticed: Noticed, language: str = "en", **behind) -> str:
    return sentences(program, noticed, Background(**{"balance": 1450, **behind}), language)


@pytest.mark.parametrize(
    ("noticed", "text"),
    [
        (Noticed(points=25), "+25 points, 1,450 in all."),
        (Noticed(points=1), "+1 point, 1,450 in all."),
        (Noticed(points=-1000), "−1,000 points, 1,450 in all."),
        (Noticed(pending=25), "25 points are on their way."),
        (Noticed(points=-5, pending=1), "−5 points, 1,450 in all. 1 point is on its way."),
        (Noticed(balance=True), "You have 1,450 points now."),
        (Noticed(points=3, balance=True), "+3 points, 1,450 in all."),
        (Noticed(tier="gone"), "Your level is gone now."),
        (Noticed(wins=(Win("gone"),)), "gone completed."),
        (Noticed(wins=(Win("gone", "B-1"),)), "gone completed: B-1 for free."),
        (Noticed(), ""),
    ],
)
def test_each_thing_has_its_sentence(program, noticed, text):
    assert say(program, noticed) == text


def test_several_things_are_one_message_in_the_programs_words(program):
    level, challenge = program.file.tiers.levels[-1], program.file.challenges[0]
    noticed = Noticed(points=25, tier=level.code, wins=(Win(challenge.code, "B-1"),))
    said = say(program, noticed, products={"B-1": {"en": "Baklava"}}, next_level=NEXT)
    assert said == (
        f"+25 points, 1,450 in all. {challenge.name['en']} completed: Baklava for free."
        f" Your level is {level.name['en']} now."
    )


def test_the_way_to_the_next_level_is_told_if_it_is_one_thing(program):
    assert say(program, Noticed(points=5), next_level=NEXT).endswith(" in all. 3 purchases more to reach gold.")
    assert say(program, Noticed(pending=5), next_level=NEXT).endswith("way. 3 purchases more to reach gold.")
    assert "reach" not in say(program, Noticed(points=-5), next_level=NEXT)
    two = Next("gold", (Need("purchases", 3), Need("visits", 2)), True, None)
    assert "reach" not in say(program, Noticed(points=5), next_level=two)


def test_numbers_are_written_as_the_reader_writes_them(program):
    assert "1.450" in say(program, Noticed(points=25), "mk")
    assert "1\N{NO-BREAK SPACE}450" in say(program, Noticed(points=25), "ru")
    assert say(program, Noticed(points=25), "fr") == say(program, Noticed(points=25), program.default_language)


def test_facts_survive_as_json_and_add_up():
    one = Noticed(points=25, pending=5, tier="silver", wins=(Win("dinner", "B-1"), Win("walk")))
    assert Noticed.of(one.document()) == one
    assert (Noticed.of({}), Noticed().document(), bool(Noticed())) == (Noticed(), {}, False)
    both = one.and_then(Noticed(points=5, tier="gold", wins=(Win("walk"),)))
    assert both == Noticed(points=30, pending=5, tier="gold", wins=(Win("dinner", "B-1"), Win("walk")))
    assert both.kinds == ("balance", "tier", "challenge", "voucher")
    assert both.without_balance().kinds == ("tier", "challenge", "voucher")
    # Bought and taken back: the phone tells what there is, not nothing.
    assert Noticed(points=5).and_then(Noticed(points=-5)) == Noticed(balance=True)
