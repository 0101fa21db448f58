"""Any pass: drawn ones build and are accepted, odd ones build or are refused by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings

from passes.apple.bundle import signed_pass
from passes.apple.card import pass_of
from passes.apple.events import BoardingExtras, BoardingLink, EventExtras, EventLink, RemoteImage, UpcomingEvent
from passes.apple.model import (
    Barcode,
    Pass,
    PassFields,
    PassStyle,
    RelevantMoment,
    RelevantSpan,
)
from passes.apple.pass_json import pass_json, pass_text
from passes.apple.semantics import TAGS, CurrencyAmount, Seat, Semantics, Spot
from passes.apple.verify import open_pass
from passes.content import (
    Beacon,
    Colors,
    FeaturedAction,
    LocalImages,
    Nfc,
    PassContentError,
    PassField,
    PassImages,
    Place,
)
from tests.unit.passes.cards import IMAGES, NOW, PASS_TYPE_ID, TEAM_ID, a_card, pictures
from tests.unit.passes.drawn import BY_SLOT, NFC_KEY, odd_passes, valid_passes

QUIETLY = {"deadline": None, "suppress_health_check": list(HealthCheck)}
ICON = pictures(38, 38)


def a_pass(**changes) -> Pass:
    card = Pass(
        serial_number="p1",
        organization_name="Cafe Ohrid",
        description="A pass",
        style=PassStyle.COUPON,
        fields=PassFields(header=(PassField(key="points", value=5),)),
        images=PassImages(icon=ICON),
    )
    return replace(card, **changes)


def document(**changes) -> dict:
    return pass_json(a_pass(**changes), pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)


def field(key: str = "a", **changes) -> PassField:
    return PassField(key=key, **{"value": "x", **changes})


def many(count: int, name: str = "f") -> tuple[PassField, ...]:
    return tuple(field(f"{name}{index}") for index in range(count))


@settings(max_examples=60, **QUIETLY)
@given(card=valid_passes())
def test_every_valid_pass_is_accepted(card, signer, roots):
    opened = open_pass(signed_pass(card, signer, now=NOW), trusted_roots=roots, now=NOW)
    assert opened.pass_json["serialNumber"] == card.serial_number
    assert dict(opened.strings) == card.translations
    assert set(opened.images) == {name for name, _ in card.images.files()}
    assert set(opened.localized_images) == set(card.localized_images)


@settings(max_examples=150, **QUIETLY)
@given(card=odd_passes())
def test_an_odd_pass_is_built_or_refused_by_name(card, signer, roots):
    try:
        made = signed_pass(card, signer, now=NOW)
    except PassContentError as error:
        refused, made = error, None
    if made is not None:
        assert open_pass(made, trusted_roots=roots, now=NOW).pass_json
    else:
        assert refused.rule
        assert hasattr(card, re.split(r"[.\[@]", refused.where)[0]), f"{refused.where} names nothing of a pass"


@settings(max_examples=40, **QUIETLY)
@given(card=valid_passes())
def test_the_same_content_is_the_same_text_whatever_was_written_before(card):
    from passes.apple import fields, layout, pass_json

    def written() -> str:
        return pass_text(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)

    first = written()
    fields.around_value.cache_clear()
    layout._layout.cache_clear()
    pass_json._steady.cache_clear()
    pass_json._places.cache_clear()
    assert written() == first
    assert json.loads(first)


def test_values_that_are_equal_but_not_the_same_are_told_apart():
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    shown = {"date_style": "short", "time_style": "short"}
    for value, expected in ((1, 1), (1.0, 1.0), (0.0, 0.0), (-0.0, -0.0)):
        made = document(fields=PassFields(back=(field(value=value),)))["coupon"]["backFields"][0]["value"]
        assert repr(made) == repr(expected)
    with pytest.raises(PassContentError, match="true or false"):
        document(fields=PassFields(back=(field(value=True),)))
    from datetime import timedelta, timezone

    for zone, text in ((UTC, "12:00:00Z"), (timezone(timedelta(hours=1)), "13:00:00+01:00")):
        made = document(fields=PassFields(back=(field(value=noon.astimezone(zone), **shown),)))
        assert made["coupon"]["backFields"][0]["value"].endswith(text)


def test_the_loyalty_card_says_the_same_as_the_pass_that_it_is():
    cards = (
        a_card(),
        a_card(voided=True),
        a_card(images=None, tier=None, news=None, progress=tuple(field(f"p{n}") for n in range(6))),
        a_card(
            images=PassImages(icon=ICON),
            localized_images={"mk": LocalImages(logo=BY_SLOT["logo"])},
            beacons=(Beacon(proximity_uuid="0F5A2C3E-0B7E-4D0C-8E3F-0A1B2C3D4E5F", major=1),),
            nfc=Nfc(message="4821", public_key=NFC_KEY),
            featured_actions=(FeaturedAction(identifier="o", kind="order", url="https://example.com/"),),
            semantics=Semantics.of(balance=CurrencyAmount(Decimal("12.50"), "EUR")),
            sharing_prohibited=True,
            store_identifiers=(5,),
            app_launch_url="cafe://card",
        ),
    )
    for card in cards:
        made = pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
        assert made == pass_json(pass_of(card), pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
    assert made["semantics"] == {"balance": {"amount": "12.50", "currencyCode": "EUR"}}


def test_a_loyalty_card_may_have_codes_for_several_scanners():
    card = a_card(card=replace(a_card().card, message="5901234123457", formats=("ean13", "qr")))
    made = pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
    assert [code["format"] for code in made["barcodes"]] == ["PKBarcodeFormatEAN13", "PKBarcodeFormatQR"]
    without_fallback = replace(card, card=replace(card.card, formats=("ean13",)))
    with pytest.raises(PassContentError) as caught:
        pass_json(without_fallback, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
    assert caught.value.where == "card.formats"


def test_a_poster_stands_beside_a_generic_pass():
    fields = PassFields(primary=(field(),), footer=())
    made = document(style=PassStyle.GENERIC, fields=fields, poster=replace(fields, footer=(field("foot"),)))
    assert made["generic"] == {"primaryFields": [{"key": "a", "value": "x"}]}
    assert made["posterGeneric"]["footerFields"] == [{"key": "foot", "value": "x"}]


def test_every_key_is_written_as_apple_names_it():
    made = document(
        style=PassStyle.EVENT_TICKET,
        fields=PassFields(
            auxiliary=(field("row", row=1),),
            back=(field("b", detectors=("phone",)), field("c", detectors=())),
            additional_info=(field("i"),),
        ),
        colors=Colors(background="#000000", foreground="#ffffff", label="#0a0b0c", strip="#010203"),
        barcodes=(Barcode(message="A-1", format="code39"), Barcode(message="A-1", encoding="utf-8", caption="A")),
        relevant_date=NOW,
        relevant_dates=(RelevantMoment(NOW), RelevantSpan(NOW, NOW.replace(hour=20))),
        max_distance_meters=50,
        beacons=(Beacon(proximity_uuid="0F5A2C3E-0B7E-4D0C-8E3F-0A1B2C3D4E5F", major=1, minor=2, relevant_text="Hi"),),
        nfc=Nfc(message="4821", public_key=NFC_KEY, requires_authentication=True),
        featured_actions=(FeaturedAction(identifier="p", kind="place", place_identifier="I1"),),
        semantics=Semantics.of(eventName="Concert", seats=(Seat(seat_row="5"),), venueLocation=Spot(41.1, 20.8)),
        grouping_identifier="concert",
        store_identifiers=(7,),
        app_launch_url="cafe://card",
        user_info={"id": 5},
        logo_text="Ohrid",
        suppress_strip_shine=True,
        sharing_prohibited=True,
        event=EventExtras(poster=True, logo_text="Fest", links={EventLink.BAG_POLICY: "https://example.com/bags"}),
    )
    ticket = made.pop("eventTicket")
    assert ticket["auxiliaryFields"][0]["row"] == 1
    assert ticket["backFields"][0]["dataDetectorTypes"] == ["PKDataDetectorTypePhoneNumber"]
    assert ticket["backFields"][1]["dataDetectorTypes"] == []
    assert ticket["additionalInfoFields"] == [{"key": "i", "value": "x"}]
    for key in ("formatVersion", "passTypeIdentifier", "teamIdentifier", "serialNumber"):
        made.pop(key)
    assert made == {
        "organizationName": "Cafe Ohrid",
        "description": "A pass",
        "backgroundColor": "rgb(0, 0, 0)",
        "foregroundColor": "rgb(255, 255, 255)",
        "labelColor": "rgb(10, 11, 12)",
        "stripColor": "rgb(1, 2, 3)",
        "logoText": "Ohrid",
        "suppressStripShine": True,
        "sharingProhibited": True,
        "groupingIdentifier": "concert",
        "maxDistance": 50,
        "beacons": [
            {
                "proximityUUID": "0F5A2C3E-0B7E-4D0C-8E3F-0A1B2C3D4E5F",
                "major": 1,
                "minor": 2,
                "relevantText": "Hi",
            }
        ],
        "nfc": {"message": "4821", "encryptionPublicKey": NFC_KEY, "requiresAuthentication": True},
        "featuredActions": [{"identifier": "p", "type": "place", "placeIdentifier": "I1"}],
        "associatedStoreIdentifiers": [7],
        "appLaunchURL": "cafe://card",
        "barcodes": [
            {"format": "PKBarcodeFormatCode39", "message": "A-1", "messageEncoding": "iso-8859-1"},
            {"format": "PKBarcodeFormatQR", "message": "A-1", "messageEncoding": "utf-8", "altText": "A"},
        ],
        "relevantDate": "2026-11-23T16:30:00Z",
        "relevantDates": [
            {"date": "2026-11-23T16:30:00Z", "relevantDate": "2026-11-23T16:30:00Z"},
            {"startDate": "2026-11-23T16:30:00Z", "endDate": "2026-11-23T20:30:00Z"},
        ],
        "semantics": {
            "eventName": "Concert",
            "seats": [{"seatRow": "5"}],
            "venueLocation": {"latitude": 41.1, "longitude": 20.8},
        },
        "userInfo": {"id": 5},
        "preferredStyleSchemes": ["posterEventTicket", "eventTicket"],
        "eventLogoText": "Fest",
        "bagPolicyURL": "https://example.com/bags",
    }


TICKET = {"style": PassStyle.EVENT_TICKET}
BOARDING = {"style": PassStyle.BOARDING_PASS, "fields": PassFields(transit_type="air")}
QR = (Barcode(message="1"),)
BEACON = Beacon(proximity_uuid="0F5A2C3E-0B7E-4D0C-8E3F-0A1B2C3D4E5F")
ACTION = FeaturedAction(identifier="a", kind="order", url="https://example.com/")
EVENT = UpcomingEvent(identifier="e", name="E")


def upcoming(**changes) -> dict:
    return {**TICKET, "event": EventExtras(poster=True, upcoming=(replace(EVENT, **changes),))}


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("fields.header", {"fields": PassFields(header=many(4))}),
        ("fields.primary", {"fields": PassFields(primary=many(2))}),
        ("fields.secondary", {"fields": PassFields(secondary=many(5))}),
        ("fields.auxiliary", {"fields": PassFields(auxiliary=many(5))}),
        ("fields.auxiliary", {"fields": PassFields(auxiliary=many(2), secondary=many(3, "s")), "barcodes": QR}),
        ("fields.footer", {"fields": PassFields(footer=many(1))}),
        ("fields.additional_info", {"fields": PassFields(additional_info=many(1))}),
        ("fields", {"fields": PassFields(back=many(61))}),
        ("fields.back[0].key", {"fields": PassFields(header=(field(),), back=(field(),))}),
        ("fields.transit_type", {"fields": PassFields(transit_type="air")}),
        ("fields.transit_type", {"style": PassStyle.BOARDING_PASS}),
        ("fields.transit_type", {"style": PassStyle.BOARDING_PASS, "fields": PassFields(transit_type="mule")}),
        ("fields.auxiliary", {**BOARDING, "fields": PassFields(auxiliary=many(6), transit_type="air")}),
        ("fields.primary[0].alignment", {"fields": PassFields(primary=(field(alignment="left"),))}),
        ("fields.header[0].detectors", {"fields": PassFields(header=(field(detectors=()),))}),
        ("fields.back[0].detectors", {"fields": PassFields(back=(field(detectors=("ghosts",)),))}),
        ("fields.auxiliary[0].row", {"fields": PassFields(auxiliary=(field(row=0),))}),
        ("fields.auxiliary[0].row", {**TICKET, "fields": PassFields(auxiliary=(field(row=2),))}),
        ("fields.back[0].is_relative", {"fields": PassFields(back=(field(is_relative=True),))}),
        ("fields.back[0].ignores_time_zone", {"fields": PassFields(back=(field(ignores_time_zone=True),))}),
        ("fields.back[0].attributed_value", {"fields": PassFields(back=(field(attributed_value="<b>x</b>"),))}),
        ("fields.back[0].attributed_value", {"fields": PassFields(back=(field(attributed_value="x</b>"),))}),
        ("fields.back[0].value", {"fields": PassFields(back=(field(value=2**53),))}),
        (
            "fields.back[0].semantics.balance",
            {"fields": PassFields(back=(field(semantics=Semantics.of(balance=1)),))},
        ),
        ("poster", {"poster": PassFields()}),
        ("poster.footer", {"style": PassStyle.GENERIC, "poster": PassFields(footer=many(2))}),
        ("barcodes", {"barcodes": QR * 9}),
        ("barcodes", {"barcodes": (Barcode(message="5901234123457", format="ean13"),)}),
        ("barcodes[0].format", {"barcodes": (Barcode(message="1", format="morse"),)}),
        ("barcodes[0].message", {"barcodes": (Barcode(message="5901234123458", format="ean13"), *QR)}),
        ("barcodes[0].message", {"barcodes": (Barcode(message="123", format="i2of5"), *QR)}),
        ("barcodes[0].message", {"barcodes": (Barcode(message="abc", format="code39"), *QR)}),
        ("barcodes[0].message", {"barcodes": (Barcode(message="Ѓ", format="code128"),)}),
        ("barcodes[0].encoding", {"barcodes": (Barcode(message="Ѓ", encoding="ascii"),)}),
        ("barcodes[0].encoding", {"barcodes": (Barcode(message="x", encoding="klingon"),)}),
        ("relevant_date", {"style": PassStyle.STORE_CARD, "relevant_date": NOW}),
        ("relevant_dates", {"style": PassStyle.STORE_CARD, "relevant_dates": (RelevantMoment(NOW),)}),
        ("relevant_dates", {"relevant_dates": (RelevantMoment(NOW),) * 31}),
        ("relevant_dates[0].end", {"relevant_dates": (RelevantSpan(NOW, NOW),)}),
        ("max_distance_meters", {"max_distance_meters": "50"}),
        ("max_distance_meters", {"max_distance_meters": float("inf")}),
        ("places[0].altitude", {"places": (Place(latitude=1, longitude=1, altitude=float("nan")),)}),
        ("beacons", {"beacons": (BEACON,) * 11}),
        ("beacons[0].proximity_uuid", {"beacons": (Beacon(proximity_uuid="x"),)}),
        ("beacons[0].major", {"beacons": (replace(BEACON, major=65536),)}),
        ("nfc.message", {"nfc": Nfc(message="ж" * 33, public_key=NFC_KEY)}),
        ("nfc.public_key", {"nfc": Nfc(message="x", public_key="not base64")}),
        ("nfc.public_key", {"nfc": Nfc(message="x", public_key="AAAA")}),
        ("featured_actions", {"featured_actions": (ACTION, replace(ACTION, identifier="b"), ACTION)}),
        ("featured_actions[1].identifier", {"featured_actions": (ACTION, ACTION)}),
        ("featured_actions[0].kind", {"featured_actions": (replace(ACTION, kind="dance"),)}),
        ("featured_actions[0]", {"featured_actions": (replace(ACTION, kind="place"),)}),
        ("featured_actions[0].url", {"featured_actions": (replace(ACTION, url="http://example.com/"),)}),
        ("featured_actions[0].url", {"featured_actions": (replace(ACTION, kind="call", url="+389"),)}),
        ("semantics.balance", {"semantics": Semantics.of(balance=CurrencyAmount(Decimal(1), "EUR"))}),
        ("semantics.mood", {"semantics": Semantics.of(mood="good")}),
        ("semantics.eventName", {"semantics": Semantics((("eventName", "a"), ("eventName", "b")))}),
        ("semantics.venuePlaceID", {"semantics": Semantics.of(venuePlaceID="x")}),
        ("semantics.totalPrice.currency_code", {"semantics": Semantics.of(totalPrice=CurrencyAmount(Decimal(1), "€"))}),
        ("semantics.totalPrice.amount", {"semantics": Semantics.of(totalPrice=CurrencyAmount(Decimal("NaN"), "EUR"))}),
        ("semantics.seats[0].seat_row", {"semantics": Semantics.of(seats=(Seat(seat_row=""),))}),
        (
            "semantics.seats[0].seat_section_color",
            {"semantics": Semantics.of(seats=(Seat(seat_section_color="red"),))},
        ),
        ("semantics.eventType", {"semantics": Semantics.of(eventType="Party")}),
        ("semantics.duration", {"semantics": Semantics.of(duration=float("nan"))}),
        ("grouping_identifier", {"grouping_identifier": "g"}),
        ("app_launch_url", {"app_launch_url": "cafe://card"}),
        ("app_launch_url", {"app_launch_url": "no scheme", "store_identifiers": (1,)}),
        ("store_identifiers[0]", {"store_identifiers": (0,)}),
        ("user_info", {"user_info": {"a": float("nan")}}),
        ("user_info", {"user_info": {"a": object()}}),
        ("user_info", {"user_info": {"a": "x" * 17_000}}),
        ("event", {"event": EventExtras(poster=True)}),
        ("event.poster", {**TICKET, "event": EventExtras(logo_text="x")}),
        ("event.links.bagPolicyURL", {**TICKET, "event": EventExtras(links={EventLink.BAG_POLICY: "ftp://x"})}),
        ("event.links.contactVenueEmail", {**TICKET, "event": EventExtras(links={EventLink.CONTACT_MAIL: "x"})}),
        ("event.footer_background", {**TICKET, "event": EventExtras(footer_background="red")}),
        ("event.upcoming[1].identifier", {**TICKET, "event": EventExtras(poster=True, upcoming=(EVENT, EVENT))}),
        ("event.upcoming[0].name", upcoming(name="")),
        ("event.upcoming[0].header[0].sha256", upcoming(header=(RemoteImage(url="https://a.b/", sha256="x"),))),
        ("event.upcoming[0].back[0].key", upcoming(back=(field(""),))),
        ("boarding", {"boarding": BoardingExtras(semantic=True)}),
        ("boarding.links.upgradeURL", {**BOARDING, "boarding": BoardingExtras(links={BoardingLink.UPGRADE: "x"})}),
        ("authentication_token", {"update_url": "https://a.example", "authentication_token": "ж" * 16}),
    ],
)
def test_a_broken_rule_is_said_with_its_field(where, changes):
    with pytest.raises(PassContentError) as caught:
        document(**changes)
    assert caught.value.where == where
    assert len(caught.value.rule) > 10


def test_a_boarding_pass_and_rows_of_a_ticket_have_more_room():
    fields = PassFields(primary=many(2), auxiliary=many(5, "a"), transit_type="train")
    made = document(**{**BOARDING, "fields": fields, "boarding": BoardingExtras(semantic=True)})
    assert made["boardingPass"]["transitType"] == "PKTransitTypeTrain"
    assert made["preferredStyleSchemes"] == ["semanticBoardingPass", "boardingPass"]
    rows = tuple(field(f"a{index}", row=index // 4) for index in range(8))
    assert len(document(**TICKET, fields=PassFields(auxiliary=rows))["eventTicket"]["auxiliaryFields"]) == 8


def test_pictures_have_their_slots_and_languages():
    images = PassImages(icon=ICON, primary_logo=BY_SLOT["primary_logo"])
    assert [name for name, _ in images.files()] == [
        *("icon.png", "icon@2x.png", "icon@3x.png"),
        *("primaryLogo.png", "primaryLogo@2x.png", "primaryLogo@3x.png"),
    ]
    assert hash(IMAGES) == hash(replace(IMAGES))
    assert len(TAGS) > 100
