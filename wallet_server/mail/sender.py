"""The line to the mail server: SMTP (RFC 5321) over TLS, one mail at a time, with a limit on every wait.

Whether a mail was taken is doubtful in one moment only: between the dot that ends the text and the server's
answer to it. Before the dot the server must not deliver, so everything that goes wrong until then is safe to
try again; ``hand_over`` is called right before it, and what it has written down decides what may be repeated.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote, urlsplit

from wallet_server.mail.letters import Letter
from wallet_server.settings import Settings

SMTP_PORT: Final = 587
SMTPS_PORT: Final = 465
ANSWER_S_MAX: Final = 6.0
MAIL_S_MAX: Final = 12.0
REASON_CHARACTERS_MAX: Final = 300
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_DOT: Final = re.compile(rb"^\.", re.MULTILINE)


class Verdict(Enum):
    """What became of a mail."""

    SENT = "sent"
    LATER = "later"
    """Surely not taken; may be tried again."""
    OURS = "ours"
    """Surely not taken, and it is our account, address or certificate: somebody has to look."""
    REFUSED = "refused"
    """Surely not taken, and never will be."""
    UNSURE = "unsure"
    """The line broke after the end of the text: it may have been taken, so it is not said again."""
    WITHHELD = "withheld"
    """``hand_over`` said no: somebody else has it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict and the mail server's own words."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. ``encrypted``: ``always`` from the first byte, ``starttls``, or ``may`` be not."""

    host: str
    port: int
    user: str
    password: str
    encrypted: str

    @classmethod
    def of(cls, settings: Settings) -> MailServer | None:
        """The one of the settings, which have checked its address; ``None`` where there is none."""
        if not settings.WALLET_SMTP_URL:
            return None
        parts = urlsplit(settings.WALLET_SMTP_URL)
        host = parts.hostname or ""
        always = parts.scheme == "smtps" or parts.port == SMTPS_PORT
        # This machine's own mail server has nobody in between; for another one it has to be said.
        may = host in _LOOPBACK or parts.query == "tls=none"
        return cls(
            host=host,
            port=parts.port or (SMTPS_PORT if always else SMTP_PORT),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            encrypted="always" if always else "may" if may else "starttls",
        )


class _TroubleError(Exception):
    """The conversation ended with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class MailSender:
    """Hands mails to one mail server. Not for two threads; a line lives for one mail."""

    def __init__(self, server: MailServer, *, name: str, tls: ssl.SSLContext | None = None) -> None:
        """``name`` is what we call ourselves in EHLO; ``tls`` other than the system's authorities (in tests)."""
        self._server = server
        self._name = name
        self._tls = tls or ssl.create_default_context()

    def send(self, letter: Letter, hand_over: Callable[[], bool]) -> Outcome:
        """Hand in one mail, within twelve seconds and the six of a last answer.

        ``hand_over`` is asked right before the end of the text and must have noted durably that the mail is on
        its way; ``False`` breaks off. Raises nothing that the mail server or the network can cause.
        """
        ends_at = time.monotonic() + MAIL_S_MAX
        try:
            with self._line(ends_at) as line:
                return _Conversation(line, ends_at).hand_in(letter, hand_over)
        except _TroubleError as trouble:
            return trouble.outcome
        except smtplib.SMTPAuthenticationError as error:
            return Outcome(Verdict.OURS, f"user and password are not accepted: {_words(error.smtp_error)}")
        except ssl.SSLCertVerificationError as error:
            return Outcome(Verdict.OURS, f"the mail server's certificate: {error.verify_message}")
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            return Outcome(Verdict.LATER, _words(str(error) or type(error).__name__))

    @contextlib.contextmanager
    def _line(self, ends_at: float) -> Iterator[smtplib.SMTP]:
        server = self._server
        wait_s = _patience(ends_at)
        line: smtplib.SMTP
        if server.encrypted == "always":
            line = smtplib.SMTP_SSL(
                server.host, server.port, local_hostname=self._name, timeout=wait_s, context=self._tls
            )
        else:
            line = smtplib.SMTP(server.host, server.port, local_hostname=self._name, timeout=wait_s)
        # Closed and not quit: nobody waits for a goodbye, and what was taken was taken.
        with contextlib.closing(line):
            line.ehlo_or_helo_if_needed()
            if server.encrypted != "always":
                if line.has_extn("starttls"):
                    line.starttls(context=self._tls)
                    line.ehlo()
                elif server.encrypted == "starttls":
                    raise _TroubleError(Outcome(Verdict.OURS, f"{server.host} offers no encryption"))
            if server.user:
                try:
                    line.login(server.user, server.password)
                except smtplib.SMTPNotSupportedError as error:
                    raise _TroubleError(Outcome(Verdict.OURS, f"{server.host} takes no password")) from error
                except UnicodeEncodeError as error:  # smtplib knows no SASLprep
                    raise _TroubleError(Outcome(Verdict.OURS, "user and password are not plain ASCII")) from error
            yield line


@dataclass(frozen=True, slots=True)
class _Conversation:
    line: smtplib.SMTP
    ends_at: float

    def hand_in(self, letter: Letter, hand_over: Callable[[], bool]) -> Outcome:
        options = ("SMTPUTF8",) if letter.wide else ()
        if letter.wide and not self.line.has_extn("smtputf8"):
            return Outcome(Verdict.REFUSED, "the mail server takes no address with such letters")
        # Who sends is ours: no address of a member is at fault.
        self._say(Verdict.OURS, lambda: self.line.mail(letter.sender, options))
        self._say(Verdict.REFUSED, lambda: self.line.rcpt(letter.recipient))
        self._say(Verdict.REFUSED, lambda: self.line.docmd("DATA"), expected=354)
        self.line.send(_DOT.sub(b"..", letter.content))
        if not letter.content.endswith(b"\r\n"):
            self.line.send(b"\r\n")
        self._hurry()
        if not hand_over():
            return Outcome(Verdict.WITHHELD)
        self.line.send(b".\r\n")  # what could not be written was not heard: surely not taken
        try:
            self._set_patience(ANSWER_S_MAX)
            code, words = self.line.getreply()
        except (smtplib.SMTPException, OSError) as error:
            return Outcome(Verdict.UNSURE, _words(str(error) or type(error).__name__))
        return Outcome(Verdict.SENT, _words(words)) if code == 250 else _refusal(Verdict.REFUSED, code, words)

    def _say(self, for_good: Verdict, command: Callable[[], tuple[int, bytes]], *, expected: int = 250) -> None:
        self._hurry()
        code, words = command()
        if code != expected and not (expected == 250 and code == 251):
            raise _TroubleError(_refusal(for_good, code, words))

    def _hurry(self) -> None:
        self._set_patience(_patience(self.ends_at))

    def _set_patience(self, seconds: float) -> None:
        if self.line.sock is not None:
            self.line.sock.settimeout(seconds)


def _refusal(for_good: Verdict, code: int, words: bytes) -> Outcome:
    # 552 is said of a full mail box, which is emptied again (RFC 5321, 4.5.3.1.10).
    final = 500 <= code < 600 and code != 552
    return Outcome(for_good if final else Verdict.LATER, f"{code} {_words(words)}")


def _patience(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"the mail server took more than {MAIL_S_MAX:.0f} seconds")
    return min(ANSWER_S_MAX, left)


def _words(text: str | bytes) -> str:
    """The mail server's words on one line, for the log and the table."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:REASON_CHARACTERS_MAX]
