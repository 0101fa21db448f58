"""The form of a campaign: what was typed, and what of it is wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from wallet_server.campaigns.models import Campaign
from wallet_server.campaigns.services import MESSAGE_CHARACTERS_MAX, NAME_CHARACTERS_MAX
from wallet_server.errors import DomainError
from wallet_server.ledger.expiry import end_of_day, local_day

TYPED_MAX: Final = 2_000


@dataclass(frozen=True)
class CampaignForm:
    """Everything as typed, so that a refused form comes back as it was; ``message`` is text by language."""

    key: str = ""
    name: str = ""
    segment: str = ""
    message: Mapping[str, str] = field(default_factory=dict)
    last_day: str = ""

    def segment_id(self) -> UUID:
        """The chosen segment. Raises ``DomainError(validation)``."""
        try:
            return UUID(self.segment)
        except ValueError:
            raise DomainError("validation", "segment: choose one", field="segment") from None

    def ends_at(self, zone: str) -> datetime | None:
        """The moment at which the last day is over. Raises ``DomainError(validation)``."""
        if not self.last_day:
            return None
        try:
            day = date.fromisoformat(self.last_day)
            return end_of_day(day, zone)
        except (ValueError, OverflowError):
            raise DomainError("validation", "ends_at: this is no day", field="ends_at") from None

    def text(self, language: str) -> str:
        """The text of one language as it will be shown: runs of space are one."""
        return " ".join(self.message.get(language, "").split())

    def parts(self) -> list[str]:
        """What makes two forms the same, for the idempotency key."""
        return [
            self.name,
            self.segment,
            self.last_day,
            *(f"{language}={text}" for language, text in sorted(self.message.items())),
        ]


def read_form(values: Mapping[str, str], languages: Sequence[str], *, key: str) -> CampaignForm:
    """The form as a browser sent it; what is far too long is cut, what is a little too long is kept to be refused."""
    return CampaignForm(
        key=key,
        name=values.get("name", "").strip()[: NAME_CHARACTERS_MAX + 1],
        segment=values.get("segment", "")[:36],
        message={language: values.get(f"message-{language}", "")[:TYPED_MAX] for language in languages},
        last_day=values.get("last_day", "").strip()[:10],
    )


def form_of(campaign: Campaign, zone: str, *, key: str) -> CampaignForm:
    """The form of a campaign that exists, to change it; days are those of ``zone``."""
    return CampaignForm(
        key=key,
        name=campaign.name,
        segment=str(campaign.segment_id),
        message=dict(campaign.message),
        last_day="" if campaign.ends_at is None else last_day_before(campaign.ends_at, zone).isoformat(),
    )


def form_like(campaign: Campaign, *, key: str) -> CampaignForm:
    """A form for another campaign like this one: its name and its end are its own."""
    return CampaignForm(key=key, segment=str(campaign.segment_id), message=dict(campaign.message))


def last_day_before(moment: datetime, zone: str) -> date:
    """The last whole day before a moment, in a time zone."""
    return local_day(moment - timedelta(microseconds=1), zone)


CHARACTERS_MAX: Final = MESSAGE_CHARACTERS_MAX
