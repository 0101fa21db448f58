"""The use-case of a purchase: quote it, or record it with everything that follows from it.

One purchase at the till is a batch of one; an import brings batches of hundreds. Either way a batch costs a
fixed handful of statements: read what is needed, compute in memory in the given order, write in bulk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.challenges import services as challenges
from wallet_server.challenges.progress import ChallengeState
from wallet_server.db import ALL_PROGRAMS, insert_free_rows, insert_rows, set_scope, upsert_rows
from wallet_server.errors import DomainError
from wallet_server.issuance.services import passes_changed
from wallet_server.ledger.expiry import current_balance
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import balances as read_balances
from wallet_server.ledger.services import post, release_pending
from wallet_server.members.models import MemberStatistics
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.services import tell
from wallet_server.partners.services import settle
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.purchases.batch import (
    Batch,
    Members,
    categories_of,
    costs_of,
    duplicate,
    lock_members,
    look_up,
    usable_card,
    versions_of,
)
from wallet_server.purchases.commands import CardRow, RecordPurchase, Source, check
from wallet_server.purchases.models import Purchase, PurchaseLine, PurchaseTrace
from wallet_server.purchases.noticed import noticed
from wallet_server.purchases.plan import (
    Plan,
    Planned,
    facts_of,
    is_running,
    line_rows,
    purchase_row,
    spendable_at,
    trace_row,
    version_for,
)
from wallet_server.purchases.queries import PURCHASE, cards_by_number, people_asked_for, receipts_asked
from wallet_server.reads import ask
from wallet_server.rewards.services import grant
from wallet_server.rewards.wins import Won
from wallet_server.rules.engine import Quote
from wallet_server.staff import audit
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.queries import standings as read_standings
from wallet_server.tiers.queries import tiers as read_tiers
from wallet_server.tiers.services import reconsider
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit, silenced

BATCH_MAX = 1_000
IMPORT_PRIORITY = 10
_OVERTAKEN_MAX = 5


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a receipt would bring; nothing was changed."""

    member_id: UUID
    quote: Quote
    spendable_at: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded purchase. ``balance``, ``tier`` and ``challenges`` are the member's after the whole batch."""

    purchase_id: UUID
    member_id: UUID
    quote: Quote
    spendable_at: datetime
    balance: Balance
    tier: str | None
    challenges: tuple[ChallengeState, ...]
    rewards: tuple[Won, ...]


def quote_purchase(session: Session, program: ProgramDefinition, command: RecordPurchase, now: datetime) -> Quoted:
    """What a purchase would bring and cost; changes nothing, locks nothing. ``receipt_id`` is not looked at.

    Raises as :func:`record_purchase` does, except for ``duplicate_receipt``.
    """
    with _scoped(session, program):
        return _quote(session, program, command, now)


def _quote(session: Session, program: ProgramDefinition, command: RecordPurchase, now: datetime) -> Quoted:
    check(command, now=now, source="till", needs_receipt_id=False)
    cards = cards_by_number(session, program.id, [command.card_number])
    card = usable_card(cards, command.card_number)
    versions = versions_of(session, program, [command], "till")
    plan = Plan(
        program,
        now,
        "till",
        {card.member_id: current_balance(session, program, card.member_id, now)},
        read_standings(session, program, [card.member_id], now),
        ask(session, categories_of(program, [command])),
        people_asked_for(session, program, [card.member_id], now, versions=versions.values()),
        ask(session, costs_of(program, versions.values(), [command])),
        versions,
    )
    made = plan.quote(command, card)
    return Quoted(card.member_id, made, spendable_at(version_for(program, versions, command), command.occurred_at, now))


def record_purchase(
    session: Session,
    program: ProgramDefinition,
    command: RecordPurchase,
    *,
    now: datetime,
    source: Source,
    recorded_by: str,
) -> Recorded:
    """Record one purchase; see :func:`record_purchases`.

    Raises ``DomainError``: ``validation``, ``unknown_card``, ``card_blocked``, ``unknown_outlet``,
    ``duplicate_receipt`` (409, with the first ``purchase_id``), ``insufficient_points``, ``redeem_limit_exceeded``.
    """
    [result] = record_purchases(session, program, [command], now=now, source=source, recorded_by=recorded_by)
    assert isinstance(result, Recorded), "errors were to be raised"
    return result


def record_purchases(
    session: Session,
    program: ProgramDefinition,
    commands: Sequence[RecordPurchase],
    *,
    now: datetime,
    source: Source,
    recorded_by: str | Sequence[str],
    on_error: Literal["raise", "return"] = "raise",
) -> list[Recorded | DomainError]:
    """Record purchases in the given order with all their consequences; at most 1,000 at once.

    ``recorded_by`` is one for all, or one for each. A member may appear many times: each receipt is computed with
    the state that the one before it left, except for segments, which are those before the batch. With
    ``on_error="return"`` a refused receipt takes the place of its result and changes nothing, the others are
    recorded; with ``"raise"`` the first refusal is raised and the caller rolls everything back.
    """
    assert len(commands) <= BATCH_MAX, f"{len(commands)} purchases were to be recorded at once"
    with _scoped(session, program), silenced(session, when=source == "import"):
        actors = [recorded_by] * len(commands) if isinstance(recorded_by, str) else recorded_by
        return _record(session, Batch(program, commands, actors, now, source, raise_errors=on_error == "raise"))


def _record(session: Session, batch: Batch) -> list[Recorded | DomainError]:
    batch.refuse_where(lambda command: check(command, now=batch.now, source=batch.source))
    batch.versions = versions_of(
        session, batch.program, [command for _index, command in batch.accepted()], batch.source
    )
    found = look_up(session, batch)
    members = lock_members(session, batch, found.cards)
    recorded, refused_before = found.recorded, dict(batch.refused)
    for _attempt in range(_OVERTAKEN_MAX):
        batch.refused = dict(refused_before)
        plan = Plan(
            batch.program,
            batch.now,
            batch.source,
            dict(members.balances),
            dict(members.standings),
            found.categories,
            members.people,
            found.costs,
            batch.versions,
        )
        batch.refuse_recorded(recorded)
        planned = _compute(plan, batch, found.cards)
        if _claim(session, plan):
            break
        # Another till was faster, between our look and our write: now its receipt can be seen.
        recorded = ask(session, receipts_asked(batch.program.id, batch.receipts().values()))
    else:
        raise DomainError("busy", "the same receipts are being recorded elsewhere; try again", status=503)
    results = _write(session, plan, members)
    return [
        batch.refused[index] if index in batch.refused else results[planned[index].purchase_id]
        for index in range(len(batch.commands))
    ]


@contextmanager
def _scoped(session: Session, program: ProgramDefinition) -> Iterator[None]:
    """Narrow a session over all programs to this one: a sku means something else in each."""
    before = session.info.get("scope")
    assert before in (ALL_PROGRAMS, program.id), "the session works for another program"
    set_scope(session, program.id)
    try:
        yield
    finally:
        set_scope(session, before)


def _compute(plan: Plan, batch: Batch, cards: Mapping[str, CardRow]) -> dict[int, Planned]:
    planned: dict[int, Planned] = {}
    in_batch: dict[tuple[str, str], UUID] = {}
    for index, command in batch.accepted():
        receipt = (command.outlet, command.receipt_id)
        try:
            if receipt in in_batch:
                raise duplicate(in_batch[receipt])
            planned[index] = plan.add(command, cards[command.card_number], batch.actors[index])
            in_batch[receipt] = planned[index].purchase_id
        except DomainError as error:
            batch.refuse(index, error)
    return planned


def _claim(session: Session, plan: Plan) -> bool:
    """Write the purchases; false, and nothing written, if another transaction has recorded one of the receipts.

    The unique key (outlet, receipt) decides between two tills, not our look at the table before.
    """
    rows = [purchase_row(plan, planned) for planned in plan.planned]
    claimed = insert_free_rows(session, Purchase, rows, key=["outlet_id", "receipt_id"])
    if len(claimed) == len(rows):
        return True
    session.connection().execute(sa.delete(PURCHASE).where(PURCHASE.c.id.in_(claimed)))
    return False


def _write(session: Session, plan: Plan, members: Members) -> dict[UUID, Recorded]:
    """Write everything else, and say what each purchase has brought."""
    if not plan.planned:
        return {}
    program, now, locked, standings = plan.program, plan.now, members.balances, members.standings
    member_ids = list(dict.fromkeys(planned.card.member_id for planned in plan.planned))
    insert_rows(session, PurchaseLine, [row for planned in plan.planned for row in line_rows(plan, planned)])
    insert_rows(session, PurchaseTrace, [trace_row(plan, planned) for planned in plan.planned])
    balances = {**locked, **post(session, program.id, plan.movements, now, balances=locked, carried=plan.carried)}
    paid_with_points = [planned.purchase_id for planned in plan.planned if planned.quote.points_redeemed]
    settle(session, program, now, purchase_ids=paid_with_points)
    emit(session, program.id, [_event(planned, balances[planned.card.member_id]) for planned in plan.planned], now)
    _write_statistics(session, plan, member_ids)
    held_before = {key: standings.get(key, Standing()).tier for key in member_ids}
    held = {key: _holding(plan.standings[key], held_before[key]) for key in member_ids}
    tiers = reconsider(session, program, member_ids, now, known=held)
    running = [facts_of(planned) for planned in plan.planned if is_running(planned)]
    advance = challenges.advance(session, program, running, now, before=members.challenges)
    won = grant(session, program, advance.completions, now)
    if any(reward.points for reward in won):
        balances |= read_balances(session, {reward.member_id for reward in won})
    if any(reward.tier for reward in won):
        tiers |= read_tiers(session, {reward.member_id for reward in won})
    if plan.source == "import":
        passes_changed(session, program, member_ids, now, priority=IMPORT_PRIORITY)  # the past is shown in silence
    else:
        tell(session, program, _noticed(program, (locked, balances), (held_before, tiers), won), now)
    if plan.source == "panel":
        _note(session, plan)
    rewards: dict[UUID, list[Won]] = {}
    for reward in won:
        rewards.setdefault(reward.purchase_id, []).append(reward)
    return {
        planned.purchase_id: Recorded(
            purchase_id=planned.purchase_id,
            member_id=planned.card.member_id,
            quote=planned.quote,
            spendable_at=planned.spendable_at,
            balance=balances[planned.card.member_id],
            tier=tiers[planned.card.member_id],
            challenges=advance.states.get(planned.card.member_id, ()),
            rewards=tuple(rewards.get(planned.purchase_id, ())),
        )
        for planned in plan.planned
    }


def _holding(standing: Standing, tier: str | None) -> Standing:
    return standing if standing.tier == tier else replace(standing, tier=tier)


def _noticed(
    program: ProgramDefinition,
    balances: tuple[Mapping[UUID, Balance], Mapping[UUID, Balance]],
    tiers: tuple[Mapping[UUID, str | None], Mapping[UUID, str | None]],
    won: Sequence[Won],
) -> dict[UUID, Noticed]:
    """What the members' phones may say: the differences between before and after, and what was won."""
    (points_before, points), (tiers_before, held) = balances, tiers
    return {
        key: noticed(
            program,
            points_before[key],
            points[key],
            tiers=(tier, held[key]),
            won=[one for one in won if one.member_id == key],
        )
        for key, tier in tiers_before.items()
    }


def _event(planned: Planned, balance: Balance) -> Event:
    """What others are told of a purchase; the balance is the one before rewards, of which they are told next."""
    member_id, command, quote = planned.card.member_id, planned.command, planned.quote
    data = {
        "purchase_id": str(planned.purchase_id),
        "receipt_id": command.receipt_id,
        "member_id": str(member_id),
        "card_number": command.card_number,
        "outlet": command.outlet,
        "occurred_at": command.occurred_at.isoformat(),
        "total_minor": quote.total_minor,
        "discount_minor": quote.discount_minor,
        "money_due_minor": quote.money_due_minor,
        "points_redeemed": quote.points_redeemed,
        "points_earned": quote.points_earned,
        "balance": {"spendable": balance.spendable, "pending": balance.pending},
    }
    return Event("purchase.recorded", member_id, data)


def _note(session: Session, plan: Plan) -> None:
    """Purchases by hand go into the audit log: no till stands behind them."""
    for planned in plan.planned:
        audit.record(
            session,
            program_id=plan.program.id,
            actor=planned.recorded_by,
            action="purchase.recorded",
            subject=planned.command.receipt_id,
            detail={"total_minor": planned.quote.total_minor, "points": planned.quote.points_earned},
            now=plan.now,
        )


def _write_statistics(session: Session, plan: Plan, member_ids: Sequence[UUID]) -> None:
    names = ("purchases", "visits", "spend_minor", "points_earned", "first_visit_at", "last_visit_at")
    rows = [
        {"member_id": member_id, "program_id": plan.program.id, "marketing": plan.standings[member_id].marketing}
        | {name: getattr(plan.standings[member_id], name) for name in names}
        for member_id in sorted(member_ids)
    ]
    upsert_rows(session, MemberStatistics, rows, key=["member_id"], update=names)


def release_due_points(session: Session, now: datetime) -> int:
    """Make pending points spendable whose time has come, and mark their members' passes; how many members.

    Runs in the scope of all programs, in portions: the caller repeats it until it returns 0.
    """
    released = release_pending(session, now)
    for program_id, member_ids in released.items():
        said = dict.fromkeys(member_ids, Noticed(balance=True))
        tell(session, load_program(session, program_id=program_id), said, now)
    return sum(len(member_ids) for member_ids in released.values())
