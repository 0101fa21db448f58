"""Joining at the till, and what the cashier sees of a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Response
from sqlmodel import Session

from wallet_server.challenges.queries import states
from wallet_server.db import reading, to_json, transaction
from wallet_server.ledger.expiry import current_balance
from wallet_server.ledger.queries import entries
from wallet_server.members.coefficients import coefficients_of_members, set_coefficient
from wallet_server.members.queries import member_by_id, member_of_card
from wallet_server.members.services import enrol
from wallet_server.members.tags import set_tags, tags_of_member
from wallet_server.notifications.queries import newest
from wallet_server.rewards.queries import vouchers
from wallet_server.tiers.queries import tiers
from wallet_server.web.context import server
from wallet_server.web.member.addresses import wallet_links
from wallet_server.web.pos_api.blueprint import (
    Till,
    answer_key,
    blueprint,
    card_of_path,
    json_response,
    read_body,
    read_query,
    respond,
    till_view,
)
from wallet_server.web.pos_api.bodies import CoefficientRequest, EntriesQuery, NewMember, TagsRequest
from wallet_server.web.pos_api.writing import (
    balance_body,
    challenge_bodies,
    coefficient_bodies,
    entry_body,
    voucher_body,
)


@blueprint.post("/members")
@till_view("members")
def join(till: Till) -> Response:
    """201 for a new member, 200 for somebody who is one already."""
    body, data = read_body(NewMember)
    if body.outlet:
        till.require_outlet(body.outlet)

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        joined = enrol(session, till.program, body.command(till.outlet), now=till.now, actor=till.actor)
        return (201 if joined.created else 200), {"member_id": joined.member_id, "card_number": joined.card_number}

    answer = answer_key(till, data, work)
    if answer.status >= 400:
        return respond(answer)
    # The addresses are secrets, derived each time they are asked for: the stored answer holds none.
    return respond(answer, to_json(_with_addresses(till, json.loads(answer.body_text))))


def _with_addresses(till: Till, stored: dict[str, Any]) -> dict[str, Any]:
    context = server()
    with reading(context.engine, till.program.id) as session:
        member = member_by_id(session, UUID(stored["member_id"]))
    links = wallet_links(member)
    token = context.mint.page_token(member.id, member.token_generation)
    return {
        **stored,
        "page_url": f"{context.settings.public_url}/m/{token}",
        "apple_pass_url": links.apple_url,
        "google_save_url": links.google_url,
    }


@blueprint.get("/members/<card_number>")
@till_view()
def member(till: Till, card_number: str) -> Response:
    """Balance, tier, challenges, and what can be redeemed now."""
    with reading(server().engine, till.program.id) as session:
        found = member_of_card(session, card_of_path(card_number)).member
        only = [found.id]
        points = current_balance(session, till.program, found.id, till.now)
        own = coefficients_of_members(session, only).get(found.id, ())
        news = newest(session, only).get(found.id)
        body = {
            "member_id": found.id,
            "card_number": card_number,
            "tier": tiers(session, only).get(found.id),
            "balance": balance_body(points, till.program),
            "challenges": challenge_bodies(states(session, till.program, only, till.now).get(found.id, ())),
            "vouchers": [voucher_body(voucher) for voucher in vouchers(session, only, till.now).get(found.id, ())],
            "offers": [{"text": news}] if news else [],
            "points_held": points.held,
            "points_owed": points.owed,
            "tags": tags_of_member(session, found.id),
            "coefficients": coefficient_bodies([one for one in own if one.ends_at is None or one.ends_at > till.now]),
        }
    return json_response(body)


@blueprint.put("/members/<card_number>/coefficient")
@till_view("members")
def coefficient(till: Till, card_number: str) -> Response:
    """Set the member's own percent; doing it again changes nothing, so it needs no key."""
    body, _data = read_body(CoefficientRequest)
    till.require_outlet(body.outlet)
    with transaction(server().engine, till.program.id) as session:
        coefficients = set_coefficient(
            session,
            till.program,
            card_of_path(card_number),
            percent=body.percent,
            outlet=body.outlet,
            ends_at=body.ends_at,
            redeem_max_percent=body.redeem_max_percent,
            actor=till.actor,
            now=till.now,
        )
    return json_response({"card_number": card_number, "coefficients": coefficient_bodies(coefficients)})


@blueprint.put("/members/<card_number>/tags")
@till_view("members")
def tags(till: Till, card_number: str) -> Response:
    """Set the member's tags; doing it again changes nothing, so it needs no key."""
    body, _data = read_body(TagsRequest)
    with transaction(server().engine, till.program.id) as session:
        found = member_of_card(session, card_of_path(card_number)).member
        kept = set_tags(session, till.program, found.id, body.tags, actor=till.actor, now=till.now)
    return json_response({"card_number": card_number, "tags": kept})


@blueprint.get("/members/<card_number>/entries")
@till_view()
def ledger(till: Till, card_number: str) -> Response:
    """A page of the member's ledger, newest first."""
    query = read_query(EntriesQuery)
    with reading(server().engine, till.program.id) as session:
        found = member_of_card(session, card_of_path(card_number)).member
        rows = entries(session, found.id, before_sequence=query.after, limit=query.limit)
    # Entries are numbered without gaps, so the first one ends the list.
    last = rows[-1].sequence if rows else 1
    return json_response(
        {"entries": [entry_body(row, till.program) for row in rows], "next_after": last if last > 1 else None}
    )
