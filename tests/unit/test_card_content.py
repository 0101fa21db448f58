"""What a card says, in which languages, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from passes.apple.pass_json import pass_json
from tests.factories import program_file
from wallet_server.challenges.progress import ChallengeState
from wallet_server.issuance.content import (
    CardLinks,
    CardState,
    CardVoucher,
    pass_content,
    spaced,
)
from wallet_server.programs.definition import OutletRef, ProgramDefinition
from wallet_server.programs.file import ProgramFile

LINKS = CardLinks(page_url="https://loyalty.example/m/secret", update_url="https://x.example/apple")
LINKS = replace(LINKS, authentication_token="t" * 43)


def program(**sections) -> ProgramDefinition:
    file = ProgramFile.model_validate(program_file(**sections))
    outlets = {o.code: OutletRef(UUID(int=n), o, "Europe/Skopje") for n, o in enumerate(file.outlets)}
    return ProgramDefinition(
        id=UUID(int=1), slug="cafe", version=1, file=file, outlets=outlets, closed_outlets={}, parents={}
    )


def standing(code: str, progress: int, target: int, **values) -> ChallengeState:
    known = {"completed": False, "window": "all", "completions": 0, **values}
    return ChallengeState(code=code, progress=progress, target=target, **known)


STATE = CardState(
    pass_id=UUID(int=2),
    wallet="apple",
    serial="s1",
    version=1,
    token_generation=0,
    last_modified=datetime(2026, 11, 23, tzinfo=UTC),
    fetched_version=0,
    live=True,
    member_id=UUID(int=3),
    member_token_generation=0,
    language="mk",
    name="Ана",
    card_number="1234567812345678",
    spendable=120,
    pending=0,
    tier="base",
    challenges=(standing("dinner", 2, 3), standing("burgers", 1, 5)),
)


def content(state: CardState = STATE, **sections):
    return pass_content(program(**sections), state, LINKS)


def in_language(card, field, language):
    words = card.translations[language]
    return (words.get(field.label, field.label), words.get(field.value, field.value))


def by_key(card):
    fields = [card.points, card.tier, card.member, card.news, *card.progress, *card.back]
    return {field.key: field for field in fields if field}


def test_the_card_is_a_valid_apple_pass_in_every_language_of_the_program():
    card = content()
    document = pass_json(card, pass_type_id="pass.com.example", team_id="TEAM123456")
    assert document["barcodes"][0]["message"] == "1234567812345678"
    assert document["barcodes"][0]["altText"] == "1234 5678 1234 5678"
    assert set(card.translations) == {"mk", "en", "ru"}
    assert card.language == "mk"
    assert card.translations["mk"][card.tier.value] == "Член"
    assert in_language(card, card.tier, "en")[1] == "Member"
    assert in_language(card, card.tier, "ru")[1] == "Участник"


def test_every_text_of_ours_is_in_every_language():
    card = content()
    literals = set(card.translations["mk"])
    for language in ("en", "ru"):
        assert set(card.translations[language]) == literals


def test_our_own_words_are_said_in_the_members_language_and_translated_into_the_others():
    for language, label, others in (
        ("mk", "Поени", {"en": "Points", "ru": "Баллы"}),
        ("en", "Points", {"mk": "Поени", "ru": "Баллы"}),
    ):
        card = content(replace(STATE, language=language))
        assert card.points.label == label
        assert {other: card.translations[other][label] for other in others} == others


def test_a_member_of_another_language_reads_the_programs_own():
    assert content(replace(STATE, language="fr")).language == "mk"
    assert content(replace(STATE, language="en")).points.label == "Points"


@pytest.mark.parametrize("speaks", ["news", "latest", ""])
def test_what_the_governor_names_speaks_and_nothing_else_does(speaks):
    card = content(replace(STATE, news="Two for one", latest="+5 points", speaks=speaks))
    speaking = {key: field.change_message for key, field in by_key(card).items() if field.change_message}
    assert speaking == ({speaks: "%@"} if speaks else {})
    assert by_key(card)["latest"].value == "+5 points"


def test_the_news_field_is_there_before_the_first_news():
    """A field that appears for the first time does not speak on the lock screen."""
    assert content(replace(STATE, language="en")).news.value == "Nothing new yet."
    told = content(replace(STATE, news="Две кафиња за едно"))
    assert (told.news.key, told.news.value) == ("news", "Две кафиња за едно")
    assert all("Две кафиња за едно" not in words for words in told.translations.values())


def test_what_is_nearest_to_its_goal_is_on_the_front_and_the_stamps_on_the_strip():
    card = content(replace(STATE, language="en"))
    assert [(field.key, field.value) for field in card.progress] == [("challenge-dinner", "2 of 3")]
    assert (card.stamps.filled, card.stamps.total) == (1, 5)
    assert by_key(card)["challenge-burgers"].value == "1 of 5"


def test_challenges_that_can_bring_nothing_more_go_to_the_back():
    done = standing("dinner", 3, 3, completed=True, completions=1, repeatable=False)
    card = content(replace(STATE, language="en", challenges=(done,)))
    assert card.progress == ()
    assert by_key(card)["challenge-dinner"].value == "Completed"


@pytest.mark.parametrize(
    ("name", "front"), [("Ana", ["challenge-c1"]), (None, ["challenge-c1", "challenge-c3"])], ids=["named", "nameless"]
)
def test_the_front_row_has_three_fields_and_what_is_nearest_to_its_goal_comes_first(name, front):
    challenges = [
        {"code": f"c{n}", "name": f"C{n}", "metric": "visits", "target": 10, "reward": {"points": 5}} for n in range(4)
    ]
    states = tuple(standing(f"c{n}", progress, 10) for n, progress in enumerate((1, 9, 5, 9)))
    card = content(replace(STATE, name=name, challenges=states), challenges=challenges, **{"pass": {}})
    assert [field.key for field in card.progress] == front
    assert {"challenge-c0", "challenge-c2"} <= set(by_key(card))
    assert card.stamps is None


def test_a_challenge_of_money_is_shown_as_money():
    challenges = [{"code": "c", "name": "C", "metric": "spend_minor", "target": 500_00, "reward": {"points": 5}}]
    state = replace(STATE, language="en", challenges=(standing("c", 120_00, 500_00),))
    [field] = content(state, challenges=challenges, **{"pass": {}}).progress
    assert field.value == "MKD\xa0120.00 of MKD\xa0500.00"


def test_a_challenge_that_only_history_knows_is_not_shown():
    card = content(replace(STATE, challenges=(standing("gone", 1, 3),)))
    assert "challenge-gone" not in by_key(card)


def test_vouchers_are_on_the_back_with_code_and_day():
    voucher = CardVoucher(
        code="ABCDEFGHJKMN2",
        product={"en": "Dinner", "mk": "Вечера"},
        expires_at=datetime(2026, 12, 24, 12, tzinfo=UTC),
    )
    forever = CardVoucher(code="0000000000000", product="burger", expires_at=None)
    fields = by_key(content(replace(STATE, language="en", vouchers=(voucher, forever))))
    assert fields["voucher-ABCDEFGHJKMN2"].label == "Free: Dinner"
    assert fields["voucher-ABCDEFGHJKMN2"].value == "ABCD-EFGH-JKMN-2, valid until Dec 24, 2026"
    assert (fields["voucher-0000000000000"].label, fields["voucher-0000000000000"].value) == (
        "Free: burger",
        "0000-0000-0000-0",
    )


def test_pending_points_are_said_only_while_there_are_some():
    assert "pending" not in by_key(content())
    assert by_key(content(replace(STATE, language="en", pending=1)))["pending"].value == "1 point"


def test_the_back_leads_to_the_members_page_and_explains_points():
    fields = by_key(content(replace(STATE, language="en")))
    assert fields["page"].link == "https://loyalty.example/m/secret"
    assert fields["about-points"].value.startswith("You get 1% of what you pay back as points.")


def test_a_member_without_a_name_has_no_empty_field():
    assert content(replace(STATE, name="")).member is None


def test_outlets_with_a_place_suggest_the_card_nearby_at_most_ten():
    [place] = content(replace(STATE, language="en")).places
    assert (place.latitude, place.longitude, place.relevant_text) == (41.11, 20.8, "Restaurant A is close by")
    many = [{"code": f"O{n}", "name": f"O{n}", "latitude": str(n), "longitude": "1"} for n in range(14)]
    assert len(content(outlets=many).places) == 10


def test_a_voided_card_stays_a_valid_pass():
    document = pass_json(content(replace(STATE, voided=True)), pass_type_id="pass.com.example", team_id="T" * 10)
    assert document["voided"] is True


@pytest.mark.parametrize(("number", "shown"), [("1234567812345678", "1234 5678 1234 5678"), ("12", "12"), ("", "")])
def test_card_numbers_are_grouped(number, shown):
    assert spaced(number) == shown
