"""Where a staff user works: signed in, in one program, with a role; the one guard of all panel pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, NoReturn, TypeVar, cast
from urllib.parse import urlsplit

from flask import Response, abort, redirect, request, url_for
from werkzeug.exceptions import Forbidden, NotFound

from wallet_server.db import ALL_PROGRAMS, new_id, reading
from wallet_server.errors import NotFoundError
from wallet_server.idempotency.services import Work, answer_once, request_hash
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.staff.roles import Role
from wallet_server.staff.sign_in import StaffIdentity
from wallet_server.web.context import server
from wallet_server.web.rendering import wants_fragment
from wallet_server.web.security import permission
from wallet_server.web.sessions import staff_identity

View = TypeVar("View", bound=Callable[..., Any])
_FORM_KEY: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Desk:
    """Who works, in which program, as what."""

    identity: StaffIdentity
    program: ProgramDefinition
    role: str

    @property
    def actor(self) -> str:
        """As records and the audit log name the person."""
        return self.identity.actor

    @property
    def client(self) -> str:
        """Whose idempotency keys these are."""
        return f"staff:{self.identity.staff_id}"

    def may(self, needed: Role) -> bool:
        """Whether the person's role here is at least ``needed``."""
        return self.identity.may(self.program.id, needed)


def allowed(needed: Role) -> Callable[[View], View]:
    """Let staff in whose role in the program of the address is at least ``needed``.

    The view gets a :class:`Desk` in place of the slug. Who is not signed in is sent to the login page; a
    program in which the person has no role does not exist for them (404); too small a role is 403.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(slug: str, **values: Any) -> Any:
            return view(open_desk(slug, needed), **values)

        return cast(View, permission(needed)(guarded))

    return decorate


def signed_in(view: View) -> View:
    """Let any staff user in; the view gets the :class:`StaffIdentity` first."""

    @wraps(view)
    def guarded(**values: Any) -> Any:
        return view(identity_or_login(), **values)

    return cast(View, permission("staff")(guarded))


def form_key() -> str:
    """The key of the form that was sent, so that a button pressed twice acts once; a new one for a form without."""
    key = request.form.get("key", "")
    return key if _FORM_KEY.fullmatch(key) else new_id().hex


def done_once(desk: Desk, button: str, work: Work) -> dict[str, Any]:
    """What ``work`` says it did, done once however often the form's ``button`` was pressed, and told each time.

    A page may have one key for several buttons, so the button's name has to differ where its deed does.
    Raises ``DomainError``: what ``work`` refuses, and ``idempotency_in_progress``.
    """
    context = server()
    key = request_hash(form_key(), button)
    now = context.clock.now()
    return answer_once(context.engine, desk.program.id, desk.client, key, request_hash(button), work, now).done()


def open_desk(slug: str, needed: Role) -> Desk:
    """The desk of this request; ends the request where there is none."""
    identity = identity_or_login()
    with reading(server().engine, ALL_PROGRAMS) as session:
        try:
            program = load_program(session, slug=slug)
        except NotFoundError:
            raise NotFound from None
    role = identity.roles.get(program.id)
    if role is None:
        raise NotFound
    if not identity.may(program.id, needed):
        raise Forbidden
    return Desk(identity, program, role)


def identity_or_login() -> StaffIdentity:
    """The staff user of this request; ends the request with the way to the login page where there is none."""
    identity = staff_identity()
    if identity is None:
        _to_login()
    return identity


def _to_login() -> NoReturn:
    if wants_fragment():
        # The page around the fragment is what has to go to the login page; htmx does that for this header.
        current = urlsplit(request.headers.get("HX-Current-URL", "")).path
        location = url_for("panel.login", next=safe_next(current))
        abort(Response(status=401, headers={"HX-Redirect": location}))
    wanted = request.full_path.rstrip("?") if request.method == "GET" else ""
    abort(cast(Response, redirect(url_for("panel.login", next=safe_next(wanted) or None), 303)))


def safe_next(target: str) -> str:
    """Where to go after signing in, if it is a page of the panel on this server; else nothing."""
    is_ours = target.startswith("/panel/") and "\\" not in target and "//" not in target and target.isprintable()
    return target if is_ours and len(target) <= 500 else ""
