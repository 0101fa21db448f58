"""What our mails say, and the form in which a mail server takes them. No database, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import jinja2

from wallet_server.i18n import gettext_noop, translator
from wallet_server.programs.definition import ProgramDefinition

RECOVERY: Final = "recovery"
RECOVERY_LASTS: Final = timedelta(minutes=15)
"""How long the link in that letter is good for."""
SUBJECTS: Final = {RECOVERY: gettext_noop("Your card of %(program)s")}
"""Kind of letter → its subject. The texts are ``templates/mail/<kind>.txt`` and ``.html``."""
_TEMPLATES: Final = Path(__file__).resolve().parents[2] / "templates"


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as it goes out: the envelope and the bytes. ``wide``: the address needs SMTPUTF8 (RFC 6531)."""

    sender: str
    recipient: str
    content: bytes
    wide: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be written, to whom, in which language. ``values`` are the template's own."""

    mail_id: UUID
    kind: str
    recipient: str
    language: str
    values: dict[str, Any]


def write_letter(order: Order, program: ProgramDefinition, *, mail_from: str, written_at: datetime) -> Letter:
    """Write a mail in plain text and HTML: no pictures, no tracking, one link.

    ``mail_from`` is our address; ``written_at`` the machine's time. The Message-ID follows from the mail's id,
    so that a mail box which gets the same mail twice can tell. Raises ``ValueError`` for an address that cannot
    stand in a header.
    """
    t = translator(order.language)
    name = program.name(t.language)
    local, _, host = order.recipient.rpartition("@")
    domain = host.encode("idna").decode("ascii")
    wide = not local.isascii()
    # 7bit: not every mail server between here and there takes bare Cyrillic (RFC 6152).
    message = EmailMessage(policy=(SMTPUTF8 if wide else SMTP).clone(cte_type="7bit"))
    message["From"] = Address(display_name=name, addr_spec=mail_from)
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = t.gettext(SUBJECTS[order.kind], program=name)
    message["Date"] = written_at
    message["Message-ID"] = f"<{order.mail_id}@{mail_from.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes in answer
    values = {**order.values, "t": t, "program_name": name, "look": program.file.look, "language": t.language}
    environment = _environment(t.language)
    message.set_content(environment.get_template(f"mail/{order.kind}.txt").render(values))
    message.add_alternative(environment.get_template(f"mail/{order.kind}.html").render(values), subtype="html")
    message["Content-Language"] = t.language  # last: whatever sets the content takes such headers away
    return Letter(mail_from, f"{local}@{domain}", message.as_bytes(), wide)


@lru_cache(maxsize=8)
def _environment(language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(("html",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    t = translator(language)
    environment.install_gettext_callables(t.gettext, t.plural, newstyle=True)  # type: ignore[attr-defined]
    return environment
