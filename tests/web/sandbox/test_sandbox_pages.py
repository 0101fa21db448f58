from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from urllib.parse import unquote
from uuid import uuid4

import pytest

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.sandbox.running import PASS_TYPE_ID
from wallet_server.app import create_app
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import apply_program
from wallet_server.settings import load_settings

NO_PHONE = "01990000-0000-7000-8000-000000000000"
HTMX = {"HX-Request": "true"}


def token(client) -> str:
    page = client.get("/sandbox/phones/new").text
    return re.search(r'name="csrf_token" value="([^"]+)"', page)[1]


def press(client, phone_id, action, **form):
    form.setdefault("csrf_token", token(client))
    return client.post(f"/sandbox/phones/{phone_id}/{action}", data=form, follow_redirects=True)


@pytest.fixture
def phone_id(sandbox) -> str:
    return sandbox.phone("ana", name="Ana & <Co>")


def test_a_new_phone_takes_the_pass_of_the_join_page(client, sandbox):
    link = sandbox.shop.url("ana")
    page = client.get("/sandbox/phones/new", query_string={"install": link}).text
    assert f'value="{link}"' in page
    form = {"csrf_token": token(client), "install": link, "name": "Ana", "language": "mk", "time_zone": "Europe/Skopje"}
    answer = client.post("/sandbox/phones", data=form)
    assert answer.status_code == 303
    page = client.get(answer.headers["location"]).text
    assert "Cafe Ohrid" in page
    assert "ПОЕНИ" in page
    assert len(sandbox.shop.registrations) == 1


@pytest.mark.parametrize("name", ["install", "save"])
def test_a_link_at_the_list_asks_for_a_phone(client, sandbox, name):
    answer = client.get("/sandbox/phones", query_string={name: "http://x.example/y"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/sandbox/phones/new?{name}=http://x.example/y"


def test_the_list_shows_each_phone_with_its_balance(client, sandbox, phone_id):
    page = client.get("/sandbox/phones")
    assert page.status_code == 200
    assert "Ana &amp; &lt;Co&gt;" in page.text
    assert "126" in page.text
    fragment = client.get("/sandbox/phones", headers=HTMX).text
    assert fragment.lstrip().startswith('<div id="grid"')


def test_a_phone_is_a_whole_page_and_a_fragment(client, sandbox, phone_id):
    page = client.get(f"/sandbox/phones/{phone_id}").text
    assert page.startswith("<!doctype html>")
    fragment = client.get(f"/sandbox/phones/{phone_id}", headers=HTMX).text
    assert fragment.lstrip().startswith('<div id="phone"')
    for text in ("126", "4821 0077 3310", "The phone registered for updates of Cafe Ohrid"):
        assert text in page
        assert text in fragment
    assert not re.search(r"<style|style=|onclick|<script>", page)


def test_an_update_shows_as_a_banner_and_in_the_diary(client, sandbox, phone_id):
    card = sandbox.shop.cards["ana"]
    sandbox.shop.put(replace(card, points=card.points._replace(value=500)))
    page = press(client, phone_id, "pull").text
    assert "You have 500 points" in page
    assert "<del>126</del>" in page


def test_the_back_has_fields_links_and_the_switch(client, sandbox, phone_id):
    page = client.get(f"/sandbox/phones/{phone_id}?side=back").text
    assert "is-back" in page
    assert 'href="https://wallet.example.com/m/1?a=b&amp;c=d"' in page
    card = {"pass_type_id": PASS_TYPE_ID, "serial": "ana"}
    assert 'aria-checked="false"' in press(client, phone_id, "updates", on="0", side="back", card="ana", **card).text
    assert sandbox.shop.registrations == {}
    press(client, phone_id, "remove", **card)
    assert sandbox.detail(phone_id)["passes"] == []


@pytest.mark.parametrize(
    ("action", "form", "name", "value"),
    [
        ("airplane", {"on": "1"}, "airplane", True),
        ("language", {"language": "ru"}, "language", "ru"),
        ("behaviour", {"behaviour": "gone"}, "behaviour", "gone"),
        ("clear-banners", {}, "banners", []),
    ],
)
def test_buttons(client, sandbox, phone_id, action, form, name, value):
    assert press(client, phone_id, action, **form).status_code == 200
    assert sandbox.detail(phone_id)[name] == value


@pytest.fixture
def outlets(server):
    """Restaurant A, where the card of the tests has a place, and a shop far from it."""
    sections = [
        {"code": "A", "name": {"en": "Restaurant A"}, "latitude": "41.1105", "longitude": "20.80"},
        {"code": "far", "name": {"en": "Far Away"}, "latitude": "41.20", "longitude": "20.80"},
        {"code": "web", "name": {"en": "Web shop"}},
    ]
    file = ProgramFile.model_validate(program_file(outlets=sections, challenges=[], **{"pass": {}}))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        apply_program(session, file, now=NOW, actor="test")


def test_a_card_lies_on_the_lock_screen_near_its_place(client, sandbox, phone_id, outlets):
    path = f"/sandbox/phones/{phone_id}"
    page = client.get(path).text
    assert "banner-nearby" not in page
    assert [name in page for name in ("Restaurant A", "Far Away", "Web shop")] == [True, True, False]
    page = client.get(path, query_string={"near": "cafe-ohrid:A"})
    assert page.text.count("banner-nearby") == 1
    assert "Dobredojde!" in page.text
    assert "near=cafe-ohrid:A" in unescape(unquote(page.text)), "the page that is fetched each second forgets the place"
    for place in ("cafe-ohrid:far", "cafe-ohrid:web", "nowhere", "x" * 5000):
        answer = client.get(path, query_string={"near": place})
        assert (answer.status_code, "banner-nearby" in answer.text) == (200, False)


def test_a_pass_can_ask_for_less_than_the_phones_own_distance(client, sandbox, phone_id, outlets):
    card = sandbox.shop.cards["ana"]
    sandbox.shop.put(replace(card, points=card.points._replace(value=500), max_distance_meters=20))
    press(client, phone_id, "pull")
    assert "banner-nearby" not in client.get(f"/sandbox/phones/{phone_id}?near=cafe-ohrid:A").text


def test_a_thrown_away_phone_is_gone(client, sandbox, phone_id):
    assert press(client, phone_id, "discard").status_code == 200
    assert client.get(f"/sandbox/phones/{phone_id}").status_code == 404


def test_a_refused_pass_is_explained_above_the_phone(client, sandbox, phone_id):
    page = press(client, phone_id, "install", url="http://127.0.0.1:9/other.pkpass").text
    assert 'role="alert"' in page
    assert "the simulated phones reach" in page
    form = {"csrf_token": token(client), "install": sandbox.shop.url("nobody")}
    page = client.post("/sandbox/phones", data=form, follow_redirects=True).text
    assert "the server answered 404 instead of a pass" in page


def test_pictures_and_colours_are_kept_by_the_browser(client, sandbox, phone_id):
    page = client.get(f"/sandbox/phones/{phone_id}").text
    addresses = set(re.findall(r'(?:src|href)="((?:/sandbox/images|/looks)/[^"]+)"', page))
    assert len(addresses) >= 3
    for address in addresses:
        answer = client.get(address)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
    assert ".look-1f3a5f-ffffff-c9d6e8{" in client.get("/looks/1f3a5f-ffffff-c9d6e8.css").text


@pytest.mark.parametrize(
    "path",
    [
        f"/sandbox/phones/{NO_PHONE}",
        "/sandbox/phones/17",
        f"/sandbox/images/{'0' * 64}.png",
        "/sandbox/images/x.png",
        "/looks/red;}.css",
        "/looks/elsewhere/1f3a5f-ffffff-c9d6e8.css",
    ],
)
def test_what_is_not_there_is_404(client, sandbox, path):
    assert client.get(path).status_code == 404


def test_unknown_buttons_and_wrong_methods(client, sandbox, phone_id):
    assert press(client, phone_id, "explode").status_code == 404
    assert client.get(f"/sandbox/phones/{phone_id}/pull").status_code == 405
    assert client.post(f"/sandbox/phones/{phone_id}/pull").status_code == 403  # without the form's proof
    assert sandbox.detail(phone_id)["events"][0]["kind"] == "registered"


def test_without_its_process_the_pages_say_what_to_start(client, settings):
    answer = client.get("/sandbox/phones")
    assert answer.status_code == 503


def test_a_real_server_has_no_such_pages(sqlite_engine, tmp_path):
    settings = load_settings(
        {
            "WALLET_DATA_DIR": str(tmp_path / "real"),
            "WALLET_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz-test",
            "DATABASE_URL": sqlite_engine.url.render_as_string(),
        }
    )
    client = create_app(settings).test_client()
    for path in ("/sandbox/phones", "/sandbox/phones/new", f"/sandbox/phones/{uuid4()}"):
        assert client.get(path).status_code == 404
