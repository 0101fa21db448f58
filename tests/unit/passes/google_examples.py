"""A class and an object at Google that say everything that this library knows."""

from __future__ import annotations

from datetime import timedelta

from passes.content import PassField, Place
from passes.google.barcodes import Barcode, BarcodeType, RotatingBarcode, TotpParameter
from passes.google.class_extras import (
    ClassExtras,
    DiscoverableProgram,
    Discovery,
    Holders,
    SecurityAnimation,
    SharedData,
    SmartTap,
    ViewUnlock,
)
from passes.google.modules import (
    AppLink,
    AppTarget,
    ImageModule,
    Link,
    Message,
    TextModule,
    ValueAddedModule,
    WebImage,
)
from passes.google.object_extras import GroupingInfo, NfcConstraint, ObjectExtras, ObjectState, PassConstraints
from passes.google.objects import ProgramCard, loyalty_class, loyalty_object
from passes.google.templates import CardTemplate, DateFormat, FieldPath, Item, Selected
from tests.unit.passes.cards import NOW, a_card

ISSUER = "3388000000012345678"
TRANSLATED = (
    "Cafe Ohrid",
    "Card no.",
    "Member",
    "Gold",
    "Tier",
    "Silver",
    "Partner",
    "Hours",
    "From 8",
    "A cup",
    "Open",
    "Call",
    "News",
    "Cakes",
    "Book",
    "a table",
    "STAMPS",
    "Show the code",
    "Join",
)
TRANSLATIONS = {"mk": {text: f"{text} мк" for text in TRANSLATED}, "en": {"Gold": "Gold"}}
CARD = ProgramCard(
    suffix="cafe-ohrid",
    organization_name="Cafe Ohrid",
    program_name="Cafe Ohrid",
    background="#1F3A5F",
    logo_url="https://wallet.example.com/logo.png",
    hero_url="https://wallet.example.com/hero.png",
    homepage_url="https://cafe.example.com",
    callback_url="https://wallet.example.com/google/callbacks",
    country_code="MK",
    places=(Place(latitude=41.11, longitude=20.8),),
    translations=TRANSLATIONS,
)
PICTURE = WebImage(url="https://cafe.example.com/cup.png", description="A cup")
PAGE = Link(id="page", uri="https://cafe.example.com/card", description="Open")
MESSAGE = Message(id="m1", header="News", body="Cakes", starts_at=NOW, ends_at=NOW + timedelta(days=1))
VALUE = ValueAddedModule(
    header="Book",
    body="a table",
    uri="https://cafe.example.com/tables",
    image=PICTURE,
    sort_index=2,
    starts_at=NOW,
    ends_at=NOW + timedelta(days=9),
)
POINTS = Selected("object.loyaltyPoints.balance")
TEMPLATE = CardTemplate(
    rows=(
        (Item(POINTS),),
        (Item(POINTS), Item(Selected("object.textModulesData['tier']"), POINTS)),
        (Item(POINTS), Item(POINTS), Item(POINTS)),
    ),
    above_code=(Selected("object.accountName", "object.accountId"), POINTS),
    below_code=Selected(FieldPath("object.validTimeInterval.end.date", DateFormat.YEAR_MONTH_DAY)),
    details=(Item(Selected("class.textModulesData['hours']")),),
    list_first=POINTS,
    list_second=Selected("object.accountName"),
)
CLASS = ClassExtras(
    image_module=ImageModule(id="cup", image=PICTURE),
    app_link=AppLink(android=AppTarget(package_name="com.example.cafe"), web=PAGE, display_text="Open"),
    value_added=(VALUE,),
    messages=(MESSAGE,),
    wide_logo=WebImage(url="https://cafe.example.com/wide.png", description="Cafe Ohrid"),
    account_id_label="Card no.",
    account_name_label="Member",
    rewards_tier="Gold",
    rewards_tier_label="Tier",
    secondary_rewards_tier="Silver",
    secondary_rewards_tier_label="Partner",
    text_modules=(TextModule(id="hours", header="Hours", body="From 8"),),
    links=(PAGE, Link(id="tel", uri="tel:+38946123456", description="Call")),
    holders=Holders.ONE_USER_ALL_DEVICES,
    view_unlock=ViewUnlock.REQUIRED,
    security_animation=SecurityAnimation.FOIL_SHIMMER,
    discoverable=DiscoverableProgram(
        state=Discovery.LIVE,
        sign_up=Link(uri="https://cafe.example.com/join", description="Join"),
        shared_data=(SharedData.FIRST_NAME, SharedData.EMAIL),
        sign_in=PAGE,
    ),
    smart_tap=SmartTap((ISSUER,)),
    template=TEMPLATE,
    notify=True,
)
ROTATING = RotatingBarcode(
    value_pattern="4821-{totp_value_0}-{totp_timestamp_seconds}-Ѓ",
    parameters=(TotpParameter(key=b"12345678901234567890"),),
    alternate_text="4821",
    show_code_text="Show the code",
)
OBJECT = ObjectExtras(
    image_module=ImageModule(id="cup", image=WebImage(private_id="private-1", description="A cup")),
    app_link=AppLink(android=AppTarget(link=PAGE), web=PAGE, display_text="Open"),
    value_added=(VALUE,),
    messages=(MESSAGE,),
    state=ObjectState.COMPLETED,
    secondary_points=PassField(key="stamps", label="STAMPS", value=12.5, currency_code="EUR"),
    barcode=Barcode(type=BarcodeType.DATA_MATRIX, value="Ѓ1", alternate_text="1"),
    show_code_text="Show the code",
    rotating_barcode=ROTATING,
    smart_tap_value="4821",
    grouping=GroupingInfo(id="cafe", sort_index=1),
    constraints=PassConstraints(screenshots=False, nfc=(NfcConstraint.BLOCK_PAYMENT,)),
    restrict_to_email_sha256="31c5543c1734d25c7206f5fd591525d0295bec6fe84ff82f946a34fe970a1e66",
    linked_object_ids=(f"{ISSUER}.offer-1",),
    valid_from=NOW,
)


def a_class(extras: ClassExtras | None = CLASS) -> dict:
    return loyalty_class(CARD, issuer_id=ISSUER, extras=extras)


def an_object(extras: ObjectExtras | None = OBJECT, **changes) -> dict:
    return loyalty_object(
        a_card(translations=TRANSLATIONS, **changes),
        issuer_id=ISSUER,
        class_suffix="cafe-ohrid",
        hero_url="https://wallet.example.com/h.png",
        merchant_locations=True,
        notify=True,
        extras=extras,
    )
