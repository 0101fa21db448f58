"""Google Wallet's memory and manners: loyalty classes and objects, their checks, messages and savers.

Sources: Google's discovery document of the Wallet Objects API (names, methods); developers.google.com/wallet
(review status, quotas of notifications); error reasons as reported by users, collected in the project's
protocol notes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from wallet_server.errors import DomainError
from wallet_server.faces.google import message_text, notification_title
from wallet_server.sandbox.google_jwt import BadToken, verified_claims
from wallet_server.sandbox.store import Store

LINK_CHARACTERS_MAX: Final = 1800
MESSAGES_MAX: Final = 10
NOTICES_A_DAY_MAX: Final = 3
_ID = re.compile(r"(\d+)\.([A-Za-z0-9._-]{1,200})")
_STATES: Final = frozenset({"ACTIVE", "COMPLETED", "EXPIRED", "INACTIVE", "active", "completed", "expired", "inactive"})
_SAVE_PATH = "/gp/v/save/"

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "loyaltyClass": frozenset(
        """accountIdLabel accountNameLabel allowMultipleUsersPerObject appLinkData callbackOptions
        classTemplateInfo countryCode discoverableProgram enableSmartTap heroImage hexBackgroundColor homepageUri
        id imageModulesData infoModuleData issuerName kind linksModuleData localizedAccountIdLabel
        localizedAccountNameLabel localizedIssuerName localizedProgramName localizedRewardsTier
        localizedRewardsTierLabel localizedSecondaryRewardsTier localizedSecondaryRewardsTierLabel locations
        merchantLocations messages multipleDevicesAndHoldersAllowedStatus notifyPreference programLogo programName
        redemptionIssuers review reviewStatus rewardsTier rewardsTierLabel secondaryRewardsTier
        secondaryRewardsTierLabel securityAnimation textModulesData valueAddedModuleData version
        viewUnlockRequirement wideProgramLogo wordMark""".split()
    ),
    "loyaltyObject": frozenset(
        """accountId accountName appLinkData barcode classId classReference disableExpirationNotification
        groupingInfo hasLinkedDevice hasUsers heroImage id imageModulesData infoModuleData kind linkedObjectIds
        linkedOfferIds linksModuleData locations loyaltyPoints merchantLocations messages notifyPreference
        passConstraints rotatingBarcode saveRestrictions secondaryLoyaltyPoints smartTapRedemptionValue state
        textModulesData validTimeInterval valueAddedModuleData version""".split()
    ),
}
"""Names that Google's schema knows; it refuses any other."""

_REQUIRED: Final = {
    "loyaltyClass": ("id", "issuerName", "programName", "programLogo", "reviewStatus"),
    "loyaltyObject": ("id", "classId", "state"),
}


class GoogleBehaviour(StrEnum):
    """How the API answers: real life on demand."""

    NORMAL = "normal"
    DOWN = "down"
    """503 for every call."""
    QUOTA = "quota"
    """429: more than the 20 requests a second that Google allows."""
    DENIED = "denied"
    """403 permissionDenied: the service account was not invited by the issuer."""


class GoogleError(Exception):
    """An error in Google's shape."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class GoogleWallet:
    """Classes, objects, and the phones that saved them."""

    def __init__(
        self,
        store: Store,
        *,
        issuer_id: str,
        client_email: str,
        public_key: rsa.RSAPublicKey,
        now: Callable[[], datetime],
        tell: Callable[[Mapping[str, Any], str, str], None],
    ) -> None:
        """``tell`` is given class, object's id and ``save`` or ``del``, whenever somebody does so."""
        self._store = store
        self._issuer_id = issuer_id
        self._tell = tell
        self.client_email = client_email
        self.public_key = public_key
        self._now = now
        self.behaviour = GoogleBehaviour.NORMAL

    # -- classes and objects --

    def insert(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Add a class or an object. Raises :class:`GoogleError`."""
        self._check(kind, body)
        if self.find(kind, body["id"]) is not None:
            raise GoogleError(409, "existingResource", f"Existing entity with ID {body['id']}.")
        return self._put(kind, body)

    def get(self, kind: str, resource_id: str) -> dict[str, Any]:
        """One class or object. Raises :class:`GoogleError` (404)."""
        found = self.find(kind, resource_id)
        if found is None:
            reason = "classNotFound" if kind == "loyaltyClass" else "resourceNotFound"
            raise GoogleError(404, reason, f"The requested resource {resource_id} was not found.")
        return found

    def find(self, kind: str, resource_id: str) -> dict[str, Any] | None:
        rows = self._store.rows("SELECT body FROM google_resource WHERE kind = ? AND id = ?", kind, resource_id)
        if not rows:
            return None
        document: dict[str, Any] = json.loads(rows[0]["body"])
        return document

    def page(self, kind: str, owner: str, limit: int, after: str) -> tuple[list[dict[str, Any]], str | None]:
        """Classes of an issuer, or objects of a class, by id; (page, token of the next page)."""
        prefix = f"{owner}." if kind == "loyaltyClass" else ""
        rows = self._store.rows(
            "SELECT id, body FROM google_resource WHERE kind = ? AND id > ? AND (? = '' OR substr(id, 1, ?) = ?)"
            " AND (? <> '' OR json_extract(body, '$.classId') = ?) ORDER BY id LIMIT ?",
            *(kind, after, prefix, len(prefix), prefix, prefix, owner, limit + 1),
        )
        page = [json.loads(row["body"]) for row in rows[:limit]]
        return page, rows[limit - 1]["id"] if len(rows) > limit else None

    def patch(self, kind: str, resource_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Merge objects, replace lists whole, drop what is null. Raises :class:`GoogleError`."""
        current = self.get(kind, resource_id)
        return self._change(kind, current, _merged(current, body), body)

    def update(self, kind: str, resource_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Replace the whole resource. Raises :class:`GoogleError`."""
        current = self.get(kind, resource_id)
        return self._change(kind, current, {**body, "id": resource_id}, body)

    def add_message(self, kind: str, resource_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Add a message, and notify the holders if it asks for that. Raises :class:`GoogleError`."""
        message = body.get("message")
        if set(body) - {"message"} or not isinstance(message, dict):
            raise GoogleError(400, "invalid", "Invalid JSON payload received: the message is missing.")
        if not message.get("header") and not message.get("localizedHeader"):
            raise GoogleError(400, "invalidResource", "Message header cannot be empty.")
        current = self.get(kind, resource_id)
        notifies = message.get("messageType") == "TEXT_AND_NOTIFY"
        if notifies and kind == "loyaltyObject" and self._notices(resource_id, "message") >= NOTICES_A_DAY_MAX:
            raise GoogleError(
                403,
                "quotaExceeded",
                f"Quota exceeded for issuer {self._issuer_id} when adding TEXT_AND_NOTIFY message to {resource_id}.",
            )
        current["messages"] = [*current.get("messages", []), message][-MESSAGES_MAX:]
        current = self._put(kind, current)
        if notifies:
            for object_id in self._objects_of(kind, resource_id):
                self._notify(object_id, "message", lambda language: message_text(message, language))
        return current

    # -- saving --

    def save(self, phone_id: str, link: str) -> str:
        """Save the card of an "Add to Google Wallet" link on a phone; returns the object's id.

        Raises ``DomainError(google_refused)`` with the reason.
        """
        token = token_of_link(link)
        try:
            objects = self._checked_link(token)
            for body in objects.get("loyaltyClasses", []):
                if self.find("loyaltyClass", str(body.get("id"))) is None:
                    self.insert("loyaltyClass", body)
            saved = ""
            for body in objects["loyaltyObjects"]:
                # An object that is there already is not changed by a link, whatever the link says.
                saved = str(body.get("id"))
                if self.find("loyaltyObject", saved) is None:
                    self.insert("loyaltyObject", body)
        except (BadToken, GoogleError) as error:
            self._store.log(phone_id, "google_refused", self._now(), why=str(error))
            raise DomainError("google_refused", f"Google Wallet refuses the link: {error}") from error
        document = self.get("loyaltyObject", saved)
        is_new = not self._is_saved(phone_id, saved)
        self._store.rows(
            "INSERT OR IGNORE INTO google_saved VALUES (?, ?, ?)", phone_id, saved, self._now().isoformat()
        )
        self._put("loyaltyObject", {**document, "hasUsers": True})
        self._store.log(phone_id, "google_saved", self._now(), card=self._program(document))
        if is_new:
            self._tell(self._owner(document), saved, "save")
        return saved

    def remove(self, phone_id: str, object_id: str) -> None:
        """Delete a saved card from a phone. The object itself stays for ever, as Google's do."""
        was_saved = self._is_saved(phone_id, object_id)
        self._store.rows("DELETE FROM google_saved WHERE phone_id = ? AND object_id = ?", phone_id, object_id)
        document = self.find("loyaltyObject", object_id)
        if document is not None and was_saved:
            holders = self._store.rows("SELECT 1 FROM google_saved WHERE object_id = ?", object_id)
            self._put("loyaltyObject", {**document, "hasUsers": bool(holders)})
            self._store.log(phone_id, "google_removed", self._now(), card=self._program(document))
            self._tell(self._owner(document), object_id, "del")

    def saved(self, phone_id: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The (class, object) of each card on a phone, the newest first."""
        rows = self._store.rows(
            "SELECT body FROM google_saved JOIN google_resource ON kind = 'loyaltyObject' AND id = object_id"
            " WHERE phone_id = ? ORDER BY at DESC",
            phone_id,
        )
        documents = [json.loads(row["body"]) for row in rows]
        return [(self.find("loyaltyClass", document["classId"]) or {}, document) for document in documents]

    # -- inner works --

    def _checked_link(self, token: str) -> dict[str, Any]:
        if len(token) > LINK_CHARACTERS_MAX:
            raise BadToken(f"the link's token has {len(token)} characters; browsers cut links at {LINK_CHARACTERS_MAX}")
        claims = verified_claims(token, self.public_key)
        if claims.get("iss") != self.client_email:
            raise BadToken("iss is not the service account")
        if claims.get("aud") != "google" or claims.get("typ") != "savetowallet":
            raise BadToken('aud must be "google" and typ "savetowallet"')
        payload = claims.get("payload")
        if not isinstance(payload, dict) or not isinstance(payload.get("loyaltyObjects"), list):
            raise BadToken("the payload has no loyaltyObjects")
        if not payload["loyaltyObjects"] or not all(isinstance(body, dict) for body in payload["loyaltyObjects"]):
            raise BadToken("the payload has no loyaltyObjects")
        return payload

    def _check(self, kind: str, body: Mapping[str, Any]) -> None:
        for name in sorted(body.keys() - FIELDS[kind]):
            raise GoogleError(
                400, "invalid", f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
            )
        for name in _REQUIRED[kind]:
            if not body.get(name):
                raise GoogleError(400, "invalidResource", f"Missing required field: {name}.")
        match = _ID.fullmatch(str(body["id"]))
        if match is None:
            raise GoogleError(400, "invalidResource", f"Invalid resource ID: {body['id']}.")
        if match[1] != self._issuer_id:
            raise GoogleError(403, "permissionDenied", f"Permission denied for issuer {match[1]}.")
        if kind == "loyaltyObject":
            if body["state"] not in _STATES:
                raise GoogleError(400, "invalid", f"Invalid value at 'state': {body['state']}.")
            for name in ("loyaltyPoints", "secondaryLoyaltyPoints"):
                balance = (body.get(name) or {}).get("balance")
                if balance is not None and len(balance) != 1:
                    raise GoogleError(400, "invalidResource", f"{name}.balance has exactly one of its forms.")
            owner = self.find("loyaltyClass", str(body["classId"]))
            if owner is None:
                raise GoogleError(404, "classNotFound", f"The class {body['classId']} was not found.")
            if owner.get("reviewStatus") == "DRAFT":
                raise GoogleError(
                    400, "invalidResource", f"Class {body['classId']} is a draft and cannot have objects."
                )
        elif body["reviewStatus"] not in ("DRAFT", "UNDER_REVIEW", "draft", "underReview"):
            raise GoogleError(400, "invalidResource", f"Invalid review status {body['reviewStatus']}.")

    def _change(self, kind: str, old: dict[str, Any], new: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        if kind == "loyaltyClass" and asked.get("reviewStatus") not in ("UNDER_REVIEW", "underReview"):
            if not (old.get("reviewStatus") == "DRAFT" and asked.get("reviewStatus", "DRAFT") == "DRAFT"):
                raise GoogleError(400, "invalidResource", "Invalid review status: it must be UNDER_REVIEW.")
            new["reviewStatus"] = "DRAFT"
        self._check(kind, new)
        notifies = new.pop("notifyPreference", None) == "NOTIFY_ON_UPDATE"
        changed = self._put(kind, new)
        if notifies and kind == "loyaltyObject" and old.get("loyaltyPoints") != new.get("loyaltyPoints"):
            balance = new.get("loyaltyPoints", {})
            if self._notices(new["id"], "update") < NOTICES_A_DAY_MAX:
                self._notify(new["id"], "update", lambda _language: _balance_text(balance))
        return changed

    def _put(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind == "loyaltyClass" and body.get("reviewStatus") in ("UNDER_REVIEW", "underReview"):
            body = {**body, "reviewStatus": "APPROVED"}  # Google approves these by itself
        body = {**body, "kind": f"walletobjects#{kind}"}
        text = json.dumps(body, ensure_ascii=False)
        self._store.rows("INSERT OR REPLACE INTO google_resource VALUES (?, ?, ?)", kind, body["id"], text)
        return body

    def _objects_of(self, kind: str, resource_id: str) -> list[str]:
        if kind == "loyaltyObject":
            return [resource_id]
        statement = (
            "SELECT DISTINCT object_id FROM google_saved JOIN google_resource ON kind = 'loyaltyObject'"
            " AND id = object_id WHERE json_extract(body, '$.classId') = ?"
        )
        return [row["object_id"] for row in self._store.rows(statement, resource_id)]

    def _notices(self, object_id: str, kind: str) -> int:
        since = (self._now() - timedelta(days=1)).isoformat()
        statement = "SELECT count(*) AS count FROM google_notice WHERE object_id = ? AND kind = ? AND at > ?"
        return int(self._store.rows(statement, object_id, kind, since)[0]["count"])

    def _notify(self, object_id: str, kind: str, text: Callable[[str], tuple[str, str]]) -> None:
        now = self._now()
        self._store.rows("INSERT INTO google_notice VALUES (?, ?, ?)", object_id, now.isoformat(), kind)
        document = self.get("loyaltyObject", object_id)
        owner = self.find("loyaltyClass", document["classId"]) or {}
        for row in self._store.rows("SELECT phone_id FROM google_saved WHERE object_id = ?", object_id):
            phone = self._store.phone(row["phone_id"])
            header, body = text(phone.language)
            title = header or notification_title(owner, phone.language)
            self._store.show_banner(phone.id, wallet="google", card=object_id, title=title, text=body, now=now)
            self._store.log(phone.id, "google_notified", now, title=title, text=body)

    def _is_saved(self, phone_id: str, object_id: str) -> bool:
        statement = "SELECT 1 FROM google_saved WHERE phone_id = ? AND object_id = ?"
        return bool(self._store.rows(statement, phone_id, object_id))

    def _owner(self, document: Mapping[str, Any]) -> dict[str, Any]:
        return self.find("loyaltyClass", str(document.get("classId"))) or {}

    def _program(self, document: Mapping[str, Any]) -> str:
        return str(self._owner(document).get("programName", ""))


def is_save_link(link: str) -> bool:
    """Whether this is Google's own kind of link, not one that leads there."""
    return urlsplit(link).path.startswith(_SAVE_PATH)


def token_of_link(link: str) -> str:
    """The token in a save link. Raises ``DomainError(google_refused)`` if it is none."""
    path = urlsplit(link).path
    if not path.startswith(_SAVE_PATH) or not path.removeprefix(_SAVE_PATH):
        raise DomainError("google_refused", f"an Add to Google Wallet link has the path {_SAVE_PATH}…")
    return path.removeprefix(_SAVE_PATH)


def _merged(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def _balance_text(points: Mapping[str, Any]) -> tuple[str, str]:
    balance = points.get("balance", {})
    shown = next((str(balance[name]) for name in ("string", "int", "double") if name in balance), "")
    return "", f"{points.get('label', '')}: {shown}".strip(": ")
