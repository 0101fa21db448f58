"""What a card says: a member's state in, a :class:`passes.content.PassContent` out. Pure.

The texts of a pass are written in the member's language, with every language of the program beside them:
the phone shows the one that it is set to. Only the news is the member's alone.

Two fields can speak on the lock screen: the news, and what has happened last. In any version of a pass at most one
of them does, as the governor has decided (``CardState.speaks``), so a phone never replaces two messages by an empty
phrase of its own, whichever versions it has missed. All other values change in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from passes.content import Beacon, CardCode, PassContent, PassField, PassImages, Place
from wallet_server.challenges.progress import ChallengeState
from wallet_server.i18n import LocalizedText, Translator, gettext_noop, localized, translator
from wallet_server.issuance.looks import StripState, card_look, colors_of, stamps_of, strip_state
from wallet_server.issuance.places import OutletVisits, chosen_places
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Challenge, OutletSection
from wallet_server.programs.look import ResolvedLook, Strip
from wallet_server.programs.places import OUTLET_WORD
from wallet_server.rewards.wins import grouped

FRONT_ROW_MAX: Final = 3
"""Fields in the row under the strip: a fourth would leave each of them half a word."""
CHALLENGES_ON_BACK_MAX: Final = 10
VOUCHERS_MAX: Final = 10

NEWS_KEY: Final = "news"
LATEST_KEY: Final = "latest"
WORDS_KEPT: Final = 256
"""Our own words in all languages of a program: about a dozen for each set of languages."""
THE_VALUE: Final = "%@"
"""A change message that is the field's new value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardVoucher:
    """A voucher that can be redeemed; ``product`` is the product's name by language, or its sku."""

    code: str
    product: LocalizedText | str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a member was told: the ``news``, and the ``latest`` that has happened; empty for who was told nothing.

    ``speaks`` names the one of both that the lock screen is to say when it changes: ``news``, ``latest`` or neither.
    """

    news: str = ""
    latest: str = ""
    speaks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardState:
    """Everything that a card shows, as read in one snapshot; ``news``, ``latest``, ``speaks`` as in :class:`Said`."""

    pass_id: UUID
    wallet: str
    serial: str
    version: int
    token_generation: int
    last_modified: datetime
    fetched_version: int
    live: bool
    member_id: UUID
    member_token_generation: int
    language: str
    name: str
    card_number: str
    spendable: int
    pending: int
    tier: str | None
    challenges: tuple[ChallengeState, ...] = ()
    vouchers: tuple[CardVoucher, ...] = ()
    news: str = ""
    latest: str = ""
    speaks: str = ""
    visits: tuple[OutletVisits, ...] = ()
    """Only read where the card cannot name all outlets."""
    voided: bool = False
    today: date | None = None
    """The day in the program's zone: the season of the look."""
    tier_done: int | None = None
    """How much of the way to the next level is done, of 40 steps; only read where a strip draws it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLinks:
    """Addresses and the token of one card. ``page_url`` is the member's own page, a secret."""

    page_url: str
    update_url: str | None = None
    authentication_token: str | None = field(default=None, repr=False)


class _Texts:
    """Says each text in the member's language and remembers it in all languages of the program."""

    def __init__(self, program: ProgramDefinition, language: str) -> None:
        self.language = language if language in program.languages else program.default_language
        self._languages = tuple(dict.fromkeys((self.language, *program.languages)))
        self._fallbacks = program.languages
        self.translations: dict[str, dict[str, str]] = {language: {} for language in self._languages}

    def say(self, make: Callable[[Translator], str]) -> str:
        """Make one text in every language."""
        return self._add([make(translator(language)) for language in self._languages])

    def word(self, message: str) -> str:
        """One of our own texts, in which nothing is filled in; mark it with ``gettext_noop``."""
        return self._add(_translated(message, self._languages))

    def _add(self, said: Sequence[str]) -> str:
        literal = said[0]
        for words, text in zip(self.translations.values(), said, strict=True):
            # The first meaning of a literal wins: the same words in two places are one entry in the pass.
            words.setdefault(literal, text)
        return literal

    def own(self, texts: LocalizedText | str) -> str:
        """One of the program's own texts."""
        return self.say(lambda t: localized(texts, t.language, self._fallbacks))


@lru_cache(maxsize=WORDS_KEPT)
def _translated(message: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(translator(language).gettext(message) for language in languages)


def pass_content(
    program: ProgramDefinition, state: CardState, links: CardLinks, images: PassImages | None = None
) -> PassContent:
    """Write a card. Times are shown in the program's zone, money in its currency."""
    texts = _Texts(program, state.language)
    look = program.file.look
    name = texts.own(program.section.name)
    # Said once and up front: `look.description` may be missing in some of the languages.
    description = texts.own(look.description) if look.description else texts.say(lambda t: _description(program, t))
    shown_look = look_of_card(program, state)
    shown, rest = _by_relevance(program, state, shown_look.strip)
    places, beacons = _places(program, state, texts)
    return PassContent(
        serial_number=state.serial,
        organization_name=look.organization or name,
        program_name=name,
        description=description,
        colors=colors_of(shown_look),
        card=CardCode(
            number=spaced(state.card_number),
            message=state.card_number,
            caption=spaced(state.card_number),
            label=texts.word(gettext_noop("Card number")),
        ),
        points=PassField(
            key="points",
            label=texts.word(gettext_noop("Points")),
            value=state.spendable,
            number_style="decimal",
        ),
        tier=_tier(program, state, texts),
        member=PassField(key="member", label=texts.word(gettext_noop("Name")), value=state.name)
        if state.name
        else None,
        progress=tuple(_progress(texts, program, challenge, standing) for challenge, standing in shown),
        news=_spoken(NEWS_KEY, state, texts, state.news, gettext_noop("News")),
        back=(
            _spoken(LATEST_KEY, state, texts, state.latest, gettext_noop("Latest")),
            *_back(program, state, links, texts, rest),
        ),
        stamps=stamps_of(shown_look, _strip_of(program, state, shown_look)),
        places=places,
        beacons=beacons,
        max_distance_meters=program.file.places.max_distance_meters if places else None,
        images=images,
        language=texts.language,
        translations=texts.translations,
        update_url=links.update_url,
        authentication_token=links.authentication_token,
        voided=state.voided,
    )


def _spoken(key: str, state: CardState, texts: _Texts, text: str, label: str) -> PassField:
    """A field that may speak. Always there: one that appears for the first time does not."""
    return PassField(
        key=key,
        label=texts.word(label),
        value=text or texts.word(gettext_noop("Nothing new yet.")),
        change_message=THE_VALUE if state.speaks == key else None,
    )


def voided_state(state: CardState) -> CardState:
    """What a card that is no longer good still says: that, and nothing of the member.

    Its phone may be in other hands, or the member may be nobody's any more.
    """
    return replace(
        state,
        name="",
        spendable=0,
        pending=0,
        tier=None,
        challenges=(),
        vouchers=(),
        news=translator(state.language).gettext("This card is no longer valid."),
        latest="",
        speaks=NEWS_KEY,
        visits=(),
        tier_done=None,
        voided=True,
    )


def spaced(card_number: str) -> str:
    """A card number as people read it: groups of four."""
    return " ".join(card_number[start : start + 4] for start in range(0, len(card_number), 4))


def language_of(program: ProgramDefinition, state: CardState) -> str:
    """The language of a card: the member's, or the program's first."""
    return state.language if state.language in program.languages else program.default_language


def look_of_card(program: ProgramDefinition, state: CardState) -> ResolvedLook:
    """The look of a card in its state."""
    return card_look(program, state.tier, state.challenges, state.today)


def card_strip(program: ProgramDefinition, state: CardState) -> StripState:
    """The strip of a card in its state."""
    return _strip_of(program, state, look_of_card(program, state))


def _strip_of(program: ProgramDefinition, state: CardState, look: ResolvedLook) -> StripState:
    return strip_state(
        program,
        look,
        tier=state.tier,
        challenges=state.challenges,
        language=language_of(program, state),
        tier_done=state.tier_done,
    )


def _description(program: ProgramDefinition, t: Translator) -> str:
    return t.gettext("Loyalty card of %(program)s", program=program.name(t.language))


def _tier(program: ProgramDefinition, state: CardState, texts: _Texts) -> PassField | None:
    level = program.level(state.tier) if state.tier else program.first_level
    if level is None:
        return None
    return PassField(key="tier", label=texts.word(gettext_noop("Level")), value=texts.own(level.name))


_Standing = tuple[Challenge, ChallengeState]


def _by_relevance(
    program: ProgramDefinition, state: CardState, strip: Strip
) -> tuple[tuple[_Standing, ...], tuple[_Standing, ...]]:
    """The challenges for the front and those for the back: what is nearest to its goal comes first.

    Stamps that are drawn on the strip are said in words on the back only.
    """
    known = [(found, s) for s in state.challenges if (found := program.challenge(s.code)) is not None]
    stamped = strip.challenge if strip.kind == "stamps" else None
    open_ones = [item for item in known if not item[1].finished and item[0].code != stamped]
    # Stable: equals stay in the order of the program file.
    ranked = sorted(open_ones, key=lambda item: -item[1].progress / item[1].target)
    others = (program.first_level is not None, bool(state.name))
    front = tuple(ranked[: FRONT_ROW_MAX - sum(others)])
    codes = {challenge.code for challenge, _ in front}
    back = tuple(item for item in known if item[0].code not in codes)
    return front, back[:CHALLENGES_ON_BACK_MAX]


def _progress(texts: _Texts, program: ProgramDefinition, challenge: Challenge, state: ChallengeState) -> PassField:
    def words(t: Translator) -> str:
        if state.finished:
            return t.gettext("Completed")
        amounts = (state.progress, state.target)
        if challenge.metric == "spend_minor":
            done, goal = (t.money(amount, program.currency) for amount in amounts)
        else:
            done, goal = (t.number(amount) for amount in amounts)
        return t.gettext("%(progress)s of %(target)s", progress=done, target=goal)

    return PassField(key=f"challenge-{challenge.code}", label=texts.own(challenge.name), value=texts.say(words))


def _back(
    program: ProgramDefinition,
    state: CardState,
    links: CardLinks,
    texts: _Texts,
    challenges: Sequence[_Standing],
) -> list[PassField]:
    fields = [_progress(texts, program, challenge, standing) for challenge, standing in challenges]
    fields += [_voucher(program, texts, voucher) for voucher in state.vouchers[:VOUCHERS_MAX]]
    if state.pending:
        fields.append(
            PassField(
                key="pending",
                label=texts.word(gettext_noop("On their way")),
                value=texts.say(lambda t: t.points(state.pending)),
            )
        )
    if not state.voided:  # the page's address is a secret, and may be a new one that this phone is not to know
        fields.append(
            PassField(
                key="page",
                label=texts.word(gettext_noop("Everything about your card")),
                value=texts.word(gettext_noop("Open your page")),
                link=links.page_url,
            )
        )
    fields.append(
        PassField(
            key="about-points",
            label=texts.word(gettext_noop("How points work")),
            value=texts.say(lambda t: _about_points(program, t)),
        )
    )
    return fields


def _voucher(program: ProgramDefinition, texts: _Texts, voucher: CardVoucher) -> PassField:
    def label(t: Translator) -> str:
        return t.gettext("Free: %(product)s", product=localized(voucher.product, t.language, program.languages))

    def value(t: Translator) -> str:
        code = grouped(voucher.code)
        if voucher.expires_at is None:
            return code
        return t.gettext(
            "%(code)s, valid until %(date)s", code=code, date=t.date(voucher.expires_at, program.time_zone)
        )

    return PassField(key=f"voucher-{voucher.code}", label=texts.say(label), value=texts.say(value))


def _about_points(program: ProgramDefinition, t: Translator) -> str:
    points = program.points
    values: Mapping[str, Any] = {
        "earn": t.number(points.base_percent),
        "worth": t.money(points.point_value_minor, program.currency),
        "share": t.number(points.base_redeem_percent),
    }
    return t.gettext(
        "You get %(earn)s%% of what you pay back as points. One point is worth %(worth)s,"
        " and points pay up to %(share)s%% of a purchase.",
        **values,
    )


def _places(
    program: ProgramDefinition, state: CardState, texts: _Texts
) -> tuple[tuple[Place, ...], tuple[Beacon, ...]]:
    """Where the card suggests itself, and what it says there. One that is over suggests itself nowhere."""
    if state.voided:
        return (), ()
    chosen = chosen_places(program, state.visits)

    def words(outlet: OutletSection) -> str:
        return texts.say(lambda t: _nearby(program, outlet, t))

    places = [
        Place(latitude=float(outlet.latitude), longitude=float(outlet.longitude), relevant_text=words(outlet))
        for outlet in chosen.outlets
        if outlet.latitude is not None and outlet.longitude is not None
    ]
    beacons = [
        Beacon(proximity_uuid=beacon.uuid, major=beacon.major, minor=beacon.minor, relevant_text=words(outlet))
        for outlet, beacon in chosen.beacons
    ]
    return tuple(places), tuple(beacons)


def _nearby(program: ProgramDefinition, outlet: OutletSection, t: Translator) -> str:
    name = localized(outlet.name, t.language, program.languages)
    if outlet.nearby:
        return localized(outlet.nearby, t.language, program.languages)
    if program.file.places.text:
        return localized(program.file.places.text, t.language, program.languages).replace(OUTLET_WORD, name)
    return t.gettext("%(outlet)s is close by", outlet=name)
