"""Apple's web service to the letter: every call, every answer, and every way to get it wrong."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cryptography import x509
from sqlmodel import select
from structlog.testing import capture_logs

from passes.apple.verify import open_pass
from tests.conftest import NOW
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.models import Device, Registration
from wallet_server.issuance.pushes import tag_passes

IMS = "If-Modified-Since"


def opened(server, data: bytes):
    root = (server.settings.WALLET_DATA_DIR / "apple" / "root.pem").read_bytes()
    roots = x509.load_pem_x509_certificates(root)
    return open_pass(data, trusted_roots=roots, now=server.machine_clock.now())


def fields(pass_json) -> dict[str, object]:
    return {field["key"]: field["value"] for group in pass_json["storeCard"].values() for field in group}


# -- registering ------------------------------------------------------------------------------------


def test_a_phone_registers_and_registers_again_with_a_new_push_token(phone, holder, server):
    assert phone.register(holder).status_code == 201
    phone.push_token = "cd" * 32
    again = phone.register(holder)
    assert (again.status_code, again.data) == (200, b"")
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Device.push_token)).one() == "cd" * 32
        assert len(session.exec(select(Registration)).all()) == 1
    assert holder.issued().live


def test_unregistering_is_200_also_when_it_was_done_before(phone, holder, server):
    phone.register(holder)
    assert phone.unregister(holder).status_code == 200
    assert phone.unregister(holder).status_code == 200
    assert not holder.issued().live
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Device)).all() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"pushToken": 5}',
        b'{"pushToken": "zz"}',
        b'{"pushToken": ""}',
        b"\xff\xfe",
        json.dumps({"pushToken": "a" * 201}).encode(),
        b"[" * 4000,
    ],
)
def test_a_registration_without_a_push_token_is_refused_and_changes_nothing(phone, holder, client, server, body):
    answer = client.post(phone._registration(holder), data=body, headers={"Authorization": f"ApplePass {holder.token}"})
    assert (answer.status_code, answer.json["code"]) == (400, "validation")
    assert not holder.issued().live


def test_a_registration_with_a_huge_body_is_refused(phone, holder):
    assert phone.register(holder, filler="x" * 5000).status_code == 413


def test_a_device_name_that_is_too_long_is_refused(phone, holder):
    phone.device = "d" * 129
    assert phone.register(holder).status_code == 400


# -- who may ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["register", "unregister", "fetch"])
def test_wrong_token_unknown_serial_foreign_token_and_other_pass_type_are_one_401(
    phone, holder, stranger, client, call
):
    answers = [getattr(phone, call)(holder, token="x" * 43), getattr(phone, call)(holder, token=stranger.token)]
    phone_of_other_kind = type(phone)(client, "pass.com.example.other")
    answers.append(getattr(phone_of_other_kind, call)(holder))
    unknown = type("Unknown", (), {"serial": "0" * 32, "token": holder.token})()
    answers.append(getattr(phone, call)(unknown))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert not holder.issued().live


@pytest.mark.parametrize("authorization", [None, "", "ApplePass", "Bearer {}", "AndroidPass {}", "Basic {}", "{}"])
def test_only_the_scheme_applepass_is_taken(phone, holder, client, authorization):
    headers = {} if authorization is None else {"Authorization": authorization.format(holder.token)}
    path = f"/apple/v1/passes/{phone.pass_type}/{holder.serial}"
    assert client.get(path, headers=headers).status_code == 401


def test_too_many_refusals_are_slowed_down(phone, holder):
    codes = [phone.fetch(holder, token="x" * 43).status_code for _ in range(122)]
    assert codes[:120] == [401] * 120
    assert codes[120:] == [429, 429]


def test_a_stranger_learns_nothing_by_calling_with_the_wrong_method(client, phone, holder):
    assert client.get(phone._registration(holder)).status_code == 405
    assert client.post(f"/apple/v1/passes/{phone.pass_type}/{holder.serial}").status_code == 405
    assert client.get("/apple/v1/log").status_code == 405
    assert client.get("/apple/v2/anything").status_code == 404


# -- what changed -----------------------------------------------------------------------------------


def test_a_phone_hears_which_passes_changed_since_its_tag(phone, holder, stranger, server):
    phone.register(holder)
    phone.register(stranger)
    everything = phone.changed()
    assert everything.status_code == 200
    assert set(everything.json["serialNumbers"]) == {holder.serial, stranger.serial}
    assert everything.content_type == "application/json"
    tag = everything.json["lastUpdated"]
    assert isinstance(tag, str)
    assert phone.changed(tag).status_code == 204
    with transaction(server.engine, ALL_PROGRAMS) as session:
        tag_passes(session, [stranger.issued().id], NOW)
    assert phone.changed(tag).json["serialNumbers"] == [stranger.serial]


@pytest.mark.parametrize("tag", ["", "yesterday", "-1", "1.5", "'; --", "9" * 30, "٣", "2026-01-01T00:00:00+00:00"])
def test_a_tag_that_is_not_ours_counts_as_none(phone, holder, tag):
    phone.register(holder)
    assert phone.changed(tag).json["serialNumbers"] == [holder.serial]


def test_an_unknown_phone_and_another_pass_type_hear_nothing(phone, holder, client):
    phone.register(holder)
    assert client.get(f"/apple/v1/devices/unknown/registrations/{phone.pass_type}").status_code == 204
    other = client.get(f"/apple/v1/devices/{phone.device}/registrations/pass.com.example.other")
    assert (other.status_code, other.data) == (204, b"")


# -- fetching ---------------------------------------------------------------------------------------


def test_a_phone_fetches_a_pass_that_an_iphone_would_take(phone, holder, server):
    answer = phone.fetch(holder)
    assert answer.status_code == 200
    assert answer.content_type == "application/vnd.apple.pkpass"
    assert answer.headers["Cache-Control"] == "no-store, private"
    document = opened(server, answer.data).pass_json
    assert document["serialNumber"] == holder.serial
    assert document["authenticationToken"] == holder.token
    assert document["webServiceURL"] == "http://127.0.0.1:8000/apple"
    assert fields(document)["points"] == 0
    assert fields(document)["member"] == "Ана"
    issued = holder.issued()
    assert (issued.fetched_version, issued.fetched_at) == (1, server.clock.now())


def test_an_unchanged_pass_is_304_and_a_change_within_the_same_second_is_not(phone, holder, clock):
    first = phone.fetch(holder)
    since = first.headers["Last-Modified"]
    unchanged = phone.fetch(holder, **{IMS: since})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    holder.change()
    second = phone.fetch(holder, **{IMS: since})
    assert second.status_code == 200
    assert phone.fetch(holder, **{IMS: second.headers["Last-Modified"]}).status_code == 304
    clock.advance(timedelta(hours=1))
    holder.change()
    assert phone.fetch(holder, **{IMS: second.headers["Last-Modified"]}).status_code == 200


@pytest.mark.parametrize("since", ["", "yesterday", "1700000000.5", "Mon, 99 Foo 2026 25:61:61 GMT"])
def test_a_date_that_is_none_brings_the_pass(phone, holder, since):
    assert phone.fetch(holder, **{IMS: since}).status_code == 200


def test_head_tells_the_headers_without_printing_or_counting_a_fetch(phone, holder, server, monkeypatch):
    def never(*_args, **_kwargs):
        raise AssertionError("a pass was printed for HEAD")

    monkeypatch.setattr(type(server.press), "pkpass", never)
    answer = phone.fetch(holder, method="HEAD")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.content_type == "application/vnd.apple.pkpass"
    assert "Content-Length" not in answer.headers  # 0 would say that the pass is empty
    assert phone.fetch(holder, method="HEAD", **{IMS: answer.headers["Last-Modified"]}).status_code == 304
    assert holder.issued().fetched_version == 0


def test_the_same_version_is_signed_once(phone, holder, server, monkeypatch):
    from passes.apple import signing

    signed = []
    sign = signing.Signer.sign_digest
    monkeypatch.setattr(signing.Signer, "sign_digest", lambda self, *a, **k: signed.append(1) or sign(self, *a, **k))
    assert phone.fetch(holder).data == phone.fetch(holder).data
    assert len(signed) == 1
    holder.change()
    phone.fetch(holder)
    assert len(signed) == 2


def test_an_expired_certificate_pauses_passes_and_says_so(phone, holder, server, monkeypatch):
    phone.fetch(holder)
    expired = server.wallets.signer.not_after + timedelta(seconds=1)
    monkeypatch.setattr(type(server.machine_clock), "now", lambda _self: expired)
    answer = phone.fetch(holder)
    assert (answer.status_code, answer.json["code"]) == (503, "passes_paused")


def test_a_voided_pass_says_so_and_shows_no_code(phone, holder, server):
    from wallet_server.issuance.models import IssuedPass

    with transaction(server.engine, ALL_PROGRAMS) as session:
        session.get_one(IssuedPass, holder.issued().id).voided_at = server.clock.now()
    holder.change()
    document = opened(server, phone.fetch(holder).data).pass_json
    assert document["voided"] is True
    assert "barcodes" not in document


# -- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["/apple//v1", "/apple///v1"])
def test_doubled_slashes_are_answered_without_a_redirect(phone, holder, client, base):
    phone.base = base
    assert phone.register(holder).status_code == 201
    assert phone.changed().status_code == 200
    assert phone.fetch(holder).status_code == 200


# -- log --------------------------------------------------------------------------------------------


def test_what_phones_report_is_logged_cut_short_and_harmless(client):
    lines = ["line one", "evil\r\nline\x1b[31m", 5, *(f"{number}" * 2000 for number in range(200))]
    with capture_logs() as logs:
        assert client.post("/apple/v1/log", json={"logs": lines[:20]}).status_code == 200
    [event] = [entry for entry in logs if entry["event"] == "phones report"]
    assert event["lines"][:2] == ["line one", "evil  line [31m"]
    assert max(map(len, event["lines"])) == 1024
    assert event["left_out"] == 1


def test_a_log_of_many_lines_is_cut_at_a_hundred(client):
    with capture_logs() as logs:
        assert client.post("/apple/v1/log", json={"logs": ["x"] * 300}).status_code == 200
    [event] = [entry for entry in logs if entry["event"] == "phones report"]
    assert (len(event["lines"]), event["left_out"]) == (100, 200)


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"[]", 400), (b'{"logs": "x"}', 400), (b"x" * 70_000, 413)])
def test_a_log_that_is_none_is_refused(client, body, status):
    assert client.post("/apple/v1/log", data=body).status_code == status


def test_a_flood_of_logs_is_slowed_down(client):
    codes = [client.post("/apple/v1/log", json={"logs": []}).status_code for _ in range(62)]
    assert codes == [200] * 60 + [429] * 2
