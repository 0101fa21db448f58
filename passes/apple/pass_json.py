"""`PassContent` or any other `Pass` -> `pass.json`, checked against Apple's rules.

What is the same on all cards of a program is written once and kept by value (`_steady`, and each field in
`passes.apple.fields`): the next pass with another number costs a few microseconds.

Sources: developer.apple.com/documentation/walletpasses/pass, …/passfields, …/passfieldcontent,
…/creating-a-generic-pass (field limits); each check below names the rule it enforces.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from passes.apple import envelope
from passes.apple.card import codes_of, groups_of, house_name, logo_text
from passes.apple.events import boarding_json, event_json
from passes.apple.fields import TO_JSON, fields_json, fields_text
from passes.apple.model import Barcode, Pass, PassFields, PassStyle, RelevantMoment, RelevantSpan
from passes.apple.semantics import Semantics, semantics_json
from passes.content import PassContent, PassContentError, PassField, w3c_date

JsonObject = dict[str, object]

FIELDS_MAX: Final = 60
RELEVANT_DATES_MAX: Final = 30
USER_INFO_BYTES_MAX: Final = 16 * 1024
STEADY_KEPT: Final = 512
TRANSIT_TYPES: Final = {
    "air": "PKTransitTypeAir",
    "boat": "PKTransitTypeBoat",
    "bus": "PKTransitTypeBus",
    "generic": "PKTransitTypeGeneric",
    "train": "PKTransitTypeTrain",
}
GROUPS: Final = {
    "header": "headerFields",
    "primary": "primaryFields",
    "secondary": "secondaryFields",
    "auxiliary": "auxiliaryFields",
    "back": "backFields",
    "footer": "footerFields",
    "additional_info": "additionalInfoFields",
}
POSTER: Final = "posterGeneric"
SQUARE_CODES: Final = ("qr", "aztec")

_SERIAL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_groups = attrgetter(*GROUPS)
_by_group = tuple(GROUPS.items())
_AUXILIARY = list(GROUPS).index("auxiliary")
_ROW_IS_SHARED = (PassStyle.STORE_CARD, PassStyle.COUPON, PassStyle.GENERIC)
_WITHOUT_DATE = (PassStyle.STORE_CARD,)
_STORE_CARD: Final = PassStyle.STORE_CARD.value  # a plain text is looked up faster than a member of an enumeration
_SHARED: Final = (
    "organization_name",
    "description",
    "colors",
    "voided",
    "places",
    "max_distance_meters",
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
        _steady((PassStyle.STORE_CARD, logo_text(content), False, None), _shared_parts(content), identity),
        *_members(content, codes),
        _style(groups_of(content), None, "fields", _STORE_CARD, square=_is_square(codes)),
    ]
    if content.semantics is not None:
        parts.append(_semantics(content.semantics, PassStyle.STORE_CARD))
    return parts


def _any_pass(card: Pass, identity: _Identity) -> list[str]:
    fields = card.fields
    parts = [
        _steady(_pass_parts(card), _shared_parts(card), identity),
        *_members(card, card.barcodes),
        _style(_groups(fields), fields.transit_type, "fields", card.style.value, square=_is_square(card.barcodes)),
    ]
    if card.poster is not None:
        if card.style is not PassStyle.GENERIC:
            raise PassContentError("poster", "a poster stands beside a generic pass, which older phones show")
        poster = card.poster
        parts.append(_style(_groups(poster), poster.transit_type, "poster", POSTER, square=False))
    if card.relevant_date is not None or card.relevant_dates:
        parts.append(TO_JSON(_relevance(card))[1:-1])
    if card.semantics is not None:
        parts.append(_semantics(card.semantics, card.style))
    if card.user_info is not None:
        parts.append(f'"userInfo":{_user_info(card.user_info)}')
    if (extras := _extras(card)) != {}:
        parts.append(TO_JSON(extras)[1:-1])
    return parts


@lru_cache(maxsize=STEADY_KEPT)
def _steady(of_a_pass: tuple[Any, ...], shared: tuple[Any, ...], identity: _Identity) -> str:
    """Write what the cards of one program share. Every part is hashable, and equal parts are the same text."""
    parts = dict(zip((*_OF_A_PASS, *_SHARED), (*of_a_pass, *shared), strict=True))
    pass_type_id, team_id, allow_http = identity
    card = Pass(serial_number="", fields=_NO_FIELDS, **parts)
    return TO_JSON(envelope.steady(card, pass_type_id=pass_type_id, team_id=team_id, allow_http=allow_http))[1:-1]


def _members(card: PassContent | Pass, codes: tuple[Barcode, ...]) -> list[str]:
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
    if card.expires_at is not None:
        parts.append(f'"expirationDate":"{w3c_date("expires_at", card.expires_at)}"')
    return parts


def _is_square(codes: tuple[Barcode, ...]) -> bool:
    return bool(codes) and codes[0].format in SQUARE_CODES


def _semantics(semantics: Semantics, style: str) -> str:
    return f'"semantics":{TO_JSON(semantics_json("semantics", semantics, style=style))}'


_Groups = tuple[tuple[PassField, ...], ...]
"""The groups of fields in the order of `GROUPS`."""


def _style(groups: _Groups, transit_type: str | None, where: str, style: str, *, square: bool) -> str:
    """Write one style's dictionary: its groups of fields, within the room that the layout has."""
    written: list[str] = []
    keys: list[str] = []
    for (name, group), items in zip(_by_group, groups, strict=True):
        if items:
            written.append(f'"{group}":{fields_text(f"{where}.{name}", items, group, style)}')
            keys += [item.key for item in items]
    if len(keys) > FIELDS_MAX:
        raise PassContentError(where, f"a pass has at most {FIELDS_MAX} fields, this one {len(keys)}")
    if len(set(keys)) != len(keys):
        raise _repeated(groups, where)
    has_rows = style == PassStyle.EVENT_TICKET and any(item.row == 1 for item in groups[_AUXILIARY])
    _check_room(tuple(map(len, groups)), where, style, square, has_rows)
    if (transit_type is not None) != (style == PassStyle.BOARDING_PASS):
        raise PassContentError(f"{where}.transit_type", "a boarding pass has a transit type, other passes have none")
    if transit_type is not None:
        if transit_type not in TRANSIT_TYPES:
            raise PassContentError(f"{where}.transit_type", f"one of {', '.join(TRANSIT_TYPES)}")
        written.append(f'"transitType":"{TRANSIT_TYPES[transit_type]}"')
    return f'"{style}":{{{",".join(written)}}}'


def _repeated(groups: _Groups, where: str) -> PassContentError:
    seen: set[str] = set()
    for name, items in zip(GROUPS, groups, strict=True):
        for index, item in enumerate(items):
            if item.key in seen:
                return PassContentError(
                    f"{where}.{name}[{index}].key", f"{item.key!r} is already a field's key; keys are unique in a pass"
                )
            seen.add(item.key)
    raise AssertionError("the keys differ")


@lru_cache(maxsize=STEADY_KEPT)
def _check_room(counts: tuple[int, ...], where: str, style: str, square: bool, has_rows: bool) -> None:
    count = dict(zip(GROUPS, counts, strict=True))
    is_boarding = style == PassStyle.BOARDING_PASS
    room = {
        "header": 3,
        "primary": 2 if is_boarding else 1,
        "secondary": 4,
        "auxiliary": 8 if has_rows else 5 if is_boarding else 4,
        "footer": 1 if style == POSTER else 0,
        "additional_info": FIELDS_MAX if style == PassStyle.EVENT_TICKET else 0,
    }
    for name, limit in room.items():
        if count[name] > limit:
            raise PassContentError(f"{where}.{name}", f"{style} has room for {limit} such fields, not {count[name]}")
    shared = count["secondary"] + count["auxiliary"]
    if square and style in _ROW_IS_SHARED and shared > 4:
        raise PassContentError(
            f"{where}.auxiliary", f"beside a square code secondary and auxiliary fields share 4 places, not {shared}"
        )


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


def _ticket_fields(where: str, items: tuple[PassField, ...], group: str) -> list[Any]:
    return fields_json(where, items, group, PassStyle.EVENT_TICKET)
