"""Quotes and purchases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from sqlmodel import Session

from wallet_server.db import reading
from wallet_server.purchases.services import quote_purchase, record_purchase
from wallet_server.web.context import server
from wallet_server.web.pos_api.answers import purchase_body, quote_body
from wallet_server.web.pos_api.blueprint import (
    Till,
    answer_key,
    blueprint,
    json_response,
    read_body,
    respond,
    till_view,
)
from wallet_server.web.pos_api.bodies import PurchaseRequest, QuoteRequest


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
@till_view("earn")
def purchase(till: Till) -> Response:
    """Record a receipt, once."""
    body, data = read_body(PurchaseRequest)
    till.require_outlet(body.outlet)
    till.require_currency(body.currency)
    if body.redeem_points != 0:
        till.require("redeem")

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        command = body.command(body.receipt_id)
        done = record_purchase(session, till.program, command, now=till.now, source="till", recorded_by=till.actor)
        return 201, purchase_body(done)

    return respond(answer_key(till, data, work))
