"""The worker's side of the governor: what has happened becomes words, now, later, or not at all.

Everything that is said of a member in one go is one message: the changes of one transaction, those that wait in the
same batch of work, what was put off until now, and what was told a moment ago and no phone has fetched yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import among, new_id, scoped
from wallet_server.issuance.announcements import ID_ORDER
from wallet_server.issuance.pushes import lock_passes
from wallet_server.issuance.services import passes_changed, passes_say_more
from wallet_server.ledger.expiry import current_balances
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import shown as shown_points
from wallet_server.notifications.facts import Noticed
from wallet_server.notifications.governor import BIDDEN, MemberState, Policy, Verdict, Wish, decide
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import NOTIFICATION, languages_of, member_states
from wallet_server.notifications.services import MESSAGE_PRIORITY, insert_undecided, verdict_values
from wallet_server.notifications.wording import TEXT_CHARACTERS_MAX, Background, sentences
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program, product_names
from wallet_server.reads import Asked, Read, ask
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.projection import projection
from wallet_server.tiers.queries import standings, tiers

TRUE_FOR: Final = timedelta(days=3)
"""So long what has happened is worth a word; then it is no news."""
WOKEN_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction did to members; ``origin`` makes it unique."""

    program_id: UUID
    origin: str
    noticed: Mapping[UUID, Noticed]

    @classmethod
    def of(cls, program_id: UUID, payload: Mapping[str, Any]) -> Change | None:
        """From a row of work; ``None`` if nothing in it is worth a word."""
        if "notes" not in payload:
            return None
        noticed = {UUID(member_id): Noticed.of(note) for member_id, note in payload["notes"].items()}
        return cls(program_id, f"change:{payload['change']}", noticed)


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing that happened to a member: a row that waits already (``row_id``), or a new one."""

    noticed: Noticed
    origin: str
    row_id: UUID | None = None
    expires_at: datetime | None = None


@dataclass(slots=True)
class _Message:
    """Everything that is decided about one member together; the last item's row is the one that is shown."""

    member_id: UUID
    items: list[_Item] = field(default_factory=list)
    whole: Noticed = field(default_factory=Noticed)
    verdict: Verdict = field(default_factory=lambda: Verdict("drop", "overtaken"))
    text: str = ""
    id: UUID = field(default_factory=new_id)


def settle(session: Session, changes: Sequence[Change], now: datetime, *, pushed: Collection[UUID] = ()) -> None:
    """Decide about changes whose passes are about to be pushed by the caller; a second time nothing is decided.

    The caller goes on to lock the passes ``pushed``. Where some of them, or others, say more than before, all are
    locked here at once in the order of their ids: program by program would be another order than everybody's.
    """
    say_more: dict[UUID, list[UUID]] = {}
    by_program: defaultdict[UUID, list[Change]] = defaultdict(list)
    for change in changes:
        by_program[change.program_id].append(change)
    for program_id, mine in sorted(by_program.items()):
        program = load_program(session, program_id=program_id)
        with scoped(session, program_id):
            if shown := _decide_all(session, program, _fresh(session, mine), now):
                say_more[program_id] = shown
    if say_more:
        lock_passes(session, pushed, of_members=say_more)
    for program_id, member_ids in say_more.items():
        passes_say_more(session, program_id, member_ids, now)


def wake(session: Session, now: datetime) -> int:
    """Decide anew about what was put off until now, and have it shown; how many messages were looked at.

    Runs in the scope of all programs, in portions of one program each: the caller repeats it until it returns 0.
    Promotions are left to those who asked for them.
    """
    rows = session.execute(
        sa.select(col(Notification.program_id), col(Notification.member_id))
        .where(col(Notification.state) == "deferred", col(Notification.deferred_until) <= now)
        .where(col(Notification.kind).not_in(sorted(BIDDEN)))
        .order_by(col(Notification.deferred_until), col(Notification.id))
        .limit(WOKEN_AT_ONCE)
    ).all()
    if not rows:
        return 0
    # One program at a time: its passes are then locked in the order of their ids, as everybody does.
    program = load_program(session, program_id=rows[0].program_id)
    due = {row.member_id for row in rows if row.program_id == program.id}
    with scoped(session, program.id):
        shown = _decide_all(session, program, {member_id: [] for member_id in due}, now)
        if shown:
            passes_changed(session, program, shown, now, priority=MESSAGE_PRIORITY)
    return len(due)


def _fresh(session: Session, changes: Sequence[Change]) -> dict[UUID, list[_Item]]:
    """What has not been decided yet, by member; a job that died after its decision comes here twice."""
    origins = {change.origin for change in changes}
    members = {member_id for change in changes for member_id in change.noticed}
    decided = ask(session, Asked(_DECIDED, {"members": list(members), "origins": list(origins)}, set))
    fresh: defaultdict[UUID, list[_Item]] = defaultdict(list)
    for change in changes:
        for member_id, noticed in change.noticed.items():
            if (member_id, change.origin) not in decided and noticed:
                decided.add((member_id, change.origin))
                fresh[member_id].append(_Item(noticed, change.origin))
    return fresh


_DECIDED: Final = Read(
    lambda one_of: sa.select(NOTIFICATION.c.member_id, NOTIFICATION.c.origin).where(
        one_of(NOTIFICATION.c.member_id, "members"), one_of(NOTIFICATION.c.origin, "origins")
    )
)


def _decide_all(
    session: Session, program: ProgramDefinition, fresh: Mapping[UUID, list[_Item]], now: datetime
) -> list[UUID]:
    """Decide about these members with what waits for them; those whose passes say something new."""
    if not fresh:
        return []
    messages = {member_id: _Message(member_id) for member_id in sorted(fresh, key=ID_ORDER)}
    for row in _deferred(session, fresh, now):
        item = _Item(Noticed.of(row.facts), row.origin, row.id, row.expires_at)
        messages[row.member_id].items.append(item)
    for member_id, items in fresh.items():
        messages[member_id].items += items
    held = tiers(session, messages)
    states = member_states(session, program, messages, now)
    policy = Policy.of(program.file.notifications)
    decided = [message for message in messages.values() if message.items and message.member_id in states]
    for message in decided:
        _decide(message, held.get(message.member_id), states[message.member_id], policy, now)
    _find_words(session, program, [one for one in decided if one.verdict.action == "show"], policy, now)
    return _write(session, program, decided, now)


def _deferred(session: Session, member_ids: Collection[UUID], now: datetime) -> Sequence[Notification]:
    """What was put off and is due, the oldest first; kept from other workers until the end of the transaction."""
    return session.exec(
        select(Notification)
        .where(among(session, col(Notification.member_id), member_ids), col(Notification.state) == "deferred")
        .where(col(Notification.deferred_until) <= now, col(Notification.kind).not_in(sorted(BIDDEN)))
        .order_by(col(Notification.member_id), col(Notification.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


def _decide(message: _Message, tier: str | None, state: MemberState, policy: Policy, now: datetime) -> None:
    true = [item for item in message.items if item.expires_at is None or item.expires_at > now]
    for item in true:
        message.whole = message.whole.and_then(item.noticed)
    if message.whole.tier != tier:
        message.whole = replace(message.whole, tier=None)  # another level is held by now
    if not message.whole:
        message.verdict = Verdict("drop", "overtaken" if true else "expired")
        return
    message.verdict = decide(state, _wish(message.whole, now), policy, now)
    later = message.whole.without_balance()
    if message.verdict == Verdict("drop", "quiet_hours") and later:
        # The balance changes in silence; the rest is for the morning.
        message.whole = later
        message.verdict = decide(state, _wish(later, now), policy, now)


def _wish(noticed: Noticed, now: datetime) -> Wish:
    kinds = noticed.kinds
    return Wish(kinds[0], now + TRUE_FOR, says_more=len(kinds) > 1)


def _find_words(
    session: Session, program: ProgramDefinition, messages: Sequence[_Message], policy: Policy, now: datetime
) -> None:
    if not messages:
        return
    joining = [message.member_id for message in messages if message.verdict.joins]
    before = _told_since(session, joining, now - policy.merge)
    for message in messages:
        said = before.get(message.member_id)
        if said is not None:
            message.whole = Noticed.of(said.facts).and_then(message.whole)
            message.verdict = replace(message.verdict, reason=message.verdict.reason or "joined")
    member_ids = [message.member_id for message in messages]
    languages = languages_of(session, member_ids)
    behind = _backgrounds(session, program, messages, now)
    for message in messages:
        language = languages.get(message.member_id, program.default_language)
        message.text = sentences(program, message.whole, behind[message.member_id], language)
        said = before.get(message.member_id)
        # What has an end of its own stays in its own place: here nothing would take it off the card.
        if said is not None and not said.facts and said.ends_at is None:
            message.text = f"{message.text} {said.text}"[:TEXT_CHARACTERS_MAX]


def _told_since(session: Session, member_ids: Collection[UUID], since: datetime) -> dict[UUID, Notification]:
    """Each member's newest message, shown after a moment."""
    if not member_ids:
        return {}
    rows = session.exec(
        select(Notification)
        .where(among(session, col(Notification.member_id), member_ids), col(Notification.state) == "shown")
        .where(col(Notification.shown_at) > since)
        .order_by(col(Notification.shown_at), col(Notification.id))
    )
    return {row.member_id: row for row in rows}


def _backgrounds(
    session: Session, program: ProgramDefinition, messages: Iterable[_Message], now: datetime
) -> dict[UUID, Background]:
    whole = {message.member_id: message.whole for message in messages}
    balances = current_balances(session, program, list(whole), now)
    reached = standings(session, program, list(whole), now) if program.file.tiers.levels else {}
    skus = {win.voucher for noticed in whole.values() for win in noticed.wins if win.voucher}
    products = product_names(session, skus) if skus else {}
    return {
        member_id: Background(
            balance=shown_points(balances.get(member_id, Balance()), program.points),
            next_level=projection(program, reached.get(member_id, Standing()), now).next,
            products=products,
        )
        for member_id in whole
    }


def _write(session: Session, program: ProgramDefinition, messages: Sequence[_Message], now: datetime) -> list[UUID]:
    """Write one row for each thing that happened; the members whose message is on the pass now."""
    new: list[dict[str, Any]] = []
    renewed: list[dict[str, Any]] = []
    for message in messages:
        *others, last = message.items
        message.id = last.row_id or message.id
        values = {
            **verdict_values(message.verdict, now),
            "kind": (message.whole.kinds or last.noticed.kinds)[0],
            "facts": message.whole.document(),
            "text": message.text,
            "merged_into": None,
        }
        told = "merged" if message.verdict.action != "drop" else "suppressed"
        merged = {
            **verdict_values(Verdict("drop", message.verdict.reason), now),
            "state": told,
            "reason": "merged" if told == "merged" else message.verdict.reason,
            "text": "",
            "merged_into": message.id if told == "merged" else None,
        }
        for item, row in (*((item, merged) for item in others), (last, values)):
            own = {"kind": item.noticed.kinds[0], "facts": item.noticed.document(), **row}
            if item.row_id is None:
                key = {"id": message.id if item is last else new_id(), "program_id": program.id}
                origin = {"member_id": message.member_id, "origin": item.origin, "expires_at": now + TRUE_FOR}
                new.append({**key, **origin, **own})
            else:
                renewed.append({"row_id": item.row_id, **own})
    written = set(insert_undecided(session, new))
    if renewed:
        which = NOTIFICATION.c.id == sa.bindparam("row_id")
        session.connection().execute(sa.update(NOTIFICATION).where(which), renewed)
    waited = {message.member_id for message in messages if message.items[-1].row_id is not None}
    return [
        message.member_id
        for message in messages
        if message.verdict.action == "show" and message.member_id in written | waited
    ]
