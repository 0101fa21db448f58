"""Our stand-in of Google Wallet, driven by Google's own client and checked against its discovery document."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import google.auth.jwt
import googleapiclient
import httplib2
import httpx
import pytest
from google.auth import crypt
from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

from passes.google.account import ServiceAccount
from passes.google.client import GoogleWallet
from tests.services.sandbox.running import running_sandbox
from wallet_server.errors import DomainError
from wallet_server.sandbox.google import FIELDS
from wallet_server.sandbox.google_api import SCOPE
from wallet_server.sandbox.setup import CLIENT_EMAIL, ISSUER_ID, service_account_path

DISCOVERY = Path(googleapiclient.__file__).parent / "discovery_cache/documents/walletobjects.v1.json"
CLASS_ID, OBJECT_ID = f"{ISSUER_ID}.cafe", f"{ISSUER_ID}.ana"


def a_class(**changes):
    body = {
        "id": CLASS_ID,
        "issuerName": "Cafe Ohrid",
        "programName": "Cafe Ohrid Club",
        "programLogo": {"sourceUri": {"uri": "https://cafe.example/logo.png"}},
        "reviewStatus": "UNDER_REVIEW",
    }
    return {**body, **changes}


def an_object(**changes):
    body = {"id": OBJECT_ID, "classId": CLASS_ID, "state": "ACTIVE", "loyaltyPoints": {"balance": {"int": 126}}}
    return {**body, **changes}


def a_message(**changes):
    return {"message": {"header": "News", "body": "Two for one", "messageType": "TEXT_AND_NOTIFY", **changes}}


@pytest.fixture
def account(sandbox) -> dict:
    return json.loads(service_account_path(sandbox.folder).read_text())


@pytest.fixture
def api(sandbox, account):
    """Google's own client, told only another address."""
    document = json.loads(DISCOVERY.read_text())
    root = f"http://127.0.0.1:{sandbox.ports.google}/"
    document.update(rootUrl=root, baseUrl=root)
    credentials = service_account.Credentials.from_service_account_info(
        {**account, "token_uri": f"http://127.0.0.1:{sandbox.ports.google}/token"}, scopes=[SCOPE]
    )
    # The audience of the assertion is the address by which the stand-in knows itself.
    credentials._additional_claims = {"aud": "http://127.0.0.1:0/token"}
    http = AuthorizedHttp(credentials, httplib2.Http(timeout=10))
    yield build_from_document(document, http=http)
    http.close()


def reason_of(error: HttpError) -> tuple[int, str]:
    return int(error.resp.status), json.loads(error.content)["error"]["errors"][0]["reason"]


def save_link(account, payload, **claims) -> str:
    signer = crypt.RSASigner.from_service_account_info(account)
    body = {"iss": account["client_email"], "aud": "google", "typ": "savetowallet", "iat": int(time.time())}
    token = google.auth.jwt.encode(signer, {**body, "payload": payload, **claims}).decode()
    return f"https://pay.google.com/gp/v/save/{token}"


def test_googles_client_works_with_it(api):
    classes, objects = api.loyaltyclass(), api.loyaltyobject()
    assert classes.insert(body=a_class()).execute()["reviewStatus"] == "APPROVED"
    assert objects.insert(body=an_object()).execute()["id"] == OBJECT_ID
    patched = objects.patch(
        resourceId=OBJECT_ID, body={"loyaltyPoints": {"label": "Points"}, "accountName": "Ana"}
    ).execute()
    assert patched["loyaltyPoints"] == {"balance": {"int": 126}, "label": "Points"}
    assert "accountName" not in objects.patch(resourceId=OBJECT_ID, body={"accountName": None}).execute()
    code = {"type": "QR_CODE", "value": "1", "alternateText": None}
    assert "alternateText" not in objects.patch(resourceId=OBJECT_ID, body={"barcode": code}).execute()["barcode"]
    assert objects.get(resourceId=OBJECT_ID).execute()["state"] == "ACTIVE"
    assert objects.addmessage(resourceId=OBJECT_ID, body=a_message()).execute()["resource"]["messages"]
    assert objects.update(resourceId=OBJECT_ID, body=an_object(state="INACTIVE")).execute()["state"] == "INACTIVE"
    assert [row["id"] for row in objects.list(classId=CLASS_ID).execute()["resources"]] == [OBJECT_ID]
    assert [row["id"] for row in classes.list(issuerId=ISSUER_ID).execute()["resources"]] == [CLASS_ID]


def test_lists_come_in_pages(api):
    api.loyaltyclass().insert(body=a_class()).execute()
    for number in range(3):
        api.loyaltyobject().insert(body=an_object(id=f"{ISSUER_ID}.m{number}")).execute()
    first = api.loyaltyobject().list(classId=CLASS_ID, maxResults=2).execute()
    second = api.loyaltyobject().list(classId=CLASS_ID, token=first["pagination"]["nextPageToken"]).execute()
    assert [len(first["resources"]), len(second["resources"])] == [2, 1]
    assert "nextPageToken" not in second["pagination"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda api: api.loyaltyclass().insert(body=a_class()), (409, "existingResource")),
        (lambda api: api.loyaltyobject().insert(body=an_object()), (409, "existingResource")),
        (lambda api: api.loyaltyclass().get(resourceId=f"{ISSUER_ID}.no"), (404, "classNotFound")),
        (lambda api: api.loyaltyobject().get(resourceId=f"{ISSUER_ID}.no"), (404, "resourceNotFound")),
        (lambda api: api.loyaltyobject().insert(body=an_object(id="1.x")), (403, "permissionDenied")),
        (lambda api: api.loyaltyobject().insert(body=an_object(id="x y")), (400, "invalidResource")),
        (lambda api: api.loyaltyobject().insert(body=an_object(id=f"{ISSUER_ID}.b", state="ON")), (400, "invalid")),
        (lambda api: api.loyaltyobject().insert(body=an_object(id=f"{ISSUER_ID}.b", points=1)), (400, "invalid")),
        (
            lambda api: api.loyaltyobject().insert(body=an_object(id=f"{ISSUER_ID}.b", classId=f"{ISSUER_ID}.no")),
            (404, "classNotFound"),
        ),
        (
            lambda api: api.loyaltyclass().patch(resourceId=CLASS_ID, body={"reviewStatus": "APPROVED"}),
            (400, "invalidResource"),
        ),
        (
            lambda api: api.loyaltyobject().patch(
                resourceId=OBJECT_ID, body={"loyaltyPoints": {"balance": {"string": "126"}}}
            ),
            (400, "invalidResource"),
        ),
        (lambda api: api.loyaltyobject().addmessage(resourceId=OBJECT_ID, body={}), (400, "invalid")),
    ],
)
def test_refusals_have_googles_shape(api, call, expected):
    api.loyaltyclass().insert(body=a_class()).execute()
    api.loyaltyobject().insert(body=an_object()).execute()
    with pytest.raises(HttpError) as refused:
        call(api).execute()
    assert reason_of(refused.value) == expected


def test_a_draft_class_has_no_objects(api):
    api.loyaltyclass().insert(body=a_class(reviewStatus="DRAFT")).execute()
    with pytest.raises(HttpError) as refused:
        api.loyaltyobject().insert(body=an_object()).execute()
    assert reason_of(refused.value) == (400, "invalidResource")


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [("down", (503, "backendError")), ("quota", (429, "rateLimitExceeded")), ("denied", (403, "permissionDenied"))],
)
def test_it_behaves_as_told(sandbox, api, behaviour, expected):
    sandbox.client.patch("stand-ins", google=behaviour)
    with pytest.raises(HttpError) as refused:
        api.loyaltyclass().list(issuerId=ISSUER_ID).execute()
    assert reason_of(refused.value) == expected


@pytest.mark.parametrize("token", [None, "Bearer ya29.guess", "Basic abc"])
def test_the_api_wants_a_token_of_its_own(sandbox, token):
    url = f"http://127.0.0.1:{sandbox.ports.google}/walletobjects/v1/loyaltyClass?issuerId={ISSUER_ID}"
    answer = httpx.get(url, headers={"authorization": token} if token else {})
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (401, "authError")


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({}, None),
        ({"iss": "somebody@else.example"}, "invalid_grant"),
        ({"aud": "https://oauth2.googleapis.com/token"}, "invalid_grant"),
        ({"exp": 1}, "invalid_grant"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope"),
    ],
)
def test_tokens_are_given_for_good_assertions_only(sandbox, account, claims, error):
    now = int(time.time())
    good = {"iss": CLIENT_EMAIL, "aud": "http://127.0.0.1:0/token", "iat": now, "exp": now + 3600, "scope": SCOPE}
    signer = crypt.RSASigner.from_service_account_info(account)
    assertion = google.auth.jwt.encode(signer, {**good, **claims}).decode()
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    url = f"http://127.0.0.1:{sandbox.ports.google}/token"
    answer = httpx.post(url, data=form)
    assert answer.json().get("error") == error
    forged = assertion[:-8] + ("A" * 8 if not assertion.endswith("A" * 8) else "B" * 8)
    assert httpx.post(url, data={**form, "assertion": forged}).json()["error"] == "invalid_grant"


def test_a_saved_card_shows_and_takes_messages(sandbox, api, account):
    api.loyaltyclass().insert(body=a_class(hexBackgroundColor="#1F3A5F")).execute()
    api.loyaltyobject().insert(body=an_object(loyaltyPoints={"label": "Points", "balance": {"int": 126}})).execute()
    phone_id = sandbox.phone()
    link = save_link(account, {"loyaltyObjects": [{"id": OBJECT_ID, "classId": CLASS_ID}]})
    sandbox.client.post("phones", phone_id, "save", url=link)
    (card,) = sandbox.detail(phone_id)["google"]
    assert (card["program"], card["points"], card["background"]) == ("Cafe Ohrid Club", [["Points", "126"]], "1f3a5f")
    assert api.loyaltyobject().get(resourceId=OBJECT_ID).execute()["hasUsers"] is True

    api.loyaltyobject().addmessage(resourceId=OBJECT_ID, body=a_message(messageType="TEXT", body="Quiet")).execute()
    assert sandbox.detail(phone_id)["banners"] == []
    for number in range(3):
        api.loyaltyobject().addmessage(resourceId=OBJECT_ID, body=a_message(body=f"Loud {number}")).execute()
    assert [b["text"] for b in sandbox.detail(phone_id)["banners"]] == ["Loud 2", "Loud 1", "Loud 0"]
    with pytest.raises(HttpError) as refused:
        api.loyaltyobject().addmessage(resourceId=OBJECT_ID, body=a_message(body="Too loud")).execute()
    assert reason_of(refused.value) == (403, "quotaExceeded")
    sandbox.clock.ahead = timedelta(days=1, seconds=5)
    api.loyaltyobject().addmessage(resourceId=OBJECT_ID, body=a_message(body="Next day")).execute()
    assert sandbox.detail(phone_id)["banners"][0]["text"] == "Next day"

    sandbox.client.delete("phones", phone_id, "google", OBJECT_ID)
    assert sandbox.detail(phone_id)["google"] == []
    assert api.loyaltyobject().get(resourceId=OBJECT_ID).execute()["hasUsers"] is False


def test_a_changed_balance_notifies_when_asked_to(sandbox, api, account):
    phone_id = sandbox.phone()
    payload = {"loyaltyClasses": [a_class()], "loyaltyObjects": [an_object()]}
    sandbox.client.post("phones", phone_id, "save", url=save_link(account, payload))
    new = {"loyaltyPoints": {"label": "Points", "balance": {"int": 200}}}
    api.loyaltyobject().patch(resourceId=OBJECT_ID, body=new).execute()
    assert sandbox.detail(phone_id)["banners"] == []
    new["loyaltyPoints"]["balance"]["int"] = 300
    api.loyaltyobject().patch(resourceId=OBJECT_ID, body={**new, "notifyPreference": "NOTIFY_ON_UPDATE"}).execute()
    assert [banner["text"] for banner in sandbox.detail(phone_id)["banners"]] == ["Points: 300"]


@pytest.mark.parametrize(
    ("payload", "claims"),
    [
        ({"loyaltyObjects": [{"id": OBJECT_ID, "classId": CLASS_ID}]}, {}),  # it was never inserted
        ({"loyaltyClasses": [a_class()], "loyaltyObjects": [an_object()]}, {"aud": "apple"}),
        ({"loyaltyClasses": [a_class()], "loyaltyObjects": [an_object()]}, {"typ": "savetoandroidpay"}),
        ({"loyaltyClasses": [a_class()], "loyaltyObjects": [an_object()]}, {"iss": "x@y.example"}),
        ({"loyaltyClasses": [a_class()]}, {}),
        ({"loyaltyClasses": [a_class(homepageUri={"uri": "h" * 2000})], "loyaltyObjects": [an_object()]}, {}),
    ],
)
def test_bad_save_links_are_refused_and_noted(sandbox, account, payload, claims):
    phone_id = sandbox.phone()
    with pytest.raises(DomainError) as refused:
        sandbox.client.post("phones", phone_id, "save", url=save_link(account, payload, **claims))
    assert refused.value.code == "google_refused"
    phone = sandbox.detail(phone_id)
    assert (phone["google"], phone["events"][0]["kind"]) == ([], "google_refused")


def test_opening_a_save_link_in_a_browser_leads_to_the_phones(sandbox, account):
    link = save_link(account, {"loyaltyObjects": [an_object()]}).replace(
        "https://pay.google.com", f"http://127.0.0.1:{sandbox.ports.google}"
    )
    answer = httpx.get(link)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{sandbox.shop.public_url}/sandbox/phones?save=")


@pytest.mark.parametrize(("kind", "schema"), [("loyaltyClass", "LoyaltyClass"), ("loyaltyObject", "LoyaltyObject")])
def test_the_known_names_are_those_of_googles_discovery_document(kind, schema):
    document = json.loads(DISCOVERY.read_text())
    assert FIELDS[kind] == document["schemas"][schema]["properties"].keys()


def test_our_own_client_works_with_it(prepared, tmp_path):
    with running_sandbox(prepared, tmp_path / "data", fixed_google_port=True) as sandbox:
        account = ServiceAccount.load(service_account_path(sandbox.folder).read_bytes())
        with GoogleWallet(account, api_url=f"http://127.0.0.1:{sandbox.ports.google}") as wallet:
            for _ in range(2):
                wallet.upsert_class(a_class())
                wallet.upsert_object(an_object())
            assert wallet.patch_object(OBJECT_ID, {"state": "INACTIVE"})["state"] == "INACTIVE"
