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
from passes.apple.card import house_name, pass_of
from passes.apple.events import boarding_json, event_json
from passes.apple.fields import TO_JSON, fields_json, fields_text
from passes.apple.model import Pass, PassFields, PassStyle, RelevantMoment, RelevantSpan
from passes.apple.semantics import semantics_json
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
_ROW_IS_SHARED = (PassStyle.STORE_CARD, PassStyle.COUPON, PassStyle.GENERIC)
_WITHOUT_DATE = (PassStyle.STORE_CARD,)
_STEADY: Final = (
    "style",
    "organization_name",
    "description",
    "colors",
    "logo_text",
    "suppress_strip_shine",
    "voided",
    "places",
    "max_distance_meters",
    "beacons",
    "nfc",
    "featured_actions",
    "sharing_prohibited",
    "grouping_identifier",
    "store_identifiers",
    "app_launch_url",
    "update_url",
)
_steady_parts = attrgetter(*_STEADY)
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
    if isinstance(content, Pass):
        return _text(content, pass_type_id, team_id, allow_http=allow_http)
    try:
        return _text(pass_of(content), pass_type_id, team_id, allow_http=allow_http)
    except PassContentError as error:
        raise PassContentError(house_name(content, error.where), error.rule) from error


def _text(card: Pass, pass_type_id: str, team_id: str, *, allow_http: bool) -> str:
    if not _SERIAL.fullmatch(card.serial_number):
        raise PassContentError(
            "serial_number", "1 to 64 letters, digits, '.', '_' or '-': it becomes part of an address"
        )
    steady = _steady(_steady_parts(card), pass_type_id, team_id, allow_http)
    square = bool(card.barcodes) and card.barcodes[0].format in SQUARE_CODES
    parts = [steady, f'"serialNumber":"{card.serial_number}"', _style(card.fields, "fields", card.style, square=square)]
    if card.poster is not None:
        if card.style is not PassStyle.GENERIC:
            raise PassContentError("poster", "a poster stands beside a generic pass, which older phones show")
        parts.append(_style(card.poster, "poster", POSTER, square=False))
    if card.barcodes:
        parts.append(f'"barcodes":{envelope.barcodes_text(card.barcodes)}')
    if card.authentication_token is not None or card.update_url is not None:
        parts.append(envelope.token_text(card.update_url, card.authentication_token))
    if card.expires_at is not None:
        parts.append(f'"expirationDate":"{w3c_date("expires_at", card.expires_at)}"')
    if card.relevant_date is not None or card.relevant_dates:
        parts.append(TO_JSON(_relevance(card))[1:-1])
    if card.semantics is not None:
        parts.append(f'"semantics":{TO_JSON(semantics_json("semantics", card.semantics, style=card.style))}')
    if card.user_info is not None:
        parts.append(f'"userInfo":{_user_info(card.user_info)}')
    if card.event is not None or card.boarding is not None:
        parts.append(TO_JSON(_extras(card))[1:-1])
    return f"{{{','.join(filter(None, parts))}}}"


@lru_cache(maxsize=STEADY_KEPT)
def _steady(parts: tuple[Any, ...], pass_type_id: str, team_id: str, allow_http: bool) -> str:
    """Write what the cards of one program share. Every part is hashable, and equal parts are the same text."""
    card = Pass(serial_number="", fields=_NO_FIELDS, **dict(zip(_STEADY, parts, strict=True)))
    return TO_JSON(envelope.steady(card, pass_type_id=pass_type_id, team_id=team_id, allow_http=allow_http))[1:-1]


def _style(fields: PassFields, where: str, style: str, *, square: bool) -> str:
    """Write one style's dictionary: its groups of fields, within the room that the layout has."""
    groups = _groups(fields)
    written: list[str] = []
    keys: set[str] = set()
    count = 0
    for (name, group), items in zip(_by_group, groups, strict=True):
        if items:
            written.append(f'"{group}":{fields_text(f"{where}.{name}", items, group, style)}')
            count += len(items)
            keys.update([item.key for item in items])
    if count > FIELDS_MAX:
        raise PassContentError(where, f"a pass has at most {FIELDS_MAX} fields, this one {count}")
    if len(keys) != count:
        raise _repeated(fields, where)
    _check_room(fields, where, style, square=square)
    if (fields.transit_type is not None) != (style == PassStyle.BOARDING_PASS):
        raise PassContentError(f"{where}.transit_type", "a boarding pass has a transit type, other passes have none")
    if fields.transit_type is not None:
        if fields.transit_type not in TRANSIT_TYPES:
            raise PassContentError(f"{where}.transit_type", f"one of {', '.join(TRANSIT_TYPES)}")
        written.append(f'"transitType":"{TRANSIT_TYPES[fields.transit_type]}"')
    return f'"{style}":{{{",".join(written)}}}'


def _repeated(fields: PassFields, where: str) -> PassContentError:
    seen: set[str] = set()
    for name, items in zip(GROUPS, _groups(fields), strict=True):
        for index, item in enumerate(items):
            if item.key in seen:
                return PassContentError(
                    f"{where}.{name}[{index}].key", f"{item.key!r} is already a field's key; keys are unique in a pass"
                )
            seen.add(item.key)
    raise AssertionError("the keys differ")


def _check_room(fields: PassFields, where: str, style: str, *, square: bool) -> None:
    is_boarding, is_poster = style == PassStyle.BOARDING_PASS, style == POSTER
    limits = (
        ("header", len(fields.header), 3),
        ("primary", len(fields.primary), 2 if is_boarding else 1),
        ("secondary", len(fields.secondary), 4),
        ("auxiliary", len(fields.auxiliary), _auxiliary_room(fields, style)),
        ("footer", len(fields.footer), 1 if is_poster else 0),
    )
    for name, count, limit in limits:
        if count > limit:
            raise PassContentError(f"{where}.{name}", f"this style has room for {limit} such fields, not {count}")
    if fields.additional_info and style != PassStyle.EVENT_TICKET:
        raise PassContentError(f"{where}.additional_info", "additional information is for event tickets")
    shared = len(fields.secondary) + len(fields.auxiliary)
    if square and style in _ROW_IS_SHARED and shared > 4:
        raise PassContentError(
            f"{where}.auxiliary", f"beside a square code secondary and auxiliary fields share 4 places, not {shared}"
        )


def _auxiliary_room(fields: PassFields, style: str) -> int:
    if style == PassStyle.EVENT_TICKET and any(item.row == 1 for item in fields.auxiliary):
        return 8  # two rows of four
    return 5 if style == PassStyle.BOARDING_PASS else 4


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
