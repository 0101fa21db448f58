from __future__ import annotations

import json
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from passes.apple.pass_json import pass_json
from passes.content import (
    CardCode,
    Colors,
    PassContentError,
    PassField,
    PassImages,
    Place,
    StampCard,
    w3c_date,
)
from tests.tools import require_tool
from tests.unit.passes.cards import IMAGES, NOW, PASS_TYPE_ID, TEAM_ID, a_card

SCHEMAS = Path(__file__).parents[3] / "node_modules/passkit-generator/lib/cjs/schemas/index.js"


def document(**changes) -> dict:
    return pass_json(a_card(**changes), pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)


def progress(count: int) -> tuple[PassField, ...]:
    return tuple(PassField(key=f"c{n}", label=f"C{n}", value=f"{n} of 9") for n in range(count))


def test_it_lays_a_store_card_out():
    made = document()
    card = made["storeCard"]
    assert [item["key"] for item in card["headerFields"]] == ["points"]
    assert [item["key"] for item in card["secondaryFields"]] == ["tier", "member"]
    assert [item["key"] for item in card["auxiliaryFields"]] == ["challenge.dinner"]
    assert [item["key"] for item in card["backFields"]] == ["news", "card_number", "page", "ends", "worth"]
    assert card["headerFields"][0] == {
        "key": "points",
        "label": "POINTS",
        "value": 126,
        "changeMessage": "You have %@ points",
    }
    assert card["backFields"][2]["attributedValue"] == (
        '<a href="https://wallet.example.com/m/1?a=b&amp;c=d">Open my page</a>'
    )
    assert made["barcodes"] == [
        {
            "format": "PKBarcodeFormatQR",
            "message": "482100773310",
            "messageEncoding": "iso-8859-1",
            "altText": "4821 0077 3310",
        }
    ]
    assert made["backgroundColor"] == "rgb(31, 58, 95)"
    assert made["expirationDate"] == "2027-12-31T23:00:00Z"
    assert made["maxDistance"] == 200
    assert "voided" not in made


def test_the_front_keeps_four_fields_and_the_rest_goes_to_the_back():
    card = document(progress=progress(4))["storeCard"]
    assert len(card["secondaryFields"]) + len(card["auxiliaryFields"]) == 4
    assert [item["key"] for item in card["backFields"]][:4] == ["news", "c2", "c3", "card_number"]


def test_the_name_is_written_only_where_no_logo_says_it():
    assert "logoText" not in document()
    assert document(images=PassImages(icon=IMAGES.icon))["logoText"] == "Cafe Ohrid"


def test_a_voided_card_has_no_code_to_scan():
    made = document(voided=True)
    assert made["voided"] is True
    assert "barcodes" not in made


def test_a_code_beyond_latin_1_is_announced_as_utf_8():
    made = document(card=CardCode(number="1", message="Ѓорѓи"))
    assert made["barcodes"][0]["messageEncoding"] == "utf-8"


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (timezone(timedelta(hours=1)), "2026-11-23T17:30:00+01:00"),
        (timezone.utc, "2026-11-23T16:30:00Z"),  # noqa: UP017 - the other spelling of UTC
        (timezone(timedelta(hours=-3, minutes=-30)), "2026-11-23T13:00:00-03:30"),
    ],
)
def test_dates_have_a_zone_with_a_colon_and_no_fraction(offset, text):
    assert w3c_date("x", NOW.replace(microsecond=123456).astimezone(offset)) == text


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - that it is naive is the point


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("serial_number", {"serial_number": "a/b"}),
        ("serial_number", {"serial_number": ""}),
        ("organization_name", {"organization_name": "  "}),
        ("description", {"description": ""}),
        ("points.value", {"points": PassField(key="points", value=True)}),
        ("points.value", {"points": PassField(key="points", value=float("nan"))}),
        ("points.value", {"points": PassField(key="points", value="5", number_style="decimal")}),
        ("points.key", {"points": PassField(key="", value=5)}),
        ("points.change_message", {"points": PassField(key="points", value=5, change_message="Hello")}),
        ("points.alignment", {"points": PassField(key="points", value=5, alignment="middle")}),
        ("points.currency_code", {"points": PassField(key="points", value=5, currency_code="eur")}),
        (
            "points.number_style",
            {"points": PassField(key="points", value=5, currency_code="EUR", number_style="decimal")},
        ),
        ("points.attributed_value", {"points": PassField(key="points", value=5, attributed_value="<a>")}),
        ("tier.key", {"tier": PassField(key="points", value="x")}),
        ("card.key", {"tier": PassField(key="card_number", value="x")}),
        ("back[0].alignment", {"back": (PassField(key="a", value="x", alignment="left"),)}),
        ("back[0].link", {"back": (PassField(key="a", value="x", link="javascript:alert(1)"),)}),
        ("back[1].key", {"back": (PassField(key="a", value="x"), PassField(key="a", value="y"))}),
        ("back[0].value", {"back": (PassField(key="a", value=NAIVE),)}),
        ("back[0].date_style", {"back": (PassField(key="a", value=NOW, date_style="short"),)}),
        (
            "back[0].value",
            {"back": (PassField(key="a", value="soon", date_style="short", time_style="short"),)},
        ),
        ("back[0].value", {"back": (PassField(key="a", value="\ud83d"),)}),
        ("back[0].value", {"back": (PassField(key="a", value="x" * 4001),)}),
        ("back", {"back": tuple(PassField(key=f"b{n}", value=n) for n in range(60))}),
        ("expires_at", {"expires_at": NAIVE}),
        ("places", {"places": (Place(latitude=1, longitude=1),) * 11}),
        ("places[0]", {"places": (Place(latitude=91, longitude=1),)}),
        ("max_distance_meters", {"max_distance_meters": 0}),
        ("card.message", {"card": CardCode(number="")}),
        ("card.message", {"card": CardCode(number="1" * 513)}),
        ("update_url", {"authentication_token": None}),
        ("update_url", {"update_url": None}),
        ("update_url", {"update_url": "http://wallet.example.com/apple"}),
        ("update_url", {"update_url": "https://wallet.example.com/apple/"}),
        ("update_url", {"update_url": "https://wallet.example.com/apple/v1"}),
        ("update_url", {"update_url": "https:///apple"}),
        ("authentication_token", {"authentication_token": "x" * 15}),
    ],
)
def test_it_names_the_field_that_breaks_a_rule(where, changes):
    with pytest.raises(PassContentError) as caught:
        document(**changes)
    assert caught.value.where == where
    assert str(caught.value).startswith(f"{where}: ")


def test_it_names_a_wrong_identity():
    with pytest.raises(PassContentError, match="pass_type_id"):
        pass_json(a_card(), pass_type_id="com.example", team_id=TEAM_ID)
    with pytest.raises(PassContentError, match="team_id"):
        pass_json(a_card(), pass_type_id=PASS_TYPE_ID, team_id="")


def test_an_http_address_is_for_simulators_only():
    card = a_card(update_url="http://127.0.0.1:8000/apple")
    made = pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, allow_http=True)
    assert made["webServiceURL"] == "http://127.0.0.1:8000/apple"


@pytest.mark.parametrize("color", ["red", "#12345", "#12345g", "rgb(1,2,3)"])
def test_a_colour_is_six_digits(color):
    with pytest.raises(PassContentError, match=r"colors\.label"):
        Colors(background="#000000", foreground="#FFFFFF", label=color)


@pytest.mark.parametrize(("filled", "total"), [(-1, 5), (6, 5), (0, 0), (0, 31)])
def test_a_stamp_card_holds_what_it_can_show(filled, total):
    with pytest.raises(PassContentError):
        StampCard(filled=filled, total=total)


@pytest.mark.parametrize("changes", [{}, {"voided": True}, {"progress": progress(6), "tier": None, "news": None}])
def test_the_schema_of_passkit_generator_accepts_it(changes):
    assert SCHEMAS.exists(), f"{SCHEMAS} is missing; run `npm ci` (make setup-dev does)"
    # The package exports no schemas: the file is loaded by its path.
    script = (
        "const {PassProps} = require(process.argv[1]);"
        "const {error} = PassProps.validate(JSON.parse(require('fs').readFileSync(0, 'utf8')));"
        "if (error) { console.error(error.message); process.exit(1); }"
    )
    made = document(**changes)
    # These two are checked elsewhere: its schema knows the properties, not the envelope around them.
    result = subprocess.run(
        [require_tool("node"), "-e", script, str(SCHEMAS)],
        input=json.dumps(made),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
