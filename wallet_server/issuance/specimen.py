"""A card that nobody holds, in any state: what the designer and the gallery show. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, cast
from uuid import UUID

from passes.apple.pass_json import pass_json
from passes.content import PassImages
from wallet_server.challenges.progress import WINDOW_ALL, ChallengeState
from wallet_server.faces.apple import Face, PassFile, face_of
from wallet_server.faces.google import GoogleFace, google_face_of
from wallet_server.i18n import gettext_noop, translator
from wallet_server.issuance.content import CardLinks, CardState, pass_content
from wallet_server.issuance.google import card_object, program_class
from wallet_server.issuance.looks import BAR_STEPS
from wallet_server.programs.definition import ProgramDefinition

NAME: Final = gettext_noop("Ana Petrovska")
CARD_NUMBER: Final = "4821730956174402"
POINTS_MAX: Final = 1_000_000_000
_NOBODY: Final = UUID(int=0)
_PAGE: Final = "/m/example"
_PASS_TYPE, _TEAM, _ISSUER = "pass.example.card", "EXAMPLE000", "3388000000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The state to show. ``percent`` is how far each challenge has come, 0 to 100.

    ``way`` is how far the way to the next level has; by itself as far as the challenges.
    """

    tier: str | None
    points: int
    percent: int
    language: str
    day: date
    way: int | None = None


def specimen(program: ProgramDefinition, sample: Sample, wallet: str = "apple") -> CardState:
    """The state of a card that was never given out. ``sample.language`` is one of the program's."""
    return CardState(
        pass_id=_NOBODY,
        wallet=wallet,
        serial="specimen",
        version=1,
        token_generation=0,
        last_modified=datetime.combine(sample.day, datetime.min.time(), UTC),
        fetched_version=0,
        live=False,
        member_id=_NOBODY,
        member_token_generation=0,
        language=sample.language,
        name=translator(sample.language).gettext(NAME),
        card_number=CARD_NUMBER,
        spendable=sample.points,
        pending=0,
        tier=sample.tier,
        today=sample.day,
        tier_done=BAR_STEPS * (sample.percent if sample.way is None else sample.way) // 100,
        challenges=tuple(
            ChallengeState(
                code=challenge.code,
                progress=challenge.target * sample.percent // 100,
                target=challenge.target,
                completed=False,
                window=WINDOW_ALL,
                completions=0,
            )
            for challenge in program.file.challenges
        ),
    )


def apple_face(program: ProgramDefinition, state: CardState, images: PassImages, *, public_url: str) -> Face:
    """What an iPhone in the card's language shows. Raises ``PassContentError`` where Apple's rules forbid the card."""
    content = pass_content(program, state, CardLinks(page_url=f"{public_url}{_PAGE}"), images)
    document = cast(dict[str, Any], pass_json(content, pass_type_id=_PASS_TYPE, team_id=_TEAM, allow_http=True))
    return face_of(PassFile(document, content.translations), state.language, program.time_zone)


def google_face(program: ProgramDefinition, state: CardState, *, public_url: str) -> GoogleFace:
    """What Google Wallet in the card's language shows."""
    owner = program_class(program, issuer_id=_ISSUER, public_url=public_url, today=state.today)
    document = card_object(program, state, page_url=f"{public_url}{_PAGE}", issuer_id=_ISSUER, public_url=public_url)
    return google_face_of(owner, document, state.language)
