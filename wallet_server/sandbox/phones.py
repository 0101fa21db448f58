"""The simulated phones: what a device does with a pass, from its link to the banner on its lock screen.

Sources: developer.apple.com/documentation/walletpasses/adding-a-web-service-to-update-passes (register,
changed serials, latest version, log) and the behaviour that was seen on devices, collected in the project's
protocol notes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from cryptography import x509

from passes.apple.verify import OpenedPass, PassRefused, open_pass
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.faces.apple import PassFile, front_changes, lock_screen_message
from wallet_server.sandbox.network import Answer, Network, Unreachable
from wallet_server.sandbox.store import InstalledPass, Phone, Store
from wallet_server.sandbox.wire import cancel_all

PKPASS: Final = "application/vnd.apple.pkpass"
POLL_AFTER: Final = timedelta(days=1)
"""A phone that has heard nothing asks about once a day."""
PASSES_MAX: Final = 50
"""Passes on one phone."""
PHONES_MAX: Final = 20_000
SERIALS_MAX: Final = 1000

_log = logging.getLogger(__name__)


class Phones:
    """All phones of a sandbox. Every method runs in the sandbox's event loop."""

    def __init__(
        self,
        store: Store,
        network: Network,
        *,
        trusted_roots: Sequence[x509.Certificate],
        now: Callable[[], datetime],
        machine_now: Callable[[], datetime],
    ) -> None:
        """``now`` is the business clock, shown on the screens; certificates are judged by ``machine_now``."""
        self._store = store
        self._network = network
        self._roots = tuple(trusted_roots)
        self._now = now
        self._machine_now = machine_now
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._working: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Drop what is under way."""
        await cancel_all(self._tasks)

    def add(self, *, name: str, language: str, time_zone: str) -> Phone:
        """Unpack a new phone. Raises ``DomainError(too_many_phones)``."""
        if self._store.count_phones() >= PHONES_MAX:
            raise DomainError("too_many_phones", f"a sandbox has at most {PHONES_MAX} phones", status=409)
        phone = self._store.add_phone(name=name, language=language, time_zone=time_zone, now=self._now())
        self._store.log(phone.id, "added", self._now())
        return phone

    async def discard(self, phone_id: str) -> None:
        """Throw a phone away without telling anybody, as people do."""
        async with self._locks[phone_id]:
            self._store.remove_phone(self._store.phone(phone_id), self._now())
        self._locks.pop(phone_id, None)

    # -- installing and removing --

    async def install(self, phone_id: str, url: str) -> InstalledPass:
        """Download a pass, check it as iOS does, keep it and register for its updates.

        Raises ``DomainError``: ``other_host``, ``airplane``, ``unreachable``, ``not_a_pass`` (the server
        answered with something else) or ``pass_refused`` with iOS's reason as ``reason``.
        """
        phone = self._online(phone_id)
        self._network.check(url)
        async with self._locks[phone_id]:
            try:
                answer = await self._network.call("GET", url, headers={"accept": PKPASS}, retry=False)
                opened = self._open(answer)
                if len(self._store.passes(phone.id)) >= PASSES_MAX:
                    raise DomainError("wallet_full", f"a simulated phone holds at most {PASSES_MAX} passes", status=409)
            except Unreachable as error:
                self._store.log(phone.id, "install_failed", self._now(), why=str(error))
                raise DomainError("unreachable", f"the pass could not be downloaded: {error}", status=502) from error
            except PassRefused as refusal:
                self._store.log(phone.id, "install_refused", self._now(), why=str(refusal), reason=refusal.code)
                raise DomainError("pass_refused", str(refusal), reason=refusal.code) from refusal
            except DomainError as error:
                self._store.log(phone.id, "install_failed", self._now(), why=error.detail)
                raise
            card = self._keep(phone, opened, answer)
            self._store.log(phone.id, "installed", self._now(), card=_title(card.file))
            if not await self._register(phone, card, retry=False):
                self._spawn(self._register_later(card))
        return self._store.installed(phone.id, card.pass_type_id, card.serial)

    async def follow(self, phone_id: str, url: str) -> str:
        """Open a link of the server's that leads somewhere else, and say where.

        Raises ``DomainError``: ``other_host``, ``airplane``, ``unreachable``, or ``no_redirect``.
        """
        phone = self._online(phone_id)
        self._network.check(url)
        try:
            answer = await self._network.call("GET", url, retry=False)
        except Unreachable as error:
            self._store.log(phone.id, "unreachable", self._now(), why=str(error))
            raise DomainError("unreachable", f"the link could not be opened: {error}", status=502) from error
        if answer.status not in (301, 302, 303, 307, 308) or "location" not in answer.headers:
            raise DomainError("no_redirect", f"the link leads nowhere (status {answer.status})", status=502)
        return str(answer.headers["location"])

    async def remove(self, phone_id: str, pass_type_id: str, serial: str) -> None:
        """Delete a pass from the phone and tell the server."""
        async with self._locks[phone_id]:
            phone, card = self._store.phone(phone_id), self._store.installed(phone_id, pass_type_id, serial)
            self._store.remove_pass(card)
            self._store.log(phone.id, "removed", self._now(), card=_title(card.file))
            if card.registered and not phone.airplane:
                await self._unregister(phone, card)

    async def set_updates(self, phone_id: str, pass_type_id: str, serial: str, *, on: bool) -> None:
        """The switch "Automatic Updates" on the back of a pass."""
        async with self._locks[phone_id]:
            phone, card = self._store.phone(phone_id), self._store.installed(phone_id, pass_type_id, serial)
            self._store.change_pass(card, automatic_updates=int(on))
            self._store.log(phone.id, "updates_on" if on else "updates_off", self._now(), card=_title(card.file))
            if phone.airplane:
                return
            if on:
                await self._register(phone, card, retry=False)
            elif card.registered:
                await self._unregister(phone, card)

    # -- the phone itself --

    async def set_airplane(self, phone_id: str, *, on: bool) -> None:
        """Take the phone off the air, or bring it back: what APNs kept for it arrives then."""
        phone = self._store.phone(phone_id)
        if phone.airplane == on:
            return
        self._store.change_phone(phone_id, airplane=int(on))
        self._store.log(phone_id, "airplane_on" if on else "airplane_off", self._now())
        if on:
            return
        for card in self._store.passes(phone_id):
            if card.automatic_updates and not card.registered and card.service:
                self._spawn(self._register_later(card))
        for topic in self._store.stored_pushes(phone_id):
            self._store.log(phone_id, "push", self._now(), topic=topic)
        self._start_work(phone_id)

    async def renew_token(self, phone_id: str) -> Phone:
        """A new push token, as after a restore: the phone registers its passes again, the old token dies."""
        phone = self._online(phone_id)
        async with self._locks[phone_id]:
            phone = self._store.retire_token(phone, self._now())
            self._store.log(phone_id, "token_renewed", self._now())
            for card in self._store.passes(phone_id):
                if card.automatic_updates and card.service:
                    await self._register(phone, card, retry=False)
        return phone

    async def pull(self, phone_id: str) -> None:
        """Pull to refresh on the back of the passes: each is fetched without asking what changed."""
        phone = self._online(phone_id)
        async with self._locks[phone_id]:
            for card in self._store.passes(phone_id):
                if card.service:
                    await self._fetch(phone, card, retry=False)

    def deliver(self, phone_id: str, topic: str) -> None:
        """A push has arrived. Several in a row are worked off by one visit to the server."""
        phone = self._store.phone(phone_id)
        self._store.store_push(phone_id, topic)
        if not phone.airplane:
            self._store.log(phone_id, "push", self._now(), topic=topic)
            self._start_work(phone_id)

    def resume(self) -> None:
        """Act on the pushes that came before this process started: APNs said "accepted" to them."""
        for phone_id in self._store.phones_with_pushes():
            self._start_work(phone_id)

    def poll(self) -> int:
        """Let phones that heard nothing for a day ask of their own accord; returns how many."""
        phones = self._store.phones_not_heard_since(self._now() - POLL_AFTER, limit=100)
        for phone in phones:
            self._store.change_phone(phone.id, checked_at=self._now().isoformat())
            self._spawn(self.ask(phone.id))
        return len(phones)

    async def ask(self, phone_id: str, topic: str | None = None) -> None:
        """Ask each web service which passes (of one type, or all) have changed, and fetch those."""
        async with self._locks[phone_id]:
            phone = self._store.phone(phone_id)
            services = {
                (card.service, card.pass_type_id)
                for card in self._store.passes(phone_id)
                if card.service and card.automatic_updates and topic in (None, card.pass_type_id)
            }
            for service, pass_type_id in sorted(services):
                await self._ask_one(phone, service, pass_type_id)

    # -- the protocol --

    def _start_work(self, phone_id: str) -> None:
        if phone_id not in self._working:
            self._working.add(phone_id)
            self._spawn(self._work_off(phone_id))

    async def _work_off(self, phone_id: str) -> None:
        try:
            while pushes := self._store.stored_pushes(phone_id):
                for topic, count in pushes.items():
                    if self._store.phone(phone_id).airplane:
                        return
                    await self.ask(phone_id, topic)
                    self._store.forget_push(phone_id, topic, count)
        finally:
            self._working.discard(phone_id)

    async def _ask_one(self, phone: Phone, service: str, pass_type_id: str) -> None:
        tag = self._store.tag(phone.id, service, pass_type_id)
        url = f"{service}/v1/devices/{phone.device_id}/registrations/{quote(pass_type_id, safe='')}"
        if tag is not None:
            url += f"?passesUpdatedSince={quote(tag, safe='')}"
        try:
            answer = await self._network.call("GET", url)
        except Unreachable as error:
            self._store.log(phone.id, "unreachable", self._now(), why=str(error))
            return
        self._store.change_phone(phone.id, checked_at=self._now().isoformat())
        if answer.status == 204:
            self._store.log(phone.id, "nothing_new", self._now())
            return
        try:
            serials, new_tag = _changed_serials(answer)
        except ValueError as error:
            self._store.log(phone.id, "odd_answer", self._now(), call="list", why=str(error))
            await self._complain(service, f"Unexpected response to the list of changed passes: {error}")
            return
        self._store.log(phone.id, "changed", self._now(), count=len(serials), tag=new_tag)
        complete = True
        for serial in serials:
            card = self._store.find_installed(phone.id, pass_type_id, serial)
            if card is not None:
                complete &= await self._fetch(phone, card)
        if complete:
            # After a pass that could not be had the old tag stays, and the next question names it again.
            self._store.put_tag(phone.id, service, pass_type_id, new_tag)

    async def _fetch(self, phone: Phone, card: InstalledPass, *, retry: bool = True) -> bool:
        """Get the newest version; ``False`` if it may be there later."""
        service = card.service
        assert service is not None
        headers = {"authorization": card.authentication, "accept": PKPASS}
        if card.last_modified:
            headers["if-modified-since"] = card.last_modified
        url = f"{service}/v1/passes/{quote(card.pass_type_id, safe='')}/{quote(card.serial, safe='')}"
        try:
            answer = await self._network.call("GET", url, headers=headers, retry=retry)
        except Unreachable as error:
            self._store.log(phone.id, "unreachable", self._now(), why=str(error))
            return False
        if answer.status == 304:
            self._store.log(phone.id, "not_modified", self._now(), card=_title(card.file))
            return True
        try:
            opened = self._open(answer)
            if (opened.pass_json["passTypeIdentifier"], opened.pass_json["serialNumber"]) != (
                card.pass_type_id,
                card.serial,
            ):
                raise PassRefused("other_pass", "The server sent another pass than the one that was asked for.")
        except (PassRefused, DomainError) as refusal:
            why = refusal.detail if isinstance(refusal, DomainError) else str(refusal)
            self._store.log(phone.id, "update_refused", self._now(), card=_title(card.file), why=why)
            await self._complain(service, f"Web service error for {card.pass_type_id}: {why}")
            return True
        self._show_update(phone, card, self._keep(phone, opened, answer))
        return True

    def _show_update(self, phone: Phone, old: InstalledPass, new: InstalledPass) -> None:
        language, zone = phone.language, phone.time_zone
        changes = front_changes(old.file, new.file, language, zone)
        self._store.log(phone.id, "updated", self._now(), card=_title(new.file), changes=changes)
        message = lock_screen_message(old.file, new.file, language, zone)
        if message is not None:
            document = new.file.pass_json
            title = new.file.text(str(document.get("organizationName", "")), language)
            card = f"{new.pass_type_id}/{new.serial}"
            self._store.show_banner(phone.id, wallet="apple", card=card, title=title, text=message, now=self._now())

    async def _register(self, phone: Phone, card: InstalledPass, *, retry: bool) -> bool:
        """Ask for updates; ``False`` if it may work later."""
        if card.service is None:
            return True
        try:
            answer = await self._network.call(
                "POST",
                _registration_url(phone, card),
                headers={"authorization": card.authentication},
                json={"pushToken": phone.push_token},
                retry=retry,
            )
        except Unreachable as error:
            self._store.log(phone.id, "unreachable", self._now(), why=str(error))
            return False
        accepted = answer.status in (200, 201)
        self._store.change_pass(card, registered=int(accepted))
        kind = "registered" if accepted else "registration_refused"
        self._store.log(phone.id, kind, self._now(), card=_title(card.file), status=answer.status)
        return True

    async def _register_later(self, card: InstalledPass) -> None:
        async with self._locks[card.phone_id]:
            current = self._store.find_installed(card.phone_id, card.pass_type_id, card.serial)
            if current is not None and current.automatic_updates and not current.registered:
                await self._register(self._store.phone(card.phone_id), current, retry=True)

    async def _unregister(self, phone: Phone, card: InstalledPass) -> None:
        self._store.change_pass(card, registered=0)
        try:
            answer = await self._network.call(
                "DELETE",
                _registration_url(phone, card),
                headers={"authorization": card.authentication},
                retry=False,
            )
        except Unreachable as error:
            self._store.log(phone.id, "unreachable", self._now(), why=str(error))
            return
        self._store.log(phone.id, "unregistered", self._now(), card=_title(card.file), status=answer.status)

    async def _complain(self, service: str, sentence: str) -> None:
        """Tell the server's log endpoint, where its developer looks."""
        line = f"[{self._machine_now():%Y-%m-%d %H:%M:%S +0000}] {sentence}"
        try:
            await self._network.call("POST", f"{service}/v1/log", json={"logs": [line]}, retry=False)
        except Unreachable as error:
            _log.info("the complaint could not be delivered: %s", error)

    # -- helpers --

    def _open(self, answer: Answer) -> OpenedPass:
        if answer.status != 200:
            raise DomainError("not_a_pass", f"the server answered {answer.status} instead of a pass", status=502)
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != PKPASS:
            raise PassRefused("wrong_type", f"The file came as {kind or 'nothing'!r}; a pass is {PKPASS}.")
        return open_pass(answer.body, trusted_roots=self._roots, now=self._machine_now())

    def _keep(self, phone: Phone, opened: OpenedPass, answer: Answer) -> InstalledPass:
        return self._store.put_pass(phone, opened, last_modified=answer.headers.get("last-modified"), now=self._now())

    def _online(self, phone_id: str) -> Phone:
        phone = self._store.phone(phone_id)
        if phone.airplane:
            raise DomainError("airplane", "the phone is in airplane mode", status=409)
        return phone

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        # A phone that was thrown away meanwhile is no accident.
        if error is not None and not isinstance(error, NotFoundError):
            _log.error("a phone stumbled", exc_info=error)


def _title(card: PassFile) -> str:
    return str(card.pass_json.get("organizationName", ""))


def _registration_url(phone: Phone, card: InstalledPass) -> str:
    kind, serial = quote(card.pass_type_id, safe=""), quote(card.serial, safe="")
    return f"{card.service}/v1/devices/{phone.device_id}/registrations/{kind}/{serial}"


def _changed_serials(answer: Answer) -> tuple[list[str], str]:
    """Raises ``ValueError`` with the reason for an answer that is not the protocol's."""
    if answer.status != 200:
        raise ValueError(f"status {answer.status}")
    document = json.loads(answer.body)
    serials, tag = document.get("serialNumbers"), document.get("lastUpdated")
    if not isinstance(serials, list) or not all(isinstance(serial, str) for serial in serials):
        raise ValueError("serialNumbers is not a list of texts")
    if not isinstance(tag, str) or not tag:
        raise ValueError("lastUpdated is not a text")
    if len(serials) > SERIALS_MAX:
        raise ValueError(f"more than {SERIALS_MAX} serial numbers")
    return serials, tag
