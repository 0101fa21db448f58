"""What a program's class can say at Google besides `passes.google.objects.ProgramCard`; all of it is optional.

Source: developers.google.com/wallet/reference/rest/v1/loyaltyclass, its fields and the types behind them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from passes.content import PassContentError
from passes.google.modules import Link, SharedExtras, TextModule, WebImage, links, text_modules
from passes.google.parts import INT64_MAX, JsonObject, Words, at_most, checked, distinct, https
from passes.google.templates import CardTemplate

REDEMPTION_ISSUERS_MAX = 20
"""Ours: Google names no number of them."""
_ISSUER_ID = re.compile(r"[1-9][0-9]{0,18}")


class Holders(StrEnum):
    """Who may save a card, and on how many devices; the last is for partners that Google has chosen.

    Source: developers.google.com/wallet/reference/rest/v1/MultipleDevicesAndHoldersAllowedStatus
    """

    MULTIPLE_HOLDERS = "MULTIPLE_HOLDERS"
    ONE_USER_ALL_DEVICES = "ONE_USER_ALL_DEVICES"
    ONE_USER_ONE_DEVICE = "ONE_USER_ONE_DEVICE"


class ViewUnlock(StrEnum):
    """Whether the phone has to be unlocked each time that the card is looked at.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyclass (ViewUnlockRequirement)
    """

    NOT_REQUIRED = "UNLOCK_NOT_REQUIRED"
    REQUIRED = "UNLOCK_REQUIRED_TO_VIEW"


class SecurityAnimation(StrEnum):
    """A moving shimmer on the details, which a screenshot does not have.

    Source: developers.google.com/wallet/reference/rest/v1/SecurityAnimation
    """

    FOIL_SHIMMER = "FOIL_SHIMMER"


class Discovery(StrEnum):
    """To whom Google Wallet shows the program when people look for one.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyclass (DiscoverableProgram)
    """

    TRUSTED_TESTERS = "TRUSTED_TESTERS"
    LIVE = "LIVE"
    DISABLED = "DISABLED"


class SharedData(StrEnum):
    """What Google hands over to the page where people sign up, so that the form there is filled in.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyclass (SharedDataType)
    """

    FIRST_NAME = "FIRST_NAME"
    LAST_NAME = "LAST_NAME"
    STREET_ADDRESS = "STREET_ADDRESS"
    ADDRESS_LINE_1 = "ADDRESS_LINE_1"
    ADDRESS_LINE_2 = "ADDRESS_LINE_2"
    ADDRESS_LINE_3 = "ADDRESS_LINE_3"
    CITY = "CITY"
    STATE = "STATE"
    ZIPCODE = "ZIPCODE"
    COUNTRY = "COUNTRY"
    EMAIL = "EMAIL"
    PHONE = "PHONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverableProgram:
    """How the program is found and joined from within Google Wallet: pages to sign up and to sign in.

    `shared_data` is handed to the page for signing up, and needs it.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyclass (DiscoverableProgram)
    """

    state: Discovery
    sign_up: Link | None = None
    shared_data: tuple[SharedData, ...] = ()
    sign_in: Link | None = None

    def written(self, where: str, words: Words) -> JsonObject:
        program: JsonObject = {"state": self.state.value}
        if self.sign_up is not None:
            https(f"{where}.sign_up.uri", self.sign_up.uri)
            distinct(f"{where}.shared_data", self.shared_data)
            program["merchantSignupInfo"] = {
                "signupWebsite": self.sign_up.written(f"{where}.sign_up", words),
                "signupSharedDatas": [kind.value for kind in self.shared_data],
            }
        elif self.shared_data:
            raise PassContentError(f"{where}.shared_data", "it is handed to sign_up, which is missing")
        if self.sign_in is not None:
            https(f"{where}.sign_in.uri", self.sign_in.uri)
            program["merchantSigninInfo"] = {"signinWebsite": self.sign_in.written(f"{where}.sign_in", words)}
        return program


@dataclass(frozen=True, slots=True)
class SmartTap:
    """Cards that a terminal reads over NFC. Each issuer has to have a Smart Tap key; at least one may redeem.

    The terminal gets the object's `smart_tap_value`, or else what its code says, or else its account id.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyclass (enableSmartTap, redemptionIssuers)
    """

    redemption_issuers: tuple[str, ...]

    def written(self, where: str) -> JsonObject:
        here = f"{where}.redemption_issuers"
        if not self.redemption_issuers:
            raise PassContentError(here, "at least one issuer that redeems")
        at_most(here, self.redemption_issuers, REDEMPTION_ISSUERS_MAX, "issuers that redeem")
        distinct(here, self.redemption_issuers)
        for place, issuer in enumerate(self.redemption_issuers):
            # An int64, which JSON carries as a text.
            if not _ISSUER_ID.fullmatch(issuer) or int(issuer) > INT64_MAX:
                raise PassContentError(f"{here}[{place}]", f"an issuer id is a number in digits, not {issuer!r}")
        return {"enableSmartTap": True, "redemptionIssuers": list(self.redemption_issuers)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassExtras(SharedExtras):
    """What a class can say besides.

    `wide_logo` stands in place of the logo on the front. Labels of the account are best at most 15 characters, a tier
    7 and its label 9. `holders` is ``MULTIPLE_HOLDERS`` if nothing else is said. `template` replaces the rows that the
    house lays out. `notify` asks Google to announce this change of the class.

    Source: developers.google.com/wallet/reference/rest/v1/loyaltyclass
    """

    wide_logo: WebImage | None = None
    account_id_label: str | None = None
    account_name_label: str | None = None
    rewards_tier: str | None = None
    rewards_tier_label: str | None = None
    secondary_rewards_tier: str | None = None
    secondary_rewards_tier_label: str | None = None
    text_modules: tuple[TextModule, ...] = ()
    links: tuple[Link, ...] = ()
    holders: Holders = Holders.MULTIPLE_HOLDERS
    view_unlock: ViewUnlock | None = None
    security_animation: SecurityAnimation | None = None
    discoverable: DiscoverableProgram | None = None
    smart_tap: SmartTap | None = None
    template: CardTemplate | None = None
    notify: bool = False

    def written(self, words: Words) -> JsonObject:
        """Return the keys of the LoyaltyClass. Raises `PassContentError`."""
        body: JsonObject = {
            "multipleDevicesAndHoldersAllowedStatus": self.holders.value,
            **self.shared(words),
            **self._labels(words),
        }
        if self.wide_logo is not None:
            body["wideProgramLogo"] = self.wide_logo.written("wide_logo", words)
        if self.text_modules:
            body["textModulesData"] = text_modules("text_modules", self.text_modules, words)
        if self.links:
            body["linksModuleData"] = links("links", self.links, words)
        if self.view_unlock is not None:
            body["viewUnlockRequirement"] = self.view_unlock.value
        if self.security_animation is not None:
            body["securityAnimation"] = {"animationType": self.security_animation.value}
        if self.discoverable is not None:
            body["discoverableProgram"] = self.discoverable.written("discoverable", words)
        if self.smart_tap is not None:
            body |= self.smart_tap.written("smart_tap")
        if self.template is not None:
            body["classTemplateInfo"] = self.template.written("template")
        if self.notify:
            body["notifyPreference"] = "NOTIFY_ON_UPDATE"
        return body

    def _labels(self, words: Words) -> JsonObject:
        labels: JsonObject = {}
        for where, name, text in (
            ("account_id_label", "accountIdLabel", self.account_id_label),
            ("account_name_label", "accountNameLabel", self.account_name_label),
            ("rewards_tier", "rewardsTier", self.rewards_tier),
            ("rewards_tier_label", "rewardsTierLabel", self.rewards_tier_label),
            ("secondary_rewards_tier", "secondaryRewardsTier", self.secondary_rewards_tier),
            ("secondary_rewards_tier_label", "secondaryRewardsTierLabel", self.secondary_rewards_tier_label),
        ):
            if text is not None:
                labels[name] = checked(where, text)
                labels |= words.localized(f"localized{name[0].upper()}{name[1:]}", text)
        return labels
