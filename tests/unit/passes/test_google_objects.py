from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.auth import jwt

from passes.content import CardCode, PassContentError, PassField
from passes.google.account import GoogleAccountProblem, ServiceAccount
from passes.google.objects import ProgramCard, loyalty_class, loyalty_object, message
from passes.google.parts import resource_id
from passes.google.save_link import SAVE_URL, SaveLinkTooLong, save_jwt, save_link
from tests.unit.passes.cards import NOW, a_card
from tests.unit.passes.google_examples import CARD as FULL_CARD
from tests.unit.passes.google_examples import ISSUER
from tests.unit.passes.google_schema import faults

CARD = replace(FULL_CARD, translations={"mk": {"Cafe Ohrid": "Кафе Охрид"}})


def an_object(**changes) -> dict:
    return loyalty_object(a_card(**changes), issuer_id=ISSUER, class_suffix="cafe-ohrid")


def modules(body: dict) -> dict[str, str]:
    return {item["id"]: item["body"] for item in body["textModulesData"]}


def test_the_validator_of_these_tests_bites():
    good = an_object()
    assert faults("LoyaltyObject", good) == []
    assert faults("LoyaltyObject", {**good, "rewardsTier": "Silver"}) != []
    assert faults("LoyaltyObject", {**good, "state": "active"}) != []
    assert faults("LoyaltyObject", {**good, "accountId": 5}) != []
    assert faults("LoyaltyObject", {"loyaltyPoints": {"balance": {"int": 2**31}}}) != []
    assert faults("LoyaltyObject", {"loyaltyPoints": {"balance": {"money": {"micros": 5}}}}) != []


def test_a_class_is_as_google_s_discovery_document_has_it():
    body = loyalty_class(CARD, issuer_id=ISSUER)
    assert faults("LoyaltyClass", body) == []
    assert body["id"] == f"{ISSUER}.cafe-ohrid"
    assert body["reviewStatus"] == "UNDER_REVIEW"
    assert body["hexBackgroundColor"] == "#1f3a5f"
    assert body["localizedProgramName"] == {
        "defaultValue": {"language": "en", "value": "Cafe Ohrid"},
        "translatedValues": [{"language": "mk", "value": "Кафе Охрид"}],
    }
    assert body["merchantLocations"] == [{"latitude": 41.11, "longitude": 20.8}]
    bare = ProgramCard(
        suffix="x", organization_name="A", program_name="B", background="#000000", logo_url="https://a/b"
    )
    assert faults("LoyaltyClass", loyalty_class(bare, issuer_id=ISSUER)) == []
    assert "merchantLocations" not in loyalty_class(bare, issuer_id=ISSUER)
    with pytest.raises(PassContentError, match="at most 10 places"):
        loyalty_class(replace(CARD, places=CARD.places * 11), issuer_id=ISSUER)


def test_a_card_has_no_colour_of_its_own_at_google():
    """What docs/wallets.md explains; the day that Google takes a colour for each card, this says so."""
    red = {"hexBackgroundColor": "#aa0000"}
    assert faults("LoyaltyObject", {**an_object(), **red}) != []
    assert faults("LoyaltyClass", red) == faults("GenericObject", red) == []


def test_an_object_says_what_the_card_says():
    body = loyalty_object(
        a_card(),
        issuer_id=ISSUER,
        class_suffix="cafe-ohrid",
        hero_url="https://wallet.example.com/h.png",
        merchant_locations=True,
        notify=True,
    )
    assert faults("LoyaltyObject", body) == []
    assert body["id"] == f"{ISSUER}.0193-card.1"
    assert body["classId"] == f"{ISSUER}.cafe-ohrid"
    assert body["state"] == "ACTIVE"
    assert body["loyaltyPoints"]["balance"] == {"int": 126}
    assert body["loyaltyPoints"]["localizedLabel"]["translatedValues"][0] == {"language": "mk", "value": "ПОЕНИ"}
    assert body["barcode"] == {"type": "QR_CODE", "value": "482100773310", "alternateText": "4821 0077 3310"}
    assert modules(body) == {
        "tier": "Silver",
        "progress_0": "2 of 3",
        "news": "Welcome!",
        "ends": "2027-01-31",
        "worth": "12.5 EUR",
    }
    assert body["linksModuleData"]["uris"] == [
        {"id": "page", "uri": "https://wallet.example.com/m/1?a=b&c=d", "description": "Open my page"}
    ]
    assert body["merchantLocations"] == [{"latitude": 41.11, "longitude": 20.8}]
    assert body["notifyPreference"] == "NOTIFY_ON_UPDATE"


@pytest.mark.parametrize(
    "changes",
    [
        {"tier": None, "member": None, "progress": (), "news": None, "back": (), "places": (), "expires_at": None},
        {"voided": True},
        {"card": CardCode(number="Ѓ")},
        {"progress": tuple(PassField(key=f"c.{n}", label="x", value=n) for n in range(20))},
    ],
)
def test_every_kind_of_card_is_accepted(changes):
    assert faults("LoyaltyObject", an_object(**changes)) == []


def test_a_voided_card_has_no_code_and_loses_its_messages():
    body = an_object(voided=True)
    assert body["state"] == "INACTIVE"
    assert "barcode" not in body
    assert body["messages"] == [], "a PATCH leaves what is not named"
    assert "messages" not in an_object()


@pytest.mark.parametrize(
    ("formats", "kind"), [(("qr",), "QR_CODE"), (("i2of5", "code128"), "CODE_128"), (("ean13", "qr"), "EAN_13")]
)
def test_the_code_is_the_first_that_google_knows(formats, kind):
    body = an_object(card=CardCode(number="5901234123457", formats=formats))
    assert body["barcode"]["type"] == kind
    assert faults("LoyaltyObject", body) == []


def test_google_shows_ten_texts_and_gets_ten():
    assert len(an_object(back=tuple(PassField(key=f"b{n}", value=n) for n in range(20)))["textModulesData"]) == 10


@pytest.mark.parametrize(
    ("value", "options", "balance"),
    [
        (5, {}, {"int": 5}),
        (2**31, {}, {"string": "2147483648"}),
        (5.5, {}, {"double": 5.5}),
        ("5 of 9", {}, {"string": "5 of 9"}),
        (12.34, {"currency_code": "EUR"}, {"money": {"currencyCode": "EUR", "micros": "12340000"}}),
    ],
)
def test_a_balance_has_exactly_one_form(value, options, balance):
    body = an_object(points=PassField(key="points", label="P", value=value, **options))
    assert body["loyaltyPoints"]["balance"] == balance
    assert faults("LoyaltyObject", body) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: an_object(card=CardCode(number="12", formats=("i2of5",))),
        lambda: resource_id("cafe", "x"),
        lambda: resource_id(ISSUER, "a b"),
        lambda: resource_id(ISSUER, ""),
        lambda: an_object(points=PassField(key="points", value=True)),
        lambda: an_object(points=PassField(key="points", value=float("inf"))),
        lambda: an_object(points=PassField(key="points", value=NOW)),
        lambda: an_object(back=(PassField(key="a.b", value=1), PassField(key="a_b", value=2))),
        lambda: an_object(back=(PassField(key="a", value=1, link="ftp://x"),)),
        lambda: an_object(card=CardCode(number=" ")),
        lambda: message(message_id="", header="a", text="b", notify=True),
        lambda: message(message_id="1", header="a", text=" ", notify=True),
        lambda: loyalty_class(
            ProgramCard(suffix="x", organization_name="", program_name="B", background="#000000", logo_url="https://a"),
            issuer_id=ISSUER,
        ),
        lambda: loyalty_class(
            ProgramCard(suffix="x", organization_name="A", program_name="B", background="black", logo_url="https://a"),
            issuer_id=ISSUER,
        ),
    ],
)
def test_what_google_would_refuse_is_refused_here(call):
    with pytest.raises(PassContentError):
        call()


def test_messages_are_as_google_has_them():
    plain = message(message_id="m1", header="News", text="Coffee", notify=False)
    timed = message(message_id="m1", header="News", text="Coffee", notify=True, starts_at=NOW, ends_at=NOW)
    for body in (plain, timed):
        assert faults("AddMessageRequest", {"message": body}) == []
    assert plain["messageType"] == "TEXT"
    assert timed["messageType"] == "TEXT_AND_NOTIFY"
    assert timed["displayInterval"]["end"] == {"date": "2026-11-23T16:30:00Z"}


def test_a_save_link_is_a_short_jwt_that_google_can_verify(account, account_key):
    link = save_link(account, object_id=f"{ISSUER}.{'x' * 64}", class_id=f"{ISSUER}.cafe-ohrid", now=NOW)
    assert link.startswith(SAVE_URL)
    token = link.removeprefix(SAVE_URL)
    assert len(token) < 1800
    public = account_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert jwt.decode_header(token)["alg"] == "RS256"
    # The library wants an expiry, which Google's wallet does not; the signature is verified all the same.
    with pytest.raises(ValueError, match="exp"):
        jwt.decode(token, certs=public)
    claims = json.loads(_claims(token, public))
    assert claims == {
        "iss": account.email,
        "aud": "google",
        "typ": "savetowallet",
        "iat": int(NOW.timestamp()),
        "payload": {"loyaltyObjects": [{"id": f"{ISSUER}.{'x' * 64}", "classId": f"{ISSUER}.cafe-ohrid"}]},
    }


def _claims(token: str, public: bytes) -> str:
    return json.dumps(jwt.decode(token, certs=public, verify=False))


def test_a_link_that_would_be_cut_is_refused(account):
    with pytest.raises(SaveLinkTooLong):
        save_jwt(account, object_id="1.a", class_id="1.b", now=NOW, origins=["https://x.example"] * 80)


def elliptic_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda info: b"nonsense", "not JSON"),
        (lambda info: b"[]", "not a service account"),
        (lambda info: json.dumps({**info, "type": "authorized_user"}).encode(), "not a service account"),
        (lambda info: json.dumps({**info, "token_uri": ""}).encode(), "lacks token_uri"),
        (lambda info: json.dumps({**info, "token_uri": "http://evil.example/token"}).encode(), "is not https"),
        (lambda info: json.dumps({**info, "token_uri": "https://[x/token"}).encode(), "is not https"),
        (lambda info: json.dumps({**info, "private_key": "x"}).encode(), "cannot be read"),
        (lambda info: json.dumps({**info, "private_key": elliptic_key()}).encode(), "is not RSA"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_named(account_file, spoil, sentence):
    with pytest.raises(GoogleAccountProblem, match=sentence):
        ServiceAccount.load(spoil(json.loads(account_file)))


def test_a_secret_does_not_show_in_a_trace(account):
    assert "signer" not in repr(account)
