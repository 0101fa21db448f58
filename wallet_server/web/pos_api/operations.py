"""Every call of the till API: what it takes, what it answers, and each code with which it may refuse.

The document is made of this list, and tests hold the door to it: a status or a code that is not here fails them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from wallet_server.web.pos_api import answers, bodies

Codes = Mapping[int, Sequence[str]]

_EVERY_CALL: Final[Codes] = {401: ("unauthorized",), 429: ("rate_limited",), 500: ("internal",), 503: ("busy",)}
_WITH_BODY: Final[Codes] = {
    400: ("bad_json", "bad_request"),
    413: ("too_large",),
    415: ("unsupported_media_type",),
    422: ("validation",),
}
_WITH_QUERY: Final[Codes] = {422: ("validation",)}
_WITH_KEY: Final[Codes] = {409: ("idempotency_in_progress",), 422: ("validation", "idempotency_mismatch")}
_WITH_PATH: Final[Codes] = {404: ("not_found",), 405: ("method_not_allowed",)}
"""A slash in what stands in the path, also as ``%2F``, makes another address of it: servers decode before they look."""
_WITH_CARD: Final[Codes] = {404: ("unknown_card",), 409: ("card_blocked",)}
_AT_OUTLET: Final[Codes] = {403: ("missing_scope", "other_outlet"), 404: ("unknown_outlet",)}
_SCOPED: Final[Codes] = {403: ("missing_scope",)}
_HOLD: Final[Codes] = {404: ("unknown_hold",), 409: ("hold_captured", "hold_released", "hold_expired")}
_RECEIPT: Final[Codes] = {
    409: ("insufficient_points",),
    422: ("currency_mismatch", "redeem_limit_exceeded", "points_limit"),
}


def together(*parts: Codes) -> dict[int, tuple[str, ...]]:
    """The codes of several lists by status, each once."""
    found: dict[int, dict[str, None]] = {}
    for part in parts:
        for status, codes in part.items():
            found.setdefault(status, {}).update(dict.fromkeys(codes))
    return {status: tuple(codes) for status, codes in sorted(found.items())}


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. ``refusals`` are its own codes by status; what every call of its kind has comes on top."""

    method: str
    path: str
    name: str
    summary: str
    description: str
    answers: Mapping[int, type[BaseModel]]
    refusals: Sequence[Codes] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: type[BaseModel] | None = None
    keyed: bool = False
    links: Sequence[tuple[str, str, str]] = ()
    """Calls that go on from the answer: name of the operation, parameter of its path, member of the answer."""

    @property
    def tag(self) -> str:
        """The group it is shown in."""
        return self.path.split("/")[1].title()

    @property
    def codes(self) -> dict[int, tuple[str, ...]]:
        """Every code that the call may refuse with, by status."""
        parts = [_EVERY_CALL, *self.refusals]
        parts += [_WITH_PATH] * ("{" in self.path)
        parts += [_WITH_BODY] * (self.body is not None)
        parts += [_WITH_QUERY] * (self.query is not None)
        parts += [_WITH_KEY] * self.keyed
        return together(*parts)


OPERATIONS: Final = (
    Operation(
        "post",
        "/members",
        "join",
        "Make somebody a member",
        "Somebody who is a member already gets the same membership (200). Scope `members`.",
        {201: answers.MemberJoined, 200: answers.MemberJoined},
        (_AT_OUTLET, {409: ("member_conflict",)}),
        body=bodies.NewMember,
        keyed=True,
        links=tuple((name, "card_number", "card_number") for name in ("member", "entries", "coefficient", "tags")),
    ),
    Operation(
        "get",
        "/members/{card_number}",
        "member",
        "What the cashier sees of a card",
        "Balance, tier, challenges, the vouchers that can be redeemed now, tags and own percents. Any scope.",
        {200: answers.MemberAnswer},
        (_WITH_CARD,),
    ),
    Operation(
        "get",
        "/members/{card_number}/entries",
        "entries",
        "The member's ledger",
        "Newest first, each row with its reason. Any scope.",
        {200: answers.EntriesAnswer},
        (_WITH_CARD,),
        query=bodies.EntriesQuery,
    ),
    Operation(
        "put",
        "/members/{card_number}/coefficient",
        "coefficient",
        "Set a member's own percent",
        "For one outlet or (without `outlet`) all; the outlet's own beats the network's. `percent` null or 0 takes "
        "it away. Answers with all that the member has. Scope `members`; a key of one outlet sets that outlet's only.",
        {200: answers.CoefficientsAnswer},
        (_WITH_CARD, _AT_OUTLET),
        body=bodies.CoefficientRequest,
    ),
    Operation(
        "put",
        "/members/{card_number}/tags",
        "tags",
        "Set a member's tags",
        "All of them at once: rules and segments may ask for them. Scope `members`.",
        {200: answers.TagsAnswer},
        (_WITH_CARD, _SCOPED),
        body=bodies.TagsRequest,
    ),
    Operation(
        "post",
        "/quotes",
        "quote",
        "What a receipt would bring and cost",
        "Changes nothing. Scope `earn`.",
        {200: answers.QuoteAnswer},
        (_WITH_CARD, _AT_OUTLET, _RECEIPT),
        body=bodies.QuoteRequest,
    ),
    Operation(
        "post",
        "/purchases",
        "purchase",
        "Record a receipt",
        "Once per outlet and `receipt_id`, whatever the key. Scope `earn`, and `redeem` to pay with points.",
        {201: answers.PurchaseAnswer},
        (_WITH_CARD, _AT_OUTLET, _RECEIPT, {409: ("duplicate_receipt",)}),
        body=bodies.PurchaseRequest,
        keyed=True,
        links=(("refund", "purchase_id", "purchase_id"),),
    ),
    Operation(
        "post",
        "/purchases/{purchase_id}/refunds",
        "refund",
        "Take lines of a purchase back",
        "Lines and quantities, or (without `lines`) all that is left. Points that paid come back, points that it "
        "brought are taken back; what it does depends on what is left only, never on how it was sliced. Scope "
        "`refund`; a key of one outlet refunds that outlet's purchases only.",
        {201: answers.RefundAnswer},
        (
            {
                403: ("missing_scope", "other_outlet"),
                404: ("unknown_purchase",),
                409: ("duplicate_refund", "refund_exceeds_purchase"),
                422: ("unknown_line",),
            },
        ),
        body=bodies.RefundRequest,
        keyed=True,
    ),
    Operation(
        "post",
        "/visits",
        "visit",
        "Record a visit without a receipt",
        "Once per outlet and `visit_id`, whatever the key. It counts for challenges and tiers. Scope `earn`.",
        {201: answers.VisitAnswer},
        (_WITH_CARD, _AT_OUTLET, {409: ("duplicate_visit",)}),
        body=bodies.VisitRequest,
        keyed=True,
    ),
    Operation(
        "post",
        "/holds",
        "hold",
        "Set points aside",
        "They can be spent by nothing else until they are captured or released, or until the time is over. Scope "
        "`redeem`.",
        {201: answers.HoldAnswer},
        (_WITH_CARD, _AT_OUTLET, {409: ("insufficient_points",), 422: ("redeem_limit_exceeded",)}),
        body=bodies.HoldRequest,
        keyed=True,
        links=(("capture", "hold_id", "hold_id"), ("release", "hold_id", "hold_id")),
    ),
    Operation(
        "post",
        "/holds/{hold_id}/capture",
        "capture",
        "Let points that were set aside pay",
        "All of them, or `points`: the rest is the member's again. Scope `redeem`.",
        {200: answers.HoldAnswer},
        (_AT_OUTLET, _HOLD),
        body=bodies.HoldCapture,
        body_required=False,
        keyed=True,
    ),
    Operation(
        "post",
        "/holds/{hold_id}/release",
        "release",
        "Give points back that were set aside",
        "Scope `redeem`.",
        {200: answers.HoldAnswer},
        ({403: ("missing_scope", "other_outlet")}, _HOLD),
        body=bodies.HoldRelease,
        body_required=False,
        keyed=True,
    ),
    Operation(
        "post",
        "/adjustments",
        "adjustment",
        "Give or take points by hand",
        "With a reason, and up to the program's limit for tills (`points.adjustments.till`). Scope `adjust`.",
        {201: answers.AdjustmentAnswer},
        (_WITH_CARD, {403: ("missing_scope", "adjustment_limit"), 409: ("insufficient_points",)}),
        body=bodies.AdjustmentRequest,
        keyed=True,
    ),
    Operation(
        "post",
        "/vouchers/{code}/redeem",
        "redeem",
        "Redeem a voucher",
        "Succeeds once. Scope `redeem`.",
        {200: answers.VoucherAnswer},
        (_AT_OUTLET, {404: ("unknown_voucher",), 409: ("voucher_used", "voucher_expired")}),
        body=bodies.VoucherRedemption,
        keyed=True,
    ),
)
