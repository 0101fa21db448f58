"""Passes of every style, drawn by hypothesis: valid ones, and ones in which a single value is odd."""

from __future__ import annotations

import base64
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import strategies as st

from passes.apple.envelope import ACTIONS
from passes.apple.events import (
    BoardingExtras,
    BoardingLink,
    EventExtras,
    EventLink,
    RemoteImage,
    UpcomingEvent,
)
from passes.apple.model import (
    Barcode,
    Pass,
    PassFields,
    PassStyle,
    RelevantMoment,
    RelevantSpan,
)
from passes.apple.semantics import (
    CAPABILITIES,
    EVENT_TYPES,
    SECURITY_PROGRAMS,
    TAGS,
    CurrencyAmount,
    EventDate,
    Kind,
    PersonName,
    Seat,
    Semantics,
    Spot,
    WifiNetwork,
)
from passes.content import (
    Beacon,
    Colors,
    FeaturedAction,
    LocalImages,
    Nfc,
    PassField,
    PassImages,
    Place,
)
from tests.unit.passes.cards import pictures

POINT = ec.derive_private_key(7, ec.SECP256R1()).public_key()
NFC_KEY = base64.b64encode(POINT.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
ICON = pictures(38, 38)
BY_SLOT = {
    "logo": pictures(160, 50),
    "thumbnail": pictures(90, 90),
    "footer": pictures(286, 15),
    "artwork": pictures(358, 448),
    "primary_logo": pictures(126, 30),
    "secondary_logo": pictures(135, 12),
}
STRIPS = {PassStyle.STORE_CARD: (375, 144), PassStyle.COUPON: (375, 144), PassStyle.EVENT_TICKET: (375, 98)}
SLOTS = {
    PassStyle.STORE_CARD: ("logo", "strip"),
    PassStyle.COUPON: ("logo", "strip"),
    PassStyle.GENERIC: ("logo", "thumbnail", "artwork", "primary_logo", "secondary_logo"),
    PassStyle.EVENT_TICKET: ("logo", "strip", "thumbnail", "artwork"),
    PassStyle.BOARDING_PASS: ("logo", "footer"),
}
DRAWN_STRIPS = {size: pictures(*size) for size in set(STRIPS.values())}

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)
any_text = st.text(max_size=12)
zones = st.sampled_from([UTC, timezone(timedelta(hours=1)), timezone(timedelta(hours=-3, minutes=-30))])
dates = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=zones)  # noqa: DTZ001 - zones are drawn
addresses = st.sampled_from(["https://wallet.example.com/a", "https://example.com/x?y=1&z=2#top"])
latitudes, longitudes = st.floats(-90, 90), st.floats(-180, 180)
colors = st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True)
identifiers = st.lists(st.integers(1, 2**40), max_size=2).map(tuple)


def rarely(strategy, otherwise=None):
    return st.one_of(st.just(otherwise), st.just(otherwise), strategy)


VALUES = {
    Kind.TEXT: words,
    Kind.TEXTS: st.lists(words, max_size=3).map(tuple),
    Kind.NUMBER: st.integers(0, 10**6),
    Kind.SWITCH: st.booleans(),
    Kind.DATE: dates,
    Kind.MONEY: st.builds(CurrencyAmount, st.decimals(0, 10**6, places=2), st.sampled_from(["EUR", "MKD"])),
    Kind.SPOT: st.builds(Spot, latitudes, longitudes),
    Kind.NAME: st.builds(PersonName, given_name=words, family_name=rarely(words)),
    Kind.SEATS: st.lists(st.builds(Seat, seat_row=words, seat_section_color=rarely(colors)), max_size=2).map(tuple),
    Kind.NETWORKS: st.lists(st.builds(WifiNetwork, words, words), max_size=2).map(tuple),
    Kind.EVENT_DATE: st.builds(EventDate, date=dates, unannounced=st.booleans()),
    Kind.EVENT_TYPE: st.sampled_from(EVENT_TYPES),
    Kind.SECURITY_PROGRAMS: st.lists(st.sampled_from(SECURITY_PROGRAMS), max_size=2).map(tuple),
    Kind.CAPABILITIES: st.lists(st.sampled_from(CAPABILITIES), max_size=2).map(tuple),
    Kind.GROUP_TOKENS: st.lists(words, max_size=2).map(tuple),
}


@st.composite
def semantics(draw, style: str):
    forbidden = {"venuePlaceID"} if style != "upcoming" else set()
    if style != "storeCard":
        forbidden.add("balance")
    names = draw(st.lists(st.sampled_from(sorted(TAGS.keys() - forbidden)), max_size=4, unique=True))
    return Semantics.of(**{name: draw(VALUES[TAGS[name]]) for name in names})


@st.composite
def pass_fields(draw, key: str, group: str, style: str):
    options = {"key": key, "label": draw(rarely(words, "")), "change_message": draw(rarely(st.just("Now %@")))}
    match draw(st.sampled_from(["text", "number", "money", "date"])):
        case "text":
            options["value"] = draw(words)
        case "number":
            options["value"] = draw(st.one_of(st.integers(-(2**52), 2**52), st.floats(-1e9, 1e9)))
            options["number_style"] = draw(rarely(st.sampled_from(["decimal", "percent", "scientific", "spell_out"])))
        case "money":
            options |= {"value": draw(st.integers(0, 10**9)), "currency_code": "MKD"}
        case _:
            styles = st.sampled_from(["none", "short", "medium", "long", "full"])
            options |= {"value": draw(dates), "date_style": draw(styles), "time_style": draw(styles)}
            options |= {"is_relative": draw(st.booleans()), "ignores_time_zone": draw(st.booleans())}
    if group == "back":
        options["detectors"] = draw(rarely(st.sampled_from([(), ("phone", "link"), ("address", "calendar")])))
        options["link"] = draw(rarely(addresses))
    elif group != "primary":
        options["alignment"] = draw(rarely(st.sampled_from(["left", "center", "right", "natural"])))
    if group == "auxiliary" and style == PassStyle.EVENT_TICKET:
        options["row"] = draw(rarely(st.sampled_from([0, 1])))
    options["semantics"] = draw(rarely(semantics(style)))
    return PassField(**options)


@st.composite
def layouts(draw, style: str):
    room = {"header": 3, "primary": 1, "secondary": 2, "auxiliary": 2, "back": 3}
    if style == PassStyle.BOARDING_PASS:
        room |= {"primary": 2, "auxiliary": 5}
    elif style == "posterGeneric":
        room["footer"] = 1
    elif style == PassStyle.EVENT_TICKET:
        room |= {"secondary": 4, "auxiliary": 4, "additional_info": 2}
    groups = {
        name: tuple(draw(pass_fields(f"{name}.{index}", name, style)) for index in range(draw(st.integers(0, limit))))
        for name, limit in room.items()
    }
    transit = draw(st.sampled_from(["air", "boat", "bus", "generic", "train"]))
    return PassFields(**groups, transit_type=transit if style == PassStyle.BOARDING_PASS else None)


looks = st.builds(Colors, background=colors, foreground=colors, label=colors, strip=rarely(colors))
barcodes = st.one_of(
    st.just(()),
    st.lists(
        st.builds(
            Barcode,
            format=st.sampled_from(["qr", "pdf417", "aztec"]),
            message=words,
            caption=rarely(words, ""),
        ),
        max_size=3,
    ).map(tuple),
    st.just((Barcode(format="ean13", message="5901234123457"), Barcode(format="code128", message="5901234123457"))),
    st.just(
        (Barcode(format="code39", message="CARD-1"), Barcode(format="i2of5", message="1234"), Barcode(message="1"))
    ),
    st.just((Barcode(format="codabar", message="A123B"), Barcode(message="Ѓорѓи"))),
)
actions = st.lists(
    st.sampled_from(ACTIONS).map(
        lambda kind: FeaturedAction(
            identifier=kind,
            kind=kind,
            place_identifier="I123" if kind == "place" else None,
            url=None if kind == "place" else "tel:+38912345678" if kind == "call" else "https://example.com/go",
        )
    ),
    max_size=2,
    unique_by=lambda action: action.identifier,
).map(tuple)
places = st.lists(
    st.builds(
        Place,
        latitude=latitudes,
        longitude=longitudes,
        altitude=rarely(st.floats(-400, 9000)),
        relevant_text=rarely(words),
    ),
    max_size=10,
).map(tuple)
beacons = st.lists(
    st.builds(
        Beacon,
        proximity_uuid=st.uuids().map(str),
        major=rarely(st.integers(0, 65535)),
        minor=rarely(st.integers(0, 65535)),
        relevant_text=rarely(words),
    ),
    max_size=3,
).map(tuple)
spans = st.tuples(dates, st.integers(1, 10**6)).map(
    lambda drawn: RelevantSpan(drawn[0], drawn[0] + timedelta(seconds=drawn[1]))
)
translations = st.dictionaries(
    st.sampled_from(["en", "mk", "ru", "sr-Latn"]), st.dictionaries(words, words, max_size=4), max_size=3
)


@st.composite
def events(draw):
    link = st.sampled_from([name for name in EventLink if not name.endswith(("Email", "PhoneNumber"))])
    contacts = draw(
        st.sampled_from([{}, {EventLink.CONTACT_MAIL: "a@example.com", EventLink.CONTACT_PHONE: "+389 2 123"}])
    )
    links = {**draw(st.dictionaries(link, addresses, max_size=3)), **contacts}
    remote = RemoteImage(url="https://example.com/p.png", sha256="a" * 64, scale=2, size=1000)
    upcoming = [
        UpcomingEvent(
            identifier=f"event {index}",
            name=draw(words),
            date=draw(rarely(dates)),
            time_zone=draw(rarely(st.just("Europe/Skopje"))),
            is_active=draw(st.booleans()),
            semantics=draw(rarely(semantics("upcoming"))),
            links=links,
            back=(draw(pass_fields("info", "back", PassStyle.EVENT_TICKET)),),
            store_identifiers=draw(identifiers),
            header=(remote,),
            reuse_images=draw(st.booleans()),
        )
        for index in range(draw(st.integers(0, 2)))
    ]
    return EventExtras(
        poster=True,
        logo_text=draw(rarely(words)),
        use_automatic_colors=draw(st.booleans()),
        suppress_header_darkening=draw(st.booleans()),
        footer_background=draw(rarely(colors)),
        store_identifiers=draw(identifiers),
        links=links,
        upcoming=tuple(upcoming),
    )


boarding = st.builds(
    BoardingExtras,
    semantic=st.booleans(),
    links=st.dictionaries(
        st.sampled_from([name for name in BoardingLink if name.endswith("URL")]), addresses, max_size=3
    ),
)


@st.composite
def images(draw, style: PassStyle):
    available = dict(BY_SLOT)
    available["strip"] = DRAWN_STRIPS.get(STRIPS.get(style, ()), ICON)
    chosen = {slot: available[slot] for slot in SLOTS[style] if draw(st.booleans())}
    local = {}
    if "logo" not in chosen and draw(st.booleans()):
        local = {language: LocalImages(logo=BY_SLOT["logo"]) for language in ("mk", "ru")}
    return PassImages(icon=ICON, **chosen), local


@st.composite
def valid_passes(draw):
    style = draw(st.sampled_from(PassStyle))
    pictured, local = draw(images(style))
    has_service, apps = draw(st.booleans()), draw(identifiers)
    is_ticket = style in {PassStyle.EVENT_TICKET, PassStyle.BOARDING_PASS}
    has_dates = style is not PassStyle.STORE_CARD
    return Pass(
        serial_number=draw(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)),
        organization_name=draw(words),
        description=draw(words),
        style=style,
        fields=draw(layouts(style)),
        colors=draw(rarely(looks)),
        poster=draw(rarely(layouts("posterGeneric"))) if style is PassStyle.GENERIC else None,
        barcodes=draw(barcodes),
        images=pictured,
        localized_images=local,
        translations=draw(translations),
        update_url="https://wallet.example.com/apple" if has_service else None,
        authentication_token="0123456789abcdef" if has_service else None,
        logo_text=draw(rarely(words)),
        suppress_strip_shine=draw(st.booleans()),
        expires_at=draw(rarely(dates)),
        voided=draw(st.booleans()),
        relevant_date=draw(rarely(dates)) if has_dates else None,
        relevant_dates=draw(st.lists(st.one_of(dates.map(RelevantMoment), spans), max_size=3).map(tuple))
        if has_dates
        else (),
        places=draw(places),
        max_distance_meters=draw(rarely(st.integers(1, 10**6))),
        beacons=draw(beacons),
        nfc=draw(rarely(st.just(Nfc(message="4821", public_key=NFC_KEY, requires_authentication=True)))),
        featured_actions=draw(actions),
        semantics=draw(rarely(semantics(style))),
        sharing_prohibited=draw(st.booleans()),
        grouping_identifier=draw(rarely(words)) if is_ticket else None,
        store_identifiers=apps,
        app_launch_url="cafe://card" if apps else None,
        user_info=draw(rarely(st.just({"id": 5, "list": [1.5, None, "б"]}))),
        event=draw(rarely(events())) if style is PassStyle.EVENT_TICKET else None,
        boarding=draw(rarely(boarding)) if style is PassStyle.BOARDING_PASS else None,
    )


ODD_TEXTS = st.one_of(any_text, st.sampled_from(["", " ", "\ud800", "x" * 5000, "\x00", "%@", 'a"b\\c\n', "<b>"]))
ODD_NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 2**60, float("nan"), float("inf")]))
ODD_DATES = st.one_of(dates, st.datetimes(), st.datetimes(timezones=st.timezones()))
ODD_FIELDS = st.builds(
    PassField,
    key=ODD_TEXTS,
    value=st.one_of(ODD_TEXTS, ODD_NUMBERS, ODD_DATES, st.booleans()),
    label=ODD_TEXTS,
    change_message=st.one_of(st.none(), ODD_TEXTS),
    alignment=rarely(ODD_TEXTS),
    currency_code=rarely(st.one_of(ODD_TEXTS, st.just("EUR"))),
    number_style=rarely(ODD_TEXTS),
    date_style=rarely(st.just("short")),
    time_style=rarely(st.just("short")),
    attributed_value=rarely(ODD_TEXTS),
    link=rarely(ODD_TEXTS),
    detectors=rarely(st.lists(ODD_TEXTS, max_size=2).map(tuple)),
    row=rarely(st.integers(-1, 2)),
)
ODD = {
    "serial_number": ODD_TEXTS,
    "organization_name": ODD_TEXTS,
    "description": ODD_TEXTS,
    "logo_text": ODD_TEXTS,
    "grouping_identifier": ODD_TEXTS,
    "app_launch_url": ODD_TEXTS,
    "update_url": ODD_TEXTS,
    "authentication_token": ODD_TEXTS,
    "style": st.sampled_from(PassStyle),
    "expires_at": ODD_DATES,
    "relevant_date": ODD_DATES,
    "relevant_dates": st.lists(st.builds(RelevantSpan, ODD_DATES, dates), max_size=3).map(tuple),
    "max_distance_meters": ODD_NUMBERS,
    "places": st.lists(
        st.builds(Place, latitude=ODD_NUMBERS, longitude=st.floats(), altitude=ODD_NUMBERS, relevant_text=ODD_TEXTS),
        max_size=12,
    ).map(tuple),
    "beacons": st.lists(
        st.builds(Beacon, proximity_uuid=ODD_TEXTS, major=st.integers(), relevant_text=ODD_TEXTS), max_size=2
    ).map(tuple),
    "nfc": st.builds(Nfc, message=ODD_TEXTS, public_key=st.one_of(ODD_TEXTS, st.just(NFC_KEY))),
    "featured_actions": st.lists(
        st.builds(
            FeaturedAction,
            identifier=ODD_TEXTS,
            kind=st.sampled_from(["order", "call", "place", "?"]),
            url=rarely(ODD_TEXTS),
            place_identifier=rarely(ODD_TEXTS),
        ),
        max_size=3,
    ).map(tuple),
    "barcodes": st.lists(
        st.builds(
            Barcode,
            format=st.sampled_from(["qr", "ean13", "i2of5", "code39", "codabar", "code128", "?"]),
            message=ODD_TEXTS,
            encoding=rarely(st.sampled_from(["utf-8", "latin1", "rot13", "hex", "idna", "punycode", "?", "\x00"])),
            caption=ODD_TEXTS,
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    "semantics": st.builds(
        Semantics,
        st.lists(
            st.tuples(
                st.one_of(st.sampled_from(sorted(TAGS)), ODD_TEXTS),
                st.one_of(ODD_TEXTS, ODD_NUMBERS, ODD_DATES, st.just(CurrencyAmount(Decimal("NaN"), "EUR"))),
            ),
            max_size=3,
        ).map(tuple),
    ),
    "translations": st.dictionaries(ODD_TEXTS, st.dictionaries(ODD_TEXTS, ODD_TEXTS, max_size=2), max_size=2),
    "user_info": st.dictionaries(st.text(max_size=3), st.one_of(ODD_TEXTS, ODD_NUMBERS), max_size=2),
    "store_identifiers": st.lists(st.integers(), max_size=2).map(tuple),
    "images": st.none(),
}


@st.composite
def odd_passes(draw):
    """A valid pass in which one thing is odd: it may break a rule or not."""
    card = draw(valid_passes())
    name = draw(st.sampled_from([*ODD, "a field", "a field", "a field"]))
    if name != "a field":
        return replace(card, **{name: draw(ODD[name])})
    group = draw(st.sampled_from([item.name for item in fields(PassFields) if item.name != "transit_type"]))
    before = getattr(card.fields, group)
    return replace(card, fields=replace(card.fields, **{group: (*before, draw(ODD_FIELDS))}))
