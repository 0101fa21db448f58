"""Print passes: content, pictures and signature become one file; what was printed last is kept.

Signing is the dear part, and the same version is asked for again by every retry of a phone, and by every phone
that holds the pass. What this process printed last is kept here; the signatures that any process made are in
:mod:`.signatures`, so that a crowd of phones has each version signed once however many processes answer it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from copy import copy
from datetime import datetime
from typing import Final, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from passes.apple.bundle import signed_pass
from passes.apple.signing import Signer
from passes.artwork import StripArt
from passes.content import PassImages, Scaled
from wallet_server.issuance.content import CardLinks, CardState, card_strip, language_of, look_of_card, pass_content
from wallet_server.issuance.looks import brand_of, everyones_look, strip_art
from wallet_server.issuance.pictures import (
    Brand,
    draw_brand,
    draw_google_logo,
    draw_strip,
    size_of_brand,
    size_of_strip,
)
from wallet_server.issuance.signatures import SignatureBook
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.look import ResolvedLook
from wallet_server.programs.pictures import PictureOf

PASSES_BYTES_KEPT: Final = 16 * 1024 * 1024
BRANDS_BYTES_KEPT: Final = 8 * 1024 * 1024
STRIPS_BYTES_KEPT: Final = 48 * 1024 * 1024
"""About 300 strips: a busy program in three languages has so many in sight."""
MAKING_SECONDS_MAX: Final = 5.0
"""How long to wait for another thread that makes the same value; then both make it."""

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values used last, together at most ``limit`` large (by default: so many). Safe for threads.

    Of several threads that want the same new value one makes it, and the others wait for it.
    """

    def __init__(self, limit: int, size: Callable[[Value], int] = lambda _value: 1) -> None:
        self._limit = limit
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._held = 0
        self._being_made: dict[Hashable, threading.Event] = {}

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The kept value, or a new one."""
        deadline = time.monotonic() + MAKING_SECONDS_MAX
        mine = threading.Event()
        while True:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
                other = self._being_made.setdefault(key, mine)
            if other is mine:
                break
            if not other.wait(deadline - time.monotonic()):
                return make()
        try:
            value = make()
            self._keep(key, value)
        finally:
            with self._lock:
                del self._being_made[key]
            mine.set()
        return value

    def _keep(self, key: Hashable, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            self._held += self._size(value)
            while self._held > self._limit:
                _key, dropped = self._values.popitem(last=False)
                self._held -= self._size(dropped)


class PassPress:
    """Prints passes. ``allow_http``: for the simulator, which has no certificate authority.

    ``signer`` is that of all programs but those that ``programs`` names, which have certificates of their own.
    ``memory`` keeps signatures beyond this process, ``picture_of`` reads the pictures that looks name;
    ``strips_bytes`` of drawn strips are kept.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        allow_http: bool,
        programs: Mapping[UUID, Signer] | None = None,
        memory: SignatureBook | None = None,
        picture_of: PictureOf | None = None,
        strips_bytes: int = STRIPS_BYTES_KEPT,
    ) -> None:
        self._signer = signer
        self._programs = dict(programs or {})
        self._allow_http = allow_http
        self._memory = memory
        self._picture_of = picture_of
        self._passes: Kept[bytes] = Kept(PASSES_BYTES_KEPT, len)
        self._brands: Kept[Brand] = Kept(BRANDS_BYTES_KEPT, size_of_brand)
        self._strips: Kept[Scaled] = Kept(strips_bytes, size_of_strip)
        self._google_logos: Kept[bytes] = Kept(BRANDS_BYTES_KEPT, len)

    def renewed(self, signer: Signer, *, allow_http: bool, programs: Mapping[UUID, Signer]) -> PassPress:
        """A press with other certificates and the same memory: what was printed names its certificate."""
        press = copy(self)
        press._signer, press._programs, press._allow_http = signer, dict(programs), allow_http
        return press

    def count_signatures(self, count: Callable[[], None]) -> None:
        """Have ``count`` called for each signature that this process makes."""
        if self._memory is not None:
            self._memory.on_made = count

    def pkpass(
        self, program: ProgramDefinition, state: CardState, links: CardLinks, *, now: datetime, signed_at: datetime
    ) -> bytes:
        """The signed pass. ``now`` is the business time, ``signed_at`` the machine's.

        Raises :class:`passes.apple.signing.CertificateProblem` once the certificate has expired, also for a
        pass that was printed before: phones would refuse it.
        """
        signer = self._programs.get(program.id, self._signer)
        signer.check(signed_at)
        # The day is part of the key: windows of challenges turn and vouchers end without a new version.
        today = now.astimezone(ZoneInfo(program.time_zone)).date()
        generations = (state.token_generation, state.member_token_generation)
        key = (state.pass_id, state.version, generations, program.version, state.language, today, signer.fingerprint)

        def make() -> bytes:
            content = pass_content(program, state, links, self.pictures(program, state))
            return signed_pass(content, signer, now=signed_at, allow_http=self._allow_http, memory=self._memory)

        return self._passes.get(key, make)

    def pictures(self, program: ProgramDefinition, state: CardState) -> PassImages:
        """Icon, logo and strip of a card."""
        brand = self.brand(program, look_of_card(program, state), language_of(program, state))
        art = strip_art(program, card_strip(program, state))
        # By its content: what looks alike is drawn once, whatever program or language it is of.
        strip = self._strips.get(art, lambda: draw_strip(art, self.photo_of(program, art)))
        return PassImages(icon=brand.icon, logo=brand.logo, strip=strip)

    def brand(self, program: ProgramDefinition, shown: ResolvedLook, language: str) -> Brand:
        """Icon and logo of a look."""
        look, section = brand_of(program, shown, language), program.file.look
        return self._brands.get(
            (look, section.logo, section.icon),
            lambda: draw_brand(
                look, logo=self._brought(program, section.logo), icon=self._brought(program, section.icon)
            ),
        )

    def photo_of(self, program: ProgramDefinition, art: StripArt) -> bytes | None:
        """The file of the photo behind a strip; none where there is none."""
        return self._brought(program, art.photo.digest if art.photo else None)

    def google_logo(self, program: ProgramDefinition) -> bytes:
        """The square logo of the program's class at Google."""
        look = brand_of(program, everyones_look(program, None), program.default_language)
        icon = program.file.look.icon
        return self._google_logos.get((look, icon), lambda: draw_google_logo(look, icon=self._brought(program, icon)))

    def _brought(self, program: ProgramDefinition, sha256: str | None) -> bytes | None:
        """A picture that was uploaded; none where the look names none."""
        if sha256 is None or self._picture_of is None:
            return None
        return self._picture_of(program.id, sha256)
