"""The gallery: every published look in both wallets, with pictures that only the panel gives out."""

from __future__ import annotations

import io
import re

import pytest
from flask.testing import FlaskClient
from PIL import Image

from tests.people import publish
from tests.web.conftest import SignIn
from tests.web.helpers import StoppedClock, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.web.panel import program_gallery

PAGE = "/panel/programs/cafe-ohrid/program/look/gallery"
WINTER = {
    "name": "Snow",
    "when": {"dates": [{"from": "12-01", "to": "02-28", "yearly": True}]},
    "background": "#17365a",
    "label": "#3f6ea0",
    "strip": {"kind": "stamps", "challenge": "burgers", "motif": "snow"},
    "texts": {"caption": {"en": "Winter", "mk": "Зима"}},
}


@pytest.fixture
def dressed(server: ServerContext, clock: StoppedClock, cast: object) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        publish(session, clock.now(), **{"pass": {"stamps": "burgers", "looks": [WINTER]}})


def pictures(page: str) -> list[str]:
    return sorted(set(re.findall(r'src="(/panel/[^"]+\.png)"', page)))


@pytest.mark.usefixtures("dressed")
def test_every_level_state_and_season_is_there(manager: FlaskClient) -> None:
    response = manager.get(PAGE)
    page = response.text
    assert page.count('class="pass look-') == 2 * 2 * 3
    assert page.count("gcard look-") == 0
    words = text_of(response)
    for said in ("Ordinary days", "Snow", "every year", "Silver", "4 of 5"):
        assert said in words, said
    assert "Labels: contrast 2.3, hard to read" in words
    assert 'href="/looks/17365a-ffffff-3f6ea0.css"' in page


@pytest.mark.usefixtures("dressed")
def test_both_wallets_in_the_language_that_was_chosen(manager: FlaskClient) -> None:
    page = manager.get(f"{PAGE}?wallet=both&language=ru&season=1").text
    assert page.count('class="pass look-') == page.count("gcard look-") == 2 * 3
    assert "Баллы" in page
    assert "Ordinary days</h2>" not in page
    only = manager.get(f"{PAGE}?wallet=google&language=xx&season=99").text
    assert only.count('class="pass look-') == 0
    assert only.count("gcard look-") == 2 * 2 * 3


@pytest.mark.usefixtures("dressed")
def test_a_choice_swaps_the_cards_alone(manager: FlaskClient) -> None:
    part = manager.get(f"{PAGE}?season=0", headers={"HX-Request": "true"}).text
    assert part.strip().startswith('<div id="gallery">')
    assert part.count('class="pass look-') == 2 * 3


@pytest.mark.usefixtures("dressed")
def test_all_pictures_of_the_page_are_drawn(manager: FlaskClient) -> None:
    addresses = pictures(manager.get(f"{PAGE}?wallet=both&season=1").text)
    assert {address.rsplit("/", 2)[1] for address in addresses} == {"strip", "logo", "hero", "google-logo"}
    sizes = set()
    for address in addresses:
        answer = manager.get(address)
        assert (answer.status_code, answer.content_type) == (200, "image/png")
        assert "private" in answer.headers["Cache-Control"]
        sizes.add(Image.open(io.BytesIO(answer.data)).size)
    assert {(750, 288), (1032, 336), (660, 660)} < sizes


@pytest.mark.usefixtures("dressed")
@pytest.mark.parametrize("path", ["strip/hero-9-0-mk.png", "strip/hero.png", "poster/hero-own-0-mk-1-of-5.png"])
def test_what_no_card_shows_is_not_drawn(manager: FlaskClient, path: str) -> None:
    assert manager.get(f"{PAGE}/1/{path}").status_code == 404


@pytest.mark.usefixtures("dressed")
def test_a_page_has_an_end(manager: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_gallery, "CARDS_MAX", 4)
    response = manager.get(PAGE)
    assert response.text.count('class="pass look-') == 4
    assert "8 more cards are not shown. Choose a season." in text_of(response)


def test_a_cashier_does_not_see_it(sign_in: SignIn, cast: object) -> None:
    assert sign_in("cashier@cafe.example").get(PAGE).status_code in (403, 404)
