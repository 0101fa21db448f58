from __future__ import annotations

import pytest

from wallet_server.faces.apple import PassFile, face_of, lock_screen_message, values_of

ZONE = "Europe/Skopje"


def a_file(*fields, strings=None, **top) -> PassFile:
    document = {"storeCard": {"backFields": list(fields)}, "organizationName": "Cafe", **top}
    return PassFile(document, strings or {})


def field(key="k", value="v", **more):
    return {"key": key, "value": value, **more}


def shown(language="en", strings=None, **item) -> str:
    return values_of(a_file(field(**item), strings=strings), language, ZONE)["k"]


@pytest.mark.parametrize(
    ("language", "item", "text"),
    [
        ("en", {"value": 1250}, "1,250"),
        ("mk", {"value": 1250}, "1.250"),
        ("en", {"value": 0.25, "numberStyle": "PKNumberStylePercent"}, "25%"),
        ("en", {"value": 12.5, "currencyCode": "EUR"}, "€12.50"),
        ("en", {"value": "2027-01-31T22:59:00Z", "dateStyle": "PKDateStyleMedium"}, "Jan 31, 2027"),
        ("en", {"value": "2027-01-31T23:30:00Z", "dateStyle": "PKDateStyleMedium"}, "Feb 1, 2027"),
        (
            "en",
            {"value": "2027-01-31T23:30:00Z", "dateStyle": "PKDateStyleMedium", "ignoresTimeZone": True},
            "Jan 31, 2027",
        ),
        ("ru", {"value": "2027-01-31T22:59:00Z", "dateStyle": "PKDateStyleShort"}, "31.01.2027"),
        ("en", {"value": "2027-01-31T22:59:00Z"}, "2027-01-31T22:59:00Z"),
        ("xx", {"value": 1250}, "1,250"),
    ],
)
def test_values_are_written_for_their_reader(language, item, text):
    assert shown(language, **item) == text


def test_texts_come_from_the_phones_language():
    strings = {"mk": {"tier": "Злато"}}
    assert [shown(language, strings, value="tier") for language in ("mk", "mk-MK", "ru")] == ["Злато", "Злато", "tier"]


def message(old, new, language="en", strings=None):
    return lock_screen_message(a_file(*old, strings=strings), a_file(*new, strings=strings), language, ZONE)


POINTS = "You have %@ points"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ([field(value=1)], [field(value=2)], None),  # no change message: silent
        ([field(value=2, changeMessage=POINTS)], [field(value=2, changeMessage=POINTS)], None),
        ([field(value=1, changeMessage=POINTS)], [field(value=2000, changeMessage=POINTS)], "You have 2,000 points"),
        ([field(value=1)], [field(value=2, changeMessage="Changed!")], "Store card changed"),
        ([], [field(value=2, changeMessage=POINTS)], None),  # a new field is silent
        (
            [field("a", 1), field("b", 1)],
            [field("a", 2, changeMessage=POINTS), field("b", 2, changeMessage=POINTS)],
            "Store card changed",
        ),
        ([field("a", 1), field("b", 1)], [field("a", 2, changeMessage=POINTS), field("b", 2)], "You have 2 points"),
        ([field(value="")], [field(value="Two for one", changeMessage="%@")], "Two for one"),
    ],
)
def test_the_lock_screen_speaks_as_an_iphone_does(old, new, text):
    assert message(old, new) == text


def test_the_message_and_its_value_are_in_the_phones_language():
    strings = {"mk": {POINTS: "Имате %@ поени"}}
    old, new = [field(value=1)], [field(value=2000, changeMessage=POINTS)]
    assert message(old, new, "mk", strings) == "Имате 2.000 поени"


@pytest.mark.parametrize(
    ("markup", "parts"),
    [
        (
            '<a href="https://a.example/?a=1&amp;b=2">Open &amp; look</a>',
            [("Open & look", "https://a.example/?a=1&b=2")],
        ),
        ('See <a href="tel:+389">us</a>.', [("See ", None), ("us", "tel:+389"), (".", None)]),
        ('<a href="javascript:alert(1)">x</a>', [("x", None)]),
        ("<script>alert(1)</script>", [("alert(1)", None)]),
    ],
)
def test_only_web_phone_and_mail_links_are_links(markup, parts):
    face = face_of(a_file(field(attributedValue=markup)), "en", ZONE)
    assert [(part.text, part.address) for part in face.back[0].parts] == parts


@pytest.mark.parametrize(
    ("given", "color"),
    [("rgb(31, 58, 95)", "1f3a5f"), ("#1F3A5F", "1f3a5f"), ("#abc", "aabbcc"), ("red;}", "3a3a3c"), (None, "3a3a3c")],
)
def test_colours_become_six_digits_and_nothing_else(given, color):
    assert face_of(a_file(backgroundColor=given), "en", ZONE).background == color


def test_the_first_code_that_the_phone_knows_is_shown():
    codes = [{"format": "PKBarcodeFormatEAN13", "message": "1"}, {"format": "PKBarcodeFormatQR", "message": "2"}]
    code = face_of(a_file(barcodes=codes), "en", ZONE).code
    assert (code.kind, code.message) == ("QR", "2")
    assert face_of(a_file(), "en", ZONE).code is None
