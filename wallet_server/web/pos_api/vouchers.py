"""Redeeming vouchers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from sqlmodel import Session

from wallet_server.issuance.services import passes_changed
from wallet_server.rewards.services import redeem_voucher
from wallet_server.web.pos_api.blueprint import Till, answer_key, blueprint, read_body, respond, till_view
from wallet_server.web.pos_api.bodies import VoucherRedemption
from wallet_server.web.pos_api.writing import voucher_body


@blueprint.post("/vouchers/<code>/redeem")
@till_view("redeem")
def redeem(till: Till, code: str) -> Response:
    """Use a voucher, once."""
    body, data = read_body(VoucherRedemption)
    till.require_outlet(body.outlet)

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        voucher = redeem_voucher(
            session,
            till.program,
            code,
            outlet=body.outlet,
            occurred_at=body.occurred_at,
            receipt_id=body.receipt_id,
            actor=till.actor,
            now=till.now,
        )
        passes_changed(session, till.program, [voucher.member_id], till.now)
        return 200, voucher_body(voucher)

    return respond(answer_key(till, data, work))
