"""The gallery: every look of the published cards, by season, level and state, in each language and both wallets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from flask import Response, abort, current_app, request, url_for

from passes.artwork import google_hero_png, strip_png
from passes.colors import TEXT_CONTRAST_MIN, contrast
from passes.content import PassContentError, PassImages, Picture, Scaled
from wallet_server.faces.apple import Face
from wallet_server.faces.google import GoogleFace
from wallet_server.i18n import Translator, gettext_noop, localized
from wallet_server.issuance.gallery import GalleryCard, Season, cards, seasons
from wallet_server.issuance.looks import look_of_strip, state_of_hero, strip_art
from wallet_server.issuance.press import Kept
from wallet_server.issuance.specimen import apple_face, google_face
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.look import ResolvedLook
from wallet_server.rules.words import days_words
from wallet_server.web.context import server
from wallet_server.web.looks import google_ink
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_look_contrast import PARTS
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader

CARDS_MAX: Final = 60
"""So many on a page; the others are a choice of season or level away."""
_EMPTY: Final = Scaled(Picture.of(b""), Picture.of(b""), Picture.of(b""))
_PICTURES: Final = PassImages(icon=_EMPTY, logo=_EMPTY, strip=_EMPTY)
"""For the face only counts that there are some: the page has them from addresses of their own."""
PICTURES_BYTES_KEPT: Final = 16 * 1024 * 1024
PICTURE_SECONDS: Final = 24 * 3600
SCALE: Final = 2
WALLETS: Final = {
    "apple": gettext_noop("Apple Wallet"),
    "google": gettext_noop("Google Wallet"),
    "both": gettext_noop("Both wallets"),
}


@dataclass(frozen=True)
class Low:
    """A text that is hard to read on a card, with its contrast."""

    part: str
    ratio: str


@dataclass(frozen=True)
class Shown:
    """One card as the page draws it; a wallet that was not asked for has no face."""

    progress: str
    look: str
    apple: Face | None
    google: GoogleFace | None
    google_ink: str
    strip: str
    """The name of the state, in the addresses of its pictures."""
    low: tuple[Low, ...]
    refused: str
    """Why Apple would not take the card."""


@dataclass(frozen=True)
class Group:
    """The cards of one season: its name and days, and by level."""

    title: str
    days: str
    levels: tuple[tuple[str, tuple[Shown, ...]], ...]


@blueprint.get("/programs/<slug>/program/look/gallery")
@allowed("manager")
def program_look_gallery(desk: Desk) -> Response:
    program, t = desk.program, reader()
    today = server().clock.now().astimezone(ZoneInfo(program.time_zone)).date()
    every = seasons(program, today)
    language = _chosen("language", program.languages, t.language)
    wallet = _chosen("wallet", tuple(WALLETS), "apple")
    season = _chosen("season", tuple(str(place) for place in range(len(every))), "")
    wanted = [every[int(season)]] if season else list(every)
    found = [(one, card) for one in wanted for card in cards(program, one, language)]
    shown = list(islice(found, CARDS_MAX))
    groups = [
        _group(program, one, [card for other, card in shown if other == one], wallet, t)
        for one in wanted
        if any(other == one for other, _card in shown)
    ]
    return panel_page(
        desk,
        "panel/program/gallery.html",
        block="gallery",
        groups=groups,
        left_out=len(found) - len(shown),
        season=season,
        season_titles=[_title(program, one, t) for one in every],
        card_language=language,
        wallet=wallet,
        wallets=WALLETS,
        sheets=sorted({colors for group in groups for _level, shown in group.levels for colors in _sheets(shown)}),
        picture=lambda card, part: url_for(
            "panel.program_look_gallery_picture",
            slug=program.slug,
            version=program.version,
            part=part,
            name=card.strip,
        ),
    )


@blueprint.get("/programs/<slug>/program/look/gallery/<version>/<part>/<name>.png")
@allowed("manager")
def program_look_gallery_picture(desk: Desk, version: str, part: str, name: str) -> Response:  # noqa: ARG001
    """A picture of a state; ``version`` only makes the address new when the program changes."""
    program = desk.program
    state = state_of_hero(program, name) or abort(404)
    press, art = server().press, strip_art(program, state)
    match part:
        case "strip":
            png = _kept().get((part, art.digest), lambda: strip_png(art, SCALE, press.photo_of(program, art)))
        case "hero":
            png = _kept().get((part, art.digest), lambda: google_hero_png(art, press.photo_of(program, art)))
        case "logo":
            png = press.brand(program, look_of_strip(program, state), state.language).logo.x2.data
        case "google-logo":
            png = press.google_logo(program)
        case _:
            abort(404)
    response = Response(png, content_type="image/png")
    response.headers["Cache-Control"] = f"private, max-age={PICTURE_SECONDS}"
    return response


def _kept() -> Kept[bytes]:
    """What was drawn last; apart from the pictures of real cards, which this must not push out."""
    kept: Kept[bytes] = current_app.extensions.setdefault("gallery_pictures", Kept[bytes](PICTURES_BYTES_KEPT, len))
    return kept


def _chosen(name: str, known: tuple[str, ...], otherwise: str) -> str:
    value = request.args.get(name, "")
    if value in known:
        return value
    return otherwise if otherwise in known or not otherwise else known[0]


def _group(program: ProgramDefinition, season: Season, found: list[GalleryCard], wallet: str, t: Translator) -> Group:
    by_level: dict[str | None, list[Shown]] = {}
    for card in found:
        by_level.setdefault(card.sample.tier, []).append(_shown(program, card, wallet, t))
    levels = tuple((_level_name(program, tier, t), tuple(shown)) for tier, shown in by_level.items())
    return Group(_title(program, season, t), ", ".join(days_words(part, t) for part in season.ranges(program)), levels)


def _level_name(program: ProgramDefinition, tier: str | None, t: Translator) -> str:
    level = program.level(tier) if tier else None
    return localized(level.name, t.language, program.languages) if level else ""


def _title(program: ProgramDefinition, season: Season, t: Translator) -> str:
    names = [program.file.look.looks[place].name for place in season.looks]
    return " · ".join(names) if names else t.gettext("Ordinary days")


def _shown(program: ProgramDefinition, card: GalleryCard, wallet: str, t: Translator) -> Shown:
    public_url = server().settings.public_url
    apple, google, refused = None, None, ""
    if wallet != "google":
        try:
            # The code is the same on all cards, and would hide how they differ.
            apple = replace(apple_face(program, card.state, _PICTURES, public_url=public_url), code=None)
        except PassContentError as error:
            refused = str(error)
    if wallet != "apple":
        google = replace(google_face(program, replace(card.state, wallet="google"), public_url=public_url), code=None)
    return Shown(
        progress=_progress(card, t),
        look=card.look.name,
        apple=apple,
        google=google,
        google_ink=google_ink(google.background) if google else "",
        strip=card.strip.hero_name,
        low=tuple(_low(card.look, t)),
        refused=refused,
    )


def _sheets(shown: tuple[Shown, ...]) -> Iterator[str]:
    """The colours that the faces need as style sheets."""
    for card in shown:
        if card.apple is not None:
            yield f"{card.apple.background}-{card.apple.foreground}-{card.apple.label}"
        if card.google is not None:
            yield f"{card.google.background}-{card.google_ink}-{card.google_ink}"


def _progress(card: GalleryCard, t: Translator) -> str:
    if card.look.strip.kind == "stamps" and card.strip.steps:
        progress, target = t.number(card.strip.done), t.number(card.strip.steps)
        return t.gettext("%(progress)s of %(target)s", progress=progress, target=target)
    if card.strip.steps:
        return t.percent(card.strip.done / card.strip.steps)
    return t.percent(card.sample.percent / 100)


def _low(look: ResolvedLook, t: Translator) -> Iterator[Low]:
    for part in ("foreground", "label"):
        ratio = contrast(getattr(look, part), look.background)
        if ratio < TEXT_CONTRAST_MIN:
            yield Low(t.gettext(PARTS[part]), t.number(Decimal(f"{ratio:.1f}")))
