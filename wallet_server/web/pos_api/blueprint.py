"""What every call of a till goes through: its key, its rate, the size and form of its body, its idempotency key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import wraps
from typing import Any, Final, NoReturn, TypeVar
from uuid import UUID

from flask import Blueprint, Response, abort, current_app, g, request
from flask.blueprints import BlueprintSetupState
from pydantic import BaseModel, ValidationError
from sqlmodel import Session
from werkzeug.exceptions import UnsupportedMediaType

from wallet_server.db import to_json
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.idempotency.services import KEY_MAX, Answer, Call, answer_once, is_key, request_hash
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.keys import TillKey, TillKeys
from wallet_server.purchases.commands import RecordPurchase
from wallet_server.purchases.counter import Counter, Turn
from wallet_server.purchases.services import Recorded
from wallet_server.web.context import server
from wallet_server.web.problems import PROBLEM_TYPE, problem
from wallet_server.web.security import Rate, count_rate, limit_rate, refuse_rate

BODY_BYTES_MAX: Final = 2 * 1024 * 1024
"""1,000 lines with the longest skus and categories fit, all letters escaped, and 1,001 are told to be too many."""
CALLS_LIMIT: Final = "6000/minute"
"""Per key. Without ``REDIS_URL`` each web process counts for itself."""
WRONG_KEYS_LIMIT: Final = "60/minute"
"""Per address: nobody mistypes a key more often."""
KEY_LENGTH_MAX: Final = 200
CARD_NUMBER_LENGTH_MAX: Final = 120
ERRORS_MAX: Final = 20

Body = TypeVar("Body", bound=BaseModel)
View = Callable[..., Any]
Work = Callable[[Session], tuple[int, Mapping[str, Any]]]
PurchaseBody = Callable[[Recorded], tuple[int, Mapping[str, Any]]]


class _TillBlueprint(Blueprint):
    """No redirects: a card number of slashes must not become the address of something else."""

    def add_url_rule(self, rule: str, *arguments: Any, **options: Any) -> None:
        super().add_url_rule(rule, *arguments, **{"merge_slashes": False, **options})


blueprint = _TillBlueprint("pos_api", __name__, url_prefix="/api/v1")


@dataclass(frozen=True, slots=True)
class Till:
    """Who calls: a key of a program, good for some scopes and for one outlet or (None) for all."""

    key: TillKey
    program: ProgramDefinition
    outlet: str | None
    now: datetime

    @property
    def actor(self) -> str:
        """As records and the audit log name it."""
        return f"key:{self.key.hint}"

    def require(self, scope: str) -> None:
        """Raises ``DomainError(missing_scope)`` (403)."""
        if scope not in self.key.scopes:
            raise DomainError("missing_scope", f"this key has no {scope!r} scope", status=403, scope=scope)

    def require_currency(self, currency: str | None) -> None:
        """Raises ``DomainError(currency_mismatch)`` for a till that is set up for another currency."""
        if currency is not None and currency != self.program.currency:
            raise DomainError(
                "currency_mismatch",
                f"this program keeps its prices in {self.program.currency}, not in {currency}",
                currency=self.program.currency,
            )

    def require_outlet(self, outlet: str | None) -> None:
        """Raises ``DomainError(other_outlet)`` (403) for a key that is good for another outlet only.

        None is all outlets: more than a key of one outlet is good for.
        """
        if self.outlet is not None and outlet != self.outlet:
            raise DomainError("other_outlet", f"this key is good for outlet {self.outlet!r} only", status=403)


@blueprint.before_request
def _limit_body() -> None:
    request.max_content_length = BODY_BYTES_MAX


@blueprint.after_request
def _tell_rate(response: Response) -> Response:
    """How many calls the key has left: draft-ietf-httpapi-ratelimit-headers, in the form of its versions to 06."""
    rate: Rate | None = g.get("till_rate")
    if rate is not None:
        response.headers["RateLimit-Limit"] = str(rate.limit)
        response.headers["RateLimit-Remaining"] = str(rate.remaining)
        response.headers["RateLimit-Reset"] = str(rate.reset_s)
    return response


def till_view(*scopes: str, key_is_checked_later: bool = False) -> Callable[[View], View]:
    """Let a till in whose key has all these scopes; the view gets the :class:`Till` first.

    ``key_is_checked_later``: whatever the view does is done by :func:`answer_purchase`, which looks at the key itself.
    Then a key that was seen before is not looked up first; a refusal is said only of a key that was.
    """

    def decorate(view: View) -> View:
        def let_in(key: TillKey, values: Mapping[str, Any]) -> Any:
            outlet = key.program.outlet_by_id(key.outlet_id).section.code if key.outlet_id else None
            till = Till(key, key.program, outlet, server().clock.now())
            for scope in scopes:
                till.require(scope)
            return view(till, **values)

        @wraps(view)
        def guarded(**values: Any) -> Any:
            secret = _secret_of_request()
            seen = _till_keys().seen(secret) if key_is_checked_later else None
            key = seen or _find_key(secret)
            g.till_rate = count_rate("till", CALLS_LIMIT, str(key.id))
            refuse_rate(g.till_rate)
            try:
                return let_in(key, values)
            except DomainError:
                if seen is None or (key := _find_key(secret)) == seen:
                    raise
            return let_in(key, values)

        return guarded

    return decorate


def _secret_of_request() -> str:
    scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        _unauthorized("this call needs a till key: Authorization: Bearer …", "")
    return secret.strip()


def _find_key(secret: str) -> TillKey:
    key = _till_keys().find(secret) if len(secret) <= KEY_LENGTH_MAX else None
    if key is None:
        limit_rate("wrong till key", WRONG_KEYS_LIMIT)
        _unauthorized("this key is wrong or has been revoked", ', error="invalid_token"')
    return key


def _till_keys() -> TillKeys:
    keys = current_app.extensions["wallet_till_keys"]
    assert isinstance(keys, TillKeys)
    return keys


def _unauthorized(detail: str, parameters: str) -> NoReturn:
    """RFC 6750, section 3: the challenge says what is missing or wrong."""
    response = problem("unauthorized", detail, 401)
    response.headers["WWW-Authenticate"] = f'Bearer realm="wallet-server"{parameters}'
    abort(response)


def read_body(model: type[Body], *, may_be_missing: bool = False) -> tuple[Body, Any]:
    """The request's body as ``model``, and as the plain JSON that it was.

    ``may_be_missing``: no body at all stands for an empty object. Decimal numbers are read exactly, and an object
    that names a member twice is refused: two readers of it would see two different purchases.
    Raises ``DomainError``: ``bad_json`` (400), ``validation`` (422).
    """
    raw = request.get_data()
    if not raw and may_be_missing:
        return parsed(model, {}), {}
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("send application/json")
    try:
        text = raw.decode("utf-8")
        data = json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once_each)
        if "\\u" in text:
            _check_texts(data)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise DomainError("bad_json", f"the body is not JSON: {str(error)[:200]}", status=400) from None
    return parsed(model, data), data


def id_of_path(text: str, code: str, what: str) -> UUID:
    """An id of ours in a path. Raises ``NotFoundError`` with ``code`` for what is no id at all, too."""
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text.lower():
        raise NotFoundError(code, f"there is no such {what} in this program")
    return found


def card_of_path(text: str) -> str:
    """A card number in a path. Raises ``NotFoundError(unknown_card)`` for what no database could be asked for."""
    if not text.isprintable() or len(text) > CARD_NUMBER_LENGTH_MAX:
        raise NotFoundError("unknown_card", "there is no such card in this program")
    return text


def read_query(model: type[Body]) -> Body:
    """The query string as ``model``. Raises ``DomainError(validation)``."""
    return parsed(model, request.args.to_dict())


def parsed(model: type[Body], data: Any) -> Body:
    """Check data against a model; raises ``DomainError(validation)`` whose ``errors`` name each field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [
            {"field": _field(item["loc"]), "message": item["msg"].removeprefix("Value error, ")}
            for item in error.errors(include_url=False, include_context=False, include_input=False)[:ERRORS_MAX]
        ]
        sentence = "; ".join(f"{item['field']}: {item['message']}" for item in found[:3])
        raise DomainError("validation", sentence, errors=found) from None


def _field(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "body"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _check_texts(data: Any) -> None:
    """Refuse what only an escape can bring in and no database can keep: halves of a character, and nothing (NUL)."""
    if isinstance(data, str):
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in data):
            raise ValueError("a text has a character that is none")
    elif isinstance(data, list):
        for item in data:
            _check_texts(item)
    elif isinstance(data, dict):
        for name, item in data.items():
            _check_texts(name)
            _check_texts(item)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object names a member twice")
    return result


def answer_key(till: Till, data: Any, work: Work) -> Answer:
    """Answer this request once under its ``Idempotency-Key``; ``data`` is what makes two requests the same.

    Raises ``DomainError`` as :func:`wallet_server.idempotency.services.answer_once` does; other refusals of
    ``work`` are the answer.
    """
    call = _call(till, data)
    return answer_once(
        server().engine,
        call.program_id,
        call.client,
        call.key,
        call.request_hash,
        work,
        call.now,
        refusal=_problem_of,
    )


def answer_purchase(till: Till, data: Any, command: RecordPurchase, body: PurchaseBody) -> Answer:
    """As :func:`answer_key`, for a purchase: together with those of other tills of this moment."""
    counter = current_app.extensions["wallet_counter"]
    assert isinstance(counter, Counter)
    return counter.record(Turn(till.program, _call(till, data), command, till.actor, body, till.key))


@blueprint.record
def _open_counter(state: BlueprintSetupState) -> None:
    context = state.app.extensions["wallet"]
    state.app.extensions["wallet_till_keys"] = TillKeys(context.engine)
    state.app.extensions["wallet_counter"] = Counter(context.engine, refusal=_problem_of)


def _call(till: Till, data: Any) -> Call:
    key = request.headers.get("Idempotency-Key")
    if key is None or not is_key(key):
        missing = "is missing: a number that this till never uses again, and repeats with each retry"
        message = missing if key is None else f"must be 1 to {KEY_MAX} visible ASCII characters"
        raise DomainError(
            "validation", f"Idempotency-Key {message}", errors=[{"field": "Idempotency-Key", "message": message}]
        )
    asked = request_hash(request.method, request.path, to_json(data))
    return Call(till.program.id, str(till.key.id), key, asked, till.now)


def _problem_of(error: DomainError) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(problem(error.code, error.detail, error.status, **error.extra).get_data())
    return document


def respond(answer: Answer, text: str | None = None) -> Response:
    """The HTTP answer; ``text`` in place of the stored body."""
    kind = PROBLEM_TYPE if answer.status >= 400 else "application/json"
    response = Response(answer.body_text if text is None else text, status=answer.status, content_type=kind)
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def json_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """A plain JSON answer."""
    return Response(to_json(body), status=status, content_type="application/json")
