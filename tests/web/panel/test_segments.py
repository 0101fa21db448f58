"""Segments in the panel: counted while they are built, in words, and kept while a campaign needs them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.people import add_member, add_purchase
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, add_segment, submit, text_of
from wallet_server.campaigns.services import create
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.members.models import MemberStatistics
from wallet_server.segments.models import Segment
from wallet_server.web.panel.segment_form import SegmentForm

BASE = "/panel/programs/cafe-ohrid"
SEGMENTS = f"{BASE}/segments"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def people(server: ServerContext, cast: Cast, clock: StoppedClock) -> None:
    """Two silver members, one of whom bought yesterday, and three base members, one without consent."""
    now = clock.now()
    with transaction(server.engine, ALL_PROGRAMS) as session:
        add_member(session, cast.cafe, now, tier="silver", last_visit_at=now - timedelta(days=40))
        recent = add_member(session, cast.cafe, now, tier="silver", last_visit_at=now - timedelta(days=1))
        add_purchase(session, cast.cafe, recent, now - timedelta(days=1))
        add_member(session, cast.cafe, now)
        add_member(session, cast.cafe, now, marketing=False)
        add_member(session, cast.cafe, now, live=False)
        add_member(session, cast.bakery, now, tier="silver")


def saved(server: ServerContext) -> list[Segment]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Segment).order_by(Segment.name)))


def count(client: FlaskClient, form: dict, url: str = f"{SEGMENTS}/new", **options):
    return submit(client, url, {"action": "count", **form}, **options)


def test_an_empty_list_invites(manager: FlaskClient) -> None:
    assert "No segments yet" in text_of(manager.get(SEGMENTS))


def test_the_list_counts_each_segment_now(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, people: None
) -> None:
    add_segment(server, cast.cafe, clock, "Silver", tiers=["silver"])
    add_segment(server, cast.cafe, clock, "Quiet", tiers=["silver"], days_since_last_visit={"at_least": 30})
    text = " ".join(text_of(manager.get(SEGMENTS)).split())
    assert "Members whose tier is Silver. 2 40 %" in text
    assert "Members whose tier is Silver, whose last purchase was at least 30 days ago. 1 20 %" in text


def test_the_list_is_read_in_the_readers_language(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    add_segment(server, cast.cafe, clock, "Silver", tiers=["silver"])
    assert "Сребро" in text_of(manager.get(SEGMENTS, query_string={"lang": "mk"}))


def test_a_long_list_has_pages_and_htmx_gets_the_list_alone(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    for number in range(21):
        add_segment(server, cast.cafe, clock, f"S{number:02}")
    first = text_of(manager.get(SEGMENTS))
    assert "S19" in first
    assert "S20" not in first
    assert "Next page" in first
    second = manager.get(SEGMENTS, query_string={"page": 2}, headers=HTMX)
    assert "<html" not in second.get_data(as_text=True)
    assert "S20" in text_of(second)
    assert "Previous page" in text_of(second)
    for odd in ("0", "-3", "x", "999"):
        assert manager.get(SEGMENTS, query_string={"page": odd}).status_code == 200


@pytest.mark.parametrize(
    ("form", "members", "words"),
    [
        ({}, 5, "All members."),
        ({"tiers": ["silver"]}, 2, "Members whose tier is Silver."),
        ({"tiers": ["silver", "base"]}, 5, "Members whose tier is Silver or Member."),
        ({"visits_from": "1"}, 1, "with at least 1 purchase in the last 30 days"),
        ({"visits_from": "0", "visits_to": "0"}, 4, "without a purchase in the last 30 days"),
        ({"days_from": "30", "days_to": "3650"}, 1, "whose last purchase was 30 to 3,650 days ago"),
        ({"tiers": ["silver"], "days_to": "7", "visits_to": "5"}, 1, "with at most 5 purchases"),
    ],
)
def test_the_builder_counts_what_is_typed(manager: FlaskClient, people: None, form, members, words) -> None:
    fragment = count(manager, form, headers=HTMX)
    text = " ".join(text_of(fragment).split())
    assert fragment.status_code == 200
    assert "<form" not in fragment.get_data(as_text=True)
    assert f"{members} of 5 members" in text
    assert words in text
    whole = count(manager, form)  # the button, without JavaScript
    assert "<html" in whole.get_data(as_text=True)
    assert f"{members} of 5 members" in " ".join(text_of(whole).split())


def test_the_builder_says_how_many_a_message_would_reach(manager: FlaskClient, people: None) -> None:
    assert "A message would reach 3:" in text_of(count(manager, {}, headers=HTMX))


BAD = [
    ({"visits_from": "-1"}, "Visits are whole numbers from 0 to 1,000."),
    ({"visits_to": "1.5"}, "Visits are whole numbers from 0 to 1,000."),
    ({"visits_to": "1001"}, "Visits are whole numbers from 0 to 1,000."),
    ({"visits_from": "5", "visits_to": "2"}, "The first number is larger than the second one."),
    ({"days_from": "many"}, "Days are whole numbers from 0 to 3,650."),
    ({"days_to": "999999999999"}, "Days are whole numbers from 0 to 3,650."),
    ({"days_from": "3651"}, "Days are whole numbers from 0 to 3,650."),
    ({"days_from": "9", "days_to": "8"}, "The first number is larger than the second one."),
]


@pytest.mark.parametrize(("form", "sentence"), BAD)
def test_what_cannot_be_counted_says_why(manager: FlaskClient, form, sentence) -> None:
    assert sentence in text_of(count(manager, form, headers=HTMX))


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        *BAD,
        ({"name": " "}, "Give the segment a name of at most 120 characters."),
        ({"name": "x" * 121}, "Give the segment a name of at most 120 characters."),
        ({"tiers": ["platinum"]}, "The program has no such tier any more."),
    ],
)
def test_a_bad_segment_comes_back_filled_and_is_not_saved(
    manager: FlaskClient, server: ServerContext, form, sentence
) -> None:
    answer = submit(manager, f"{SEGMENTS}/new", {"name": "Kept name", **form})
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    for name, value in form.items():
        if name != "tiers":
            assert f'value="{value.strip()[:121]}"' in answer.get_data(as_text=True), name
    assert saved(server) == []


def test_a_segment_is_saved_once_however_often_the_form_is_sent(manager: FlaskClient, server: ServerContext) -> None:
    form = {
        "name": " Silver, quiet ", "tiers": ["silver"], "visits_from": "", "visits_to": "0", "days_from": "30",
        "key": new_id().hex,
    }  # fmt: skip
    for _ in range(2):
        answer = submit(manager, f"{SEGMENTS}/new", form)
        assert (answer.status_code, answer.location) == (303, SEGMENTS)
    [segment] = saved(server)
    assert segment.name == "Silver, quiet"
    assert segment.code == f"silver-quiet-{form['key'][-8:]}"
    assert segment.condition == {
        "tiers": ["silver"], "visits_last_30_days": {"at_most": 0}, "days_since_last_visit": {"at_least": 30},
    }  # fmt: skip
    assert "The segment has been saved." in text_of(manager.get(SEGMENTS))


@pytest.mark.parametrize("name", ["Тивки гости", "!!!", "Café Ohrid", "x" * 120])
def test_any_name_makes_a_code(name: str) -> None:
    code = SegmentForm(key=new_id().hex, name=name).code()
    assert code.isascii()
    assert len(code) <= 63
    assert not code.startswith("-")


def test_a_segment_is_changed_under_its_code(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    condition = {"tiers": ["silver"], "visits_last_30_days": {"at_most": 3}}
    url = f"{SEGMENTS}/{add_segment(server, cast.cafe, clock, 'Silver', **condition)}"
    body = manager.get(url).get_data(as_text=True)
    assert 'value="silver" checked' in body
    assert 'name="visits_to" inputmode="numeric" maxlength="6" value="3"' in body
    submit(manager, url, {"name": "Base", "tiers": ["base"]})
    [segment] = saved(server)
    assert (segment.code, segment.name, segment.condition) == ("silver", "Base", {"tiers": ["base"]})


def test_a_tier_that_the_program_has_no_longer_is_named(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    segment_id = add_segment(server, cast.cafe, clock, "Silver", tiers=["silver"])
    with transaction(server.engine, cast.cafe.id) as session:
        segment = session.exec(select(Segment)).one()
        segment.condition = {"tiers": ["silver", "bronze"]}
        session.add(segment)
    assert "The program has no longer: bronze." in text_of(manager.get(f"{SEGMENTS}/{segment_id}"))


def test_a_segment_is_deleted_unless_a_campaign_was_made_for_it(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    segment_id = add_segment(server, cast.cafe, clock, "Silver")
    other_id = add_segment(server, cast.cafe, clock, "Other")
    with transaction(server.engine, cast.cafe.id) as session:
        create(
            session, cast.cafe, name="C", segment_id=segment_id, message={"mk": "Здраво"}, actor="cli", now=clock.now()
        )
    kept = f"{SEGMENTS}/{segment_id}"
    assert submit(manager, f"{kept}/delete", {}, page=kept).location == kept
    assert "so it is kept" in text_of(manager.get(kept))
    gone = f"{SEGMENTS}/{other_id}"
    assert submit(manager, f"{gone}/delete", {}, page=gone).location == SEGMENTS
    assert [segment.name for segment in saved(server)] == ["Silver"]
    assert manager.get(gone).status_code == 404
    assert submit(manager, f"{gone}/delete", {}, page=kept).status_code == 404


def test_a_segment_that_is_not_there_or_of_another_program_is_404(
    sign_in: SignIn, manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    segment_id = add_segment(server, cast.cafe, clock, "Silver")
    stranger = sign_in("owner@bakery.example")
    assert stranger.get(f"{SEGMENTS}/{segment_id}").status_code == 404
    assert stranger.get(f"/panel/programs/bakery/segments/{segment_id}").status_code == 404
    page = "/panel/programs/bakery/segments/new"
    for url in (f"/panel/programs/bakery/segments/{segment_id}", f"{SEGMENTS}/{segment_id}"):
        assert submit(stranger, url, {"name": "Mine"}, page=page).status_code == 404
        assert submit(stranger, f"{url}/delete", {}, page=page).status_code == 404
    assert manager.get(f"{SEGMENTS}/{uuid4()}").status_code == 404
    assert manager.get(f"{SEGMENTS}/not-an-id").status_code == 404
    assert [segment.name for segment in saved(server)] == ["Silver"]


@pytest.mark.parametrize("path", ["", "/new"])
def test_cashiers_may_not_and_strangers_are_asked_who_they_are(
    sign_in: SignIn, client: FlaskClient, cast: Cast, path: str
) -> None:
    assert sign_in("cashier@cafe.example").get(SEGMENTS + path).status_code == 403
    assert sign_in("owner@cafe.example").get(SEGMENTS + path).status_code == 200
    assert client.get(SEGMENTS + path).location.startswith("/panel/login?next=")


def test_a_form_without_proof_and_a_wrong_method_are_refused(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    assert manager.post(f"{SEGMENTS}/new", data={"name": "S"}).status_code == 403
    assert manager.get(f"{SEGMENTS}/{add_segment(server, cast.cafe, clock)}/delete").status_code == 405


def test_nothing_personal_is_needed_to_count(manager: FlaskClient, server: ServerContext, people: None) -> None:
    """Counting writes nothing."""
    with reading(server.engine, ALL_PROGRAMS) as session:
        before = len(session.exec(select(MemberStatistics)).all())
    count(manager, {"tiers": ["silver"]})
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert len(session.exec(select(MemberStatistics)).all()) == before
    assert saved(server) == []
