"""Points given or taken by hand: asked for on the member's page, decided by a second person on a page of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from flask import Response, abort, flash, request, url_for
from sqlmodel import Session

from wallet_server.db import new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import Translator, gettext_noop
from wallet_server.idempotency.services import answer_once, request_hash
from wallet_server.ledger.adjustments import Adjust, Adjusted, Role, adjust, adjustments, decide
from wallet_server.ledger.models import Adjustment
from wallet_server.ledger.queries import balances
from wallet_server.members.models import Member
from wallet_server.members.queries import member_by_id, members_by_id
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.services import tell
from wallet_server.web.context import server
from wallet_server.web.forms import parse_points
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed, form_key
from wallet_server.web.panel.members import AdjustForm, member_page
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other

PER_PAGE: Final = 50
STATES: Final = ("waiting", "posted", "refused")
TEXT_MAX: Final = 400
REFUSALS: Final = {
    "adjustment_limit": gettext_noop("Your role may move at most %(limit)s points at once."),
    "adjustment_same_person": gettext_noop(
        "Nobody changes their own points, and a second person decides what the first has asked for."
    ),
    "adjustment_decided": gettext_noop("Somebody has decided this already."),
    "insufficient_points": gettext_noop("The member does not have that many points."),
    "idempotency_in_progress": gettext_noop("This is being recorded right now. Look at the history in a moment."),
    "points": gettext_noop("Enter a whole number of points above zero."),
    "reason": gettext_noop("Give a reason of 3 to 300 characters; the member reads it too."),
}


@dataclass(frozen=True)
class Asked:
    """An adjustment with its member, and whether this reader may decide it."""

    row: Adjustment
    member: Member | None
    spendable: int
    mine: bool


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/adjust")
@allowed("cashier")
def member_adjust(desk: Desk, member_id: UUID) -> Response:
    context = server()
    now = context.clock.now()
    form = _read_form()

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        made = adjust(
            session,
            desk.program,
            _command(form, member_id),
            role=_role(desk),
            actor=desk.actor,
            address=request.remote_addr or "",
            now=now,
        )
        _tell(session, desk, made, now)
        return 201, {"v": 1, "state": made.state, "points": made.points}

    with reading(context.engine, desk.program.id) as session:
        member_by_id(session, member_id)  # of another program: 404, before a key is used up
    asked = request_hash(str(member_id), json.dumps([form.way, form.points, form.reason]))
    try:
        answer = answer_once(context.engine, desk.program.id, desk.client, form.key, asked, work, now)
    except DomainError as error:
        return _refused(desk, member_id, form, _sentence(error.code, error.extra, reader()) or error.detail, 422)
    body = json.loads(answer.body_text)
    if answer.status != 201:
        message = _sentence(body["code"], body, reader()) or body["detail"]
        return _refused(desk, member_id, form, message, answer.status)
    t = reader()
    if body["state"] == "waiting":
        flash(t.gettext("Asked for. It waits for a second manager or the owner."), "warning")
    elif body["points"] > 0:
        flash(t.gettext("Given: %(points)s.", points=t.points(body["points"])), "success")
    else:
        flash(t.gettext("Taken: %(points)s.", points=t.points(-body["points"])), "success")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))


@blueprint.get("/programs/<slug>/adjustments", endpoint="adjustments")
@allowed("manager")
def adjustments_page(desk: Desk) -> Response:
    state = request.args.get("state", "waiting")
    if state not in STATES:
        state = "waiting"
    number = min(max(1, request.args.get("page", 1, type=int)), 10_000)
    return _list_page(desk, state, number)


@blueprint.post("/programs/<slug>/adjustments/<uuid:adjustment_id>")
@allowed("manager")
def adjustment_decide(desk: Desk, adjustment_id: UUID) -> Response:
    decision = request.form.get("decision", "")
    if decision not in ("approve", "refuse"):
        abort(400)
    context, t = server(), reader()
    now = context.clock.now()
    try:
        with transaction(context.engine, desk.program.id) as session:
            made = decide(
                session,
                desk.program,
                adjustment_id,
                approve=decision == "approve",
                role=_role(desk),
                actor=desk.actor,
                now=now,
            )
            _tell(session, desk, made, now)
    except DomainError as error:
        if error.status == 404:
            raise
        message = _sentence(error.code, error.extra, t) or error.detail
        return _list_page(desk, "waiting", 1, error=message, http_status=error.status)
    if made.state == "posted":
        flash(t.gettext("Approved: the member's card shows it in a moment."), "success")
    else:
        flash(t.gettext("Refused. No points have moved."), "info")
    return see_other(url_for("panel.adjustments", slug=desk.program.slug))


def _tell(session: Session, desk: Desk, made: Adjusted, now: datetime) -> None:
    if made.state == "posted":
        tell(session, desk.program, {made.member_id: Noticed(points=made.points)}, now)


def _list_page(desk: Desk, state: str, number: int, *, error: str = "", http_status: int = 200) -> Response:
    with reading(server().engine, desk.program.id) as session:
        found = adjustments(session, desk.program, state=state, limit=PER_PAGE + 1, offset=(number - 1) * PER_PAGE)
        ids = {row.member_id for row in found[:PER_PAGE]}
        people, points = members_by_id(session, ids), balances(session, ids)
    rows = [
        Asked(
            row,
            people.get(row.member_id),
            points[row.member_id].spendable if row.member_id in points else 0,
            mine=row.requested_by == desk.actor,
        )
        for row in found[:PER_PAGE]
    ]
    return panel_page(
        desk,
        "panel/adjustments/list.html",
        block="results",
        http_status=http_status,
        rows=rows,
        state=state,
        number=number,
        has_more=len(found) > PER_PAGE,
        error=error,
        limits=desk.program.points.adjustments,
    )


def _role(desk: Desk) -> Role:
    assert desk.role in ("owner", "manager", "cashier"), desk.role
    return desk.role  # type: ignore[return-value]


def _read_form() -> AdjustForm:
    return AdjustForm(
        key=form_key(),
        way="take" if request.form.get("way") == "take" else "give",
        points=request.form.get("points", "").strip()[:20],
        reason=" ".join(request.form.get("reason", "").split())[:TEXT_MAX],
    )


def _command(form: AdjustForm, member_id: UUID) -> Adjust:
    points = parse_points(form.points, "points")
    return Adjust(points=-points if form.way == "take" else points, reason=form.reason, member_id=member_id)


def _refused(desk: Desk, member_id: UUID, form: AdjustForm, message: str, status: int) -> Response:
    # Under the old key the refusal would be repeated for ever, so the corrected form gets a new one.
    fresh = AdjustForm(new_id().hex, form.way, form.points, form.reason, error=message)
    return member_page(desk, member_id, adjust_form=fresh, http_status=status)


def _sentence(code: str, extra: Mapping[str, Any], t: Translator) -> str:
    """A refusal in the reader's words; of several bad fields the first."""
    if code == "validation":
        code = extra.get("field") or next((error["field"] for error in extra.get("errors", ())), "")
    limit = extra.get("limit")
    return t.gettext(REFUSALS[code], limit=t.number(limit) if limit is not None else "") if code in REFUSALS else ""
