from __future__ import annotations

import pytest

from wallet_server.faces.google import google_face_of


def localized(**texts):
    (language, default), *others = texts.items()
    values = [{"language": code, "value": text} for code, text in others]
    return {"defaultValue": {"language": language, "value": default}, "translatedValues": values}


@pytest.mark.parametrize(("language", "name"), [("en", "Cafe"), ("mk", "Кафе"), ("mk-MK", "Кафе"), ("ru", "Cafe")])
def test_texts_follow_the_phones_language(language, name):
    owner = {"programName": "Plain", "localizedProgramName": localized(en="Cafe", mk="Кафе")}
    assert google_face_of(owner, {}, language).program == name


@pytest.mark.parametrize(
    ("balance", "text"),
    [
        ({"int": 5}, "5"),
        ({"string": "5 of 8"}, "5 of 8"),
        ({"money": {"micros": "12500000", "currencyCode": "EUR"}}, "12.50 EUR"),
        ({}, "0"),
    ],
)
def test_balances_of_every_kind(balance, text):
    face = google_face_of({}, {"loyaltyPoints": {"label": "Points", "balance": balance}}, "en")
    assert face.points == (("Points", text),)


def test_links_that_are_no_links_are_left_out():
    uris = [{"uri": "javascript:alert(1)", "description": "x"}, {"uri": "https://a.example"}]
    face = google_face_of({}, {"linksModuleData": {"uris": uris}}, "en")
    assert face.links == (("https://a.example", "https://a.example"),)


def test_the_newest_message_comes_first():
    messages = [{"header": str(number), "body": ""} for number in range(3)]
    assert [header for header, _ in google_face_of({}, {"messages": messages}, "en").messages] == ["2", "1", "0"]


def item(path):
    return {"firstValue": {"fields": [{"fieldPath": path}]}}


def test_the_front_follows_the_classs_template():
    rows = [
        {
            "twoItems": {
                "startItem": item("object.loyaltyPoints.balance"),
                "endItem": item("object.textModulesData['t']"),
            }
        },
        {"oneItem": {"item": item("object.textModulesData['missing']")}},
        {"oneItem": {"item": item("class.rewardsTier")}},
    ]
    owner = {
        "classTemplateInfo": {"cardTemplateOverride": {"cardRowTemplateInfos": rows}},
        "rewardsTier": "Gold",
        "rewardsTierLabel": "Status",
    }
    document = {
        "loyaltyPoints": {"label": "Points", "balance": {"int": 5}},
        "textModulesData": [{"id": "t", "header": "Level", "body": "Silver"}],
    }
    assert google_face_of(owner, document, "en").rows == ((("Points", "5"), ("Level", "Silver")), (("Status", "Gold"),))


def test_without_a_template_the_front_has_points_and_tiers():
    owner = {"rewardsTier": "Gold", "rewardsTierLabel": "Status"}
    document = {"loyaltyPoints": {"label": "Points", "balance": {"int": 5}}}
    assert google_face_of(owner, document, "en").rows == ((("Points", "5"), ("Status", "Gold")),)
