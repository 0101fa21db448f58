"""`PassContent` -> the `pass.json` dictionary of a store card.

Sources: developer.apple.com/documentation/walletpasses/pass, …/passfields, …/passfieldcontent,
…/creating-a-generic-pass (field limits); each check below names the rule it enforces.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from passes.content import PassContent, PassContentError, PassField, Place, w3c_date

JsonObject = dict[str, object]

PLACES_MAX = 10
FRONT_FIELDS_MAX = 4  # secondary + auxiliary share one row when the code is square
FIELDS_MAX = 60
TEXT_CHARACTERS_MAX = 4_000
QR_BYTES_MAX = 512

_SERIAL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PASS_TYPE_ID = re.compile(r"pass\.[A-Za-z0-9.-]{1,100}")
_CURRENCY = re.compile(r"[A-Z]{3}")

_ALIGNMENTS = {
    "left": "PKTextAlignmentLeft",
    "center": "PKTextAlignmentCenter",
    "right": "PKTextAlignmentRight",
    "natural": "PKTextAlignmentNatural",
}
_NUMBER_STYLES = {
    "decimal": "PKNumberStyleDecimal",
    "percent": "PKNumberStylePercent",
    "scientific": "PKNumberStyleScientific",
    "spell_out": "PKNumberStyleSpellOut",
}
_DATE_STYLES = {
    "none": "PKDateStyleNone",
    "short": "PKDateStyleShort",
    "medium": "PKDateStyleMedium",
    "long": "PKDateStyleLong",
    "full": "PKDateStyleFull",
}


def pass_json(content: PassContent, *, pass_type_id: str, team_id: str, allow_http: bool = False) -> JsonObject:
    """Return the dictionary for `pass.json`.

    The balance is the header field, because only header fields show while cards lie stacked. Tier and
    member name are secondary, progress is auxiliary as far as the front has room and goes to the back
    otherwise. `allow_http` accepts an `http:` update address, which an iPhone takes only with its developer
    switch; it is meant for simulators on this machine.

    Raises `PassContentError` naming the field and Apple's rule.
    """
    if not _PASS_TYPE_ID.fullmatch(pass_type_id):
        raise PassContentError("pass_type_id", f"a Pass Type ID looks like pass.com.example, not {pass_type_id!r}")
    if not team_id:
        raise PassContentError("team_id", "the team identifier of the certificate is required")
    if not _SERIAL.fullmatch(content.serial_number):
        raise PassContentError(
            "serial_number", "1 to 64 letters, digits, '.', '_' or '-': it becomes part of an address"
        )

    document: JsonObject = {
        "formatVersion": 1,
        "passTypeIdentifier": pass_type_id,
        "teamIdentifier": team_id,
        "serialNumber": content.serial_number,
        "organizationName": _required_text("organization_name", content.organization_name),
        "description": _required_text("description", content.description),
        "backgroundColor": _rgb(content.colors.background),
        "foregroundColor": _rgb(content.colors.foreground),
        "labelColor": _rgb(content.colors.label),
    }
    if content.images is None or content.images.logo is None:
        # The drawn logo is a wordmark: the name beside it would be said twice.
        document["logoText"] = _required_text("program_name", content.program_name)
    document["storeCard"] = _store_card(content)
    if content.voided:
        document["voided"] = True  # and no code: a till must not be able to scan a card that is over
    else:
        document["barcodes"] = [_barcode(content)]
    if content.expires_at is not None:
        document["expirationDate"] = w3c_date("expires_at", content.expires_at)
    document.update(_places(content))
    document.update(_update_service(content, allow_http=allow_http))
    return document


def _store_card(content: PassContent) -> JsonObject:
    secondary = [
        ("tier", content.tier),
        ("member", content.member),
    ]
    front = [(where, item) for where, item in secondary if item is not None]
    room = FRONT_FIELDS_MAX - len(front)
    progress = [(f"progress[{index}]", item) for index, item in enumerate(content.progress)]
    card = PassField(key="card_number", label=content.card.label, value=content.card.number)
    back: list[tuple[str, PassField]] = []
    if content.news is not None:
        back.append(("news", content.news))
    back.extend(progress[room:])
    back.append(("card", card))
    back.extend((f"back[{index}]", item) for index, item in enumerate(content.back))

    groups: dict[str, list[tuple[str, PassField]]] = {
        "headerFields": [("points", content.points)],
        "secondaryFields": front,
        "auxiliaryFields": progress[:room],
        "backFields": back,
    }
    seen: dict[str, str] = {}
    count = 0
    for members in groups.values():
        for where, item in members:
            if item.key in seen:
                raise PassContentError(
                    f"{where}.key",
                    f"{item.key!r} is already the key of {seen[item.key]}; keys are unique in a pass",
                )
            seen[item.key] = where
            count += 1
    if count > FIELDS_MAX:
        raise PassContentError("back", f"a pass has at most {FIELDS_MAX} fields, this one {count}")
    return {
        name: [_field(where, item, on_back=name == "backFields") for where, item in members]
        for name, members in groups.items()
        if members
    }


def _field(where: str, item: PassField, *, on_back: bool) -> JsonObject:
    if not item.key:
        raise PassContentError(f"{where}.key", "every field needs a key")
    entry: JsonObject = {"key": item.key}
    if item.label:
        entry["label"] = _text(f"{where}.label", item.label)
    entry["value"] = _value(where, item)
    if item.change_message is not None:
        if "%@" not in item.change_message:
            raise PassContentError(
                f"{where}.change_message", "a change message contains %@, which becomes the new value"
            )
        entry["changeMessage"] = _text(f"{where}.change_message", item.change_message)
    if item.alignment is not None:
        if on_back:
            raise PassContentError(f"{where}.alignment", "fields on the back have no alignment")
        entry["textAlignment"] = _choice(f"{where}.alignment", item.alignment, _ALIGNMENTS)
    entry.update(_number_format(where, item))
    entry.update(_date_format(where, item))
    if on_back:
        entry.update(_links(where, item))
    elif item.attributed_value is not None:
        raise PassContentError(f"{where}.attributed_value", "links work on the back of the pass only")
    return entry


def _value(where: str, item: PassField) -> str | int | float:
    value = item.value
    if isinstance(value, bool):
        raise PassContentError(f"{where}.value", "a value is a text, a number or a date, not true or false")
    if isinstance(value, datetime):
        return w3c_date(f"{where}.value", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise PassContentError(f"{where}.value", "a number must be finite: JSON has no NaN or infinity")
    return _text(f"{where}.value", value) if isinstance(value, str) else value


def _number_format(where: str, item: PassField) -> JsonObject:
    if item.currency_code is None and item.number_style is None:
        return {}
    if item.currency_code is not None and item.number_style is not None:
        raise PassContentError(f"{where}.number_style", "a number has a currency or a style, not both")
    if not isinstance(item.value, int | float):
        raise PassContentError(f"{where}.value", "a formatted number must be a number, not a text")
    if item.currency_code is not None:
        if not _CURRENCY.fullmatch(item.currency_code):
            raise PassContentError(f"{where}.currency_code", "a currency is its ISO 4217 code, such as EUR")
        return {"currencyCode": item.currency_code}
    assert item.number_style is not None
    return {"numberStyle": _choice(f"{where}.number_style", item.number_style, _NUMBER_STYLES)}


def _date_format(where: str, item: PassField) -> JsonObject:
    if item.date_style is None and item.time_style is None:
        return {}
    if item.date_style is None or item.time_style is None:
        raise PassContentError(f"{where}.date_style", "date and time style come together")
    if not isinstance(item.value, datetime):
        raise PassContentError(f"{where}.value", "date styles need a date with its time zone")
    return {
        "dateStyle": _choice(f"{where}.date_style", item.date_style, _DATE_STYLES),
        "timeStyle": _choice(f"{where}.time_style", item.time_style, _DATE_STYLES),
    }


def _links(where: str, item: PassField) -> JsonObject:
    if item.attributed_value is not None:
        return {"attributedValue": _text(f"{where}.attributed_value", item.attributed_value)}
    if item.link is None:
        return {}
    if urlsplit(item.link).scheme not in ("https", "http"):
        raise PassContentError(f"{where}.link", "a link is an http or https address")
    shown = html.escape(str(item.value), quote=False)
    return {"attributedValue": f'<a href="{html.escape(item.link)}">{shown}</a>'}


def _barcode(content: PassContent) -> JsonObject:
    message = _required_text("card.message", content.card.scanned)
    # ISO 8859-1 is what every scanner reads; UTF-8 only when the text leaves no choice.
    try:
        encoded = message.encode("iso-8859-1")
        encoding = "iso-8859-1"
    except UnicodeEncodeError:
        encoded = message.encode("utf-8")
        encoding = "utf-8"
    if len(encoded) > QR_BYTES_MAX:
        raise PassContentError("card.message", f"a code of more than {QR_BYTES_MAX} bytes is too dense to scan")
    barcode: JsonObject = {
        "format": "PKBarcodeFormatQR",
        "message": message,
        "messageEncoding": encoding,
    }
    if content.card.caption:
        barcode["altText"] = _text("card.caption", content.card.caption)
    return barcode


def _places(content: PassContent) -> JsonObject:
    if len(content.places) > PLACES_MAX:
        raise PassContentError("places", f"a pass has at most {PLACES_MAX} locations")
    document: JsonObject = {}
    if content.places:
        document["locations"] = list(_locations(content.places))
    if content.max_distance_meters is not None:
        if content.max_distance_meters <= 0:
            raise PassContentError("max_distance_meters", "the distance is more than 0 metres")
        document["maxDistance"] = content.max_distance_meters
    return document


def _locations(places: tuple[Place, ...]) -> Iterator[JsonObject]:
    for index, place in enumerate(places):
        if not (-90 <= place.latitude <= 90 and -180 <= place.longitude <= 180):
            raise PassContentError(f"places[{index}]", "latitude is -90 to 90 and longitude -180 to 180 degrees")
        location: JsonObject = {"latitude": place.latitude, "longitude": place.longitude}
        if place.altitude is not None:
            location["altitude"] = place.altitude
        if place.relevant_text:
            location["relevantText"] = _text(f"places[{index}].relevant_text", place.relevant_text)
        yield location


def _update_service(content: PassContent, *, allow_http: bool) -> JsonObject:
    url, token = content.update_url, content.authentication_token
    if url is None and token is None:
        return {}
    if url is None or token is None:
        raise PassContentError("update_url", "the web service address and its token come together")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (allow_http and parts.scheme == "http"):
        raise PassContentError("update_url", "the web service address starts with https://")
    if not parts.hostname or parts.query or parts.fragment:
        raise PassContentError("update_url", "the web service address has a host and neither query nor fragment")
    if url.endswith("/") or parts.path.endswith("/v1"):
        raise PassContentError("update_url", "no slash and no /v1 at the end: phones add /v1/… themselves")
    if len(token) < 16:
        raise PassContentError("authentication_token", "the token has at least 16 characters")
    return {"webServiceURL": url, "authenticationToken": token}


def _choice(where: str, name: str, table: dict[str, str]) -> str:
    if name not in table:
        raise PassContentError(where, f"one of {', '.join(table)}, not {name!r}")
    return table[name]


def _required_text(where: str, text: str) -> str:
    if not text.strip():
        raise PassContentError(where, "this text is required and must not be empty")
    return _text(where, text)


def _text(where: str, text: str) -> str:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise PassContentError(where, f"a text has at most {TEXT_CHARACTERS_MAX} characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PassContentError(where, "the text holds half a character (a lone surrogate)") from error
    return text


def _rgb(color: str) -> str:
    # The hexadecimal form works on iOS too, but older readers know only this one.
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"
