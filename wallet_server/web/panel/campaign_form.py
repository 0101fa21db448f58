"""The form of a campaign: what was typed, and what of it is wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from wallet_server.campaigns.models import Campaign
from wallet_server.campaigns.services import MESSAGE_CHARACTERS_MAX, NAME_CHARACTERS_MAX
from wallet_server.errors import DomainError

TYPED_MAX: Final = 2_000


@dataclass(frozen=True)
class CampaignForm:
    """Everything as typed, so that a refused form comes back as it was; ``message`` is text by language."""

    key: str = ""
    name: str = ""
    segment: str = ""
    message: Mapping[str, str] = field(default_factory=dict)

    def segment_id(self) -> UUID:
        """The chosen segment. Raises ``DomainError(validation)``."""
        try:
            return UUID(self.segment)
        except ValueError:
            raise DomainError("validation", "segment: choose one", field="segment") from None

    def text(self, language: str) -> str:
        """The text of one language as it will be shown: runs of space are one."""
        return " ".join(self.message.get(language, "").split())

    def parts(self) -> list[str]:
        """What makes two forms the same, for the idempotency key."""
        return [self.name, self.segment, *(f"{language}={text}" for language, text in sorted(self.message.items()))]


def read_form(values: Mapping[str, str], languages: Sequence[str], *, key: str) -> CampaignForm:
    """The form as a browser sent it; what is far too long is cut, what is a little too long is kept to be refused."""
    return CampaignForm(
        key=key,
        name=values.get("name", "").strip()[: NAME_CHARACTERS_MAX + 1],
        segment=values.get("segment", "")[:36],
        message={language: values.get(f"message-{language}", "")[:TYPED_MAX] for language in languages},
    )


def form_of(campaign: Campaign, *, key: str, name: str | None = None) -> CampaignForm:
    """The form of a campaign that exists: to change it, or to make another one like it."""
    return CampaignForm(
        key=key,
        name=campaign.name if name is None else name,
        segment=str(campaign.segment_id),
        message=dict(campaign.message),
    )


CHARACTERS_MAX: Final = MESSAGE_CHARACTERS_MAX
