"""`PassContent` or any other `Pass` -> `pass.json`, checked against Apple's rules.

What is the same on all cards of a program is written once and kept by value (`_steady`, and what is around the values
of fields in `passes.apple.layout`): the next pass with another number costs a few microseconds.

Sources: developer.apple.com/documentation/walletpasses/pass, …/passfields, …/passfieldcontent,
…/creating-a-generic-pass (field limits); each check below names the rule it enforces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final

from passes.apple import envelope
from passes.apple.card import codes_of, fields_of, house_name, logo_text
from passes.apple.envelope import Code, code_of
from passes.apple.events import boarding_json, event_json
from passes.apple.fields import TO_JSON, fields_json
from passes.apple.layout import GROUPS, POSTER, Frame, style_text
from passes.apple.model import Pass, PassFields, PassStyle, RelevantMoment, RelevantSpan
from passes.apple.semantics import Semantics, semantics_json
from passes.content import PassContent, PassContentError, Place, w3c_date

JsonObject = dict[str, object]

RELEVANT_DATES_MAX: Final = 30
USER_INFO_BYTES_MAX: Final = 16 * 1024
STEADY_KEPT: Final = 512
PLACES_KEPT: Final = 1_024
"""Sets of places that are kept: about 1 kB each."""
SQUARE_CODES: Final = ("qr", "aztec")

_SERIAL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_groups = attrgetter(*GROUPS)
_WITHOUT_DATE = (PassStyle.STORE_CARD,)
_STORE_CARD: Final = Frame(PassStyle.STORE_CARD.value)  # a plain text is looked up faster than an enumeration's member
_STORE_CARD_SQUARE: Final = _STORE_CARD._replace(has_square_code=True)
_SHARED: Final = (
    "organization_name",
    "description",
    "colors",
    "voided",
    "beacons",
    "nfc",
    "featured_actions",
    "sharing_prohibited",
    "store_identifiers",
    "app_launch_url",
    "update_url",
)
_OF_A_PASS: Final = ("style", "logo_text", "suppress_strip_shine", "grouping_identifier")
_shared_parts = attrgetter(*_SHARED)
_pass_parts = attrgetter(*_OF_A_PASS)
_NO_FIELDS = PassFields()


def pass_json(content: PassContent | Pass, *, pass_type_id: str, team_id: str, allow_http: bool = False) -> JsonObject:
    """Return the dictionary that is in `pass.json`; arguments and errors are those of `pass_text`."""
    written = pass_text(content, pass_type_id=pass_type_id, team_id=team_id, allow_http=allow_http)
    made: JsonObject = json.loads(written)
    return made


def pass_text(content: PassContent | Pass, *, pass_type_id: str, team_id: str, allow_http: bool = False) -> str:
    """Return the text of `pass.json`.

    `allow_http` accepts an `http:` update address, which an iPhone takes only with its developer switch; it is
    meant for simulators on this machine.

    Raises `PassContentError` naming the field and Apple's rule.
    """
    identity = (pass_type_id, team_id, allow_http)
    if isinstance(content, Pass):
        return _join(_any_pass(content, identity))
    try:
        return _join(_loyalty_card(content, identity))
    except PassContentError as error:
        raise PassContentError(house_name(content, error.where), error.rule) from error


_Identity = tuple[str, str, bool]
"""Pass Type ID, team, whether an http address is taken."""


def _join(parts: list[str]) -> str:
    return f"{{{','.join(parts)}}}"


def _loyalty_card(content: PassContent, identity: _Identity) -> list[str]:
    """The members of `card.pass_of(content)`, by a shorter way: it is gone for each member at every change."""
    codes = codes_of(content)
    parts = [
        _steady((_STORE_CARD.style, logo_text(content), False, None), _shared_parts(content), identity),
        *_members(content, codes),
        style_text(*fields_of(content), _STORE_CARD_SQUARE if _is_square(codes) else _STORE_CARD),
    ]
    if content.semantics is not None:
        parts.append(_semantics(content.semantics, PassStyle.STORE_CARD))
    return parts


def _any_pass(card: Pass, identity: _Identity) -> list[str]:
    codes = [code_of(code) for code in card.barcodes]
    parts = [
        _steady(_pass_parts(card), _shared_parts(card), identity),
        *_members(card, codes),
        _style(card.fields, card.style.value, "fields", has_square_code=_is_square(codes)),
    ]
    if card.poster is not None:
        if card.style is not PassStyle.GENERIC:
            raise PassContentError("poster", "a poster stands beside a generic pass, which older phones show")
        parts.append(_style(card.poster, POSTER, "poster"))
    if card.relevant_date is not None or card.relevant_dates:
        parts.append(TO_JSON(_relevance(card))[1:-1])
    if card.semantics is not None:
        parts.append(_semantics(card.semantics, card.style))
    if card.user_info is not None:
        parts.append(f'"userInfo":{_user_info(card.user_info)}')
    if (extras := _extras(card)) != {}:
        parts.append(TO_JSON(extras)[1:-1])
    return parts


def _style(fields: PassFields, style: str, where: str, *, has_square_code: bool = False) -> str:
    groups = _groups(fields)
    frame = Frame(style, where, fields.transit_type, has_square_code)
    return style_text(tuple(map(len, groups)), tuple(chain.from_iterable(groups)), frame)


@lru_cache(maxsize=STEADY_KEPT)
def _steady(of_a_pass: tuple[Any, ...], shared: tuple[Any, ...], identity: _Identity) -> str:
    """Write what the cards of one program share. Every part is hashable, and equal parts are the same text."""
    parts = dict(zip((*_OF_A_PASS, *_SHARED), (*of_a_pass, *shared), strict=True))
    parts["style"] = PassStyle(parts["style"])
    pass_type_id, team_id, allow_http = identity
    card = Pass(serial_number="", fields=_NO_FIELDS, **parts)
    return TO_JSON(envelope.steady(card, pass_type_id=pass_type_id, team_id=team_id, allow_http=allow_http))[1:-1]


@lru_cache(maxsize=PLACES_KEPT)
def _places(places: tuple[Place, ...], max_distance_meters: float | None) -> str:
    """Write the places apart from the rest: members have their own, and many have the same."""
    return TO_JSON(envelope.places_json(places, max_distance_meters))[1:-1]


def _members(card: PassContent | Pass, codes: Sequence[Code]) -> list[str]:
    """What differs from card to card around the fields."""
    if not _SERIAL.fullmatch(card.serial_number):
        raise PassContentError(
            "serial_number", "1 to 64 letters, digits, '.', '_' or '-': it becomes part of an address"
        )
    parts = [f'"serialNumber":"{card.serial_number}"']
    if codes:
        parts.append(f'"barcodes":{envelope.barcodes_text(codes)}')
    if card.authentication_token is not None or card.update_url is not None:
        parts.append(envelope.token_text(card.update_url, card.authentication_token))
    if card.places or card.max_distance_meters is not None:
        parts.append(_places(card.places, card.max_distance_meters))
    if card.expires_at is not None:
        parts.append(f'"expirationDate":"{w3c_date("expires_at", card.expires_at)}"')
    return parts


def _is_square(codes: Sequence[Code]) -> bool:
    return bool(codes) and codes[0][0] in SQUARE_CODES


def _semantics(semantics: Semantics, style: str) -> str:
    return f'"semantics":{TO_JSON(semantics_json("semantics", semantics, style=style))}'


def _relevance(card: Pass) -> JsonObject:
    where = "relevant_date" if card.relevant_date is not None else "relevant_dates"
    if card.style in _WITHOUT_DATE:
        raise PassContentError(where, "a store card is relevant at places only, never at a date")
    document: JsonObject = {}
    if card.relevant_date is not None:
        document["relevantDate"] = w3c_date("relevant_date", card.relevant_date)
    if len(card.relevant_dates) > RELEVANT_DATES_MAX:
        raise PassContentError("relevant_dates", f"at most {RELEVANT_DATES_MAX} relevant dates")
    entries: list[JsonObject] = []
    for index, item in enumerate(card.relevant_dates):
        place = f"relevant_dates[{index}]"
        if isinstance(item, RelevantMoment):
            moment = w3c_date(f"{place}.at", item.at)
            entries.append({"date": moment, "relevantDate": moment})  # iOS 18 knows the second name only
        elif isinstance(item, RelevantSpan):
            start, end = w3c_date(f"{place}.start", item.start), w3c_date(f"{place}.end", item.end)
            if item.end <= item.start:
                raise PassContentError(f"{place}.end", "a span ends after its start")
            entries.append({"startDate": start, "endDate": end})
    if entries:
        document["relevantDates"] = entries
    return document


def _user_info(info: object) -> str:
    try:
        written = TO_JSON(info)
        size = len(written.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise PassContentError("user_info", "this must be JSON: objects, lists, texts, finite numbers") from error
    if size > USER_INFO_BYTES_MAX:
        raise PassContentError("user_info", f"at most {USER_INFO_BYTES_MAX} bytes of JSON")
    return written


def _extras(card: Pass) -> JsonObject:
    document: JsonObject = {}
    if card.event is not None:
        if card.style is not PassStyle.EVENT_TICKET:
            raise PassContentError("event", "these keys are for event tickets")
        document.update(
            event_json(
                "event",
                card.event,
                lambda where, items, group: fields_json(where, items, group, PassStyle.EVENT_TICKET),
            )
        )
    if card.boarding is not None:
        if card.style is not PassStyle.BOARDING_PASS:
            raise PassContentError("boarding", "these keys are for boarding passes")
        document.update(boarding_json("boarding", card.boarding))
    return document
