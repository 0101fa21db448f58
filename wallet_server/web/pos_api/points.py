"""Points that are set aside, and points given or taken by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from flask import Response, request
from sqlmodel import Session

from wallet_server.issuance.services import passes_changed
from wallet_server.ledger.adjustments import Adjust, adjust
from wallet_server.ledger.holds import HoldState, PlaceHold, find_hold, release_hold
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.services import tell
from wallet_server.purchases.holds import capture_hold, place_hold
from wallet_server.web.pos_api.blueprint import (
    Till,
    answer_key,
    blueprint,
    id_of_path,
    read_body,
    respond,
    till_view,
)
from wallet_server.web.pos_api.bodies import AdjustmentRequest, HoldCapture, HoldRelease, HoldRequest
from wallet_server.web.pos_api.writing import adjustment_body, hold_body


@blueprint.post("/holds")
@till_view("redeem")
def hold(till: Till) -> Response:
    """Set points aside."""
    body, data = read_body(HoldRequest)
    till.require_outlet(body.outlet)

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        command = PlaceHold(
            card_number=body.card_number,
            outlet=body.outlet,
            points=body.points,
            expires_in_seconds=body.expires_in_seconds,
            reference=body.reference,
        )
        state = place_hold(session, till.program, command, now=till.now, actor=till.actor)
        passes_changed(session, till.program, [state.member_id], till.now)
        return 201, hold_body(state, till.program)

    return respond(answer_key(till, data, work))


@blueprint.post("/holds/<hold_id>/capture")
@till_view("redeem")
def capture(till: Till, hold_id: str) -> Response:
    """Let them pay."""
    body, data = read_body(HoldCapture, may_be_missing=True)
    if body.outlet is not None:
        till.require_outlet(body.outlet)

    def resolve(session: Session, key: UUID) -> HoldState:
        return capture_hold(
            session, till.program, key, points=body.points, now=till.now, actor=till.actor, outlet=body.outlet
        )

    return _resolve(till, hold_id, data, resolve)


@blueprint.post("/holds/<hold_id>/release")
@till_view("redeem")
def release(till: Till, hold_id: str) -> Response:
    """Give them back."""
    _body, data = read_body(HoldRelease, may_be_missing=True)

    def resolve(session: Session, key: UUID) -> HoldState:
        state = release_hold(session, till.program, key, now=till.now, actor=till.actor)
        passes_changed(session, till.program, [state.member_id], till.now)
        return state

    return _resolve(till, hold_id, data, resolve)


def _resolve(till: Till, hold_id: str, data: Any, resolve: Callable[[Session, UUID], HoldState]) -> Response:
    key = id_of_path(hold_id, "unknown_hold", "hold")

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        if till.outlet is not None:
            # Whoever holds one outlet's key has no business with what another outlet has set aside.
            found = find_hold(session, till.program, key)
            till.require_outlet(till.program.outlet_by_id(found.outlet_id).section.code)
        return 200, hold_body(resolve(session, key), till.program)

    return respond(answer_key(till, data, work))


@blueprint.post("/adjustments")
@till_view("adjust")
def adjustment(till: Till) -> Response:
    """Give or take points by hand, up to what the program allows a till."""
    body, data = read_body(AdjustmentRequest)

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        done = adjust(
            session,
            till.program,
            Adjust(card_number=body.card_number, points=body.points, reason=body.reason),
            role="till",
            actor=till.actor,
            address=request.remote_addr or "",
            now=till.now,
        )
        if done.state == "posted":
            tell(session, till.program, {done.member_id: Noticed(points=done.points)}, till.now)
        return 201, adjustment_body(done, till.program)

    return respond(answer_key(till, data, work))
