"""Our cards at Google Wallet: a state in, an object at Google out. No database here.

A program is a class, a card is an object; both are written whole, and writing them again is harmless.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import httpx

from passes.content import PassContentError, Place
from passes.google.client import GoogleProblem, GoogleWallet, GoogleWalletError, MessageOutcome, Pace
from passes.google.objects import ProgramCard, loyalty_class, loyalty_object, message
from passes.google.parts import resource_id
from passes.google.save_link import SAVE_URL, save_jwt
from wallet_server.issuance.content import CardLinks, CardState, card_strip, pass_content
from wallet_server.issuance.credentials import GoogleParameters
from wallet_server.issuance.looks import everyones_look
from wallet_server.issuance.places import outlet_map
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.settings import GOOGLE_API_URL

CALL_TIMEOUT_S: Final = 5.0
ATTEMPTS_MAX: Final = 2
TURN_TIMEOUT_S: Final = 10.0
CLASSES_KNOWN_MAX: Final = 1_000
ISSUER_NAME_CHARACTERS_MAX: Final = 20

_PASSES_BY_ITSELF: Final = frozenset({GoogleProblem.RETRY_LATER, GoogleProblem.QUOTA})


class GoogleTroubleError(Exception):
    """Google did not take a card. ``ours``: our account or request is wrong, and somebody has to look."""

    def __init__(self, reason: str, *, ours: bool) -> None:
        super().__init__(reason)
        self.ours = ours


@dataclass(frozen=True, slots=True)
class CardMessage:
    """A message beside a card, until ``ends_at``. ``may_be_there``: it was begun before, and is looked for first."""

    id: str
    text: str
    notify: bool
    may_be_there: bool = False
    ends_at: datetime | None = None


def class_suffix(program: ProgramDefinition) -> str:
    """The name of the program's class behind the issuer id; the id and not the slug, which could be reused."""
    return program.id.hex


def art_url(public_url: str, program: ProgramDefinition, name: str) -> str:
    """Where Google fetches a picture; the version makes it look again when the program's look changes."""
    return f"{public_url}/passes/art/{program.slug}/{program.version}/{name}.png"


def program_class(
    program: ProgramDefinition, *, issuer_id: str, public_url: str, places: bool = False, today: date | None = None
) -> dict[str, Any]:
    """What all cards of a program share, as Google's LoyaltyClass, with the colour of the day's season.

    With ``places`` it tells where the outlets are, if all cards tell the same; the objects do otherwise.
    """
    look = program.file.look
    language = program.default_language
    name = program.name(language)
    card = ProgramCard(
        suffix=class_suffix(program),
        organization_name=(look.organization or name)[:ISSUER_NAME_CHARACTERS_MAX],
        program_name=name,
        background=everyones_look(program, today).background,
        logo_url=art_url(public_url, program, "logo"),
        # Google calls back over https only, and refuses a class that names anything else.
        callback_url=f"{public_url}/google/callbacks" if public_url.startswith("https://") else None,
        country_code=program.section.country,
        places=_shared_places(program) if places else None,
        language=language,
        translations={other: {name: program.name(other)} for other in program.languages},
    )
    return loyalty_class(card, issuer_id=issuer_id)


def _shared_places(program: ProgramDefinition) -> tuple[Place, ...]:
    here = outlet_map(program)
    # None at all is said too: it takes back what a former version of the program had.
    spots = here.positions.values() if here.shares_places else ()
    return tuple(Place(latitude=latitude, longitude=longitude) for latitude, longitude in spots)


def card_object(
    program: ProgramDefinition,
    state: CardState,
    *,
    page_url: str,
    issuer_id: str,
    public_url: str,
    places: bool = False,
    notify: bool = False,
) -> dict[str, Any]:
    """One member's card, as Google's LoyaltyObject; ``places`` as in :func:`program_class`.

    ``notify`` has a new balance announced.
    """
    content = pass_content(program, state, CardLinks(page_url=page_url))
    return loyalty_object(
        replace(content, places=()) if outlet_map(program).shares_places else content,
        issuer_id=issuer_id,
        class_suffix=class_suffix(program),
        hero_url=art_url(public_url, program, card_strip(program, state).hero_name),
        merchant_locations=places,
        notify=notify,
    )


class GoogleCards:
    """The line to Google Wallet. Threads take turns; ``pace`` shares Google's 20 calls a second with others."""

    def __init__(
        self,
        parameters: GoogleParameters,
        *,
        public_url: str,
        pace: Pace | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._parameters = parameters
        self._public_url = public_url
        self._client = GoogleWallet(
            parameters.account,
            api_url=parameters.api_url,
            timeout_seconds=CALL_TIMEOUT_S,
            attempts_max=ATTEMPTS_MAX,
            pace=pace,
            transport=transport,
        )
        self._turn = threading.Lock()
        self._classes: dict[UUID, tuple[int, str]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def put(
        self,
        program: ProgramDefinition,
        state: CardState,
        *,
        page_url: str,
        notify: bool = False,
        messages: Sequence[CardMessage] = (),
    ) -> dict[str, bool]:
        """Bring one card, and before it its program, at Google to this state, and add messages to it.

        ``notify`` has a new balance announced. Returns by message whether it notifies: not if the card's notices of
        the day are used up. Raises :class:`GoogleTroubleError`; the card may be tried again, with its messages as
        ones that may be there.
        """
        if not self._turn.acquire(timeout=TURN_TIMEOUT_S):
            raise GoogleTroubleError("other cards are on their way to Google", ours=False)
        try:
            issuer: dict[str, Any] = {
                "issuer_id": self._parameters.issuer_id,
                "public_url": self._public_url,
                "places": self._parameters.places,
            }
            made = program.version, everyones_look(program, state.today).background
            if self._classes.get(program.id) != made:
                self._client.upsert_class(program_class(program, today=state.today, **issuer))
                if len(self._classes) >= CLASSES_KNOWN_MAX:
                    self._classes.clear()
                self._classes[program.id] = made
            card = card_object(program, state, page_url=page_url, notify=notify, **issuer)
            self._client.upsert_object(card, exists=state.live)
            return {one.id: self._add(program, state, one) for one in messages}
        except GoogleWalletError as error:
            if error.problem is GoogleProblem.NOT_FOUND:
                self._classes.pop(program.id, None)  # Google has forgotten the class: make it anew next time
            raise GoogleTroubleError(str(error), ours=error.problem not in _PASSES_BY_ITSELF) from error
        except PassContentError as error:
            raise GoogleTroubleError(str(error), ours=True) from error
        finally:
            self._turn.release()

    def _add(self, program: ProgramDefinition, state: CardState, one: CardMessage) -> bool:
        header = program.name(state.language)
        body = message(message_id=one.id, header=header, text=one.text, notify=one.notify, ends_at=one.ends_at)
        object_id = resource_id(self._parameters.issuer_id, state.serial)
        outcome = self._client.add_message(object_id, body, check_first=one.may_be_there)
        return outcome is MessageOutcome.NOTIFIED

    def save_url(self, program: ProgramDefinition, state: CardState, *, signed_at: datetime) -> str:
        """The address of Google's page that saves the card, for a card that was :meth:`put`."""
        issuer_id = self._parameters.issuer_id
        token = save_jwt(
            self._parameters.account,
            object_id=resource_id(issuer_id, state.serial),
            class_id=resource_id(issuer_id, class_suffix(program)),
            now=signed_at,
        )
        real = self._parameters.api_url == GOOGLE_API_URL
        return f"{SAVE_URL if real else self._parameters.api_url + '/gp/v/save/'}{token}"
