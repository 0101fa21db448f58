"""What one card can say at Google besides `passes.content.PassContent`; all of it is optional.

Source: developers.google.com/wallet/reference/rest/v1/loyaltyobject, its fields and the types behind them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from passes.content import PassContent, PassContentError, PassField, w3c_date
from passes.google.barcodes import Barcode, RotatingBarcode
from passes.google.modules import SharedExtras
from passes.google.parts import ID_CHARACTERS_MAX, JsonObject, Words, at_most, checked, distinct, int32
from passes.google.parts import resource_id as checked_id
from passes.google.points import points

LINKED_OBJECTS_MAX = 50
"""Ours: Google ignores in silence what is beyond a number that it does not name."""
SMART_TAP_CHARACTERS_MAX = 1_000
_NOT_OF_A_VOIDED_CARD = frozenset({"barcode", "messages", "rotatingBarcode", "smartTapRedemptionValue"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ObjectState(StrEnum):
    """How far a card's life has come; all but ``ACTIVE`` lie among the passes of before.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyobject (State)
    """

    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    EXPIRED = "EXPIRED"
    INACTIVE = "INACTIVE"


class NfcConstraint(StrEnum):
    """Cards of other kinds that the phone does not hold out while this one is open.

    Source: developers.google.com/wallet/reference/rest/v1/PassConstraints (NfcConstraint)
    """

    BLOCK_PAYMENT = "BLOCK_PAYMENT"
    BLOCK_CLOSED_LOOP_TRANSIT = "BLOCK_CLOSED_LOOP_TRANSIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassConstraints:
    """What the phone may not do with the card: pictures of the screen (newer phones only), other cards over NFC.

    Source: developers.google.com/wallet/reference/rest/v1/PassConstraints
    """

    screenshots: bool | None = None
    nfc: tuple[NfcConstraint, ...] = ()

    def written(self, where: str) -> JsonObject:
        if self.screenshots is None and not self.nfc:
            raise PassContentError(where, "constraints say something of screenshots or of NFC")
        distinct(f"{where}.nfc", self.nfc)
        body: JsonObject = {"nfcConstraint": [kind.value for kind in self.nfc]}
        if self.screenshots is not None:
            body["screenshotEligibility"] = "ELIGIBLE" if self.screenshots else "INELIGIBLE"
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupingInfo:
    """Cards of one `id` lie together, lower `sort_index` first.

    Source: developers.google.com/wallet/reference/rest/v1/GroupingInfo
    """

    id: str | None = None
    sort_index: int | None = None

    def written(self, where: str) -> JsonObject:
        if self.id is None and self.sort_index is None:
            raise PassContentError(where, "a grouping has an id, a sort_index or both")
        body: JsonObject = {}
        if self.id is not None:
            body["groupingId"] = checked(f"{where}.id", self.id, ID_CHARACTERS_MAX)
        if self.sort_index is not None:
            body["sortIndex"] = int32(f"{where}.sort_index", self.sort_index)
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectExtras(SharedExtras):
    """What an object can say besides.

    `state` is for cards that are not voided, which are always inactive. `barcode` stands in place of the code that the
    card brings, for kinds that only Google has; `show_code_text` is on the button that opens the code of a Smart Tap
    card. `smart_tap_value` is what a terminal reads, in ASCII. `restrict_to_email_sha256` lets only the holder of a
    mail address save the card: the SHA-256 of the address in 64 hexadecimal digits, all lower case; ask Google before
    using it. `linked_object_ids` are whole ids of the same issuer's objects, which exist; a link cannot be taken back.
    `valid_from` begins what `expires_at` of the card ends.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyobject
    """

    state: ObjectState | None = None
    secondary_points: PassField | None = None
    barcode: Barcode | None = None
    show_code_text: str | None = None
    rotating_barcode: RotatingBarcode | None = None
    smart_tap_value: str | None = None
    grouping: GroupingInfo | None = None
    constraints: PassConstraints | None = None
    restrict_to_email_sha256: str | None = None
    linked_object_ids: tuple[str, ...] = ()
    valid_from: datetime | None = None

    def added_to(self, body: JsonObject, content: PassContent, words: Words, *, issuer_id: str) -> JsonObject:
        """Return the LoyaltyObject `body` with the keys of these extras. Raises `PassContentError`."""
        if content.voided and self.state not in {None, ObjectState.INACTIVE}:
            raise PassContentError("state", "a voided card is INACTIVE")
        more = self.shared(words) | self._codes(body, words)
        if content.voided:  # nothing of it is to be redeemed or read any more, but it is checked all the same
            more = {name: value for name, value in more.items() if name not in _NOT_OF_A_VOIDED_CARD}
        if self.state is not None:
            more["state"] = self.state.value
        if self.secondary_points is not None:
            more["secondaryLoyaltyPoints"] = points("secondary_points", self.secondary_points, words)
        if self.grouping is not None:
            more["groupingInfo"] = self.grouping.written("grouping")
        if self.constraints is not None:
            more["passConstraints"] = self.constraints.written("constraints")
        if self.restrict_to_email_sha256 is not None:
            if not _SHA256.fullmatch(self.restrict_to_email_sha256):
                raise PassContentError(
                    "restrict_to_email_sha256", "the SHA-256 of the address in 64 lower-case hexadecimal digits"
                )
            more["saveRestrictions"] = {"restrictToEmailSha256": self.restrict_to_email_sha256}
        if self.linked_object_ids:
            self._check_linked(str(body["id"]), issuer_id)
            more["linkedObjectIds"] = list(self.linked_object_ids)
        if self.valid_from is not None:
            more["validTimeInterval"] = _validity(self.valid_from, content.expires_at)
        return {**body, **more}

    def _codes(self, body: JsonObject, words: Words) -> JsonObject:
        codes: JsonObject = {}
        if self.barcode is not None:
            codes["barcode"] = self.barcode.written("barcode")
        if self.show_code_text is not None:
            code = codes.get("barcode", body.get("barcode"))
            text = words.whole("show_code_text", self.show_code_text)
            codes["barcode"] = {**(code if isinstance(code, dict) else {}), "showCodeText": text}
        if self.rotating_barcode is not None:
            codes["rotatingBarcode"] = self.rotating_barcode.written("rotating_barcode", words)
        if self.smart_tap_value is not None:
            checked("smart_tap_value", self.smart_tap_value, SMART_TAP_CHARACTERS_MAX)
            if not self.smart_tap_value.isascii():
                raise PassContentError("smart_tap_value", "a terminal reads ASCII characters only")
            codes["smartTapRedemptionValue"] = self.smart_tap_value
        return codes

    def _check_linked(self, own_id: str, issuer_id: str) -> None:
        where = "linked_object_ids"
        at_most(where, self.linked_object_ids, LINKED_OBJECTS_MAX, "linked objects")
        distinct(where, (own_id, *self.linked_object_ids))
        for place, linked in enumerate(self.linked_object_ids):
            issuer, _, suffix = linked.partition(".")
            if issuer != issuer_id:
                raise PassContentError(f"{where}[{place}]", f"an object of another issuer cannot be linked: {linked!r}")
            try:
                checked_id(issuer, suffix)
            except PassContentError as error:
                raise PassContentError(f"{where}[{place}]", f"<issuer>.<suffix>, {error.rule}") from error


def _validity(start: datetime, end: datetime | None) -> JsonObject:
    found: JsonObject = {"start": {"date": w3c_date("valid_from", start)}}
    if end is not None:
        found["end"] = {"date": w3c_date("expires_at", end)}
        if end < start:
            raise PassContentError("valid_from", "a card does not end before it starts")
    return found
