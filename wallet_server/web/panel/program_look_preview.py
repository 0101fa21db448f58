"""A card as both wallets would show it, drawn from a look that is not published. Nothing is stored."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, TypeVar, cast
from zoneinfo import ZoneInfo

from flask import current_app

from passes.artwork import google_hero_png
from passes.content import PassContentError
from wallet_server.faces.apple import Face
from wallet_server.faces.google import GoogleFace
from wallet_server.issuance.content import CardState, card_strip, look_of_card
from wallet_server.issuance.looks import strip_art
from wallet_server.issuance.press import Kept, PassPress
from wallet_server.issuance.specimen import POINTS_MAX, Sample, apple_face, google_face, specimen
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.pictures import stored_pictures
from wallet_server.web.context import server
from wallet_server.web.looks import google_ink

POINTS_SHOWN: Final = 1250
PERCENT_SHOWN: Final = 60
ART_BYTES_KEPT: Final = 8 * 1024 * 1024

Value = TypeVar("Value")


@dataclass(frozen=True)
class Preview:
    """Both faces with their pictures, as addresses that need no request; ``error``: why Apple would refuse the card."""

    apple: Face | None
    apple_pictures: Mapping[str, str]
    google: GoogleFace
    google_pictures: Mapping[str, str]
    google_ink: str
    look_name: str
    """The look that holds for the sample; empty: none of the list."""
    error: str = ""


def sample_for(program: ProgramDefinition, language: str, now: datetime) -> Sample:
    """What the page begins with: today, the reader's language, somebody on the first level."""
    first = program.first_level
    return Sample(
        tier=first.code if first else None,
        points=POINTS_SHOWN,
        percent=PERCENT_SHOWN,
        language=language if language in program.languages else program.default_language,
        day=now.astimezone(ZoneInfo(program.time_zone)).date(),
    )


def read_sample(values: Mapping[str, str], program: ProgramDefinition) -> Sample:
    """The state that was asked for; what makes no sense is as :func:`sample_for` has it."""
    plain = sample_for(program, values.get("sample_language", ""), server().clock.now())
    tier = values.get("sample_tier", "")
    return Sample(
        tier=tier if program.level(tier) else plain.tier,
        points=_whole(values.get("sample_points", ""), POINTS_MAX, plain.points),
        percent=_whole(values.get("sample_percent", ""), 100, plain.percent),
        language=plain.language,
        day=_day(values.get("sample_day", ""), plain.day),
    )


def _whole(text: str, most: int, otherwise: int) -> int:
    return min(int(text), most) if text.isascii() and text.isdigit() and len(text) <= 12 else otherwise


def _day(text: str, otherwise: date) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return otherwise


def preview_of(program: ProgramDefinition, sample: Sample) -> Preview:
    """Both faces of a card in this state."""
    context = server()
    public_url = context.settings.public_url
    state = specimen(program, sample)
    images = _press().pictures(program, state)
    error, apple = "", None
    try:
        apple = apple_face(program, state, images, public_url=public_url)
    except PassContentError as refused:
        error = str(refused)
    at_google = specimen(program, sample, "google")
    google = google_face(program, at_google, public_url=public_url)
    return Preview(
        apple=apple,
        apple_pictures={name: _address(getattr(images, name).x2.data) for name in ("logo", "icon", "strip")},
        google=google,
        google_pictures=_google_pictures(program, at_google),
        google_ink=google_ink(google.background),
        look_name=look_of_card(program, state).name,
        error=error,
    )


def _google_pictures(program: ProgramDefinition, state: CardState) -> dict[str, str]:
    kept: Kept[bytes] = _kept("draft_art", lambda: Kept(ART_BYTES_KEPT, len))
    strip = strip_art(program, card_strip(program, state))
    return {
        "logo": _address(_press().google_logo(program)),
        "hero": _address(kept.get(strip.digest, lambda: google_hero_png(strip, _press().photo_of(program, strip)))),
    }


def _press() -> PassPress:
    """A press for drafts alone: dozens of colours that somebody only tries must not push real pictures out."""
    context = server()
    signer, programs = context.wallets.signer, context.wallets.programs
    kept = _kept(
        "draft_press",
        lambda: PassPress(
            signer, allow_http=True, picture_of=stored_pictures(context.engine), strips_bytes=ART_BYTES_KEPT
        ),
    )
    # What it has drawn is kept; the certificates are those in use at this moment.
    return kept.renewed(signer, allow_http=True, programs=programs)


def _kept(name: str, make: Callable[[], Value]) -> Value:
    extensions = current_app.extensions
    if name not in extensions:
        extensions[name] = make()
    return cast(Value, extensions[name])


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"
