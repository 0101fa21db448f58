"""Redeeming a voucher: once, whoever presses the button first."""

from __future__ import annotations

from uuid import UUID

from flask import Response, flash, request, url_for

from wallet_server.db import transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.issuance.services import passes_changed
from wallet_server.members.queries import member_by_id
from wallet_server.rewards.services import redeem_voucher
from wallet_server.staff import audit
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.rendering import reader, see_other
from wallet_server.web.wording import refusal_sentence


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/vouchers/<code>/redeem")
@allowed("cashier")
def voucher_redeem(desk: Desk, member_id: UUID, code: str) -> Response:
    context = server()
    now = context.clock.now()
    try:
        with transaction(context.engine, desk.program.id) as session:
            member_by_id(session, member_id)
            voucher = redeem_voucher(
                session,
                desk.program,
                code,
                outlet=request.form.get("outlet", ""),
                occurred_at=now,
                receipt_id=None,
                actor=desk.actor,
                now=now,
            )
            if voucher.member_id != member_id:
                raise NotFoundError("unknown_voucher", "this member has no such voucher")
            passes_changed(session, desk.program, [member_id], now)
            audit.record(
                session,
                program_id=desk.program.id,
                actor=desk.actor,
                action="voucher.redeemed",
                subject=voucher.code,
                detail={"benefit": voucher.benefit},
                now=now,
            )
        flash(reader().gettext("The voucher has been redeemed. Hand out the reward."), "success")
    except DomainError as error:
        if error.status == 404 and error.code != "unknown_outlet":
            raise
        flash(refusal_sentence(error, reader()), "danger")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))
