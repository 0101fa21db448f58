"""What a member has, read once for a page: balance, tier, challenges, vouchers, news."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from wallet_server.challenges.progress import ChallengeState
from wallet_server.challenges.queries import states
from wallet_server.i18n import LocalizedText, Translator
from wallet_server.ledger.expiry import NextExpiry, current_balance, next_expiry
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import shown
from wallet_server.members.models import Card, Member
from wallet_server.members.queries import cards_of_members
from wallet_server.notifications.queries import newest
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Challenge
from wallet_server.programs.queries import product_names
from wallet_server.programs.tiers import TierLevel
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.queries import vouchers
from wallet_server.rewards.wins import grouped
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.projection import Projection, projection, projection_sentences
from wallet_server.tiers.queries import days_of_members, standings

STAMPS_DRAWN_MAX = 30


@dataclass(frozen=True)
class ChallengeView:
    """A challenge with the member's progress; ``reward`` in words of the program."""

    challenge: Challenge
    state: ChallengeState
    reward: LocalizedText | str

    @property
    def as_stamps(self) -> bool:
        """Whether it is drawn as a stamp card."""
        return self.challenge.kind == "stamps" and self.state.target <= STAMPS_DRAWN_MAX


@dataclass(frozen=True)
class VoucherView:
    """A voucher with the product's name by language (or its sku) and its code as people read it."""

    voucher: Voucher
    product: LocalizedText | str
    code: str

    def is_open(self, now: datetime) -> bool:
        """Whether it can be redeemed."""
        expires_at = self.voucher.expires_at
        return self.voucher.redeemed_at is None and (expires_at is None or expires_at > now)


@dataclass(frozen=True)
class Membership:
    """Everything that the member's page and the staff's page of a member show."""

    member: Member
    card: Card | None
    level: TierLevel | None
    balance: Balance
    points: int
    """To spend, as people are shown it: below zero where the program lets a balance be so."""
    challenges: tuple[ChallengeView, ...]
    vouchers: tuple[VoucherView, ...]
    news: str
    projection: Projection
    protected_until: datetime | None = None
    """The level is not lowered before: a promise of staff, or a level given until then."""
    expiry: NextExpiry | None = None
    """The points that end next if nothing happens before."""

    def open_vouchers(self, now: datetime) -> tuple[VoucherView, ...]:
        """Those that can be redeemed."""
        return tuple(view for view in self.vouchers if view.is_open(now))

    def outlook(self, t: Translator, program: ProgramDefinition) -> tuple[str, ...]:
        """What keeps the level, and what brings the next one, in sentences."""
        return projection_sentences(self.projection, t, program)


def read_membership(session: Session, program: ProgramDefinition, member: Member, now: datetime) -> Membership:
    """Read all of it in one snapshot, in a constant number of statements."""
    only = [member.id]
    found = vouchers(session, only).get(member.id, ())
    won = {c.reward.voucher.sku for c in program.file.challenges if c.reward.voucher}
    names = product_names(session, {*won, *(str(voucher.benefit.get("sku", "")) for voucher in found)})
    standing = standings(session, program, only, now).get(member.id, Standing())
    days = days_of_members(session, program, only, now).get(member.id, {})
    points = current_balance(session, program, member.id, now)
    return Membership(
        member=member,
        card=cards_of_members(session, only).get(member.id),
        level=(program.level(standing.tier) if standing.tier else None) or program.first_level,
        balance=points,
        points=shown(points, program.points),
        challenges=tuple(
            ChallengeView(challenge, state, _reward(challenge, names))
            for state in states(session, program, only, now).get(member.id, ())
            if (challenge := program.challenge(state.code)) is not None
        ),
        vouchers=tuple(
            VoucherView(voucher, names.get(sku, sku), grouped(voucher.code))
            for voucher in found
            for sku in (str(voucher.benefit.get("sku", "")),)
        ),
        news=newest(session, only).get(member.id, ""),
        projection=projection(program, standing, now, days),
        protected_until=standing.protected_until,
        expiry=next_expiry(session, program, member.id, now),
    )


def _reward(challenge: Challenge, names: dict[str, dict[str, str]]) -> LocalizedText | str:
    if challenge.reward.voucher is None:
        return ""
    return names.get(challenge.reward.voucher.sku, challenge.reward.voucher.sku)
