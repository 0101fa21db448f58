"""Photos in the designer: for all cards and for one look, with the point in sight, and as large as the form says."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.datastructures import MultiDict

from passes.artwork.brought import FILE_BYTES_MAX
from tests.unit.passes.test_photo import busy, file_of
from tests.web.conftest import SignIn
from tests.web.panel.test_program_look import FORM, PAGE, WINTER, newest, press, preview, words
from wallet_server.context import ServerContext
from wallet_server.issuance.looks import StripState, strip_art
from wallet_server.members.services import Enrolled
from wallet_server.web.panel.program_look_form import LookForm, LookRow, read_form
from wallet_server.web.panel.program_look_pictures import UPLOAD_BYTES_MAX

SEA = file_of(busy(1200, 800))


def photo(data: bytes = SEA, name: str = "sea.jpg") -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), name


def named(page: str, field: str) -> str:
    [value] = re.findall(rf'name="{field}" value="([^"]*)"', page)
    return str(value)


def test_an_uploaded_photo_is_previewed_published_and_drawn_for_both_wallets(
    manager: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    before = manager.get("/passes/art/cafe-ohrid/1/hero-own-0-en-2-of-5.png").data
    page = press(manager, server, "upload", photo_file=photo()).get_data(as_text=True)
    sha256 = named(page, "photo")
    assert len(sha256) == 64
    assert newest(server).file.look.own_strip.photo is None
    assert f"/program/look/photos/{sha256}.jpg" in page
    shown = preview(manager, server, photo=sha256, photo_x="20", photo_y="80").get_data(as_text=True)
    moved = preview(manager, server, photo=sha256, photo_x="80", photo_y="20").get_data(as_text=True)
    assert shown != moved
    review = press(manager, server, "review", photo=sha256, photo_x="20", photo_y="80")
    assert f"picture {sha256[:6]} (20\N{NO-BREAK SPACE}%, 80\N{NO-BREAK SPACE}%)" in review.get_data(as_text=True)
    assert press(manager, server, "publish", photo=sha256, photo_x="20", photo_y="80").status_code == 303
    strip = newest(server).file.look.own_strip
    assert strip.photo is not None
    assert (strip.kind, strip.photo.picture, strip.photo.x, strip.photo.y) == ("stamps", sha256, 20, 80)
    after = manager.get("/passes/art/cafe-ohrid/2/hero-own-0-en-2-of-5.png").data
    assert after != before
    assert Image.open(io.BytesIO(after)).size == (1032, 336)
    gallery = manager.get(f"{PAGE}/gallery/2/strip/hero-own-0-en-2-of-5.png").data
    assert Image.open(io.BytesIO(gallery)).size == (750, 288)
    dropped = press(manager, server, "drop:photo", photo=sha256).get_data(as_text=True)
    assert named(dropped, "photo") == ""
    press(manager, server, "publish")
    assert newest(server).file.look.own_strip.photo is None
    assert manager.get("/passes/art/cafe-ohrid/3/hero-own-0-en-2-of-5.png").data == before


def test_a_look_has_a_photo_of_its_own_under_what_all_cards_draw(manager: FlaskClient, server: ServerContext) -> None:
    look: dict[str, Any] = {"look_0_name": "Silver", "look_0_tiers": "silver"}
    page = press(manager, server, "upload", **look, look_0_photo_file=photo()).get_data(as_text=True)
    sha256 = named(page, "look_0_photo")
    assert '<details class="look-row" id="look-0" open>' in page
    assert re.search(r'id="look_0_strip_kind".*?value="stamps" selected', page, re.DOTALL)
    texts = {"look_0_strip_kind": "stamps", "look_0_strip_challenge": "burgers", "look_0_photo": sha256}
    press(manager, server, "publish", **look, **texts, look_0_photo_y="0")
    program = newest(server)
    assert program.file.look.own_strip.photo is None
    found = strip_art(program, StripState(0, 1, "en", 1, 5)).photo
    assert found is not None
    assert (found.digest, found.x, found.y) == (sha256, 50, 0)


def test_a_look_with_a_strip_of_its_own_keeps_the_photo_of_all_cards(
    manager: FlaskClient, server: ServerContext
) -> None:
    sha256 = named(press(manager, server, "upload", photo_file=photo()).get_data(as_text=True), "photo")
    look = {"look_0_name": "Silver", "look_0_tiers": "silver", "look_0_strip_kind": "progress", "look_0_motif": ""}
    page = press(manager, server, "show", photo=sha256, **look)
    assert "The photo of all cards stays behind it, unless a motif or another photo is chosen here." in words(page)
    press(manager, server, "publish", photo=sha256, **look)
    program = newest(server)
    behind = strip_art(program, StripState(0, 1, "en", 1, 40)).photo
    assert behind is not None
    assert behind.digest == sha256
    assert (program.file.look.own_strip.motif, program.file.look.looks[0].strip.motif) == (None, None)  # type: ignore[union-attr]
    hills = {**look, "look_0_motif": "hills"}
    press(manager, server, "publish", photo=sha256, **hills)
    assert strip_art(newest(server), StripState(0, 1, "en", 1, 40)).photo is None
    assert press(manager, server, "publish", photo=sha256, **hills).location == PAGE  # nothing is changed by looking


def test_a_photo_that_is_removed_from_a_look_again_leaves_the_photo_of_all_cards(
    manager: FlaskClient, server: ServerContext
) -> None:
    section = {"photo": named(press(manager, server, "upload", photo_file=photo()).get_data(as_text=True), "photo")}
    look: dict[str, Any] = {"look_0_name": "Silver", "look_0_tiers": "silver"}
    page = press(manager, server, "upload", **section, **look, look_0_photo_file=photo()).get_data(as_text=True)
    [motif] = re.findall(r'<select[^>]* id="look_0_motif".*?</select>', page, re.DOTALL)
    assert '<option value="">as above</option>' in motif
    assert " selected" not in motif


def test_a_photo_in_the_place_of_a_season_is_shown_alone(manager: FlaskClient, server: ServerContext) -> None:
    page = press(manager, server, "upload", **WINTER, look_0_photo_file=photo()).get_data(as_text=True)
    assert re.search(r'id="look_0_strip_kind".*?value="plain" selected', page, re.DOTALL)
    review = press(manager, server, "review", **WINTER, look_0_photo_file=photo()).get_data(as_text=True)
    assert '<input type="hidden" name="look_0_strip_kind" value="plain">' in review
    assert len(named(review, "look_0_photo")) == 64


@pytest.mark.parametrize("x", ["101", "-1", "a", "5.5"])
def test_a_point_outside_of_the_photo_is_refused(manager: FlaskClient, server: ServerContext, x: str) -> None:
    page = press(manager, server, "upload", photo_file=photo()).get_data(as_text=True)
    answer = press(manager, server, "publish", photo=named(page, "photo"), photo_x=x)
    assert answer.status_code == 422
    assert "Enter a whole number from 0 to 100." in words(answer)
    assert newest(server).version == 1


def test_a_photo_that_is_not_there_is_named_beside_its_field(manager: FlaskClient, server: ServerContext) -> None:
    answer = press(manager, server, "publish", photo="0" * 64)
    assert answer.status_code == 422
    assert 'id="photo-error"' in answer.get_data(as_text=True)
    kind = {"look_0_strip_kind": "plain", "look_0_photo": "0" * 64}
    answer = press(manager, server, "publish", look_0_name="Silver", look_0_tiers="silver", **kind)
    assert answer.status_code == 422
    assert 'id="look_0_photo-error"' in answer.get_data(as_text=True)


def test_a_small_photo_is_refused_with_the_reason(manager: FlaskClient, server: ServerContext) -> None:
    answer = press(manager, server, "upload", photo_file=photo(file_of(busy(700, 500))))
    assert answer.status_code == 422
    assert "photo: it is 700 x 500 pixels; at least 750 x 288 are needed" in words(answer)


def test_the_form_takes_all_that_it_offers_at_once_and_says_so_beyond(
    manager: FlaskClient, server: ServerContext
) -> None:
    filled = {slot: bytes(most) for slot, most in FILE_BYTES_MAX.items()}  # no pictures, but as large as they may be
    files = {f"{slot}_file": photo(data, "a.jpg") for slot, data in filled.items()}
    assert press(manager, server, "upload", **files).status_code == 422
    too_large = press(manager, server, "upload", photo_file=photo(bytes(UPLOAD_BYTES_MAX)))
    assert too_large.status_code == 413
    assert "At most 10 MB are taken at once. Go back: what you typed is still there." in words(too_large)


def test_only_staff_may_send_so_much(client: FlaskClient, server: ServerContext) -> None:
    answer = client.post(PAGE, data={**FORM, "photo_file": photo(bytes(2_000_000))})
    assert answer.status_code == 413


def test_photos_are_shown_to_the_programs_own_managers(
    manager: FlaskClient, server: ServerContext, sign_in: SignIn
) -> None:
    sha256 = named(press(manager, server, "upload", photo_file=photo()).get_data(as_text=True), "photo")
    answer = manager.get(f"{PAGE}/photos/{sha256}.jpg")
    assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    assert max(Image.open(io.BytesIO(answer.data)).size) <= 560
    assert manager.get(f"{PAGE}/photos/{'0' * 64}.jpg").status_code == 404
    assert sign_in("owner@bakery.example").get(f"{PAGE}/photos/{sha256}.jpg").status_code == 404


def test_the_review_keeps_every_field_of_the_form() -> None:
    row = LookRow({"name": "Winter", "photo": "a" * 64, "photo_x": "10"}, {"en": "Snow"}, ("silver",), (("12-01", ""),))
    form = LookForm(
        7, {"background": "#112233", "photo": "b" * 64}, {"en": "A card"}, (row, LookRow({"name": "B"}, {}))
    )
    back = read_form(MultiDict(list(form.fields())), ["en"])
    assert list(back.fields()) == list(read_form(MultiDict(list(back.fields())), ["en"]).fields())
    assert (back.version, back["photo"], back.descriptions) == (7, "b" * 64, {"en": "A card"})
    assert (back.looks[0]["photo_x"], back.looks[0].tiers, back.looks[0].days) == ("10", ("silver",), (("12-01", ""),))
    assert [one["name"] for one in back.looks] == ["Winter", "B"]
