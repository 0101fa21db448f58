"""The JSON API through which pages and commands move the phones. Loopback only, with a secret.

The secret stands in the sandbox's file in the data folder: other users of the machine, and web pages that
make a browser call loopback addresses, do not have it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError

from wallet_server.errors import DomainError, NotFoundError
from wallet_server.faces.apple import face_of, places_of
from wallet_server.faces.google import google_face_of
from wallet_server.sandbox.apns import Behaviour, PushService
from wallet_server.sandbox.google import GoogleBehaviour, GoogleWallet, is_save_link
from wallet_server.sandbox.http2 import Http2Server
from wallet_server.sandbox.mail import MailBehaviour, MailBox, MailStandIn
from wallet_server.sandbox.phones import Phones
from wallet_server.sandbox.store import InstalledPass, Phone, Store
from wallet_server.sandbox.wire import Request, Response, json_response

PAGE_MAX: Final = 500
NAME_CHARACTERS_MAX: Final = 60
EVENTS_SHOWN: Final = 60
MAIL_ID_DIGITS_MAX: Final = 18


class Control:
    """Answers the control API."""

    def __init__(
        self,
        store: Store,
        phones: Phones,
        push: PushService,
        apns: Http2Server,
        google: GoogleWallet,
        *,
        mail: MailStandIn,
        mail_box: MailBox,
        secret: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._phones = phones
        self._push = push
        self._apns = apns
        self._google = google
        self._mail = mail
        self._mail_box = mail_box
        self._secret = secret
        self._now = now

    async def answer(self, request: Request) -> Response:
        """The answer to one request. Refusals are ``{"code", "detail"}``."""
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._secret}".encode()):
            raise DomainError("unauthorized", "the control secret is missing or wrong", status=401)
        match (request.method, request.parts):
            case ("GET", ("health",)):
                return json_response({"phones": self._store.count_phones(), "now": self._now().isoformat()})
            case ("GET", ("images", sha256)):
                return Response(200, self._store.image(sha256), {"content-type": "image/png"})
            case ("GET", ("phones",)):
                return json_response(self._list(request.query))
            case ("POST", ("phones",)):
                return json_response(await self._add(request.json()), 201)
            case ("GET", ("mails",)):
                return json_response(self._mails(request.query))
            case ("GET", ("mails", mail_id)):
                return json_response(self._read_mail(mail_id))
            case ("GET", ("stand-ins",)):
                return json_response(self._stand_ins())
            case ("PATCH", ("stand-ins",)):
                return json_response(self._change_stand_ins(request.json()))
            case (method, ("phones", phone_id, *rest)):
                self._store.phone(phone_id)
                return await self._phone_call(method, phone_id, tuple(rest), request)
            case _:
                raise NotFoundError("not_found", "there is no such call")

    async def _phone_call(self, method: str, phone_id: str, rest: tuple[str, ...], request: Request) -> Response:
        match (method, rest):
            case ("GET", ()):
                return json_response(self._detail(phone_id))
            case ("PATCH", ()):
                await self._change_phone(phone_id, request.json())
            case ("DELETE", ()):
                await self._phones.discard(phone_id)
                return json_response({})
            case ("POST", ("install",)):
                await self._phones.install(phone_id, _text(request.json(), "url", 4000))
            case ("POST", ("save",)):
                await self._save(phone_id, _text(request.json(), "url", 8000))
            case ("POST", ("pull",)):
                await self._phones.pull(phone_id)
            case ("POST", ("renew-token",)):
                await self._phones.renew_token(phone_id)
            case ("POST", ("clear-banners",)):
                self._store.clear_banners(phone_id)
            case ("DELETE", ("passes", pass_type_id, serial)):
                await self._phones.remove(phone_id, pass_type_id, serial)
            case ("PATCH", ("passes", pass_type_id, serial)):
                on = _flag(request.json(), "automatic_updates")
                await self._phones.set_updates(phone_id, pass_type_id, serial, on=on)
            case ("DELETE", ("google", object_id)):
                self._google.remove(phone_id, object_id)
            case _:
                raise NotFoundError("not_found", "there is no such call")
        return json_response(self._detail(phone_id))

    def _mails(self, query: dict[str, str]) -> dict[str, Any]:
        mails = self._mail_box.list(_limit(query))
        return {"mails": mails, "count": self._mail_box.count(), "now": self._now().isoformat()}

    def _read_mail(self, mail_id: str) -> dict[str, Any]:
        found = (
            self._mail_box.read(int(mail_id)) if mail_id.isdecimal() and len(mail_id) <= MAIL_ID_DIGITS_MAX else None
        )
        if found is None:
            raise NotFoundError("unknown_mail", "there is no such mail")
        return found

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        limit = _limit(query)
        phones = self._store.phones(after=query.get("after", ""), limit=limit)
        return {
            "phones": [self._summary(phone) for phone in phones],
            "next": phones[-1].id if len(phones) == limit else None,
            "count": self._store.count_phones(),
            "now": self._now().isoformat(),
        }

    async def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add a phone; ``install`` and ``save`` are links of passes for it. No phone stays after a failure."""
        language, zone = _language(body.get("language", "en")), _zone(body.get("time_zone", "UTC"))
        name = str(body.get("name", "")).strip()[:NAME_CHARACTERS_MAX]
        name = name or f"Phone {self._store.count_phones() + 1}"
        phone = self._phones.add(name=name, language=language, time_zone=zone)
        try:
            if "install" in body:
                await self._phones.install(phone.id, _text(body, "install", 4000))
            if "save" in body:
                await self._save(phone.id, _text(body, "save", 8000))
        except DomainError:
            await self._phones.discard(phone.id)
            raise
        return self._detail(phone.id)

    async def _save(self, phone_id: str, link: str) -> None:
        """Save a Google card; a link of our own server first tells Google's."""
        self._google.save(phone_id, link if is_save_link(link) else await self._phones.follow(phone_id, link))

    async def _change_phone(self, phone_id: str, body: dict[str, Any]) -> None:
        if not body or body.keys() - {"airplane", "language", "behaviour", "name"}:
            raise DomainError("validation", "airplane, language, behaviour or name is needed", status=400)
        changes: dict[str, str | int] = {}
        if "language" in body:
            changes["language"] = _language(body["language"])
        if "behaviour" in body:
            changes["behaviour"] = _choice(Behaviour, body["behaviour"])
        if "name" in body:
            changes["name"] = _text(body, "name", NAME_CHARACTERS_MAX)
        airplane = _flag(body, "airplane") if "airplane" in body else None
        if changes:
            self._store.change_phone(phone_id, **changes)
            for name, value in changes.items():
                self._store.log(phone_id, "set", self._now(), what=name, value=value)
        if airplane is not None:
            await self._phones.set_airplane(phone_id, on=airplane)

    def _stand_ins(self) -> dict[str, Any]:
        return {
            "apns": {
                "behaviour": self._push.behaviour,
                "accepted": self._push.accepted,
                "refused": self._push.refused,
            },
            "google": {"behaviour": self._google.behaviour},
            "mail": {"behaviour": self._mail.behaviour},
        }

    def _change_stand_ins(self, body: dict[str, Any]) -> dict[str, Any]:
        if not body or body.keys() - {"apns", "google", "mail", "go_away"}:
            raise DomainError("validation", "apns, google, mail or go_away is needed", status=400)
        apns = _choice(Behaviour, body["apns"]) if "apns" in body else self._push.behaviour
        google = _choice(GoogleBehaviour, body["google"]) if "google" in body else self._google.behaviour
        mail = _choice(MailBehaviour, body["mail"]) if "mail" in body else self._mail.behaviour
        self._push.behaviour, self._google.behaviour = Behaviour(apns), GoogleBehaviour(google)
        self._mail.behaviour = MailBehaviour(mail)
        if "go_away" in body:
            self._apns.go_away(_text(body, "go_away", 100))
        return self._stand_ins()

    def _summary(self, phone: Phone) -> dict[str, Any]:
        banners = self._store.banners(phone.id, limit=1)
        return {
            **self._phone(phone),
            "passes": [self._pass(phone, card, whole=False) for card in self._store.passes(phone.id)],
            "google": [self._google_card(phone, *saved) for saved in self._google.saved(phone.id)],
            "banner": _plain(asdict(banners[0])) if banners else None,
        }

    def _detail(self, phone_id: str) -> dict[str, Any]:
        phone = self._store.phone(phone_id)
        return {
            **self._phone(phone),
            "now": self._now().isoformat(),
            "passes": [self._pass(phone, card, whole=True) for card in self._store.passes(phone.id)],
            "google": [self._google_card(phone, *saved) for saved in self._google.saved(phone.id)],
            "banners": [_plain(asdict(banner)) for banner in self._store.banners(phone.id)],
            "icons": {
                f"{card.pass_type_id}/{card.serial}": _image(card, "icon", phone.language)
                for card in self._store.passes(phone.id)
            },
            "events": [_plain(asdict(event)) for event in self._store.events(phone.id, EVENTS_SHOWN)],
        }

    def _phone(self, phone: Phone) -> dict[str, Any]:
        return {
            "id": phone.id,
            "name": phone.name,
            "language": phone.language,
            "time_zone": phone.time_zone,
            "airplane": phone.airplane,
            "behaviour": phone.behaviour,
            "push_token": phone.push_token,
            "device_id": phone.device_id,
        }

    def _pass(self, phone: Phone, card: InstalledPass, *, whole: bool) -> dict[str, Any]:
        face = face_of(card.file, phone.language, phone.time_zone)
        groups = card.file.pass_json.get(card.file.style, {}).values()
        document: dict[str, Any] = {
            "pass_type_id": card.pass_type_id,
            "serial": card.serial,
            "organization": face.organization,
            "background": face.background,
            "foreground": face.foreground,
            "label": face.label,
            "header": [asdict(field) for field in face.header],
            "values": {field["key"]: field["value"] for group in groups for field in group},
            "registered": card.registered,
            "automatic_updates": card.automatic_updates,
            "updated_at": card.updated_at.isoformat(),
            "updates": card.updates,
            "images": {name: _image(card, name, phone.language) for name in ("icon", "logo", "strip")},
        }
        if whole:
            document["face"] = asdict(face)
            document["last_modified"] = card.last_modified
            document["places"] = [asdict(place) for place in places_of(card.file, phone.language)]
            document["max_distance"] = card.file.pass_json.get("maxDistance")
        return document

    def _google_card(self, phone: Phone, owner: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        return asdict(google_face_of(owner, document, phone.language))


def _limit(query: dict[str, str]) -> int:
    limit = query.get("limit", "100")
    if not limit.isdecimal() or not 1 <= int(limit) <= PAGE_MAX:
        raise DomainError("validation", f"limit is a number from 1 to {PAGE_MAX}", status=400)
    return int(limit)


def _image(card: InstalledPass, name: str, language: str) -> str | None:
    """The hash of the picture for a screen with two pixels a point: the language's own first."""
    for folder in (f"{language}.lproj/", f"{language.split('-', maxsplit=1)[0]}.lproj/", ""):
        for scale in ("@2x", "@3x", ""):
            if found := card.images.get(f"{folder}{name}{scale}.png"):
                return found
    return None


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in document.items()}


def _text(body: dict[str, Any], name: str, limit: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > limit:
        raise DomainError("validation", f"{name} is a text of 1 to {limit} characters", status=400)
    return value.strip()


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool):
        raise DomainError("validation", f"{name} is true or false", status=400)
    return value


def _choice(kind: type[Behaviour] | type[GoogleBehaviour] | type[MailBehaviour], value: Any) -> str:
    try:
        return kind(value)
    except ValueError:
        words = ", ".join(kind)
        raise DomainError("validation", f"one of {words}", status=400) from None


def _language(value: Any) -> str:
    try:
        Locale.parse(str(value), sep="-")
    except (ValueError, UnknownLocaleError):
        raise DomainError("validation", f"language {value!r} is not known", status=400) from None
    return str(value)


def _zone(value: Any) -> str:
    try:
        ZoneInfo(str(value))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise DomainError("validation", f"time_zone {value!r} is not known", status=400) from None
    return str(value)
