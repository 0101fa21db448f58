"""What a PATCH takes away: it merges, so what we may have written and no longer say has to be named, with null.

Arrays are replaced whole and need no names within. A balance of one form beside an older one of another is refused.

Source: developers.google.com/wallet/reference/rest/v1/loyaltyobject/patch (patch semantics).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

JsonObject = dict[str, Any]
_Parts = Mapping[str, Any]

_BALANCE: Final = {"balance": dict.fromkeys(("double", "int", "money", "string")), "localizedLabel": None}
_IMAGE: Final = dict.fromkeys(("contentDescription", "privateImageId", "sourceUri"))
_LINK: Final = dict.fromkeys(("description", "id", "localizedDescription"))
_BUTTON: Final[_Parts] = {
    "androidAppLinkInfo": {"appTarget": {"packageName": None, "targetUri": _LINK}},
    "webAppLinkInfo": {"appTarget": {"targetUri": _LINK}},
    "displayText": None,
}
_SHARED: Final[_Parts] = {"appLinkData": _BUTTON, **dict.fromkeys(("imageModulesData", "valueAddedModuleData"))}

_ALWAYS: Final[Mapping[str, _Parts]] = {
    "loyaltyClass": dict.fromkeys(
        """callbackOptions countryCode heroImage homepageUri localizedIssuerName localizedProgramName
        merchantLocations""".split()
    ),
    "loyaltyObject": {
        **dict.fromkeys(("accountName", "heroImage", "merchantLocations", "validTimeInterval")),
        "barcode": dict.fromkeys(("alternateText", "renderEncoding")),
        "loyaltyPoints": _BALANCE,
    },
}
_OF_EXTRAS: Final[Mapping[str, _Parts]] = {
    "loyaltyClass": {
        **_SHARED,
        **dict.fromkeys(
            """accountIdLabel accountNameLabel enableSmartTap linksModuleData localizedAccountIdLabel
            localizedAccountNameLabel localizedRewardsTier localizedRewardsTierLabel localizedSecondaryRewardsTier
            localizedSecondaryRewardsTierLabel redemptionIssuers rewardsTier rewardsTierLabel secondaryRewardsTier
            secondaryRewardsTierLabel securityAnimation textModulesData viewUnlockRequirement""".split()
        ),
        "classTemplateInfo": {
            "cardBarcodeSectionDetails": dict.fromkeys(("firstBottomDetail", "firstTopDetail", "secondTopDetail")),
            "detailsTemplateOverride": None,
            "listTemplateOverride": dict.fromkeys(("firstRowOption", "secondRowOption")),
        },
        "discoverableProgram": {
            "merchantSigninInfo": {"signinWebsite": _LINK},
            "merchantSignupInfo": {"signupWebsite": _LINK},
        },
        "wideProgramLogo": _IMAGE,
    },
    "loyaltyObject": {
        **_SHARED,
        **dict.fromkeys(("saveRestrictions", "smartTapRedemptionValue")),
        "barcode": dict.fromkeys(("alternateText", "renderEncoding", "showCodeText")),
        "groupingInfo": dict.fromkeys(("groupingId", "sortIndex")),
        "passConstraints": dict.fromkeys(("nfcConstraint", "screenshotEligibility")),
        "rotatingBarcode": dict.fromkeys(("alternateText", "renderEncoding", "showCodeText")),
        "secondaryLoyaltyPoints": _BALANCE,
        "validTimeInterval": dict.fromkeys(("end", "start")),
    },
}
"""Not `linkedObjectIds`, which Google does not unlink, nor `messages`, which lie there until others replace them."""
_ALL: Final = {kind: {**parts, **_OF_EXTRAS[kind]} for kind, parts in _ALWAYS.items()}


def whole(kind: str, body: Mapping[str, Any], *, extras: bool) -> JsonObject:
    """Return the body with null for what it does not say: of all parts with `extras`, else of what is always ours."""
    return _whole(body, (_ALL if extras else _ALWAYS)[kind])


def _whole(body: Mapping[str, Any], parts: _Parts) -> JsonObject:
    found: JsonObject = {**dict.fromkeys(parts), **body}
    for name, within in parts.items():
        if within and isinstance(found[name], dict):
            found[name] = _whole(found[name], within)
    return found
