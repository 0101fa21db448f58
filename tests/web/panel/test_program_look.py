"""The designer: a preview of both wallets that stores nothing, a review that counts, and publishing for all."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlmodel import col, select
from werkzeug.test import TestResponse

from passes.apple.pictures import png_size
from tests.factories import CAFE
from tests.people import publish
from tests.unit.passes.test_brought import picture
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.specimen import Sample, specimen
from wallet_server.members.services import Enrolled
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.staff.models import AuditRecord
from wallet_server.web.context import WALLET
from wallet_server.web.panel import program_look_preview

PAGE = "/panel/programs/cafe-ohrid/program/look"
PROGRESS = f"{PAGE}/progress"
HTMX = {"HX-Request": "true"}
FORM: dict[str, Any] = {
    "background": "#1f3a5f", "foreground": "#ffffff", "label": "#c9d6e8", "accent": "", "organization": "",
    "description_mk": "", "description_en": "", "description_ru": "",
    "strip_kind": "stamps", "strip_challenge": "burgers", "glyph": "", "motif": "hills",
    "sample_tier": "base", "sample_points": "1250", "sample_percent": "60", "sample_language": "en",
    "sample_day": "2026-11-23",
}  # fmt: skip
WINTER: dict[str, Any] = {
    "look_0_name": "Winter", "look_0_background": "#0b2545", "look_0_strip_kind": "season", "look_0_motif": "snow",
    "look_0_day_0_from": "12-01", "look_0_day_0_to": "02-28", "look_0_caption_en": "Warm drinks inside",
}  # fmt: skip


def newest(server: ServerContext) -> ProgramDefinition:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return load_program(session, slug="cafe-ohrid")


def press(client: FlaskClient, server: ServerContext, action: str, **values: Any) -> TestResponse:
    form = {**FORM, "version": newest(server).version, "action": action, **values}
    return submit(client, PAGE, form)


def preview(client: FlaskClient, server: ServerContext, **values: Any) -> TestResponse:
    form = {"csrf_token": csrf_of(client, PAGE), **FORM, "version": newest(server).version, "action": "preview"}
    return client.post(PAGE, data={**form, **values}, headers=HTMX)


def words(response: TestResponse) -> str:
    return " ".join(text_of(response).replace("\N{NO-BREAK SPACE}", " ").split())


def test_the_page_shows_what_is_in_force_in_both_wallets(manager: FlaskClient) -> None:
    answer = manager.get(PAGE)
    page = answer.get_data(as_text=True)
    assert 'name="background" maxlength="7" spellcheck="false" autocapitalize="none" value="#1f3a5f"' in page
    assert 'class="pass look-draft-apple"' in page
    assert 'class="gcard look-draft-google"' in page
    assert "/looks/draft-apple/1f3a5f-ffffff-c9d6e8.css" in page
    assert page.count('src="data:image/png;base64,') == 6
    assert f'href="{PAGE}" aria-current="page"' in page
    assert "Everything about your card" in words(answer)


def test_the_preview_follows_the_typing_and_stores_nothing(manager: FlaskClient, server: ServerContext) -> None:
    before = newest(server).version
    answer = preview(manager, server, background="#7a1f3a", sample_points="77", sample_language="mk")
    page = answer.get_data(as_text=True)
    assert "<html" not in page
    assert "/looks/draft-apple/7a1f3a-ffffff-c9d6e8.css" in page
    assert 'lang="mk"' in page
    assert "Поени 77" in words(answer)
    assert newest(server).version == before


def test_the_preview_shows_the_sample_that_was_asked_for(manager: FlaskClient, server: ServerContext) -> None:
    page = preview(manager, server, sample_tier="silver").get_data(as_text=True)
    assert "/looks/draft-apple/6b7280-ffffff-c9d6e8.css" in page  # the level's own colour
    assert "/looks/draft-google/1f3a5f" in page
    assert "At Google all cards of a program have one background colour." in page
    assert "At Google all cards" not in words(preview(manager, server))
    nonsense = {"sample_tier": "x", "sample_points": "-1", "sample_percent": "999999", "sample_day": "never"}
    answer = preview(manager, server, **nonsense, sample_language="fr")
    assert answer.status_code == 200
    assert "1.250" in words(answer)  # in the first language of the program


def test_a_fault_is_said_while_typing_and_the_rest_stays_in_sight(manager: FlaskClient, server: ServerContext) -> None:
    nameless = {**WINTER, "look_0_name": ""}
    answer = preview(manager, server, background="red", foreground="#fefefe", **nameless)
    text = words(answer)
    assert "A colour is written #RRGGBB, such as #1f3a5f." in text
    assert "Give the look a name" in text
    assert "Until it is put right, the preview leaves it out." in text
    assert "/looks/draft-apple/1f3a5f-fefefe-c9d6e8.css" in answer.get_data(as_text=True)
    answer = preview(manager, server, strip_challenge="dinner", label="#dddddd", **WINTER)
    assert "/looks/draft-apple/1f3a5f-ffffff-dddddd.css" in answer.get_data(as_text=True)
    december = preview(manager, server, **WINTER, sample_day="2026-12-24")
    assert "/looks/draft-apple/0b2545-ffffff-c9d6e8.css" in december.get_data(as_text=True)
    assert "Apple Wallet · Winter" in words(december)


def test_contrast_is_told_for_every_ground(manager: FlaskClient, server: ServerContext) -> None:
    text = words(preview(manager, server))
    assert "The card, Silver Values 4.8 : 1 good (AA) Labels 3.3 : 1 only for large text" in text
    assert "The card Values 11.5 : 1 very good (AAA)" in text
    assert "Values 1.0 : 1 hard to read" in words(preview(manager, server, background="#ffffff"))


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"foreground": ""}, "foreground", "A colour is written #RRGGBB"),
        ({"strip_challenge": "dinner"}, "strip_challenge", "Choose the stamp card"),
        ({"strip_kind": "season"}, "motif", "Choose a motif of the season."),
        ({"strip_kind": "elsewhere"}, "strip_kind", "Choose one of these."),
        ({"organization": "x" * 61}, "organization", "At most 60 characters."),
        ({**WINTER, "look_0_name": ""}, "look_0_name", "Give the look a name"),
        ({**WINTER, "look_1_name": "Winter"}, "look_1_name", "Another look has this name."),
        ({**WINTER, "look_0_day_0_from": "31.12."}, "look_0_day_0", "Write a day such as 2026-12-24"),
        ({**WINTER, "look_0_day_0_to": "2027-02-28"}, "look_0_day_0", "Write both days with their year"),
        ({**WINTER, "look_0_reached": "burgers"}, "look_0_at_least", "Say from where"),
        ({**WINTER, "look_0_reached": "burgers", "look_0_at_least": "2,5"}, "look_0_at_least", "Enter a whole number"),
        ({**WINTER, "look_0_caption_en": "x" * 41}, "look_0_caption_en", "At most 40 characters."),
        ({**WINTER, "look_0_tiers": "gold"}, "look_0_form", "'gold' is not defined in this file"),
        ({**WINTER, "look_0_foreground": "#0b2545"}, "look_0_form", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    manager: FlaskClient, server: ServerContext, values: dict[str, Any], field: str, sentence: str
) -> None:
    before = newest(server).version
    for action in ("review", "publish"):
        answer = press(manager, server, action, **values)
        assert answer.status_code == 422
        page = answer.get_data(as_text=True)
        place = page.index(f'id="{field}-error"')
        assert sentence in text_of(answer)
        assert sentence.replace("'", "&#39;") in page[place : place + 300]
    assert newest(server).version == before


def test_looks_are_added_moved_and_removed_without_being_published(manager: FlaskClient, server: ServerContext) -> None:
    before = newest(server).version
    added = press(manager, server, "add", **WINTER).get_data(as_text=True)
    assert 'name="look_1_name" maxlength="60" value="Winter"' in added
    two = {**WINTER, "look_1_name": "Gold", "look_1_tiers": "silver"}
    for action, first in (("down:0", "Gold"), ("up:1", "Gold"), ("up:0", "Winter"), ("remove:0", "Gold")):
        page = press(manager, server, action, **two).get_data(as_text=True)
        assert f'name="look_0_name" maxlength="60" value="{first}"' in page
    assert "look_1_name" not in page
    assert newest(server).version == before


def test_the_review_says_what_changes_for_whom_and_how_long_it_takes(
    manager: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        session.execute(sa.update(IssuedPass).values(live=True))
    before = newest(server).version
    answer = press(manager, server, "review", background="#7a1f3a", **WINTER)
    text = words(answer)
    assert "Look of the card · background before: #1f3a5f now: #7a1f3a" in text
    assert "New: Look “Winter” now: " in text
    assert "Members with a card on their phone 1 Passes in Apple Wallet 1 on 0 phones Cards in Google Wallet 1" in text
    assert "All are told in less than a minute" in text
    assert "Some of it is hard to read: The card, Silver: Labels 3.3 : 1" in text
    assert newest(server).version == before
    assert "Nothing is changed yet." in words(press(manager, server, "review"))


def test_publishing_is_a_new_version_that_renews_the_cards(
    manager: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    before = newest(server).version
    answer = press(manager, server, "publish", background="#7A1F3A", **WINTER)
    assert (answer.status_code, answer.location) == (303, PROGRESS)
    program = newest(server)
    assert program.version == before + 1
    assert program.file.look.background == "#7a1f3a"
    [winter] = program.file.look.looks
    assert winter.model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "name": "Winter",
        "when": {"dates": [{"from": "12-01", "to": "02-28", "yearly": True}]},
        "background": "#0b2545",
        "strip": {"kind": "season", "motif": "snow"},
        "texts": {"caption": {"en": "Warm drinks inside"}},
    }
    with reading(server.engine, ALL_PROGRAMS) as session:
        entry = session.exec(select(AuditRecord).order_by(col(AuditRecord.id).desc()).limit(1)).one()
        assert (entry.action, entry.actor) == ("program.published", "staff:manager@cafe.example")
        assert "program.published" in session.scalars(select(OutboxRow.topic)).all()
    # What the form shows of it publishes the same again, which is nothing.
    form = {**FORM, "background": "#7a1f3a", **WINTER}
    assert press(manager, server, "publish", **form).location == PAGE
    assert newest(server).version == before + 1


def test_the_stamps_of_the_short_form_stay_as_they_were_written(manager: FlaskClient, server: ServerContext) -> None:
    press(manager, server, "publish", label="#dddddd")
    assert (newest(server).file.look.stamps, newest(server).file.look.strip) == ("burgers", None)
    press(manager, server, "publish", glyph="heart")
    look = newest(server).file.look
    assert look.stamps is None
    assert look.strip is not None
    assert (look.strip.kind, look.strip.challenge, look.strip.glyph) == ("stamps", "burgers", "heart")


def test_the_second_of_two_managers_is_told_and_loses_nothing(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    seen = newest(server).version
    with transaction(server.engine, ALL_PROGRAMS) as session:
        publish(session, clock.now(), **{"pass": {"background": "#222222"}})
    for action in ("review", "publish"):
        answer = press(manager, server, action, version=seen, background="#7a1f3a")
        assert answer.status_code == 409
        assert "Somebody else has published the program since you opened this page." in words(answer)
        assert f'name="version" value="{seen + 1}"' in answer.get_data(as_text=True)
        assert 'value="#7a1f3a"' in answer.get_data(as_text=True)
    assert newest(server).file.look.background == "#222222"


def test_going_back_from_the_review_keeps_the_draft(manager: FlaskClient, server: ServerContext) -> None:
    review = press(manager, server, "review", background="#7a1f3a", **WINTER).get_data(as_text=True)
    assert '<input type="hidden" name="look_0_name" value="Winter">' in review
    back = press(manager, server, "edit", background="#7a1f3a", **WINTER).get_data(as_text=True)
    assert 'value="#7a1f3a"' in back
    assert 'name="look_0_name" maxlength="60" value="Winter"' in back


def test_progress_asks_again_until_workers_are_done(
    manager: FlaskClient, server: ServerContext, member: Enrolled, clock: StoppedClock
) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        session.execute(sa.update(IssuedPass).values(live=True))
    press(manager, server, "publish", background="#7a1f3a")
    page = manager.get(PROGRESS, headers=HTMX)
    assert 'hx-trigger="every 2s"' in page.get_data(as_text=True)
    assert "<html" not in page.get_data(as_text=True)
    with transaction(server.engine, ALL_PROGRAMS) as session:
        session.execute(sa.update(OutboxRow).values(state="done"))
        session.execute(sa.update(IssuedPass).values(changed_at=clock.now(), pushed_at=clock.now()))
        apple = sa.update(IssuedPass).where(col(IssuedPass.wallet) == "apple")
        session.execute(apple.values(fetched_at=clock.now()))
    done = manager.get(PROGRESS)
    assert "hx-trigger" not in done.get_data(as_text=True).split('id="progress"')[1]
    assert "All wallets have been told Apple Wallet 1 of 1 Made anew 1 Wallet told 1 Fetched by the phone 1" in words(
        done
    )
    assert "Google Wallet 1 of 1" in words(done)


def test_an_uploaded_logo_is_seen_at_once_and_on_the_cards_once_published(
    manager: FlaskClient, server: ServerContext, member: Enrolled
) -> None:
    files = {"logo_file": (io.BytesIO(picture(600, 150)), "logo.png"), "icon_file": (io.BytesIO(picture(200, 200)), "")}
    page = press(manager, server, "upload", **files).get_data(as_text=True)
    [logo] = re.findall(r'name="logo" value="([0-9a-f]{64})"', page)
    assert 'name="icon" value=""' in page  # no file was chosen
    assert newest(server).file.look.logo is None
    drawn = manager.get("/passes/art/cafe-ohrid/1/logo.png").data
    assert f'name="logo" value="{logo}"' in press(manager, server, "review", logo=logo).get_data(as_text=True)
    assert press(manager, server, "publish", logo=logo).status_code == 303
    program = newest(server)
    assert program.file.look.logo == logo
    state = specimen(program, Sample(tier="base", points=1, percent=0, language="en", day=date(2026, 11, 23)))
    images = server.press.pictures(program, state)
    assert images.logo is not None
    assert [png_size(one.data) for one in (images.logo.x1, images.logo.x3)] == [(160, 40), (480, 120)]
    assert manager.get("/passes/art/cafe-ohrid/2/logo.png").data == drawn
    icon = {"icon_file": (io.BytesIO(picture(200, 200)), "icon.png")}
    page = press(manager, server, "upload", logo=logo, **icon).get_data(as_text=True)
    [name] = re.findall(r'name="icon" value="([0-9a-f]{64})"', page)
    press(manager, server, "publish", logo=logo, icon=name)
    assert manager.get("/passes/art/cafe-ohrid/3/logo.png").data != drawn
    dropped = press(manager, server, "drop:logo", logo=logo, icon=name).get_data(as_text=True)
    assert 'name="logo" value=""' in dropped
    assert f'name="icon" value="{name}"' in dropped


def test_a_picture_that_comes_with_the_review_is_in_it(manager: FlaskClient, server: ServerContext) -> None:
    answer = press(manager, server, "review", logo="", logo_file=(io.BytesIO(picture(600, 150)), "logo.png"))
    page = answer.get_data(as_text=True)
    [name] = re.findall(r'name="logo" value="([^"]*)"', page)
    assert len(name) == 64
    assert "Look of the card · logo" in words(answer)


def test_words_in_a_language_that_the_program_left_stay(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    left = {"name": "Winter", "when": {"tiers": ["silver"]}, "texts": {"caption": {"en": "Snow", "ru": "Снег"}}}
    look = {"description": {"en": "A card", "ru": "Карта"}, "looks": [left]}
    with transaction(server.engine, ALL_PROGRAMS) as session:
        languages = {**CAFE["program"], "languages": ["en", "mk"]}
        publish(session, clock.now(), program=languages, **{"pass": look})
    form = {"look_0_name": "Winter", "look_0_tiers": "silver", "look_0_caption_en": "Ice", "strip_kind": "plain"}
    press(manager, server, "publish", description_en="The card", **form)
    found = newest(server).file.look
    assert found.description == {"en": "The card", "ru": "Карта"}
    assert found.looks[0].texts.caption == {"en": "Ice", "ru": "Снег"}


def test_a_file_that_is_no_picture_is_refused_beside_its_field(manager: FlaskClient, server: ServerContext) -> None:
    answer = press(manager, server, "upload", icon_file=(io.BytesIO(b"<svg/>"), "icon.svg"))
    assert answer.status_code == 422
    assert "This picture cannot be used. icon: it is no PNG, JPEG or WebP picture, or it is damaged" in words(answer)
    for unknown in ("0" * 64, "../etc"):
        answer = press(manager, server, "publish", logo=unknown)
        assert answer.status_code == 422
        assert "This picture is not there any more. Upload it again." in words(answer)
    assert newest(server).version == 1


def test_another_programs_look_is_not_there(sign_in: SignIn, cast: Cast) -> None:
    stranger = sign_in("owner@bakery.example")
    assert stranger.get(PAGE).status_code == 404
    assert sign_in("cashier@cafe.example").get(PAGE).status_code == 403


def test_the_preview_knows_the_certificate_in_use(app: Flask, server: ServerContext) -> None:
    """Its press outlives an import; what it has drawn by then stays."""
    with app.app_context():
        first = program_look_preview._press()
        signer: Any = object()
        app.extensions[WALLET] = replace(server, wallets=replace(server.wallets, signer=signer))
        now = program_look_preview._press()
    assert (first._signer, now._signer) == (server.wallets.signer, signer)
    assert now._strips is first._strips
