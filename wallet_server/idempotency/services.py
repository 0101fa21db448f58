"""Answer each key once: the same question gets the same answer, byte for byte, and has its effect once.

The answer is stored in the transaction of the work, so a crash leaves neither. What is stored:

* a success: its status and body;
* a refusal (:class:`DomainError`, 4xx): the same, after the work was rolled back; the caller has to ask again
  under a *new* key once the reason is gone, and the body says so;
* a request that is malformed (``validation``) and anything that is our fault (5xx): nothing; the caller may
  correct it, or simply repeat it, under the same key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, is_locked, new_id, to_json, transaction
from wallet_server.errors import DomainError
from wallet_server.idempotency.models import IdempotencyKey
from wallet_server.reads import Asked, OneOf, Read, known, one_round

KEY_MAX: Final = 255
TRIES_MAX: Final = 3
PRUNE_BATCH: Final = 5_000
WRONG_KEY: Final = f"an idempotency key is 1 to {KEY_MAX} visible ASCII characters"
KEYS: sa.Table = IdempotencyKey.__table__  # type: ignore[attr-defined]
NEW_KEY: Final = "new_key"
"""``retry`` of a stored refusal: the same key will give the same answer for ever."""

Work = Callable[[Session], tuple[int, Mapping[str, Any]]]
WorkOfMany = Callable[[Session, Sequence[int]], Sequence[tuple[int, Mapping[str, Any]] | DomainError]]
_Result = TypeVar("_Result")
Refusal = Callable[[DomainError], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets; ``replayed`` if it had been given before."""

    status: int
    body_text: str
    replayed: bool

    def done(self) -> dict[str, Any]:
        """What was done, as it was told. Raises ``DomainError`` where that was a refusal."""
        body: dict[str, Any] = json.loads(self.body_text)
        if self.status >= HTTPStatus.BAD_REQUEST:
            raise DomainError(body["code"], body["detail"], status=self.status)
        return body


def request_hash(*parts: str | bytes) -> str:
    """SHA-256 of method, path and body (or of what else makes two requests the same), in hex."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def refusal_document(error: DomainError) -> dict[str, Any]:
    """What is stored of a refusal unless the door writes its own document."""
    return {**error.extra, "status": error.status, "code": error.code, "detail": error.detail}


def is_key(key: str) -> bool:
    """Whether a caller's key has the form that we keep: 1 to 255 visible ASCII characters."""
    return 1 <= len(key) <= KEY_MAX and all("!" <= character <= "~" for character in key)


def answer_once(  # noqa: PLR0917 - who, under which key, what: read in this order
    engine: Engine,
    program_id: UUID,
    client: str,
    key: str,
    request_hash: str,
    work: Work,
    now: datetime,
    *,
    refusal: Refusal = refusal_document,
) -> Answer:
    """Run ``work`` for a key that is new and store its answer, or repeat the answer that was stored.

    ``client`` is whoever keys are unique for: an API key's id, a staff user's id. Opens and commits its own
    transactions. Raises ``DomainError``: ``validation`` for a key of the wrong form and whatever ``work``
    refuses with that code, ``idempotency_mismatch`` (422: the key was used for another request),
    ``idempotency_in_progress`` (409, with ``retry_after``: the same key is being answered right now).
    """
    if not is_key(key):
        raise DomainError("validation", WRONG_KEY)
    call = Call(program_id, client, key, request_hash, now)
    return _tried_again(lambda: _answer(engine, call, work, refusal))


def _tried_again(work: Callable[[], _Result]) -> _Result:
    for _attempt in range(TRIES_MAX - 1):
        try:
            return work()
        except DBAPIError as error:
            # A deadlock or a lock that was not free in time: nothing has happened, so it may be tried again.
            if not is_locked(error):
                raise
    return work()


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks under which key for what (``request_hash``), and when."""

    program_id: UUID
    client: str
    key: str
    request_hash: str
    now: datetime

    @property
    def lock(self) -> int:
        """The number of this key's advisory lock in PostgreSQL."""
        digest = hashlib.sha256(b"\0".join((self.program_id.bytes, self.client.encode(), self.key.encode()))).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


def answer_each_once(
    engine: Engine,
    calls: Sequence[Call],
    work: WorkOfMany,
    *,
    refusal: Refusal = refusal_document,
    refused: Asked[Mapping[int, DomainError]] | None = None,
) -> list[Answer | DomainError]:
    """As :func:`answer_once`, for several calls of one program in one transaction; no two have the same key.

    ``work`` gets the places of the calls that are new and returns for each what to answer, or the refusal of one
    that has changed nothing. What :func:`answer_once` would raise for a call stands in the place of its answer;
    what ``work`` raises undoes all of them and is raised. ``refused`` is asked in the same transaction: the calls, by
    place, that get neither a new answer nor a stored one, and what stands in its place.
    """
    assert len({(call.client, call.key) for call in calls}) == len(calls), "a key was asked for twice at once"
    assert len({call.program_id for call in calls}) == 1, "calls of different programs"
    return _tried_again(lambda: _answer_each(engine, calls, work, refusal, refused or known({})))


def _answer_each(
    engine: Engine,
    calls: Sequence[Call],
    work: WorkOfMany,
    refusal: Refusal,
    refused: Asked[Mapping[int, DomainError]],
) -> list[Answer | DomainError]:
    results: list[Answer | DomainError | None] = [
        None if is_key(call.key) else DomainError("validation", WRONG_KEY) for call in calls
    ]
    with transaction(engine, calls[0].program_id) as session:
        well_formed = [call for call, result in zip(calls, results, strict=True) if result is None]
        with one_round(session) as ask:
            free, stored = ask(_free_asked(session, well_formed)), ask(_stored_asked(well_formed))
            turned_away = ask(refused)
        for place, call in enumerate(calls):
            if results[place] is None:
                results[place] = turned_away.value.get(place) or (
                    _before(call, stored.value) if call in free.value else _in_progress()
                )
        new = [place for place, result in enumerate(results) if result is None]
        made = work(session, new) if new else ()
        for place, outcome in zip(new, made, strict=True):
            results[place] = _after(outcome, refusal)
        _store(
            session,
            [(calls[place], answer) for place in new if isinstance(answer := results[place], Answer)],
        )
    return [result for result in results if result is not None]


def _after(outcome: tuple[int, Mapping[str, Any]] | DomainError, refusal: Refusal) -> Answer | DomainError:
    if not isinstance(outcome, DomainError):
        return Answer(outcome[0], to_json(outcome[1]), replayed=False)
    return _refused(outcome, refusal) if _is_kept(outcome) else outcome


def _refused(error: DomainError, refusal: Refusal) -> Answer:
    return Answer(error.status, to_json({**refusal(error), "retry": NEW_KEY}), replayed=False)


def _answer(engine: Engine, call: Call, work: Work, refusal: Refusal) -> Answer:
    try:
        with transaction(engine, call.program_id) as session:
            if (stored := _answered(session, call)) is not None:
                return stored
            status, body = work(session)
            answer = Answer(status, to_json(body), replayed=False)
            _store(session, [(call, answer)])
            return answer
    except DomainError as error:
        if not _is_kept(error):
            raise
        refused = error
    answer = _refused(refused, refusal)
    with transaction(engine, call.program_id) as session:
        # Between the rollback and now the same key may have been answered elsewhere: then that answer counts.
        if (stored := _answered(session, call)) is not None:
            return stored
        _store(session, [(call, answer)])
    return answer


def _answered(session: Session, call: Call) -> Answer | None:
    """Take the key; the answer that it has already."""
    with one_round(session) as ask:
        free, stored = ask(_free_asked(session, [call])), ask(_stored_asked([call]))
    if not free.value:
        raise _in_progress()
    found = _before(call, stored.value)
    if isinstance(found, DomainError):
        raise found
    return found


def _is_kept(error: DomainError) -> bool:
    own = ("validation", "idempotency_mismatch", "idempotency_in_progress")
    return 400 <= error.status < 500 and error.status != 429 and error.code not in own


def _in_progress() -> DomainError:
    return DomainError(
        "idempotency_in_progress", "a request with this key is being answered", status=409, retry_after=1
    )


_Stored = Mapping[tuple[str, str], tuple[str, int, str]]
"""Request hash, status and body by client and key."""


def _free_asked(session: Session, calls: Sequence[Call]) -> Asked[set[Call]]:
    """Those of the calls whose key nobody else is answering now; it is taken, and nobody is waited for.

    SQLite's writers take turns, so there a twin waits and then finds the answer.
    """
    if not calls or session.get_bind().dialect.name != "postgresql":
        return known(set(calls))
    locks = {call.lock: call for call in calls}
    return Asked(
        _LOCKS, {"numbers": list(locks)}, lambda rows: {locks[number] for number, is_taken in rows if is_taken}
    )


def _lock_each(_one_of: OneOf) -> sa.Select[Any]:
    number = sa.func.unnest(sa.bindparam("numbers", type_=postgresql.ARRAY(sa.BigInteger))).column_valued("number")
    return sa.select(number, sa.func.pg_try_advisory_xact_lock(number, type_=sa.Boolean))


def _stored_asked(calls: Sequence[Call]) -> Asked[_Stored]:
    """What has been answered under the keys of the calls, once those are taken."""
    if not calls:
        return known({})
    values = {
        "program_id": calls[0].program_id,
        "clients": list({call.client for call in calls}),
        "keys": list({call.key for call in calls}),
    }
    return Asked(_STORED, values, lambda rows: {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows})


_LOCKS: Final = Read(_lock_each)
_STORED: Final = Read(
    lambda one_of: sa.select(KEYS.c.client, KEYS.c.key, KEYS.c.request_hash, KEYS.c.status, KEYS.c.body).where(
        KEYS.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
        one_of(KEYS.c.client, "clients"),
        one_of(KEYS.c.key, "keys"),
    )
)


def _before(call: Call, stored: _Stored) -> Answer | DomainError | None:
    found = stored.get((call.client, call.key))
    if found is None:
        return None
    stored_hash, status, body = found
    if stored_hash != call.request_hash:
        return DomainError("idempotency_mismatch", "this key was used for another request")
    return Answer(status, body, replayed=True)


def _store(session: Session, answers: Sequence[tuple[Call, Answer]]) -> None:
    rows = [
        {
            "id": new_id(),
            "program_id": call.program_id,
            "client": call.client,
            "key": call.key,
            "request_hash": call.request_hash,
            "status": answer.status,
            "body": answer.body_text,
            "created_at": call.now,
        }
        for call, answer in answers
    ]
    insert_rows(session, IdempotencyKey, rows)


def prune(session: Session, before: datetime) -> int:
    """Forget answers given before a moment, at most 5,000 at once; how many were forgotten.

    Runs in the scope of all programs. A till that was offline for a weekend repeats on Monday: keep 90 days.
    """
    old = select(IdempotencyKey.id).where(col(IdempotencyKey.created_at) < before).limit(PRUNE_BATCH)
    result = session.execute(
        sa.delete(IdempotencyKey).where(col(IdempotencyKey.id).in_(old)).returning(col(IdempotencyKey.id)),
        execution_options={"synchronize_session": False},
    )
    return len(result.all())
