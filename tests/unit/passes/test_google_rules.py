"""What Google's pages forbid is refused before it is sent, by the name of the field."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from passes.content import PassContentError, PassField
from passes.google.barcodes import Barcode, BarcodeType, RotatingBarcode, TotpParameter
from passes.google.class_extras import ClassExtras, DiscoverableProgram, Discovery, SharedData, SmartTap
from passes.google.modules import (
    AppLink,
    AppTarget,
    ImageModule,
    Link,
    TextModule,
    ValueAddedModule,
    WebImage,
)
from passes.google.object_extras import GroupingInfo, NfcConstraint, ObjectExtras, ObjectState, PassConstraints
from passes.google.templates import CardTemplate, Item, Selected
from tests.unit.passes.cards import NOW
from tests.unit.passes.google_examples import (
    ISSUER,
    MESSAGE,
    PAGE,
    POINTS,
    ROTATING,
    TRANSLATIONS,
    VALUE,
    a_class,
    an_object,
)
from tests.unit.passes.google_schema import DOCUMENT, faults

WEB = "https://a.example"
TEXT = TextModule(id="a", body="x")
KEY = TotpParameter(key=b"k")
LONG = "x" * 5_001


def program(**changes) -> DiscoverableProgram:
    return DiscoverableProgram(**{"state": Discovery.LIVE, **changes})


def rotating(**changes) -> RotatingBarcode:
    return replace(ROTATING, **changes)


def code(kind: BarcodeType, value: str, **changes) -> Barcode:
    return Barcode(type=kind, value=value, **changes)


BOTH = [
    ("image_module.image", {"image_module": ImageModule(image=WebImage())}),
    ("image_module.image", {"image_module": ImageModule(image=WebImage(url=WEB, private_id="1"))}),
    ("image_module.image.url", {"image_module": ImageModule(image=WebImage(url="file:///x.png"))}),
    ("image_module.image.private_id", {"image_module": ImageModule(image=WebImage(private_id=" "))}),
    ("image_module.image.description", {"image_module": ImageModule(image=WebImage(url=WEB, description=LONG))}),
    ("image_module.id", {"image_module": ImageModule(image=WebImage(url=WEB), id="x" * 101)}),
    ("app_link", {"app_link": AppLink(display_text="Open")}),
    ("app_link.display_text", {"app_link": AppLink(web=PAGE, display_text="x" * 31)}),
    ("app_link.web.uri", {"app_link": AppLink(web=Link(uri="tel:1", description="x"))}),
    ("app_link.web.description", {"app_link": AppLink(web=Link(uri=WEB))}),
    ("app_link.android", {"app_link": AppLink(android=AppTarget())}),
    ("app_link.android", {"app_link": AppLink(android=AppTarget(package_name="a.b", link=PAGE))}),
    ("app_link.android.package_name", {"app_link": AppLink(android=AppTarget(package_name="cafe"))}),
    ("app_link.android.package_name", {"app_link": AppLink(android=AppTarget(package_name="com.1cafe"))}),
    ("app_link.android.link.description", {"app_link": AppLink(android=AppTarget(link=Link(uri=WEB)))}),
    ("app_link.android.link.uri", {"app_link": AppLink(android=AppTarget(link=Link(uri="cafe", description="x")))}),
    ("value_added", {"value_added": (VALUE,) * 16}),
    ("value_added[0].header", {"value_added": (ValueAddedModule(header=" ", uri=WEB),)}),
    ("value_added[0].header", {"value_added": (ValueAddedModule(header="x" * 61, uri=WEB),)}),
    ("value_added[0].body", {"value_added": (ValueAddedModule(header="x", body="x" * 51, uri=WEB),)}),
    ("value_added[1].uri", {"value_added": (VALUE, replace(VALUE, uri="a.example"))}),
    ("value_added[0].uri", {"value_added": (replace(VALUE, uri="https://a b"),)}),
    ("value_added[0].image", {"value_added": (replace(VALUE, image=WebImage()),)}),
    ("value_added[0].sort_index", {"value_added": (replace(VALUE, sort_index=2**31),)}),
    ("value_added[0].sort_index", {"value_added": (replace(VALUE, sort_index=True),)}),
    ("value_added[0].ends_at", {"value_added": (replace(VALUE, ends_at=NOW - timedelta(1)),)}),
    ("value_added[0].starts_at", {"value_added": (replace(VALUE, starts_at=datetime(2026, 1, 1)),)}),  # noqa: DTZ001
    ("messages", {"messages": tuple(replace(MESSAGE, id=str(number)) for number in range(11))}),
    ("messages", {"messages": (MESSAGE, MESSAGE)}),
    ("messages[0].id", {"messages": (replace(MESSAGE, id=""),)}),
    ("messages[0].header", {"messages": (replace(MESSAGE, header=" "),)}),
    ("messages[0].body", {"messages": (replace(MESSAGE, body=LONG),)}),
    ("messages[0].ends_at", {"messages": (replace(MESSAGE, ends_at=NOW - timedelta(1)),)}),
]
OF_A_CLASS = [
    ("wide_logo", {"wide_logo": WebImage()}),
    ("account_id_label", {"account_id_label": ""}),
    ("account_name_label", {"account_name_label": LONG}),
    ("rewards_tier", {"rewards_tier": " "}),
    ("rewards_tier_label", {"rewards_tier_label": ""}),
    ("secondary_rewards_tier", {"secondary_rewards_tier": ""}),
    ("secondary_rewards_tier_label", {"secondary_rewards_tier_label": ""}),
    ("text_modules", {"text_modules": tuple(replace(TEXT, id=str(number)) for number in range(11))}),
    ("text_modules", {"text_modules": (TEXT, TEXT)}),
    ("text_modules[0].id", {"text_modules": (TextModule(id="a.b", body="x"),)}),
    ("text_modules[0]", {"text_modules": (TextModule(id="a"),)}),
    ("text_modules[0].header", {"text_modules": (TextModule(id="a", header=" "),)}),
    ("text_modules[0].body", {"text_modules": (TextModule(id="a", body=LONG),)}),
    ("links", {"links": (Link(uri=WEB),) * 51}),
    ("links", {"links": (PAGE, PAGE)}),
    ("links[0].uri", {"links": (Link(uri="+38946123456"),)}),
    ("links[0].uri", {"links": (Link(uri="https://" + "a" * 2_000),)}),
    ("links[0].id", {"links": (Link(uri=WEB, id="x" * 101),)}),
    ("links[0].description", {"links": (Link(uri=WEB, description=LONG),)}),
    ("discoverable.sign_up.uri", {"discoverable": program(sign_up=Link(uri="mailto:a@b.c"))}),
    ("discoverable.sign_in.uri", {"discoverable": program(sign_in=Link(uri="tel:1"))}),
    ("discoverable.shared_data", {"discoverable": program(shared_data=(SharedData.EMAIL,))}),
    ("discoverable.shared_data", {"discoverable": program(sign_up=PAGE, shared_data=(SharedData.EMAIL,) * 2)}),
    ("smart_tap.redemption_issuers", {"smart_tap": SmartTap(())}),
    ("smart_tap.redemption_issuers", {"smart_tap": SmartTap((ISSUER, ISSUER))}),
    ("smart_tap.redemption_issuers", {"smart_tap": SmartTap(tuple(str(number) for number in range(1, 22)))}),
    ("smart_tap.redemption_issuers[0]", {"smart_tap": SmartTap(("cafe",))}),
    ("smart_tap.redemption_issuers[0]", {"smart_tap": SmartTap(("9223372036854775808",))}),
    ("smart_tap.redemption_issuers[0]", {"smart_tap": SmartTap(("٣٣",))}),
    ("template.rows", {"template": CardTemplate(rows=((Item(POINTS),),) * 4)}),
    ("template.rows[0]", {"template": CardTemplate(rows=((),))}),
    ("template.rows[0]", {"template": CardTemplate(rows=((Item(POINTS),) * 4,))}),
    ("template.rows[0].item.first", {"template": CardTemplate(rows=((Item(Selected()),),))}),
    ("template.rows[0].item.second[0]", {"template": CardTemplate(rows=((Item(POINTS, Selected("x")),),))}),
    ("template.above_code", {"template": CardTemplate(above_code=(POINTS,) * 3)}),
    ("template.above_code[1][0]", {"template": CardTemplate(above_code=(POINTS, Selected("member.name")))}),
    ("template.below_code", {"template": CardTemplate(below_code=Selected(*["object.accountId"] * 11))}),
    ("template.details", {"template": CardTemplate(details=(Item(POINTS),) * 51)}),
    ("template.details[0].first[0]", {"template": CardTemplate(details=(Item(Selected("object")),))}),
    ("template.list_first[0]", {"template": CardTemplate(list_first=Selected("object.a['x.y']"))}),
    ("template.list_second[0]", {"template": CardTemplate(list_second=Selected("object..a"))}),
]
OF_AN_OBJECT = [
    ("secondary_points.value", {"secondary_points": PassField(key="p", value=NOW)}),
    ("secondary_points.value", {"secondary_points": PassField(key="p", value=float("nan"))}),
    ("show_code_text", {"show_code_text": ""}),
    ("barcode.value", {"barcode": code(BarcodeType.QR_CODE, " ")}),
    ("barcode.value", {"barcode": code(BarcodeType.AZTEC, "x" * 2_001)}),
    ("barcode.value", {"barcode": code(BarcodeType.CODE_39, "a")}),
    ("barcode.value", {"barcode": code(BarcodeType.CODE_128, "Ѓ")}),
    ("barcode.value", {"barcode": code(BarcodeType.CODABAR, "A1")}),
    ("barcode.value", {"barcode": code(BarcodeType.EAN_8, "123456")}),
    ("barcode.value", {"barcode": code(BarcodeType.EAN_8, "96385075")}),
    ("barcode.value", {"barcode": code(BarcodeType.EAN_13, "5901234123458")}),
    ("barcode.value", {"barcode": code(BarcodeType.EAN_13, "٥٩٠١٢٣٤١٢٣٤٥٧")}),
    ("barcode.value", {"barcode": code(BarcodeType.UPC_A, "036000291453")}),
    ("barcode.value", {"barcode": code(BarcodeType.ITF_14, "1234567890123")}),
    ("barcode.alternate_text", {"barcode": code(BarcodeType.TEXT_ONLY, "1", alternate_text="1")}),
    ("barcode.alternate_text", {"barcode": code(BarcodeType.QR_CODE, "1", alternate_text=" ")}),
    ("rotating_barcode.type", {"rotating_barcode": rotating(type=BarcodeType.AZTEC)}),
    ("rotating_barcode.period_millis", {"rotating_barcode": rotating(period_millis=0)}),
    ("rotating_barcode.period_millis", {"rotating_barcode": rotating(period_millis=2**63)}),
    ("rotating_barcode.parameters", {"rotating_barcode": rotating(parameters=())}),
    ("rotating_barcode.parameters", {"rotating_barcode": rotating(parameters=(KEY,) * 11)}),
    ("rotating_barcode.parameters[0].key", {"rotating_barcode": rotating(parameters=(TotpParameter(b""),))}),
    ("rotating_barcode.parameters[0].key", {"rotating_barcode": rotating(parameters=(TotpParameter(b"k" * 129),))}),
    ("rotating_barcode.parameters[1].digits", {"rotating_barcode": rotating(parameters=(KEY, TotpParameter(b"k", 5)))}),
    ("rotating_barcode.value_pattern", {"rotating_barcode": rotating(value_pattern="4821")}),
    ("rotating_barcode.value_pattern", {"rotating_barcode": rotating(value_pattern="{totp_timestamp_millis}")}),
    ("rotating_barcode.value_pattern", {"rotating_barcode": rotating(value_pattern="{totp_value_0}{totp_value_1}")}),
    ("rotating_barcode.value_pattern", {"rotating_barcode": rotating(value_pattern="{totp_value_0}{member}")}),
    ("rotating_barcode.alternate_text", {"rotating_barcode": rotating(alternate_text=" ")}),
    ("rotating_barcode.show_code_text", {"rotating_barcode": rotating(show_code_text=LONG)}),
    ("smart_tap_value", {"smart_tap_value": ""}),
    ("smart_tap_value", {"smart_tap_value": "Ѓ"}),
    ("smart_tap_value", {"smart_tap_value": "x" * 1_001}),
    ("grouping", {"grouping": GroupingInfo()}),
    ("grouping.id", {"grouping": GroupingInfo(id="")}),
    ("grouping.sort_index", {"grouping": GroupingInfo(sort_index=-(2**31) - 1)}),
    ("constraints", {"constraints": PassConstraints()}),
    ("constraints.nfc", {"constraints": PassConstraints(nfc=(NfcConstraint.BLOCK_PAYMENT,) * 2)}),
    ("restrict_to_email_sha256", {"restrict_to_email_sha256": "ana@example.com"}),
    ("restrict_to_email_sha256", {"restrict_to_email_sha256": "A" * 64}),
    ("linked_object_ids", {"linked_object_ids": tuple(f"{ISSUER}.{number}" for number in range(51))}),
    ("linked_object_ids", {"linked_object_ids": (f"{ISSUER}.a", f"{ISSUER}.a")}),
    ("linked_object_ids", {"linked_object_ids": (f"{ISSUER}.0193-card.1",)}),
    ("linked_object_ids[0]", {"linked_object_ids": ("3388.a",)}),
    ("linked_object_ids[0]", {"linked_object_ids": (f"{ISSUER}.",)}),
    ("linked_object_ids[1]", {"linked_object_ids": (f"{ISSUER}.a", f"{ISSUER}.a b")}),
    ("valid_from", {"valid_from": datetime(2026, 1, 1)}),  # noqa: DTZ001
    ("valid_from", {"valid_from": NOW + timedelta(days=999)}),
]


def refused(call) -> PassContentError:
    with pytest.raises(PassContentError) as caught:
        call()
    assert caught.value.rule
    return caught.value


@pytest.mark.parametrize(("where", "said"), BOTH + OF_A_CLASS)
def test_a_class_is_refused_by_the_name_of_the_field(where, said):
    assert refused(lambda: a_class(ClassExtras(**said))).where == where


@pytest.mark.parametrize(("where", "said"), BOTH + OF_AN_OBJECT)
def test_an_object_is_refused_by_the_name_of_the_field(where, said):
    assert refused(lambda: an_object(ObjectExtras(**said))).where == where


@pytest.mark.parametrize("state", [ObjectState.ACTIVE, ObjectState.COMPLETED, ObjectState.EXPIRED])
def test_a_voided_card_has_one_state(state):
    assert refused(lambda: an_object(ObjectExtras(state=state), voided=True)).where == "state"
    assert an_object(ObjectExtras(state=state))["state"] == state


def test_a_voided_card_is_checked_like_any_other():
    assert refused(lambda: an_object(ObjectExtras(smart_tap_value="Ѓ"), voided=True)).where == "smart_tap_value"


def test_the_limit_of_a_text_is_each_language_s(monkeypatch):
    monkeypatch.setitem(TRANSLATIONS, "mk", {"Open": "x" * 31})
    error = refused(lambda: a_class(ClassExtras(app_link=AppLink(web=PAGE, display_text="Open"))))
    assert error.where == "app_link.display_text (mk)"
    monkeypatch.setitem(TRANSLATIONS, "mk", {"Open": "x" * 30})
    assert a_class(ClassExtras(app_link=AppLink(web=PAGE, display_text="Open")))


@pytest.mark.parametrize(
    "barcode",
    [
        *(code(kind, "5901") for kind in (BarcodeType.AZTEC, BarcodeType.CODE_39, BarcodeType.CODE_128)),
        *(code(kind, "Ѓ") for kind in (BarcodeType.DATA_MATRIX, BarcodeType.PDF_417, BarcodeType.QR_CODE)),
        code(BarcodeType.TEXT_ONLY, "Ѓ"),
        code(BarcodeType.CODABAR, "A12-3B"),
        code(BarcodeType.CODABAR, "123"),
        code(BarcodeType.EAN_8, "9638507"),
        code(BarcodeType.EAN_8, "96385074"),
        code(BarcodeType.EAN_13, "590123412345"),
        code(BarcodeType.EAN_13, "5901234123457"),
        code(BarcodeType.ITF_14, "15400141288763"),
        code(BarcodeType.UPC_A, "03600029145"),
        code(BarcodeType.UPC_A, "036000291452"),
    ],
)
def test_each_kind_of_code_is_written(barcode):
    body = an_object(ObjectExtras(barcode=barcode))
    assert (body["barcode"]["type"], body["barcode"]["value"]) == (barcode.type, barcode.value)
    assert faults("LoyaltyObject", body) == []


def test_all_kinds_of_codes_states_and_the_like_are_google_s():
    schemas = DOCUMENT["schemas"]
    for schema, name, ours in (
        ("Barcode", "type", BarcodeType),
        ("LoyaltyObject", "state", ObjectState),
        ("DiscoverableProgram", "state", Discovery),
    ):
        kind = schemas[schema]["properties"][name]
        old = kind.get("enumDeprecated", [False] * len(kind["enum"]))
        current = {value for value, gone in zip(kind["enum"], old, strict=True) if not gone}
        assert {value for value in current if not value.endswith("_UNSPECIFIED")} == {item.value for item in ours}
