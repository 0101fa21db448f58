"""Pictures of a look: kept once, by their content, for one program; a look names only what is there."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.conftest import NOW
from tests.people import publish
from tests.unit.passes.test_brought import picture as drawn
from wallet_server.errors import DomainError
from wallet_server.programs.models import ProgramPicture
from wallet_server.programs.pictures import PICTURES_MAX, add_picture, picture

DAY = timedelta(days=1)


def count(session: Session) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(ProgramPicture)) or 0


def add(session: Session, program_id: UUID, now: datetime, width: int = 200) -> str:
    return add_picture(session, program_id, drawn(width, 200), "logo", now=now, actor="staff:a")


def test_the_same_picture_is_kept_once_and_belongs_to_its_program(session: Session) -> None:
    cafe, bakery = publish(session, NOW), publish(session, NOW, "bakery")
    name = add(session, cafe.id, NOW)
    assert add(session, cafe.id, NOW) == name
    assert count(session) == 1
    assert (picture(session, cafe.id, name) or b"").startswith(b"\x89PNG")
    assert picture(session, bakery.id, name) is None
    assert add(session, bakery.id, NOW) == name
    assert count(session) == 2


def test_a_look_names_only_pictures_that_are_there(session: Session) -> None:
    cafe, bakery = publish(session, NOW), publish(session, NOW, "bakery")
    name = add(session, bakery.id, NOW)
    with pytest.raises(DomainError) as refused:
        publish(session, NOW, **{"pass": {"logo": name}})
    assert (refused.value.code, refused.value.extra["field"]) == ("unknown_picture", "pass.logo")
    add(session, cafe.id, NOW)
    assert publish(session, NOW, **{"pass": {"logo": name}}).file.look.logo == name


def photo(width: int) -> bytes:
    return drawn(width, 400, kind="JPEG")


def test_a_photo_is_named_by_strips_and_only_as_a_photo(session: Session) -> None:
    cafe = publish(session, NOW)
    logo = add(session, cafe.id, NOW)
    sea = add_picture(session, cafe.id, photo(900), "photo", now=NOW, actor="staff:a")
    assert (picture(session, cafe.id, sea) or b"").startswith(b"\xff\xd8")
    winter = {"name": "Winter", "strip": {"kind": "plain", "photo": {"picture": sea, "y": 20}}}
    for look, where in (
        ({"strip": {"kind": "plain", "photo": {"picture": logo}}}, "pass.strip.photo.picture"),
        (
            {"looks": [winter | {"strip": {"kind": "plain", "photo": {"picture": "0" * 64}}}]},
            "pass.looks.0.strip.photo",
        ),
        ({"icon": sea}, "pass.icon"),
    ):
        with pytest.raises(DomainError) as refused:
            publish(session, NOW, **{"pass": look})
        assert refused.value.code == "unknown_picture"
        assert refused.value.extra["field"].startswith(where)
    strip = publish(session, NOW, **{"pass": {"looks": [winter]}}).file.look.looks[0].strip
    assert strip is not None
    assert strip.photo is not None
    assert (strip.photo.picture, strip.photo.x, strip.photo.y) == (sea, 50, 20)


def test_photos_that_an_old_version_names_stay(session: Session) -> None:
    cafe = publish(session, NOW)
    own, winter, lost = (
        add_picture(session, cafe.id, photo(900 + 50 * place), "photo", now=NOW, actor="staff:a") for place in range(3)
    )
    strips = [{"kind": "plain", "photo": {"picture": name}} for name in (own, winter)]
    publish(session, NOW, **{"pass": {"strip": strips[0], "looks": [{"name": "Winter", "strip": strips[1]}]}})
    publish(session, NOW, **{"pass": {}})
    add(session, cafe.id, NOW + DAY * 2)
    assert None not in (picture(session, cafe.id, own), picture(session, cafe.id, winter))
    assert picture(session, cafe.id, lost) is None


def test_pictures_that_no_version_names_go_after_a_day(session: Session) -> None:
    cafe = publish(session, NOW)
    kept, lost = add(session, cafe.id, NOW, 300), add(session, cafe.id, NOW, 400)
    publish(session, NOW, **{"pass": {"icon": kept}})
    publish(session, NOW, **{"pass": {}})  # an old version still names it
    late = add(session, cafe.id, NOW + DAY, 500)
    assert picture(session, cafe.id, lost) is not None
    add(session, cafe.id, NOW + DAY * 1.5, 600)
    assert picture(session, cafe.id, lost) is None
    assert None not in (picture(session, cafe.id, kept), picture(session, cafe.id, late))


def test_a_program_keeps_so_many_and_no_more(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PICTURES_MAX >= 100
    monkeypatch.setattr("wallet_server.programs.pictures.PICTURES_MAX", 2)
    cafe = publish(session, NOW)
    add(session, cafe.id, NOW, 300)
    add(session, cafe.id, NOW, 400)
    with pytest.raises(DomainError) as refused:
        add(session, cafe.id, NOW, 500)
    assert refused.value.code == "picture_refused"


def test_what_is_no_picture_is_refused(session: Session) -> None:
    cafe = publish(session, NOW)
    with pytest.raises(DomainError) as refused:
        add_picture(session, cafe.id, b"no picture", "icon", now=NOW, actor="staff:a")
    assert (refused.value.code, refused.value.extra["field"]) == ("picture_refused", "icon")
    assert count(session) == 0
