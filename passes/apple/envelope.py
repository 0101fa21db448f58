"""What `pass.json` says around its fields: names, colours, codes, places, beacons, the update service.

Sources: developer.apple.com/documentation/walletpasses/pass and the types below it (barcodes, locations, beacons,
nfc); names of formats and actions as in Apple's open pass builder.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Final
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from passes.apple.events import store_identifiers, web_address
from passes.apple.fields import quoted, required_text, text
from passes.apple.model import Barcode, Pass, PassStyle
from passes.content import Beacon, FeaturedAction, Nfc, PassContentError, Place

JsonObject = dict[str, object]

PLACES_MAX: Final = 10
BEACONS_MAX: Final = 10
ACTIONS_MAX: Final = 2
CODES_MAX: Final = 8
CODE_BYTES_MAX: Final = 512
LATIN: Final = "iso-8859-1"
"""What every scanner reads; UTF-8 only when the text leaves no choice."""
NFC_BYTES_MAX: Final = 64
TOKEN_CHARACTERS_MIN: Final = 16

FORMATS: Final = {
    "qr": "PKBarcodeFormatQR",
    "pdf417": "PKBarcodeFormatPDF417",
    "aztec": "PKBarcodeFormatAztec",
    "code128": "PKBarcodeFormatCode128",
    "code39": "PKBarcodeFormatCode39",
    "codabar": "PKBarcodeFormatCodabar",
    "ean13": "PKBarcodeFormatEAN13",
    "i2of5": "PKBarcodeFormatI2of5",
}
KNOWN_BEFORE_IOS_27: Final = ("qr", "pdf417", "aztec", "code128")
ACTIONS: Final = tuple(
    """viewSchedule watchTrailer listenToMusic call place addToBalance order shop membershipBenefits bookAppointment
    bookCar bookFlight bookStay viewOffersRewards""".split()
)
_ALPHABETS: Final = {
    "code128": (re.compile(r"[\x00-\x7f]+"), "Code 128 writes ASCII"),
    "code39": (re.compile(r"[0-9A-Z .$/+%-]+"), "Code 39 writes digits, capital letters and - . $ / + % space"),
    "codabar": (re.compile(r"[A-Da-d]?[0-9$:/.+-]+[A-Da-d]?"), "Codabar writes digits and - $ : / . +"),
    "ean13": (re.compile(r"[0-9]{13}"), "EAN-13 is 13 digits with its check digit"),
    "i2of5": (re.compile(r"([0-9]{2})+"), "Interleaved 2 of 5 writes an even number of digits"),
}
_PASS_TYPE_ID = re.compile(r"pass\.[A-Za-z0-9.-]{1,100}")
_PLAIN_CODE = re.compile(r"[!-~]{1,512}")
_IN_HEADERS = re.compile(r"[!-~]*")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_TICKETS: Final = (PassStyle.BOARDING_PASS, PassStyle.EVENT_TICKET)


def steady(card: Pass, *, pass_type_id: str, team_id: str, allow_http: bool) -> JsonObject:
    """Return the part of `pass.json` that all cards of a program share. Raises `PassContentError`."""
    if not _PASS_TYPE_ID.fullmatch(pass_type_id):
        raise PassContentError("pass_type_id", f"a Pass Type ID looks like pass.com.example, not {pass_type_id!r}")
    if not team_id:
        raise PassContentError("team_id", "the team identifier of the certificate is required")
    document: JsonObject = {
        "formatVersion": 1,
        "passTypeIdentifier": pass_type_id,
        "teamIdentifier": text("team_id", team_id),
        "organizationName": required_text("organization_name", card.organization_name),
        "description": required_text("description", card.description),
        **_looks(card),
    }
    if card.grouping_identifier is not None:
        if card.style not in _TICKETS:
            raise PassContentError("grouping_identifier", "only boarding passes and event tickets are grouped")
        document["groupingIdentifier"] = required_text("grouping_identifier", card.grouping_identifier)
    if card.beacons:
        document["beacons"] = list(_beacons(card.beacons))
    if card.nfc is not None:
        document["nfc"] = _nfc(card.nfc)
    if card.featured_actions:
        document["featuredActions"] = list(_actions(card.featured_actions))
    document.update(_app(card.store_identifiers, card.app_launch_url))
    if card.update_url is not None:
        document["webServiceURL"] = _update_url(card.update_url, allow_http=allow_http)
    return document


def _looks(card: Pass) -> JsonObject:
    document: JsonObject = {}
    if card.colors is not None:
        document |= {
            "backgroundColor": rgb(card.colors.background),
            "foregroundColor": rgb(card.colors.foreground),
            "labelColor": rgb(card.colors.label),
        }
        if card.colors.strip is not None:
            document["stripColor"] = rgb(card.colors.strip)
    if card.logo_text is not None:
        document["logoText"] = required_text("logo_text", card.logo_text)
    for key, switch in (
        ("suppressStripShine", card.suppress_strip_shine),
        ("voided", card.voided),
        ("sharingProhibited", card.sharing_prohibited),
    ):
        if switch:
            document[key] = True
    return document


def rgb(color: str) -> str:
    """``#1F3A5F`` -> ``rgb(31, 58, 95)``: iOS takes both, older readers know only the second."""
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"


def token_text(update_url: str | None, token: str | None) -> str:
    """Return the member `authenticationToken`. Raises `PassContentError`."""
    if update_url is None or token is None:
        raise PassContentError("update_url", "the web service address and its token come together")
    if not _IN_HEADERS.fullmatch(token):
        raise PassContentError("authentication_token", "the token goes into a header: printable ASCII without spaces")
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise PassContentError("authentication_token", f"the token has at least {TOKEN_CHARACTERS_MIN} characters")
    return f'"authenticationToken":{quoted(token)}'


Code = tuple[str, str, str | None, str]
"""Format, message, encoding and caption of a `Barcode`."""
code_of: Final[Callable[[Barcode], Code]] = attrgetter("format", "message", "encoding", "caption")


def barcodes_text(codes: Sequence[Code]) -> str:
    """Return the list of codes as JSON. Raises `PassContentError`."""
    if len(codes) > CODES_MAX:
        raise PassContentError("barcodes", f"a pass has at most {CODES_MAX} codes")
    last_format = codes[-1][0]
    if last_format not in KNOWN_BEFORE_IOS_27 and last_format in FORMATS:
        raise PassContentError(
            "barcodes", "phones before iOS 27 need one of qr, pdf417, aztec and code128 as the last resort"
        )
    made: list[str] = []
    try:
        for code in codes:
            made.append(_barcode_text(*code))  # noqa: PERF401 - its length tells which one failed
    except PassContentError as error:
        raise PassContentError(f"barcodes[{len(made)}].{error.where}", error.rule) from error
    return f"[{','.join(made)}]"


def _barcode_text(name: str, message: str, encoding: str | None, caption: str) -> str:
    if name not in FORMATS:
        raise PassContentError("format", f"one of {', '.join(FORMATS)}, not {name!r}")
    is_plain = _PLAIN_CODE.fullmatch(message)
    if not is_plain:
        required_text("message", message)
    if name in _ALPHABETS:
        alphabet, rule = _ALPHABETS[name]
        if not alphabet.fullmatch(message) or (name == "ean13" and not _ean13(message)):
            raise PassContentError("message", rule)
    if encoding is None and is_plain:
        encoding = LATIN
    else:
        size, encoding = _encoded(message, encoding)
        if size > CODE_BYTES_MAX:
            raise PassContentError("message", f"a code of more than {CODE_BYTES_MAX} bytes is too dense to scan")
    below = f',"altText":{quoted(text("caption", caption))}' if caption else ""
    return f'{{"format":"{FORMATS[name]}","message":{quoted(message)},"messageEncoding":{quoted(encoding)}{below}}}'


def _encoded(message: str, encoding: str | None) -> tuple[int, str]:
    """Return the size in bytes, and the encoding, chosen if it is None."""
    if encoding is None:
        encoding = LATIN if max(message) <= "\xff" else "utf-8"
    try:
        return len(message.encode(encoding)), encoding
    except (LookupError, UnicodeError, ValueError) as error:
        raise PassContentError("encoding", f"the message cannot be written in {encoding!r}") from error


def _ean13(digits: str) -> bool:
    return sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits)) % 10 == 0


def places_json(places: Sequence[Place], max_distance_meters: float | None) -> JsonObject:
    """Return `locations` and `maxDistance`. Raises `PassContentError`."""
    if len(places) > PLACES_MAX:
        raise PassContentError("places", f"a pass has at most {PLACES_MAX} locations")
    document: JsonObject = {}
    if places:
        document["locations"] = list(_locations(places))
    if max_distance_meters is not None:
        if isinstance(max_distance_meters, bool) or not isinstance(max_distance_meters, int | float):
            raise PassContentError("max_distance_meters", "the distance is a number; Wallet ignores a text")
        if not 0 < max_distance_meters < math.inf:
            raise PassContentError("max_distance_meters", "the distance is more than 0 metres")
        document["maxDistance"] = max_distance_meters
    return document


def _locations(places: Sequence[Place]) -> Iterator[JsonObject]:
    for index, place in enumerate(places):
        if not (-90 <= place.latitude <= 90 and -180 <= place.longitude <= 180):
            raise PassContentError(f"places[{index}]", "latitude is -90 to 90 and longitude -180 to 180 degrees")
        # As floats: places that are equal are written alike.
        location: JsonObject = {"latitude": float(place.latitude), "longitude": float(place.longitude)}
        if place.altitude is not None:
            if not math.isfinite(place.altitude):
                raise PassContentError(f"places[{index}].altitude", "the altitude is a finite number of metres")
            location["altitude"] = float(place.altitude)
        if place.relevant_text:
            location["relevantText"] = text(f"places[{index}].relevant_text", place.relevant_text)
        yield location


def _beacons(beacons: Sequence[Beacon]) -> Iterator[JsonObject]:
    if len({beacon.proximity_uuid.lower() for beacon in beacons}) > BEACONS_MAX or len(beacons) > BEACONS_MAX:
        raise PassContentError("beacons", f"a pass has at most {BEACONS_MAX} beacons")
    for index, beacon in enumerate(beacons):
        where = f"beacons[{index}]"
        if not _UUID.fullmatch(beacon.proximity_uuid):
            raise PassContentError(f"{where}.proximity_uuid", "a beacon's family is a UUID")
        entry: JsonObject = {"proximityUUID": beacon.proximity_uuid}
        for name, number in (("major", beacon.major), ("minor", beacon.minor)):
            if number is not None:
                if type(number) is not int or not 0 <= number <= 0xFFFF:
                    raise PassContentError(f"{where}.{name}", "a whole number from 0 to 65535")
                entry[name] = number
        if beacon.relevant_text:
            entry["relevantText"] = text(f"{where}.relevant_text", beacon.relevant_text)
        yield entry


def _nfc(nfc: Nfc) -> JsonObject:
    required_text("nfc.message", nfc.message)
    if len(nfc.message.encode()) > NFC_BYTES_MAX:
        raise PassContentError("nfc.message", f"the message has at most {NFC_BYTES_MAX} bytes: phones cut the rest")
    try:
        key = load_der_public_key(base64.b64decode(nfc.public_key, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise PassContentError("nfc.public_key", "the key is the Base64 text of a SubjectPublicKeyInfo") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PassContentError("nfc.public_key", "the key is an elliptic one on the curve P-256")
    entry: JsonObject = {"message": nfc.message, "encryptionPublicKey": nfc.public_key}
    if nfc.requires_authentication:
        entry["requiresAuthentication"] = True
    return entry


def _actions(actions: Sequence[FeaturedAction]) -> Iterator[JsonObject]:
    if len(actions) > ACTIONS_MAX:
        raise PassContentError("featured_actions", f"a pass has at most {ACTIONS_MAX} featured actions")
    seen: set[str] = set()
    for index, action in enumerate(actions):
        where = f"featured_actions[{index}]"
        identifier = required_text(f"{where}.identifier", action.identifier)
        if identifier in seen:
            raise PassContentError(f"{where}.identifier", "each action has an identifier of its own")
        seen.add(identifier)
        if action.kind not in ACTIONS:
            raise PassContentError(f"{where}.kind", f"one of {', '.join(ACTIONS)}, not {action.kind!r}")
        entry: JsonObject = {"identifier": identifier, "type": action.kind}
        if (action.kind == "place") != (action.place_identifier is not None) or (action.kind == "place") == (
            action.url is not None
        ):
            raise PassContentError(where, "a place has Apple's identifier of it, every other action an address")
        if action.place_identifier is not None:
            entry["placeIdentifier"] = required_text(f"{where}.place_identifier", action.place_identifier)
        elif action.url is not None:
            entry["url"] = _action_url(f"{where}.url", action)
        yield entry


def _action_url(where: str, action: FeaturedAction) -> str:
    url = action.url or ""
    if action.kind == "call":
        if not re.fullmatch(r"tel:\+?[0-9.()-]{3,32}", url):
            raise PassContentError(where, "a call has an address such as tel:+38912345678")
        return url
    return web_address(where, url)


def _app(app_identifiers: tuple[int, ...], app_launch_url: str | None) -> JsonObject:
    document: JsonObject = {}
    if app_identifiers:
        document["associatedStoreIdentifiers"] = store_identifiers("store_identifiers", app_identifiers)
    if app_launch_url is not None:
        if not app_identifiers:
            raise PassContentError("app_launch_url", "it needs the identifiers of the apps in the store")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,2000}", app_launch_url):
            raise PassContentError("app_launch_url", "this is an address with a scheme, such as cafe://card")
        document["appLaunchURL"] = app_launch_url
    return document


def _update_url(url: str, *, allow_http: bool) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise PassContentError("update_url", "the web service address cannot be read") from error
    if parts.scheme != "https" and not (allow_http and parts.scheme == "http"):
        raise PassContentError("update_url", "the web service address starts with https://")
    if not host or parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise PassContentError("update_url", "the web service address has a host and neither query nor fragment")
    if url.endswith("/") or parts.path.endswith("/v1"):
        raise PassContentError("update_url", "no slash and no /v1 at the end: phones add /v1/… themselves")
    return url
