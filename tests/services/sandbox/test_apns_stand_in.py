"""Our stand-in of APNs, driven by a client that we did not write (aioapns) and by our own sender."""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import aioapns
import httpx
import pytest
from aioapns.connection import APNsProductionClientProtocol

from passes.apple.push import ApnsSender
from passes.apple.push_outcome import PushVerdict
from tests.services.sandbox.running import PASS_TYPE_ID

UNKNOWN = "0" * 64


def client_tls(folder) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "apple/root.pem")
    context.load_cert_chain(folder / "apple/pass.pem", folder / "apple/pass-key.pem")
    return context


def raw(sandbox, method="POST", path=None, *, token=UNKNOWN, content=b"{}", **headers) -> httpx.Response:
    url = f"https://127.0.0.1:{sandbox.ports.apns}{path or f'/3/device/{token}'}"
    with httpx.Client(http2=True, http1=False, verify=client_tls(sandbox.folder)) as client:
        return client.request(
            method, url, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


@pytest.fixture
def token(sandbox) -> str:
    return sandbox.detail(sandbox.phone("ana"))["push_token"]


@pytest.fixture
def sender(sandbox):
    apple = sandbox.folder / "apple"
    with ApnsSender(
        f"https://127.0.0.1:{sandbox.ports.apns}",
        certificate_pem=(apple / "pass.pem").read_bytes() + (apple / "intermediate.pem").read_bytes(),
        key_pem=(apple / "pass-key.pem").read_bytes(),
        topic=PASS_TYPE_ID,
        ca_file=str(apple / "root.pem"),
        sleep=lambda _seconds: None,
    ) as sender:
        yield sender


def test_aioapns_pushes_and_reads_the_refusals(sandbox, token, monkeypatch):
    monkeypatch.setattr(APNsProductionClientProtocol, "APNS_SERVER", "127.0.0.1")
    monkeypatch.setattr(APNsProductionClientProtocol, "APNS_PORT", sandbox.ports.apns)
    apple = sandbox.folder / "apple"
    both = sandbox.folder / "both.pem"
    both.write_bytes((apple / "pass.pem").read_bytes() + (apple / "pass-key.pem").read_bytes())

    async def story():
        client = aioapns.APNs(client_cert=str(both), topic=PASS_TYPE_ID, ssl_context=client_tls(sandbox.folder))
        requests = [
            aioapns.NotificationRequest(
                device_token=to,
                message={},
                notification_id=str(uuid4()),
                push_type=aioapns.PushType.BACKGROUND,
                priority=5,
            )
            for to in (token, UNKNOWN, *[token] * 60)
        ]
        answers = await asyncio.gather(*(client.send_notification(request) for request in requests))
        client.pool.close()
        return requests, answers

    # In a thread of its own: a browser test in the same process leaves Playwright's loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        requests, answers = thread.submit(asyncio.run, story()).result(60)
    assert [answer.notification_id for answer in answers] == [request.notification_id for request in requests]
    assert (answers[0].status, answers[0].is_successful) == ("200", True)
    assert (answers[1].status, answers[1].description) == ("400", "BadDeviceToken")
    assert all(answer.is_successful for answer in answers[2:])


def test_our_sender_reaches_a_phone(sandbox, sender, token):
    (outcome,) = sender.push([token])
    assert (outcome.verdict, outcome.status) == (PushVerdict.ACCEPTED, 200)
    phone_id = sandbox.client.get("phones")["phones"][0]["id"]
    sandbox.until(phone_id, lambda phone: phone["events"][0]["kind"] in ("changed", "not_modified"))


@pytest.mark.parametrize(
    ("behaviour", "status", "reason", "verdict"),
    [
        ("gone", 410, "Unregistered", PushVerdict.GONE),
        ("bad_token", 400, "BadDeviceToken", PushVerdict.BAD_TOKEN),
        ("throttled", 429, "TooManyRequests", PushVerdict.RETRY_LATER),
        ("down", 503, "ServiceUnavailable", PushVerdict.RETRY_LATER),
        ("broken", 500, "InternalServerError", PushVerdict.RETRY_LATER),
        ("lost", 200, "", PushVerdict.ACCEPTED),
    ],
)
def test_it_behaves_as_told(sandbox, sender, token, behaviour, status, reason, verdict):
    phone_id = sandbox.client.get("phones")["phones"][0]["id"]
    other = sandbox.detail(sandbox.phone("ana"))["push_token"]
    sandbox.client.patch("phones", phone_id, behaviour=behaviour)
    told, untold = sender.push([token, other])
    assert (told.status, told.reason, told.verdict) == (status, reason, verdict)
    assert (told.timestamp is not None) == (status == 410)
    assert untold.verdict is PushVerdict.ACCEPTED

    sandbox.client.patch("phones", phone_id, behaviour="normal")
    sandbox.client.patch("stand-ins", apns=behaviour)
    (outcome,) = sender.push([other])
    assert outcome.verdict is verdict
    assert "push" not in {event["kind"] for event in sandbox.detail(phone_id)["events"]}


def test_a_token_that_was_replaced_is_gone(sandbox, sender, token):
    phone_id = sandbox.client.get("phones")["phones"][0]["id"]
    sandbox.client.post("phones", phone_id, "renew-token")
    (outcome,) = sender.push([token])
    assert (outcome.verdict, outcome.reason) == (PushVerdict.GONE, "Unregistered")
    fresh = sandbox.detail(phone_id)["push_token"]
    assert fresh != token
    assert sender.push([fresh])[0].verdict is PushVerdict.ACCEPTED
    assert list(sandbox.shop.registrations.values()) == [fresh]


def test_a_goodbye_does_not_lose_a_push(sandbox, sender, token):
    assert sender.push([token])[0].verdict is PushVerdict.ACCEPTED
    sandbox.client.patch("stand-ins", go_away="Shutdown")
    assert sender.push([token])[0].verdict is PushVerdict.ACCEPTED


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ({"path": "/3/devices/abc"}, 404, "BadPath"),
        ({"path": "/3/device/"}, 400, "MissingDeviceToken"),
        ({"method": "GET"}, 405, "MethodNotAllowed"),
        ({"token": "xyz"}, 400, "BadDeviceToken"),
        ({"token": UNKNOWN}, 400, "BadDeviceToken"),
        ({"content": b""}, 400, "PayloadEmpty"),
        ({"content": b"[]"}, 400, "PayloadEmpty"),
        ({"content": b'{"a":"' + b"x" * 4096 + b'"}'}, 413, "PayloadTooLarge"),
        ({"apns_topic": "pass.of.somebody.else"}, 400, "TopicDisallowed"),
        ({"apns_topic": "a b"}, 400, "BadTopic"),
        ({"apns_id": "17"}, 400, "BadMessageId"),
        ({"apns_push_type": "passes"}, 400, "InvalidPushType"),
        ({"apns_push_type": "background", "apns_priority": "10"}, 400, "BadPriority"),
        ({"apns_priority": "7"}, 400, "BadPriority"),
        ({"apns_expiration": "tomorrow"}, 400, "BadExpirationDate"),
        ({"apns_collapse_id": "c" * 65}, 400, "BadCollapseId"),
    ],
)
def test_it_refuses_as_apns_does(sandbox, request_, status, reason):
    answer = raw(sandbox, **request_)
    assert (answer.status_code, answer.json()) == (status, {"reason": reason})
    assert answer.headers["apns-id"]


def test_success_has_the_id_and_no_body(sandbox, token):
    apns_id = str(uuid4())
    answer = raw(sandbox, token=token, apns_id=apns_id, apns_topic=PASS_TYPE_ID)
    assert (answer.status_code, answer.content, answer.headers["apns-id"]) == (200, b"", apns_id)
    assert "content-type" not in answer.headers


@pytest.mark.parametrize("shown", ["nothing", "a stranger's"])
def test_without_our_certificate_there_is_no_connection(sandbox, shown, tmp_path):
    context = ssl.create_default_context(cafile=sandbox.folder / "apple/root.pem")
    if shown != "nothing":
        from datetime import UTC, datetime

        from passes.apple.development import make_development_certificates

        stranger = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id="X", now=datetime.now(UTC))
        (tmp_path / "s.pem").write_bytes(stranger.pass_certificate + stranger.pass_key)
        context.load_cert_chain(tmp_path / "s.pem")
    with (
        httpx.Client(http2=True, http1=False, verify=context) as client,
        pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError, httpx.WriteError)),
    ):
        client.post(f"https://127.0.0.1:{sandbox.ports.apns}/3/device/{UNKNOWN}", content=b"{}")
