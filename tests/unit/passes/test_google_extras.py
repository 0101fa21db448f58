"""Everything that a class or an object can say: written as Google's discovery document has it, and taken back whole."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from typing import Any

import httpx
import pytest

from passes.content import PassField
from passes.google.barcodes import Barcode, BarcodeType
from passes.google.class_extras import ClassExtras, DiscoverableProgram, Discovery, Holders
from passes.google.client import GoogleWallet
from passes.google.merging import whole
from passes.google.modules import AppLink, AppTarget, Link, Message, SharedExtras, TextModule, WebImage
from passes.google.object_extras import GroupingInfo, ObjectExtras, ObjectState, PassConstraints
from passes.google.templates import CardTemplate
from tests.unit.passes.fake_google import FakeGoogle, merge
from tests.unit.passes.google_examples import CLASS, ISSUER, OBJECT, PAGE, ROTATING, TEMPLATE, a_class, an_object
from tests.unit.passes.google_schema import DOCUMENT, faults

SCHEMAS = DOCUMENT["schemas"]
NOT_OURS = {
    "LoyaltyClass.review",  # said by Google
    "LoyaltyObject.classReference",
    "LoyaltyObject.hasLinkedDevice",
    "LoyaltyObject.hasUsers",
    "LoyaltyObject.infoModuleData",  # deprecated by its description alone
    "LoyaltyObject.linkedOfferIds",  # `linkedObjectIds` take offers, too
    "LoyaltyObject.disableExpirationNotification",  # for offers only
    "RotatingBarcode.initialRotatingBarcodeValues",  # for public transport only
    "TemplateItem.predefinedItem",  # for flights
    "FirstRowOption.transitOption",
    # Forms of which there is exactly one at a time:
    "LoyaltyPointsBalance.double",
    "LoyaltyPointsBalance.string",
}


def written(schema: str, body: dict) -> set[str]:
    """The names that a body uses, each behind its schema's."""
    found: set[str] = set()
    for key, value in body.items():
        found.add(f"{schema}.{key}")
        kind = SCHEMAS[schema]["properties"][key]
        inner = (kind.get("items") or kind).get("$ref")
        for item in value if isinstance(value, list) else [value]:
            if inner:
                found |= written(inner, item)
    return found


def known(schema: str, seen: set[str]) -> set[str]:
    """The names that may be used in a body, those that are deprecated left out."""
    found: set[str] = set()
    seen.add(schema)
    for key, kind in SCHEMAS[schema]["properties"].items():
        if kind.get("deprecated") or f"{schema}.{key}" in NOT_OURS:
            continue
        found.add(f"{schema}.{key}")
        inner = (kind.get("items") or kind).get("$ref")
        if inner and inner not in seen:
            found |= known(inner, seen)
    return found


def pruned(value: Any) -> Any:
    """Without null, which Google does not keep."""
    if isinstance(value, dict):
        return {name: pruned(item) for name, item in value.items() if item is not None}
    return value


def said(extras: SharedExtras) -> dict[str, Any]:
    return {item.name: getattr(extras, item.name) for item in fields(extras)}


def alone(extras: SharedExtras, name: str) -> Any:
    return type(extras)(**{name: getattr(extras, name)})


@pytest.mark.parametrize("extras", [CLASS, OBJECT])
def test_the_examples_leave_nothing_out(extras):
    for item in fields(extras):
        assert item.default is not MISSING, "all of it is optional"
        assert getattr(extras, item.name) != item.default, item.name


def test_every_name_that_google_knows_is_written_and_no_other():
    bodies = written("LoyaltyClass", a_class()) | written("LoyaltyObject", an_object())
    # A balance is an integer here and money there; see NOT_OURS for the other two.
    assert bodies == known("LoyaltyClass", set()) | known("LoyaltyObject", set())


def test_the_whole_of_it_is_accepted():
    assert faults("LoyaltyClass", a_class()) == []
    assert faults("LoyaltyObject", an_object()) == []


@pytest.mark.parametrize("name", said(CLASS))
def test_each_part_of_a_class_is_accepted_alone(name):
    body, bare = a_class(alone(CLASS, name)), a_class(None)
    assert faults("LoyaltyClass", body) == []
    assert body != bare
    assert all(body[key] == value for key, value in bare.items() if key not in CHANGED_BY.get(name, ()))


@pytest.mark.parametrize("name", said(OBJECT))
def test_each_part_of_an_object_is_accepted_alone(name):
    body, bare = an_object(alone(OBJECT, name)), an_object(None)
    assert faults("LoyaltyObject", body) == []
    assert body != bare
    assert all(body[key] == value for key, value in bare.items() if key not in CHANGED_BY.get(name, ()))


CHANGED_BY = {
    "holders": ("multipleDevicesAndHoldersAllowedStatus",),
    "template": ("classTemplateInfo",),
    "state": ("state",),
    "barcode": ("barcode",),
    "show_code_text": ("barcode",),
    "valid_from": ("validTimeInterval",),
}


def test_empty_extras_say_what_no_extras_say():
    assert a_class(ClassExtras()) == a_class(None)
    assert an_object(ObjectExtras()) == an_object(None)


def test_what_the_class_says():
    body = a_class()
    assert body["multipleDevicesAndHoldersAllowedStatus"] == Holders.ONE_USER_ALL_DEVICES == "ONE_USER_ALL_DEVICES"
    assert (body["enableSmartTap"], body["redemptionIssuers"]) == (True, [ISSUER])
    assert body["viewUnlockRequirement"] == "UNLOCK_REQUIRED_TO_VIEW"
    assert body["localizedRewardsTier"] == {
        "defaultValue": {"language": "en", "value": "Gold"},
        "translatedValues": [{"language": "mk", "value": "Gold мк"}],
    }
    assert body["discoverableProgram"]["merchantSignupInfo"]["signupSharedDatas"] == ["FIRST_NAME", "EMAIL"]
    rows = body["classTemplateInfo"]["cardTemplateOverride"]["cardRowTemplateInfos"]
    assert [list(row) for row in rows] == [["oneItem"], ["twoItems"], ["threeItems"]]
    assert "localizedAccountIdLabel" not in a_class(ClassExtras(account_id_label="No translation"))


def test_what_the_object_says():
    body = an_object()
    assert body["state"] == "COMPLETED"
    assert body["secondaryLoyaltyPoints"]["balance"] == {"money": {"currencyCode": "EUR", "micros": "12500000"}}
    assert body["barcode"]["type"] == "DATA_MATRIX"
    assert body["barcode"]["renderEncoding"] == body["rotatingBarcode"]["renderEncoding"] == "UTF_8"
    assert body["rotatingBarcode"]["totpDetails"] == {
        "algorithm": "TOTP_SHA1",
        "periodMillis": "30000",
        "parameters": [{"key": b"12345678901234567890".hex(), "valueLength": 8}],
    }
    assert body["passConstraints"] == {"nfcConstraint": ["BLOCK_PAYMENT"], "screenshotEligibility": "INELIGIBLE"}
    assert list(body["validTimeInterval"]) == ["start", "end"]
    assert b"12345678901234567890".decode() not in repr(ROTATING), "a secret in a trace"


def test_the_text_of_a_hidden_code_lies_beside_the_card_s_own_code():
    body = an_object(ObjectExtras(show_code_text="Show the code"))
    assert body["barcode"]["value"] == "482100773310"
    assert body["barcode"]["showCodeText"]["translatedValues"] == [{"language": "mk", "value": "Show the code мк"}]


def test_a_voided_card_has_nothing_to_redeem_or_to_read():
    body = an_object(replace(OBJECT, state=ObjectState.INACTIVE), voided=True)
    assert not {"barcode", "rotatingBarcode", "smartTapRedemptionValue"} & body.keys()
    assert (body["state"], body["messages"]) == ("INACTIVE", [])
    assert "secondaryLoyaltyPoints" in body
    assert faults("LoyaltyObject", body) == []


# -- what is gone goes ------------------------------------------------------------------------------------------------

OTHER_CLASS = ClassExtras(
    app_link=AppLink(android=AppTarget(link=Link(uri="https://a.example", description="x"))),
    wide_logo=WebImage(private_id="p"),
    discoverable=DiscoverableProgram(state=Discovery.DISABLED, sign_in=Link(uri="https://a.example")),
    template=replace(TEMPLATE, above_code=TEMPLATE.above_code[:1], below_code=None, details=(), list_second=None),
)
OTHER_OBJECT = ObjectExtras(
    app_link=AppLink(web=Link(uri="https://a.example", description="x")),
    secondary_points=PassField(key="stamps", label="other", value=5),
    barcode=Barcode(type=BarcodeType.TEXT_ONLY, value="1"),
    rotating_barcode=replace(ROTATING, value_pattern="{totp_value_0}", alternate_text="", show_code_text=""),
    grouping=GroupingInfo(id="other"),
    constraints=PassConstraints(screenshots=None, nfc=OBJECT.constraints.nfc),
)
CLASSES = [ClassExtras(), CLASS, OTHER_CLASS, *(alone(CLASS, name) for name in said(CLASS))]
OBJECTS = [ObjectExtras(), OBJECT, OTHER_OBJECT, *(alone(OBJECT, name) for name in said(OBJECT))]


@pytest.mark.parametrize("after", CLASSES)
@pytest.mark.parametrize("before", [CLASS, OTHER_CLASS, replace(CLASS, app_link=AppLink(web=PAGE))])
def test_a_class_loses_what_it_does_not_say_any_more(before, after):
    kept = a_class(before)
    body = a_class(after)
    merge(kept, whole("loyaltyClass", body, extras=True))
    left = {"messages", "notifyPreference"} - body.keys()
    assert pruned({name: value for name, value in kept.items() if name not in left}) == body


@pytest.mark.parametrize("after", OBJECTS)
@pytest.mark.parametrize("before", [OBJECT, OTHER_OBJECT])
def test_an_object_loses_what_it_does_not_say_any_more(before, after):
    kept = an_object(before)
    body = an_object(after)
    merge(kept, whole("loyaltyObject", body, extras=True))
    left = {"messages", "linkedObjectIds"} - body.keys()
    assert pruned({name: value for name, value in kept.items() if name not in left}) == body


def test_messages_are_replaced_or_left_alone():
    assert "messages" not in a_class(ClassExtras())
    assert a_class(ClassExtras(messages=()))["messages"] == []


def test_who_uses_no_extras_sends_no_word_of_them():
    for kind, body in (("loyaltyClass", a_class(None)), ("loyaltyObject", an_object(None))):
        plain, more = whole(kind, body, extras=False), whole(kind, body, extras=True)
        assert "appLinkData" not in plain
        assert more["appLinkData"] is None
        assert "linkedObjectIds" not in more, "Google does not unlink"


@pytest.mark.parametrize("exists", [False, True])
def test_the_client_takes_away_what_extras_said(account, exists):
    google = FakeGoogle()
    with GoogleWallet(account, transport=httpx.MockTransport(google)) as wallet:
        for extras in (OBJECT, None):
            wallet.upsert_object(an_object(extras), exists=exists, extras=True)
        for more in (CLASS, None):
            wallet.upsert_class(a_class(more), exists=exists, extras=True)
    card, program = an_object(None), a_class(None)
    kept = google.resources[card["id"]]
    assert pruned(kept) == card | {name: kept[name] for name in ("messages", "linkedObjectIds")}
    left = set(google.resources[program["id"]]) - program.keys()
    assert left == {"messages", "notifyPreference"}


def test_one_text_module_needs_no_header():
    body = a_class(ClassExtras(text_modules=(TextModule(id="a", body="From 8"),)))
    assert body["textModulesData"][0]["localizedBody"]["translatedValues"][0]["value"] == "From 8 мк"
    assert a_class(ClassExtras(template=CardTemplate()))["classTemplateInfo"] == {
        "cardTemplateOverride": {"cardRowTemplateInfos": []}
    }
    assert a_class(ClassExtras(messages=(Message(id="1", header="a", body="b", notify=True),)))["messages"] == [
        {"id": "1", "header": "a", "body": "b", "messageType": "TEXT_AND_NOTIFY"}
    ]
