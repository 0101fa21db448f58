"""Handing in a mail, over real sockets: what is surely not taken, what is, and the one moment in between."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services.mail.post_office import Certificate, PostOffice, make_certificate, post_office
from wallet_server.mail import sender as sender_module
from wallet_server.mail.letters import Letter
from wallet_server.mail.sender import MailSender, MailServer, Verdict
from wallet_server.sandbox.mail import MailBehaviour

CONTENT = b"Subject: dots\r\n\r\none\r\n.\r\n..two\r\n.three\r\nend\r\n"
LETTER = Letter("cards@cafe.example", "ana@example.com", CONTENT, wide=False)


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as office:
        yield office


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("mail"))


def server_at(port: int, **changes: str) -> MailServer:
    return replace(MailServer("127.0.0.1", port, "", "", "may"), **changes)


def sender_to(port: int, tls: ssl.SSLContext | None = None, **changes: str) -> MailSender:
    return MailSender(server_at(port, **changes), name="cafe.example", tls=tls)


class Notes:
    """The note that is made right before the end of the text."""

    def __init__(self, office: PostOffice | None = None, *, answer: bool = True) -> None:
        self.office, self.answer, self.made = office, answer, 0

    def __call__(self) -> bool:
        assert self.office is None or not self.office.mails, "the mail was taken before it was noted"
        self.made += 1
        return self.answer


def test_a_mail_arrives_as_it_was_written_and_is_noted_before(office: PostOffice) -> None:
    notes = Notes(office)
    assert sender_to(office.port).send(LETTER, notes).verdict is Verdict.SENT
    [mail] = office.mails
    assert (mail.sender, mail.recipient, mail.content) == ("cards@cafe.example", "ana@example.com", CONTENT)
    assert notes.made == 1


@pytest.mark.parametrize(
    ("behaviour", "verdict", "noted", "taken"),
    [
        (MailBehaviour.BUSY, Verdict.LATER, 0, 0),
        (MailBehaviour.UNKNOWN, Verdict.REFUSED, 0, 0),
        (MailBehaviour.BROKEN, Verdict.LATER, None, 0),
        (MailBehaviour.SPAM, Verdict.REFUSED, 1, 0),
        (MailBehaviour.FULL, Verdict.LATER, 1, 0),
        (MailBehaviour.LOST, Verdict.UNSURE, 1, 1),
    ],
)
def test_what_a_mail_server_may_do(
    office: PostOffice, behaviour: MailBehaviour, verdict: Verdict, noted: int | None, taken: int
) -> None:
    office.behave(behaviour)
    notes = Notes()
    outcome = sender_to(office.port).send(LETTER, notes)
    # A line that breaks in the text is noticed by whichever write comes first after it.
    allowed = {verdict, Verdict.UNSURE} if behaviour is MailBehaviour.BROKEN else {verdict}
    assert outcome.verdict in allowed, outcome
    assert outcome.reason
    assert noted is None or notes.made == noted
    assert len(office.mails) == taken


def test_one_that_somebody_else_has_is_broken_off_before_its_end(office: PostOffice) -> None:
    notes = Notes(answer=False)
    assert sender_to(office.port).send(LETTER, notes).verdict is Verdict.WITHHELD
    assert notes.made == 1
    assert sender_to(office.port).send(LETTER, Notes(office)).verdict is Verdict.SENT
    assert len(office.mails) == 1


def test_a_silent_mail_server_is_not_waited_for(office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "ANSWER_S_MAX", 0.2)
    office.behave(MailBehaviour.SILENT)
    assert sender_to(office.port).send(LETTER, Notes()).verdict is Verdict.LATER
    monkeypatch.setattr(sender_module, "MAIL_S_MAX", -1.0)
    assert "took more than" in sender_to(office.port).send(LETTER, Notes()).reason


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert sender_to(port).send(LETTER, Notes()).verdict is Verdict.LATER


def test_somebody_who_is_no_mail_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            line, _ = listener.accept()
            with line:
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 20_000)

        thread = threading.Thread(target=answer)
        thread.start()
        outcome = sender_to(listener.getsockname()[1]).send(LETTER, Notes())
        thread.join(20)
    assert outcome.verdict is Verdict.LATER
    assert len(outcome.reason) <= sender_module.REASON_CHARACTERS_MAX


@pytest.mark.parametrize("implicit", [False, True])
def test_with_tls_and_a_password(certificate: Certificate, implicit: bool) -> None:
    options = {"tls": certificate.server(), "implicit_tls": implicit, "credentials": ("shop", "secret: 1")}
    changes = {"encrypted": "always" if implicit else "starttls", "user": "shop"}
    with post_office(**options) as office:
        right = sender_to(office.port, certificate.trusted(), password="secret: 1", **changes)
        wrong = sender_to(office.port, certificate.trusted(), password="secret", **changes)
        stranger = sender_to(office.port, certificate.trusted(), encrypted=changes["encrypted"])
        cyrillic = sender_to(office.port, certificate.trusted(), password="тајна", **changes)
        doubting = sender_to(office.port, password="secret: 1", **changes)
        assert right.send(LETTER, Notes(office)).verdict is Verdict.SENT
        said_to = {"user and password are not accepted": wrong, "who are you": stranger, "certificate": doubting}
        for said, sender in {**said_to, "not plain ASCII": cyrillic}.items():
            outcome = sender.send(LETTER, Notes())
            assert (outcome.verdict, said in outcome.reason) == (Verdict.OURS, True), outcome
        assert len(office.mails) == 1


def test_a_mail_server_that_has_lost_its_encryption_gets_nothing(office: PostOffice) -> None:
    outcome = sender_to(office.port, encrypted="starttls", user="shop", password="secret").send(LETTER, Notes())
    assert (outcome.verdict, "no encryption" in outcome.reason) == (Verdict.OURS, True)
    assert office.mails == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 587, "", "", "starttls")),
        ("smtp://u%40x:p%2F@mail.example.com:2525", ("mail.example.com", 2525, "u@x", "p/", "starttls")),
        ("smtps://u:p@mail.example.com", ("mail.example.com", 465, "u", "p", "always")),
        ("smtp://mail.example.com:465", ("mail.example.com", 465, "", "", "always")),
        ("smtp://127.0.0.1:25", ("127.0.0.1", 25, "", "", "may")),
        ("smtp://relay:25?tls=none", ("relay", 25, "", "", "may")),
    ],
)
def test_the_address_of_a_mail_server(settings, url: str, expected: tuple[str, int, str, str, str]) -> None:
    server = MailServer.of(settings.model_copy(update={"WALLET_SMTP_URL": url}))
    assert server == MailServer(*expected)


def test_no_mail_server(settings, tmp_path: Path) -> None:
    assert MailServer.of(settings.model_copy(update={"WALLET_SMTP_URL": ""})) is None
