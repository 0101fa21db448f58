"""The rules for `pass.json` that make iOS refuse a pass, applied to any document, not only to ours.

Source: developer.apple.com/documentation/walletpasses/pass and its members; the refusals that were seen in
phones' logs ("Unable to parse expirationDate … as a date").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

STYLES = ("storeCard", "coupon", "generic", "eventTicket", "boardingPass", "posterGeneric")
FIELD_GROUPS = (
    "headerFields",
    "primaryFields",
    "secondaryFields",
    "auxiliaryFields",
    "backFields",
    "footerFields",
    "additionalInfoFields",
)
BARCODE_FORMATS = (
    "PKBarcodeFormatQR",
    "PKBarcodeFormatPDF417",
    "PKBarcodeFormatAztec",
    "PKBarcodeFormatCode128",
)
_REQUIRED_TEXTS = (
    "passTypeIdentifier",
    "serialNumber",
    "teamIdentifier",
    "organizationName",
    "description",
)
_DATE = re.compile(
    r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)"
)
_COLOR = re.compile(
    r"rgb\(\s*(25[0-5]|2[0-4]\d|1?\d?\d)\s*(,\s*(25[0-5]|2[0-4]\d|1?\d?\d)\s*){2}\)|#[0-9a-fA-F]{3}([0-9a-fA-F]{3})?"
)


class PassJsonProblem(Exception):
    """The document is refused. `code` is stable, the message is the sentence why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def check_pass_json(document: Mapping[str, object]) -> None:
    """Raise `PassJsonProblem` if iOS would refuse the document."""
    if document.get("formatVersion") != 1 or isinstance(document["formatVersion"], bool):
        raise PassJsonProblem("bad_value", "formatVersion must be the number 1.")
    for key in _REQUIRED_TEXTS:
        value = document.get(key)
        if not isinstance(value, str) or not value:
            raise PassJsonProblem("missing_key", f"{key} is required and must be a text.")
    for key in ("voided", "sharingProhibited"):
        if key in document and not isinstance(document[key], bool):
            raise PassJsonProblem("bad_value", f"{key} must be true or false.")
    for key in ("expirationDate", "relevantDate"):
        if key in document:
            _check_date(key, document[key])
    for key in ("backgroundColor", "foregroundColor", "labelColor", "stripColor"):
        value = document.get(key)
        if value is not None and not (isinstance(value, str) and _COLOR.fullmatch(value)):
            raise PassJsonProblem("bad_color", f"{key} {value!r} is not a colour such as rgb(1, 2, 3).")
    _check_relevant_dates(document)
    _check_beacons_and_nfc(document)
    if "appLaunchURL" in document and "associatedStoreIdentifiers" not in document:
        raise PassJsonProblem("bad_value", "appLaunchURL needs associatedStoreIdentifiers.")
    _check_update_service(document)
    _check_barcodes(document)
    _check_locations(document)
    _check_fields(document)


def _check_update_service(document: Mapping[str, object]) -> None:
    url, token = document.get("webServiceURL"), document.get("authenticationToken")
    if url is None and token is None:
        return
    if not isinstance(url, str) or not isinstance(token, str):
        raise PassJsonProblem("bad_update_service", "webServiceURL and authenticationToken must come together.")
    if len(token) < 16:
        raise PassJsonProblem("short_token", "authenticationToken is shorter than 16 characters.")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise PassJsonProblem("bad_update_service", f"webServiceURL {url!r} is not a web address.")


def _check_barcodes(document: Mapping[str, object]) -> None:
    barcodes = document.get("barcodes", [])
    if not isinstance(barcodes, list):
        raise PassJsonProblem("bad_barcode", "barcodes must be a list.")
    for barcode in barcodes:
        if not isinstance(barcode, dict):
            raise PassJsonProblem("bad_barcode", "each of the barcodes must be an object.")
        for key in ("format", "message", "messageEncoding"):
            if not isinstance(barcode.get(key), str):
                raise PassJsonProblem("bad_barcode", f"a barcode needs the text {key}.")
    if barcodes and not any(barcode["format"] in BARCODE_FORMATS for barcode in barcodes):
        raise PassJsonProblem("bad_barcode", f"No barcode format is known: {barcodes[0]['format']!r}.")
    for barcode in barcodes:
        try:
            barcode["message"].encode(barcode["messageEncoding"])
        except (LookupError, UnicodeEncodeError) as error:
            raise PassJsonProblem(
                "bad_barcode", f"The code's message cannot be written in {barcode['messageEncoding']!r}."
            ) from error


def _check_locations(document: Mapping[str, object]) -> None:
    locations = document.get("locations", [])
    if not isinstance(locations, list):
        raise PassJsonProblem("bad_location", "locations must be a list.")
    for location in locations:
        for key in ("latitude", "longitude"):
            if not isinstance(location, dict) or not _is_number(location.get(key)):
                raise PassJsonProblem("bad_location", f"a location needs the number {key}.")


def _check_relevant_dates(document: Mapping[str, object]) -> None:
    dates = document.get("relevantDates", [])
    if not isinstance(dates, list):
        raise PassJsonProblem("bad_date", "relevantDates must be a list.")
    for entry in dates:
        if not isinstance(entry, dict) or not ({"date", "relevantDate"} & entry.keys() or "startDate" in entry):
            raise PassJsonProblem("bad_date", "each of the relevantDates needs date or startDate.")
        for key in ("date", "relevantDate", "startDate", "endDate"):
            if key in entry:
                _check_date(f"{key} of relevantDates", entry[key])


def _check_beacons_and_nfc(document: Mapping[str, object]) -> None:
    beacons = document.get("beacons", [])
    if not isinstance(beacons, list) or not all(
        isinstance(beacon, dict) and isinstance(beacon.get("proximityUUID"), str) for beacon in beacons
    ):
        raise PassJsonProblem("bad_beacon", "beacons must be a list of objects with a proximityUUID.")
    nfc = document.get("nfc")
    if nfc is not None and not (
        isinstance(nfc, dict)
        and isinstance(nfc.get("message"), str)
        and isinstance(nfc.get("encryptionPublicKey"), str)
    ):
        raise PassJsonProblem("bad_nfc", "nfc must hold the texts message and encryptionPublicKey.")


def _check_fields(document: Mapping[str, object]) -> None:
    styles = [style for style in STYLES if style in document]
    if not styles:
        raise PassJsonProblem("missing_style", "The pass has no style, such as storeCard.")
    if len(styles) > 1 and set(styles) != {"generic", "posterGeneric"}:
        raise PassJsonProblem("missing_style", f"The pass has several styles: {', '.join(styles)}.")
    for style in styles:
        card = document[style]
        if not isinstance(card, dict):
            raise PassJsonProblem("malformed_json", f"{style} must be an object.")
        if style == "boardingPass" and not isinstance(card.get("transitType"), str):
            raise PassJsonProblem("missing_key", "boardingPass needs a transitType.")
        seen: set[str] = set()
        for group in FIELD_GROUPS:
            fields = card.get(group, [])
            if not isinstance(fields, list):
                raise PassJsonProblem("bad_field", f"{group} must be a list.")
            for item in fields:
                _check_field(group, item, seen)


def _check_field(group: str, item: object, seen: set[str]) -> None:
    if not isinstance(item, dict) or not isinstance(item.get("key"), str) or not item["key"]:
        raise PassJsonProblem("bad_field", f"A field of {group} has no key.")
    key = item["key"]
    if key in seen:
        raise PassJsonProblem("duplicate_key", f"The field key {key!r} is used twice.")
    seen.add(key)
    value = item.get("value")
    if not isinstance(value, str) and not _is_number(value):
        raise PassJsonProblem("bad_field", f"The value of {key!r} must be a text or a number.")
    for name in ("label", "changeMessage", "attributedValue"):
        if name in item and not isinstance(item[name], str):
            raise PassJsonProblem("bad_field", f"{name} of {key!r} must be a text.")
    if "dateStyle" in item or "timeStyle" in item:
        _check_date(f"the value of {key!r}", value)
    if ("currencyCode" in item or "numberStyle" in item) and not _is_number(value):
        raise PassJsonProblem("bad_field", f"The value of {key!r} must be a number to be formatted as one.")


def _check_date(name: str, value: object) -> None:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise PassJsonProblem("bad_date", f"Unable to parse {name} {value!r} as a date.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
