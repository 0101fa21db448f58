"""A card that is no longer good says that, on both wallets, and nothing of the member."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from passes.apple.pass_json import pass_json
from passes.google.objects import loyalty_object
from tests.unit.test_card_content import LINKS, STATE, program
from wallet_server.issuance.content import CardVoucher, pass_content, voided_state

FULL = replace(
    STATE,
    vouchers=(CardVoucher(code="ABCD2345EFGH", product="Burger", expires_at=None),),
    pending=7,
    news="Coffee for two",
    latest="+5 points",
    speaks="latest",
)


@pytest.mark.parametrize("language", ["en", "ru", "mk"])
def test_it_tells_nothing_of_the_member(language: str) -> None:
    state = voided_state(replace(FULL, language=language))
    content = pass_content(program(), state, LINKS)
    apple = json.dumps(pass_json(content, pass_type_id="pass.example.card", team_id="TEAMTEAM99"), ensure_ascii=False)
    google = json.dumps(loyalty_object(content, issuer_id="3388000000022222222", class_suffix="c"), ensure_ascii=False)
    for secret in (LINKS.page_url, FULL.name, "ABCD", "2345", "Coffee for two", "+5 points", "120"):
        assert secret not in apple, secret
        assert secret not in google, secret


def test_wallets_show_that_it_is_void_and_say_it_once() -> None:
    before = pass_content(program(), replace(FULL, language="en"), LINKS)
    content = pass_content(program(), voided_state(replace(FULL, language="en")), LINKS)
    document = pass_json(content, pass_type_id="pass.example.card", team_id="TEAMTEAM99")
    assert document["voided"] is True
    assert loyalty_object(content, issuer_id="3388000000022222222", class_suffix="c")["state"] == "INACTIVE"
    assert content.news.value == "This card is no longer valid."
    speaking = [field for field in (content.points, content.news, *content.back) if field and field.change_message]
    assert [field.key for field in speaking] == ["news"]
    # A field that was never there before does not speak.
    assert before.news is not None
    assert before.news.key == content.news.key
