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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from wallet_server.db import insert_rows, is_locked, new_id, to_json, transaction
from wallet_server.errors import DomainError
from wallet_server.idempotency.models import IdempotencyKey

KEY_MAX: Final = 255
TRIES_MAX: Final = 3
PRUNE_BATCH: Final = 5_000
NEW_KEY: Final = "new_key"
"""``retry`` of a stored refusal: the same key will give the same answer for ever."""

Work = Callable[[Session], tuple[int, Mapping[str, Any]]]
Refusal = Callable[[DomainError], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets; ``replayed`` if it had been given before."""

    status: int
    body_text: str
    replayed: bool


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
        raise DomainError("validation", f"an idempotency key is 1 to {KEY_MAX} visible ASCII characters")
    for attempt in range(1, TRIES_MAX + 1):
        try:
            return _answer(engine, _Call(program_id, client, key, request_hash, now), work, refusal)
        except DBAPIError as error:
            # A deadlock or a lock that was not free in time: nothing has happened, so it may be tried again.
            if attempt == TRIES_MAX or not is_locked(error):
                raise
    raise AssertionError("the last try returns or raises")


@dataclass(frozen=True, slots=True)
class _Call:
    program_id: UUID
    client: str
    key: str
    request_hash: str
    now: datetime


def _answer(engine: Engine, call: _Call, work: Work, refusal: Refusal) -> Answer:
    try:
        with transaction(engine, call.program_id) as session:
            _take_key(session, call)
            if (stored := _stored(session, call)) is not None:
                return stored
            status, body = work(session)
            answer = Answer(status, to_json(body), replayed=False)
            _store(session, call, answer)
            return answer
    except DomainError as error:
        if not _is_kept(error):
            raise
        refused = error
    answer = Answer(refused.status, to_json({**refusal(refused), "retry": NEW_KEY}), replayed=False)
    with transaction(engine, call.program_id) as session:
        _take_key(session, call)
        # Between the rollback and now the same key may have been answered elsewhere: then that answer counts.
        if (stored := _stored(session, call)) is not None:
            return stored
        _store(session, call, answer)
    return answer


def _is_kept(error: DomainError) -> bool:
    own = ("validation", "idempotency_mismatch", "idempotency_in_progress")
    return 400 <= error.status < 500 and error.status != 429 and error.code not in own


def _take_key(session: Session, call: _Call) -> None:
    """Make sure that nobody else is answering this key, without waiting for them.

    SQLite's writers take turns, so there a twin waits and then finds the answer.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    digest = hashlib.sha256(b"\0".join((call.program_id.bytes, call.client.encode(), call.key.encode()))).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    if not session.execute(sa.select(sa.func.pg_try_advisory_xact_lock(number))).scalar_one():
        raise DomainError(
            "idempotency_in_progress", "a request with this key is being answered", status=409, retry_after=1
        )


def _stored(session: Session, call: _Call) -> Answer | None:
    statement = select(IdempotencyKey.request_hash, IdempotencyKey.status, IdempotencyKey.body).where(
        IdempotencyKey.program_id == call.program_id,
        IdempotencyKey.client == call.client,
        IdempotencyKey.key == call.key,
    )
    row = session.exec(statement).one_or_none()
    if row is None:
        return None
    stored_hash, status, body = row
    if stored_hash != call.request_hash:
        raise DomainError("idempotency_mismatch", "this key was used for another request")
    return Answer(status, body, replayed=True)


def _store(session: Session, call: _Call, answer: Answer) -> None:
    row = {
        "id": new_id(),
        "program_id": call.program_id,
        "client": call.client,
        "key": call.key,
        "request_hash": call.request_hash,
        "status": answer.status,
        "body": answer.body_text,
        "created_at": call.now,
    }
    insert_rows(session, IdempotencyKey, [row])


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
