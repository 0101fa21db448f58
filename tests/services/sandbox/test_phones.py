"""What a phone does, against a pass server written for these tests."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import timedelta

import pytest

from passes.content import PassField
from tests.services.sandbox.running import PASS_TYPE_ID, running_sandbox
from tests.unit.passes.cards import a_card
from wallet_server.errors import DomainError
from wallet_server.sandbox.apns import Behaviour


def kinds(detail) -> list[str]:
    """The diary's kinds, oldest first."""
    return [event["kind"] for event in reversed(detail["events"])]


def rezipped(data: bytes, old: bytes, new: bytes) -> bytes:
    """The pass with a text changed after it was signed."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content.replace(old, new) if name == "pass.json" else content)
    return target.getvalue()


def points(sandbox, serial, value, **changes):
    card = sandbox.shop.cards[serial]
    sandbox.shop.put(replace(card, points=card.points._replace(value=value), **changes))


def push(sandbox, phone_id):
    async def deliver():
        sandbox.sandbox.phones.deliver(phone_id, PASS_TYPE_ID)

    sandbox.run(deliver())


def shows(phone, value):
    return phone["passes"] and phone["passes"][0]["values"]["points"] == value


def test_it_installs_and_registers(sandbox):
    phone = sandbox.detail(sandbox.phone("ana", name="Ana"))
    assert kinds(phone) == ["added", "installed", "registered"]
    assert sandbox.shop.registrations == {(phone["device_id"], "ana"): phone["push_token"]}
    assert (phone["passes"][0]["registered"], phone["passes"][0]["values"]["points"]) == (True, 126)


def test_a_push_brings_the_new_balance_and_a_banner(sandbox):
    phone_id = sandbox.phone("ana", language="mk")
    points(sandbox, "ana", 1500)
    push(sandbox, phone_id)
    phone = sandbox.until(phone_id, lambda phone: shows(phone, 1500))
    assert kinds(phone)[-3:] == ["push", "changed", "updated"]
    (banner,) = phone["banners"]
    assert (banner["title"], banner["text"]) == ("Cafe Ohrid", "You have 1.500 points")
    assert ["ПОЕНИ", "126", "1.500"] in phone["events"][0]["details"]["changes"]


def test_the_next_question_carries_the_last_tag_and_the_fetch_the_last_date(sandbox):
    phone_id = sandbox.phone("ana")
    for value in (130, 140):
        points(sandbox, "ana", value)
        push(sandbox, phone_id)
        sandbox.until(phone_id, lambda phone, value=value: shows(phone, value))
    device = sandbox.detail(phone_id)["device_id"]
    listing = f"GET /apple/v1/devices/{device}/registrations/{PASS_TYPE_ID}"
    assert [call for call in sandbox.shop.calls if call.startswith(listing)] == [
        listing,
        f"{listing}?passesUpdatedSince=2",
    ]
    push(sandbox, phone_id)
    phone = sandbox.until(phone_id, lambda phone: phone["events"][0]["kind"] == "nothing_new")
    assert phone["passes"][0]["updates"] == 2


def test_pull_to_refresh_fetches_only_what_is_new(sandbox):
    phone_id = sandbox.phone("ana")
    sandbox.client.post("phones", phone_id, "pull")
    assert kinds(sandbox.detail(phone_id))[-1] == "not_modified"
    points(sandbox, "ana", 7)
    phone = sandbox.client.post("phones", phone_id, "pull")
    assert shows(phone, 7)


def test_several_changed_messages_become_the_phones_own_phrase(sandbox):
    phone_id = sandbox.phone("ana", language="ru")
    points(sandbox, "ana", 9, news=PassField(key="news", label="News", value="Sale", change_message="%@"))
    phone = sandbox.client.post("phones", phone_id, "pull")
    assert [banner["text"] for banner in phone["banners"]] == ["Карта магазина изменена"]


@pytest.mark.parametrize("failing", [[500], [503, 0, 0], [500, 500]])
def test_a_server_that_stumbles_is_asked_again(sandbox, failing):
    phone_id = sandbox.phone("ana")
    points(sandbox, "ana", 222)
    sandbox.shop.statuses.extend(failing)
    push(sandbox, phone_id)
    sandbox.until(phone_id, lambda phone: shows(phone, 222))


def test_a_pass_that_could_not_be_fetched_is_named_again_by_the_next_question(sandbox):
    phone_id = sandbox.phone("ana")
    points(sandbox, "ana", 333)
    sandbox.shop.statuses.extend([0, 500, 500, 500])  # the list is answered, the pass never
    push(sandbox, phone_id)
    sandbox.until(phone_id, lambda phone: phone["events"][0]["kind"] == "unreachable")
    push(sandbox, phone_id)
    sandbox.until(phone_id, lambda phone: shows(phone, 333))


def test_airplane_mode_delays_the_push_and_keeps_one(sandbox):
    phone_id = sandbox.phone("ana")
    sandbox.client.patch("phones", phone_id, airplane=True)
    for value in (1, 2):
        points(sandbox, "ana", value)
        push(sandbox, phone_id)
    before = len(sandbox.shop.calls)
    with pytest.raises(DomainError, match="airplane mode"):
        sandbox.client.post("phones", phone_id, "pull")
    assert (len(sandbox.shop.calls), shows(sandbox.detail(phone_id), 126)) == (before, True)
    assert kinds(sandbox.detail(phone_id))[-1] == "airplane_on"
    sandbox.client.patch("phones", phone_id, airplane=False)
    phone = sandbox.until(phone_id, lambda phone: shows(phone, 2))
    assert [kinds(phone).count(kind) for kind in ("push", "updated")] == [1, 1]


def test_removing_a_pass_unregisters_it(sandbox):
    phone_id = sandbox.phone("ana")
    phone = sandbox.client.delete("phones", phone_id, "passes", PASS_TYPE_ID, "ana")
    assert (phone["passes"], sandbox.shop.registrations) == ([], {})
    assert kinds(phone)[-2:] == ["removed", "unregistered"]


def test_automatic_updates_off_and_on(sandbox):
    phone_id = sandbox.phone("ana")
    path = ("phones", phone_id, "passes", PASS_TYPE_ID, "ana")
    sandbox.client.call("PATCH", path, body={"automatic_updates": False})
    assert sandbox.shop.registrations == {}
    points(sandbox, "ana", 5)
    push(sandbox, phone_id)
    sandbox.until(phone_id, lambda phone: phone["events"][0]["kind"] == "push")
    phone = sandbox.client.call("PATCH", path, body={"automatic_updates": True})
    assert (phone["passes"][0]["registered"], len(sandbox.shop.registrations)) == (True, 1)
    assert shows(phone, 126)


def test_a_phone_that_heard_nothing_for_a_day_asks_by_itself(sandbox):
    phone_id = sandbox.phone("ana")
    points(sandbox, "ana", 77)

    async def poll():
        return sandbox.sandbox.phones.poll()

    assert sandbox.run(poll()) == 0
    sandbox.clock.ahead = timedelta(days=1, minutes=1)
    assert sandbox.run(poll()) == 1
    sandbox.until(phone_id, lambda phone: shows(phone, 77))
    assert sandbox.run(poll()) == 0


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[:-30], "not_a_zip"),
        (lambda data: rezipped(data, b'"Cafe Ohrid"', b'"Cafe Evil!"'), "wrong_hash"),
        (lambda data: b"<html>sorry</html>", "not_a_zip"),
    ],
)
def test_it_says_why_it_refuses_a_pass(sandbox, monkeypatch, spoil, reason):
    made = type(sandbox.shop).pkpass
    monkeypatch.setattr(type(sandbox.shop), "pkpass", lambda shop, serial: spoil(made(shop, serial)))
    phone_id = sandbox.phone()
    with pytest.raises(DomainError) as refused:
        sandbox.client.post("phones", phone_id, "install", url=sandbox.shop.url("ana"))
    assert (refused.value.code, refused.value.extra) == ("pass_refused", {"reason": reason})
    phone = sandbox.detail(phone_id)
    assert (phone["passes"], sandbox.shop.registrations) == ([], {})
    assert phone["events"][0]["details"]["reason"] == reason


def test_a_spoilt_update_is_refused_and_reported_to_the_server(sandbox, monkeypatch):
    phone_id = sandbox.phone("ana")
    points(sandbox, "ana", 88)
    made = type(sandbox.shop).pkpass
    monkeypatch.setattr(type(sandbox.shop), "pkpass", lambda shop, serial: made(shop, serial)[:-9])
    push(sandbox, phone_id)
    phone = sandbox.until(phone_id, lambda phone: phone["events"][0]["kind"] == "update_refused")
    assert shows(phone, 126)
    sandbox.until(phone_id, lambda _phone: sandbox.shop.log)  # the phone complains after it has noted
    assert "not a readable zip" in sandbox.shop.log[0]


@pytest.mark.parametrize(
    ("link", "code"),
    [
        ("{shop}/cards/nobody.pkpass", "not_a_pass"),
        ("http://127.0.0.1:9/cards/ana.pkpass", "other_host"),
        ("file:///etc/passwd", "other_host"),
    ],
)
def test_links_that_are_no_pass_of_ours(sandbox, link, code):
    with pytest.raises(DomainError) as refused:
        sandbox.client.post("phones", install=link.format(shop=sandbox.shop.public_url))
    assert refused.value.code == code
    assert sandbox.client.get("phones")["count"] == 0


def test_a_wrong_token_is_refused_by_the_server_and_noted(sandbox):
    phone_id = sandbox.phone("ana")
    points(sandbox, "ana", 4, authentication_token="another-token-of-the-same-length")
    push(sandbox, phone_id)
    phone = sandbox.until(phone_id, lambda phone: phone["events"][0]["kind"] == "update_refused")
    assert "401" in phone["events"][0]["details"]["why"]
    assert shows(phone, 126)


def test_two_phones_may_hold_the_same_pass(sandbox):
    one, two = sandbox.phone("ana"), sandbox.phone("ana")
    points(sandbox, "ana", 55)
    push(sandbox, one)
    push(sandbox, two)
    for phone_id in (one, two):
        sandbox.until(phone_id, lambda phone: shows(phone, 55))
    assert len(sandbox.shop.registrations) == 2


def test_a_restart_keeps_phones_and_accepted_pushes(prepared, tmp_path):
    folder = tmp_path / "data"
    with running_sandbox(prepared, folder) as first:
        first.shop.put(a_card(serial_number="ana", update_url="https://replaced.example"))
        phone_id = first.phone("ana")
        first.client.patch("phones", phone_id, airplane=True, behaviour="throttled")
        push(first, phone_id)
        before = first.detail(phone_id)
    with running_sandbox(prepared, folder) as second:
        after = second.detail(phone_id)
        assert {k: after[k] for k in ("passes", "push_token")} == {k: before[k] for k in ("passes", "push_token")}
        assert (after["airplane"], after["behaviour"]) == (True, Behaviour.THROTTLED)
        second.client.patch("phones", phone_id, airplane=False)
        # The pass names a shop that is gone: what counts is that the push was not forgotten.
        second.until(phone_id, lambda phone: phone["events"][0]["kind"] == "unreachable")


def test_the_control_api_needs_its_secret(sandbox):
    stranger = type(sandbox.client)(replace(sandbox.state, control_secret="guess"))
    with pytest.raises(DomainError) as refused:
        stranger.get("phones")
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("method", "parts", "body", "status"),
    [
        ("POST", ("phones",), {"language": "xx-nowhere"}, 400),
        ("POST", ("phones",), {"time_zone": "../../etc/passwd"}, 400),
        ("GET", ("phones", "nobody"), None, 404),
        ("GET", ("images", "0" * 64), None, 404),
        ("PATCH", ("stand-ins",), {"apns": "kaput"}, 400),
        ("GET", ("nothing",), None, 404),
    ],
)
def test_bad_calls_are_refused(sandbox, method, parts, body, status):
    with pytest.raises(DomainError) as refused:
        sandbox.client.call(method, parts, body=body)
    assert refused.value.status == status
