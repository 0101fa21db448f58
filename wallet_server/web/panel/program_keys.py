"""API keys: what tills sign in with. A key is shown on the page that makes it, and never again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from flask import Response, flash, request, url_for
from sqlmodel import Session

from wallet_server.db import new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop, localized
from wallet_server.idempotency.services import answer_once, request_hash
from wallet_server.programs.keys import list_api_keys
from wallet_server.programs.models import ApiKey
from wallet_server.programs.services import SCOPES, create_api_key, revoke_api_key
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed, form_key
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import language, reader, see_other

SCOPE_NAMES: Final = {
    "earn": gettext_noop("Quotes, purchases and visits"),
    "redeem": gettext_noop("Paying with points, vouchers"),
    "refund": gettext_noop("Refunds"),
    "members": gettext_noop("Enrolling and looking up members"),
    "adjust": gettext_noop("Correcting points by hand"),
}
"""What each scope is good for; a test holds it together with the scopes that there are."""


@dataclass(frozen=True)
class KeyRow:
    """One line of the list; ``outlet`` is empty for a key that is good everywhere."""

    key: ApiKey
    outlet: str


@dataclass(frozen=True)
class KeyForm:
    """What was ticked; ``key`` is the form's own, so that a reload makes no second one."""

    key: str
    outlet: str = ""
    scopes: tuple[str, ...] = SCOPES


@blueprint.get("/programs/<slug>/program/keys")
@allowed("owner")
def program_keys(desk: Desk) -> Response:
    return _list_page(desk)


@blueprint.get("/programs/<slug>/program/keys/new")
@allowed("owner")
def program_keys_new(desk: Desk) -> Response:
    return _form_page(desk, KeyForm(new_id().hex))


@blueprint.post("/programs/<slug>/program/keys/new")
@allowed("owner")
def program_keys_create(desk: Desk) -> Response:
    """Make the key and show it. The same form sent again shows the list: the key itself is kept nowhere."""
    context = server()
    now = context.clock.now()
    form = _typed()
    made: list[tuple[ApiKey, str]] = []

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        outlet = desk.program.outlet(form.outlet).id if form.outlet else None
        made.append(
            create_api_key(session, desk.program.id, outlet_id=outlet, scopes=form.scopes, now=now, actor=desk.actor)
        )
        return 201, {"v": 1, "key_id": made[-1][0].id}

    try:
        asked = request_hash("api-key", form.outlet, *form.scopes)
        answer = answer_once(context.engine, desk.program.id, desk.client, form.key, asked, work, now)
    except DomainError as error:
        return _form_page(desk, form, refused=error.code)
    if answer.status != 201:
        # The stored refusal would be repeated under the old key, so the corrected form gets a new one.
        again = KeyForm(new_id().hex, form.outlet, form.scopes)
        return _form_page(desk, again, refused=str(json.loads(answer.body_text)["code"]))
    if answer.replayed:
        flash(reader().gettext("This form has been sent before. Its key cannot be shown again."), "warning")
        return see_other(url_for("panel.program_keys", slug=desk.program.slug))
    key, secret = made[-1]
    return panel_page(
        desk,
        "panel/program/keys_created.html",
        row=KeyRow(key, _outlet_name(desk, key)),
        secret=secret,
        scope_names=SCOPE_NAMES,
    )


@blueprint.post("/programs/<slug>/program/keys/<uuid:key_id>/revoke")
@allowed("owner")
def program_keys_revoke(desk: Desk, key_id: UUID) -> Response:
    context = server()
    if request.form.get("confirmed") != "yes":
        return _list_page(desk, error=reader().gettext("Tick the box to revoke the key."), http_status=422)
    with transaction(context.engine, desk.program.id) as session:
        revoke_api_key(session, desk.program.id, key_id, now=context.clock.now(), actor=desk.actor)
    flash(reader().gettext("The key has been revoked. Tills that use it are turned away from now on."), "success")
    return see_other(url_for("panel.program_keys", slug=desk.program.slug))


def _list_page(desk: Desk, *, error: str = "", http_status: int = 200) -> Response:
    with reading(server().engine, desk.program.id) as session:
        keys = list_api_keys(session, desk.program.id)
    rows = [KeyRow(key, _outlet_name(desk, key)) for key in keys]
    return panel_page(
        desk,
        "panel/program/keys.html",
        http_status=http_status,
        rows=[row for row in rows if row.key.revoked_at is None],
        revoked=[row for row in rows if row.key.revoked_at is not None],
        scope_names=SCOPE_NAMES,
        error=error,
    )


def _form_page(desk: Desk, form: KeyForm, *, refused: str = "") -> Response:
    t = reader()
    sentences = {
        "validation": t.gettext("Tick at least one thing that the key is good for."),
        "unknown_outlet": t.gettext("The program has no such outlet any more. Choose again."),
    }
    other = t.gettext("This form has been sent before with other content. Nothing was changed.")
    return panel_page(
        desk,
        "panel/program/keys_new.html",
        http_status=422 if refused else 200,
        form=form,
        outlets=sorted(desk.program.outlets.values(), key=lambda outlet: outlet.section.code),
        scope_names=SCOPE_NAMES,
        error=sentences.get(refused, other) if refused else "",
        error_field={"validation": "scopes", "unknown_outlet": "outlet"}.get(refused, ""),
    )


def _typed() -> KeyForm:
    return KeyForm(
        key=form_key(),
        outlet=request.form.get("outlet", "")[:63],
        scopes=tuple(scope for scope in SCOPES if scope in request.form.getlist("scopes")),
    )


def _outlet_name(desk: Desk, key: ApiKey) -> str:
    if key.outlet_id is None:
        return ""
    return localized(desk.program.outlet_by_id(key.outlet_id).section.name, language(), desk.program.languages)
