"""What a mail says, in three languages, and that it can be taken by every mail server."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default as modern
from uuid import UUID

import pytest

from tests.factories import CAFE, program_file
from wallet_server.mail.letters import Letter, Order, write_letter
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile


def cafe(**program: object) -> ProgramDefinition:
    file = ProgramFile.model_validate(program_file(program={**CAFE["program"], **program}))
    return ProgramDefinition(
        id=UUID(int=1), slug="cafe", version=1, file=file, outlets={}, closed_outlets={}, parents={}
    )


LINK = "https://cards.example/lost/AbC-_9"
MAIL = UUID("0199a000-0000-7000-8000-000000000001")
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def write(recipient: str = "ana@example.com", language: str = "en", **program: object) -> Letter:
    order = Order(
        mail_id=MAIL,
        kind="recovery",
        recipient=recipient,
        language=language,
        values={"link": LINK, "minutes": 15},
    )
    return write_letter(order, cafe(**program), mail_from="cards@cafe.example", written_at=NOON)


@pytest.mark.parametrize("language", ["en", "ru", "mk"])
def test_both_forms_say_the_same_and_name_the_link_once(language: str) -> None:
    letter = write(language=language)
    message = message_from_bytes(letter.content, policy=modern)
    plain = message.get_body(("plain",)).get_content()
    html = message.get_body(("html",)).get_content()
    assert plain.count(LINK) == html.count(LINK) == 1
    assert "15" in plain
    assert "15" in html
    assert html.count("http") == 1, "a mail loads nothing and leads nowhere else"
    assert f'lang="{language}"' in html
    assert message["Content-Language"] == language


def test_the_head_of_a_mail() -> None:
    message = message_from_bytes(write().content, policy=modern)
    assert str(message["From"]) == "Cafe Ohrid <cards@cafe.example>"
    assert str(message["To"]) == "ana@example.com"
    assert str(message["Subject"]) == "Your card of Cafe Ohrid"
    assert message["Message-ID"] == f"<{MAIL}@cafe.example>"
    assert message["Date"].datetime == NOON
    assert message["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("language", ["en", "ru", "mk"])
def test_every_mail_server_can_take_it(language: str) -> None:
    content = write(language=language).content
    assert content.isascii()
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\n" in line or b"\r" in line for line in lines)


def test_a_name_that_looks_like_markup_or_a_header_is_only_a_name() -> None:
    name = {"en": 'A "B" <b>&</b>, C', "mk": "К", "ru": "К"}
    message = message_from_bytes(write(name=name).content, policy=modern)
    assert message["From"].addresses[0].display_name == name["en"]
    assert message["From"].addresses[0].addr_spec == "cards@cafe.example"
    assert "<b>" not in message.get_body(("html",)).get_content()


def test_addresses_in_other_letters() -> None:
    foreign = write("ana@пример.example")
    assert (foreign.recipient, foreign.wide) == ("ana@xn--e1afmkfd.example", False)
    wide = write("ана@example.com")
    assert (wide.recipient, wide.wide) == ("ана@example.com", True)
    assert "ана@example.com".encode() in wide.content


@pytest.mark.parametrize("recipient", ["ana@" + "x" * 64 + ".example", "a\r\nBcc: b@example.com@example.com"])
def test_an_address_that_cannot_stand_in_a_header_is_refused(recipient: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        write(recipient)
