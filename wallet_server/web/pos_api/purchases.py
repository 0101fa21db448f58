"""Quotes, purchases and their refunds, and visits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from sqlmodel import Session

from wallet_server.db import reading
from wallet_server.purchases.refunds import refund_purchase
from wallet_server.purchases.services import Recorded, quote_purchase
from wallet_server.purchases.visits import record_visit
from wallet_server.web.context import server
from wallet_server.web.pos_api.blueprint import (
    Till,
    answer_key,
    answer_purchase,
    blueprint,
    id_of_path,
    json_response,
    read_body,
    respond,
    till_view,
)
from wallet_server.web.pos_api.bodies import PurchaseRequest, QuoteRequest, RefundRequest, VisitRequest
from wallet_server.web.pos_api.writing import purchase_body, quote_body, refund_body, visit_body


@blueprint.post("/quotes")
@till_view("earn")
def quote(till: Till) -> Response:
    """What a receipt would bring and cost; changes nothing."""
    body, _data = read_body(QuoteRequest)
    till.require_outlet(body.outlet)
    till.require_currency(body.currency)
    with reading(server().engine, till.program.id) as session:
        quoted = quote_purchase(session, till.program, body.command(), till.now)
    return json_response(quote_body(quoted.quote, quoted.spendable_at))


@blueprint.post("/purchases")
@till_view("earn", key_is_checked_later=True)
def purchase(till: Till) -> Response:
    """Record a receipt, once."""
    body, data = read_body(PurchaseRequest)
    till.require_outlet(body.outlet)
    till.require_currency(body.currency)
    if body.redeem_points != 0:
        till.require("redeem")

    def answered(done: Recorded) -> tuple[int, Mapping[str, Any]]:
        return 201, purchase_body(done, till.program)

    return respond(answer_purchase(till, data, body.command(body.receipt_id), answered))


@blueprint.post("/purchases/<purchase_id>/refunds")
@till_view("refund")
def refund(till: Till, purchase_id: str) -> Response:
    """Take lines of a purchase back, or all that is left of it, once."""
    body, data = read_body(RefundRequest)
    command = body.command(id_of_path(purchase_id, "unknown_purchase", "purchase"))

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        done = refund_purchase(session, till.program, command, now=till.now, recorded_by=till.actor, outlet=till.outlet)
        return 201, refund_body(done, till.program)

    return respond(answer_key(till, data, work))


@blueprint.post("/visits")
@till_view("earn")
def visit(till: Till) -> Response:
    """Record that somebody was there, once."""
    body, data = read_body(VisitRequest)
    till.require_outlet(body.outlet)

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        done = record_visit(session, till.program, body.command(), now=till.now, recorded_by=till.actor)
        return 201, visit_body(done, till.program, body.visit_id)

    return respond(answer_key(till, data, work))
