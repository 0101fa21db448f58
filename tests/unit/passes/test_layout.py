"""What is written once for all cards alike, and what of each card is still checked."""

from __future__ import annotations

import dataclasses

import pytest

from passes.apple.fields import SHAPE, shape_of
from passes.apple.model import Pass, PassFields, PassStyle
from passes.apple.pass_json import pass_json
from passes.content import PassContentError, PassField, Place
from tests.unit.passes.cards import PASS_TYPE_ID, TEAM_ID, a_card


def coupon(**groups: tuple[PassField, ...]) -> dict:
    card = Pass(
        serial_number="p1",
        organization_name="Cafe Ohrid",
        description="A pass",
        style=PassStyle.COUPON,
        fields=PassFields(**groups),
    )
    return pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)["coupon"]


def test_the_shape_of_a_field_is_all_but_what_differs_from_card_to_card():
    """A new option that is in neither would be written once and shown on everybody's card."""
    named = set(PassField._fields)
    assert set(SHAPE) | {"value", "link", "semantics"} == named
    drawn = PassField(**{name: f"a {name}" for name in named})
    assert shape_of(drawn) == tuple(f"a {name}" for name in SHAPE)


@pytest.mark.parametrize("group", ["back", "header"])
@pytest.mark.parametrize("value", ["x" * 4_001, "\udc80", "é" * 4_001])
def test_a_value_that_cannot_be_shown_is_named_among_others(group, value):
    good = PassField(key="good", value="ж" * 4_000)
    items = (good, PassField(key="bad", value=value))
    with pytest.raises(PassContentError) as refused:
        coupon(**{group: items})
    assert refused.value.where == f"fields.{group}[1].value"


def test_many_long_texts_are_no_long_text():
    items = tuple(PassField(key=f"t{number}", value="ж" * 4_000) for number in range(3))
    made = coupon(back=items)
    assert [item["value"] for item in made["backFields"]] == ["ж" * 4_000] * 3


@pytest.mark.parametrize("change", ["value", "link"])
def test_what_differs_is_not_kept_from_the_card_before(change):
    """The same layout, card after card."""
    for number in range(3):
        page = PassField(key="page", label="Page", value="Open", link="https://wallet.example.com/m")
        page = page._replace(**{change: f"https://wallet.example.com/{number}"})
        made = coupon(back=(page, PassField(key="last", value=number)))["backFields"]
        assert made[0]["value"] == page.value
        assert made[0]["attributedValue"] == f'<a href="{page.link}">{page.value}</a>'
        assert made[1]["value"] == number


def test_a_field_without_a_link_has_none_after_one_that_has():
    page = PassField(key="page", value="Open")
    linked = page._replace(link="https://wallet.example.com/m")
    assert "attributedValue" in coupon(back=(linked,))["backFields"][0]
    assert "attributedValue" not in coupon(back=(page,))["backFields"][0]


@pytest.mark.parametrize("words", ["%s", "50 % off", "{}", "\0", "a\0\0b", "\\0"])
def test_no_text_is_taken_for_the_place_of_a_value(words):
    """Values are put into a text that is the same for all cards."""
    made = coupon(back=(PassField(key="a", label=words, value=words), PassField(key="b", label=words, value=1)))
    assert [(item["label"], item["value"]) for item in made["backFields"]] == [(words, words), (words, 1)]


@pytest.mark.parametrize(
    ("link", "shown", "written"),
    [
        ("https://a.example/?a=1&b=2", "Open", '<a href="https://a.example/?a=1&amp;b=2">Open</a>'),
        ('https://a.example/"x"', "Open", '<a href="https://a.example/&quot;x&quot;">Open</a>'),
        ("https://a.example/<x>", "Open", '<a href="https://a.example/&lt;x&gt;">Open</a>'),
        ("https://a.example/", 'a < b & "c"', '<a href="https://a.example/">a &lt; b &amp; "c"</a>'),
        ("https://a.example/", 7, '<a href="https://a.example/">7</a>'),
    ],
)
def test_a_link_says_its_address_and_its_value_without_markup_of_theirs(link, shown, written):
    made = coupon(back=(PassField(key="page", value=shown, link=link),))
    assert made["backFields"][0]["attributedValue"] == written


@pytest.mark.parametrize("path", ["m" * 4_000, "?a=1&b=" + "m" * 4_000])
def test_a_link_is_as_short_as_any_text(path):
    with pytest.raises(PassContentError) as refused:
        coupon(back=(PassField(key="page", value="Open", link=f"https://a.example/{path}"),))
    assert refused.value.where == "fields.back[0].link"


def test_each_card_shows_its_own_number_and_places():
    for number in ("4821", "4822"):
        card = a_card(
            card=dataclasses.replace(a_card().card, number=number),
            places=(Place(latitude=41.0, longitude=20.0, relevant_text=number),),
        )
        made = pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
        assert [item["value"] for item in made["storeCard"]["backFields"] if item["key"] == "card_number"] == [number]
        assert [place["relevantText"] for place in made["locations"]] == [number]
