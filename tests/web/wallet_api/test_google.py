"""Google Wallet's door: the way to the save page, the pictures, and notices that may be forged."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from datetime import date
from io import BytesIO

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from flask import Flask
from google.auth import jwt
from PIL import Image

from passes.google.account import ServiceAccount
from tests.unit.test_card_content import STATE
from tests.unit.test_card_content import program as card_program
from wallet_server.app import create_app
from wallet_server.issuance.credentials import GoogleParameters
from wallet_server.issuance.google import GoogleCards, class_suffix
from wallet_server.web.wallet_api.google import GoogleKeys

ISSUER = "3388000000012345678"


class GoogleServer:
    """Google's token endpoint and REST API as a dictionary."""

    def __init__(self) -> None:
        self.resources: dict[str, dict] = {}
        self.calls: list[str] = []
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
        if self.down:
            return httpx.Response(503, json={"error": {"code": 503, "message": "down", "errors": []}})
        kind = request.url.path.split("/")[3]
        self.calls.append(f"{request.method} {kind}")
        named = request.url.path.split("/")[4:]
        if request.method == "GET":
            return httpx.Response(200, json=self.resources[f"{kind}/{named[0]}"])
        body = json.loads(request.content)
        key = f"{kind}/{named[0] if named else body['id']}"
        if request.method == "POST" and key in self.resources:
            return httpx.Response(409, json={"error": {"code": 409, "message": "exists", "errors": []}})
        self.resources[key] = {**self.resources.get(key, {}), **body}
        return httpx.Response(200, json=self.resources[key])


@pytest.fixture
def google() -> GoogleServer:
    return GoogleServer()


@pytest.fixture(scope="module")
def account_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def parameters(account_key) -> GoogleParameters:
    pem = account_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    info = {"type": "service_account", "client_email": "w@example.com", "private_key": pem, "private_key_id": "k"}
    account = ServiceAccount.load(json.dumps({**info, "token_uri": "https://google.test/token"}).encode())
    return GoogleParameters(ISSUER, account, "https://google.test")


@pytest.fixture
def app(app: Flask, settings, parameters, google) -> Flask:
    """The application with Google Wallet set up, its calls ending in ``google``."""
    context = app.extensions["wallet"]
    context = replace(context, wallets=replace(context.wallets, google=parameters))
    app = create_app(settings, context)
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.extensions["google_cards"] = GoogleCards(
        parameters, public_url=settings.public_url, transport=httpx.MockTransport(google)
    )
    return app


def test_the_card_is_made_before_the_way_leads_to_googles_page(client, holder, google, account_key):
    answer = client.get(f"/passes/{holder.page_token}/google")
    assert answer.status_code == 303
    head, token = answer.headers["Location"].rsplit("/", 1)
    assert head == "https://google.test/gp/v/save"
    public = account_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(token, certs=public, audience="google", verify=False)
    [named] = claims["payload"]["loyaltyObjects"]
    assert named["id"] == f"{ISSUER}.{holder.issued('google').serial}"
    assert named["classId"] == f"{ISSUER}.{class_suffix(holder.program)}"
    card = google.resources[f"loyaltyObject/{named['id']}"]
    assert card["loyaltyPoints"]["balance"] == {"int": 0}
    assert google.resources[f"loyaltyClass/{named['classId']}"]["programName"] == "Кафе Охрид"
    issued = holder.issued("google")
    assert (issued.live, issued.pushed_version) == (True, 1)


def test_places_go_to_the_class_that_all_cards_share(app, client, holder, google, parameters, settings):
    app.extensions["google_cards"] = GoogleCards(
        replace(parameters, places=True), public_url=settings.public_url, transport=httpx.MockTransport(google)
    )
    client.get(f"/passes/{holder.page_token}/google")
    [loyalty_class] = [body for name, body in google.resources.items() if name.startswith("loyaltyClass/")]
    [card] = [body for name, body in google.resources.items() if name.startswith("loyaltyObject/")]
    assert loyalty_class["merchantLocations"] == [{"latitude": 41.11, "longitude": 20.8}]
    assert card["merchantLocations"] == []


def test_places_are_not_told_before_google_allows_it(client, holder, google):
    client.get(f"/passes/{holder.page_token}/google")
    assert not [name for name, body in google.resources.items() if "merchantLocations" in body]


def test_a_season_colours_the_class_of_all_cards_once_and_the_picture_of_each(parameters, settings, google):
    winter = {"dates": [{"from": "12-01", "to": "02-28", "yearly": True}]}
    look = {"name": "Winter", "when": winter, "background": "#16324F"}
    program = card_program(**{"pass": {"stamps": "burgers", "looks": [look]}})
    cards = GoogleCards(parameters, public_url=settings.public_url, transport=httpx.MockTransport(google))
    colors, pictures = [], []
    for day in (date(2026, 11, 30), date(2026, 12, 1), date(2026, 12, 2)):
        cards.put(program, replace(STATE, wallet="google", live=True, today=day), page_url="https://x.example/m/1")
        [color] = [body["hexBackgroundColor"] for name, body in google.resources.items() if "Class/" in name]
        [card] = [body for name, body in google.resources.items() if "Object/" in name]
        colors.append(color)
        pictures.append(card["heroImage"]["sourceUri"]["uri"].rsplit("/", 1)[1])
    cards.close()
    assert colors == ["#1f3a5f", "#16324f", "#16324f"]
    assert pictures == ["hero-own-0-mk-1-of-5.png", *["hero-0-0-mk-1-of-5.png"] * 2]
    assert [call for call in google.calls if "Class" in call and not call.startswith("GET")] == [
        "POST loyaltyClass",
        "POST loyaltyClass",
        "PATCH loyaltyClass",
    ]


def test_the_second_way_to_the_page_asks_google_nothing(client, holder, google):
    client.get(f"/passes/{holder.page_token}/google")
    google.calls.clear()
    assert client.get(f"/passes/{holder.page_token}/google").status_code == 303
    assert google.calls == []


def test_a_google_that_is_down_leaves_everything_as_it_was(client, holder, google):
    google.down = True
    answer = client.get(f"/passes/{holder.page_token}/google")
    assert (answer.status_code, answer.json["code"]) == (503, "google_unavailable")
    assert answer.headers["Retry-After"] == "30"
    assert not holder.issued("google").live
    google.down = False
    assert client.get(f"/passes/{holder.page_token}/google").status_code == 303


def test_a_wrong_address_leads_nowhere(client, holder, google):
    assert client.get(f"/passes/{'A' * 43}/google").status_code == 404
    assert client.post(f"/passes/{holder.page_token}/google").status_code == 405
    assert google.calls == []


@pytest.mark.parametrize(
    ("name", "size"),
    [("logo", (660, 660)), ("hero-own-0-mk-2-of-5", (1032, 336)), ("hero-own-1-ru-5-of-5", (1032, 336))],
)
def test_google_fetches_the_pictures_that_the_cards_name(client, holder, name, size):
    answer = client.get(f"/passes/art/{holder.program.slug}/1/{name}.png")
    assert (answer.status_code, answer.content_type) == (200, "image/png")
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
    assert Image.open(BytesIO(answer.data)).size == size


@pytest.mark.parametrize(
    "name",
    [
        "hero-own-0-mk-6-of-5",
        "hero-own-0-mk-1-of-9",
        "hero-own-0-mk",
        "hero-0-0-mk-1-of-5",
        "hero-own-9-mk-1-of-5",
        "hero-own-0-de-1-of-5",
        "hero-own-0-mk--1-of-5",
        "hero",
        "strip",
    ],
)
def test_only_pictures_of_real_cards_are_drawn(client, holder, name):
    assert client.get(f"/passes/art/{holder.program.slug}/1/{name}.png").status_code == 404
    assert client.get("/passes/art/nobody/1/logo.png").status_code == 404


def test_every_picture_that_a_card_names_is_there(client, holder, google, settings):
    client.get(f"/passes/{holder.page_token}/google")
    documents = json.dumps(list(google.resources.values()))
    addresses = {part.split('"')[0] for part in documents.split('"uri": "')[1:]}
    pictures = [address for address in addresses if address.endswith(".png")]
    assert len(pictures) == 2
    for address in pictures:
        assert client.get(address.removeprefix(settings.public_url)).status_code == 200


# -- notices ----------------------------------------------------------------------------------------


class Signer:
    """Google's side of ECv2SigningOnly, written once more so that a shared mistake would show."""

    def __init__(self, name: str = "GooglePayPasses") -> None:
        self.name = name
        self.root, self.intermediate = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    @staticmethod
    def _public(key) -> str:
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    @staticmethod
    def _sign(key, *parts: str) -> str:
        joined = b"".join(len(part.encode()).to_bytes(4, "little") + part.encode() for part in parts)
        return base64.b64encode(key.sign(joined, ec.ECDSA(hashes.SHA256()))).decode()

    def keys(self) -> dict:
        expires = str(int(time.time() + 3600) * 1000)
        entry = {"keyValue": self._public(self.root), "protocolVersion": "ECv2SigningOnly", "keyExpiration": expires}
        return {"keys": [entry]}

    def notice(self, serial: str, *, event: str = "save", nonce: str = "n1", issuer: str = ISSUER) -> dict:
        expires = int(time.time() + 3600) * 1000
        signed_key = json.dumps({"keyValue": self._public(self.intermediate), "keyExpiration": str(expires)})
        message = json.dumps(
            {
                "classId": f"{issuer}.c",
                "objectId": f"{issuer}.{serial}",
                "eventType": event,
                "expTimeMillis": expires,
                "count": 1,
                "nonce": nonce,
            }
        )
        protocol = "ECv2SigningOnly"
        return {
            "protocolVersion": protocol,
            "signature": self._sign(self.intermediate, self.name, issuer, protocol, message),
            "intermediateSigningKey": {
                "signedKey": signed_key,
                "signatures": [self._sign(self.root, self.name, protocol, signed_key)],
            },
            "signedMessage": message,
        }


@pytest.fixture
def signer(app, httpserver) -> Signer:
    signer = Signer()
    httpserver.expect_request("/keys").respond_with_json(signer.keys())
    app.extensions["google_keys"] = GoogleKeys(httpserver.url_for("/keys"))
    return signer


def test_a_save_is_noted_once_however_often_google_says_it(client, holder, signer, clock, server):
    client.get(f"/passes/{holder.page_token}/google")
    notice = signer.notice(holder.issued("google").serial)
    assert client.post("/google/callbacks", json=notice).status_code == 200
    noted = holder.issued("google").fetched_at
    assert noted == clock.now()
    from datetime import timedelta

    clock.advance(timedelta(hours=1))
    assert client.post("/google/callbacks", json=notice).status_code == 200
    assert holder.issued("google").fetched_at == noted


def test_a_deleted_card_stays_as_it_was(client, holder, signer):
    client.get(f"/passes/{holder.page_token}/google")
    notice = signer.notice(holder.issued("google").serial, event="del")
    assert client.post("/google/callbacks", json=notice).status_code == 200
    assert holder.issued("google").fetched_at is None
    assert holder.issued("google").live


def test_forged_changed_and_foreign_notices_change_nothing(client, holder, signer):
    serial = holder.issued("google").serial
    changed = signer.notice(serial)
    changed["signedMessage"] = changed["signedMessage"].replace('"save"', '"del"')
    for body in (Signer().notice(serial), changed, signer.notice(serial, issuer="999"), {}, []):
        answer = client.post("/google/callbacks", json=body)
        assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
    assert holder.issued("google").fetched_at is None
    assert client.post("/google/callbacks", data=b"x" * 70_000).status_code == 413
    assert client.get("/google/callbacks").status_code == 405


def test_the_name_and_the_keys_of_who_signs_can_be_set(app, client, settings, server, holder, signer, httpserver):
    """Google's pages name two of each."""
    other = Signer("GoogleWalletPasses")
    httpserver.expect_request("/other/keys").respond_with_json(other.keys())
    notice = other.notice(holder.issued("google").serial)
    assert client.post("/google/callbacks", json=notice).status_code == 401
    changes = {
        "WALLET_GOOGLE_SENDER": "GoogleWalletPasses",
        "WALLET_GOOGLE_KEYS_URL": httpserver.url_for("/other/keys"),
    }
    settings = settings.model_copy(update=changes)
    context = replace(app.extensions["wallet"], settings=settings)
    assert create_app(settings, context).test_client().post("/google/callbacks", json=notice).status_code == 200


def test_without_googles_keys_the_notice_is_to_be_sent_again(app, client, httpserver):
    httpserver.expect_request("/keys").respond_with_data("not found", status=404)
    app.extensions["google_keys"] = GoogleKeys(httpserver.url_for("/keys"))
    answers = [client.post("/google/callbacks", json=Signer().notice("x")) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {503}
    assert len(httpserver.log) == 1, "the keys were asked for again at once"


def test_where_google_is_not_set_up_nothing_of_it_exists(settings, server, holder):
    client = create_app(settings, replace(server, wallets=replace(server.wallets, google=None))).test_client()
    answer = client.get(f"/passes/{holder.page_token}/google")
    assert (answer.status_code, answer.json["code"]) == (404, "google_not_configured")
    assert client.post("/google/callbacks", json={}).status_code == 404
