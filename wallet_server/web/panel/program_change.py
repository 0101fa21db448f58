"""Publishing one change of the program that somebody made on a page without a draft of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import flash, request

from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import change_program
from wallet_server.web.context import server
from wallet_server.web.panel.desk import Desk
from wallet_server.web.rendering import reader

OVERTAKEN: Final = gettext_noop("Somebody has changed the program meanwhile. Look at it as it is now, and try again.")


def publish_change(desk: Desk, change: Callable[[ProgramFile], ProgramFile]) -> bool:
    """Publish a change of what the person has seen; false, with a word to the person, if it was overtaken.

    The form names the ``version`` that its page was made from. Raises what ``change`` and the publishing raise.
    """
    context = server()
    try:
        with transaction(context.engine, ALL_PROGRAMS) as session:
            change_program(
                session,
                desk.program.id,
                change,
                version=request.form.get("version", 0, type=int),
                now=context.clock.now(),
                actor=desk.actor,
            )
    except DomainError as error:
        if error.code != "program_changed":
            raise
        flash(reader().gettext(OVERTAKEN), "warning")
        return False
    return True
